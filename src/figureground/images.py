"""Photo and mask files to arrays, whatever they are called and however they are coded, and arrays to files."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from figureground.errors import FiguregroundError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
WRITABLE_SUFFIXES = {
    "L": IMAGE_SUFFIXES,
    "RGB": IMAGE_SUFFIXES,
    "RGBA": (".png", ".webp", ".tif", ".tiff"),
}
ImageSource = str | Path | bytes | Image.Image | NDArray[np.uint8]


def read_image(source: ImageSource) -> NDArray[np.uint8]:
    """An image (H, W, 3) uint8 RGB, upright.

    Palettes, grey, alpha (dropped), CMYK and 16 bits are converted, EXIF orientation is applied, and the content
    counts, not the file's name. Of an animation or a multi-page file it is the first picture.

    Args:
        source: a file, its bytes, a PIL image, or an array (H, W, 3) uint8, which is returned as it is.

    Raises:
        FiguregroundError: missing, empty, truncated or not an image; the message has the name.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or 0 in source.shape:
            raise FiguregroundError(f"array of shape {source.shape}, {source.dtype}; expected (H, W, 3) uint8 RGB")
        return source
    with _decoding(source) as picture:
        return np.asarray(_as_rgb(picture, _name(source)))


def read_levels(source: str | Path) -> NDArray[Any]:
    """The grey levels (H, W) of a mask file, upright: 8 or 16 bits as stored, colours as their luminance."""
    with _decoding(source) as picture:
        if not picture.mode.startswith("I"):
            return np.asarray(picture.convert("RGB").convert("L"))
        return np.asarray(picture)


def read_indices(source: str | Path) -> NDArray[np.uint8]:
    """The stored values (H, W) of a label file: of a palette file the indices, not the colours."""
    with _decoding(source) as picture:
        return np.asarray(picture if picture.mode in ("L", "P") else picture.convert("L"))


@contextmanager
def _decoding(source: ImageSource) -> Iterator[Image.Image]:
    """The decoded picture, upright; every way in which a file can be broken becomes one clear error."""
    name = _name(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if isinstance(source, Image.Image):
                upright = ImageOps.exif_transpose(source)
            else:
                with Image.open(_file(source)) as picture:
                    picture.load()
                    upright = ImageOps.exif_transpose(picture)
        yield upright
    except FileNotFoundError:
        raise FiguregroundError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise FiguregroundError(f"{name} is a folder; expected an image") from None
    except PermissionError:
        raise FiguregroundError(f"{name} may not be read (permission denied)") from None
    except UnidentifiedImageError:
        empty = not isinstance(source, Image.Image) and _size(source) == 0
        found = "is empty (0 bytes)" if empty else "is not an image, or of a kind that is not supported"
        raise FiguregroundError(f"{name} {found}; expected one of: {', '.join(IMAGE_SUFFIXES)}") from None
    except Image.DecompressionBombError as error:
        raise FiguregroundError(f"{name} is too large: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise for broken content
        raise FiguregroundError(f"{name} cannot be decoded ({error}); is it damaged? Get it again") from None


def _as_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Any of Pillow's modes as RGB; 16 bits are scaled to 8, not cut off."""
    if picture.mode.startswith("I"):
        levels = np.asarray(picture).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise FiguregroundError(
                f"{name} has values from {levels.min()} to {levels.max()}; expected 8 or 16 bits. Convert it first"
            )
        picture = Image.fromarray(np.round(levels / 257).astype(np.uint8))
    if picture.mode == "F":
        raise FiguregroundError(f"{name} holds floating-point values; expected 8 or 16 bits. Convert it first")
    return picture.convert("RGBA").convert("RGB") if picture.mode in ("P", "PA") else picture.convert("RGB")


def _file(source: str | Path | bytes | NDArray[np.uint8]) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _size(source: Any) -> int:
    return len(source) if isinstance(source, bytes) else Path(source).stat().st_size


def _name(source: ImageSource) -> str:
    return str(source) if isinstance(source, str | Path) else "the image"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; renamed over it when all went well, removed otherwise.

    Raises:
        FiguregroundError: the folder cannot be written to, or the disk is full.
    """
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        partial = Path(name)
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise FiguregroundError(
            f"{path} could not be written ({error.strerror or error}); nothing was changed there. "
            "Free some space or choose another folder"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_image(path: str | Path, pixels: NDArray[np.uint8]) -> None:
    """Write grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) uint8 as the format that the suffix names."""
    path = Path(path)
    picture = Image.fromarray(pixels)
    if path.suffix.lower() not in WRITABLE_SUFFIXES.get(picture.mode, ()):
        expected = ", ".join(WRITABLE_SUFFIXES[picture.mode])
        raise FiguregroundError(
            f"{path} cannot hold this picture ({picture.mode}); expected a name that ends in: {expected}"
        )
    with replacing(path) as partial:
        picture.save(partial)
