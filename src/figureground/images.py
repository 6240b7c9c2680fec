"""Photo and mask files to arrays, whatever they are called and however they are coded, and arrays to files."""

from __future__ import annotations

import io
import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from figureground.errors import (
    CannotWriteError,
    FiguregroundError,
    TooLargeError,
    UnreadableImageError,
)
from figureground.files import replacing
from figureground.image_files import COMMON_SUFFIXES, DEFAULT_LIMITS, SMALLER, ReadLimits, name_of, opening
from figureground.png import encode_grey

WRITABLE_SUFFIXES = {
    "L": COMMON_SUFFIXES,
    "RGB": COMMON_SUFFIXES,
    "RGBA": (".png", ".webp", ".tif", ".tiff"),
    "I;16": (".png", ".tif", ".tiff"),
}
CACHED_PIXELS = 2**16  # pixels that are converted at once: few enough for the processor's cache
REDUCTIONS = (8, 4, 2)  # that a JPEG decoder knows, the largest first
LYING = (5, 6, 7, 8)  # EXIF orientations that are stored with height and width exchanged
WHITE_IS_ZERO = 0  # of TIFF's tag PhotometricInterpretation
LARGEST_SIDE = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
ImageSource = str | Path | bytes | Image.Image | NDArray[np.uint8]
log = logging.getLogger(__name__)
BROKEN_PICTURE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises for content that is broken, or of a kind that it only half supports."""


def read_image(source: ImageSource, limits: ReadLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """An image (H, W, 3) uint8 RGB, upright.

    Palettes, grey, alpha (dropped), CMYK and 16 bits are converted, EXIF orientation is applied, and the content
    counts, not the file's name. Of an animation or a multi-page file it is the first picture.

    Args:
        source: a file, its bytes, a PIL image, or an array (H, W, 3) uint8, which is returned as it is.
        limits: what a file, or its bytes, may be.

    Raises:
        UnreadableImageError: missing, empty, truncated, not an image, or beyond the limits; the message has the name.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or 0 in source.shape:
            raise UnreadableImageError(f"array of shape {source.shape}, {source.dtype}; expected (H, W, 3) uint8 RGB")
        return source
    with _decoding(source, limits) as picture:
        return _upright_rgb(picture, name_of(source))


def read_reduced(
    source: str | Path | bytes, least: tuple[int, int], limits: ReadLimits = DEFAULT_LIMITS
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """An image as ``read_image`` gives it, or, of a large JPEG file, a half, a quarter or an eighth of that in height
    and width: its decoder can leave out the finest detail, and needs a fraction of the time and memory then.

    Where the sides do not divide by that, as those of cameras do, it is a smaller part, or none: pixels must not move.
    Progressive and lossless files are read whole: the latter must be, and of the former a third would be saved, and as
    much lost where the whole is needed as well.

    Args:
        source: a file, or its bytes.
        least: height and width below which the image is not reduced.
        limits: what it may be.

    Returns:
        The image, and height and width of the whole, both upright.

    Raises:
        UnreadableImageError: as of ``read_image``.
    """
    part = 1

    def reduce(picture: Image.Image) -> None:
        nonlocal part
        if picture.info.get("progressive"):
            return
        lowest = least if _orientation(picture) in LYING else least[::-1]
        sides = list(zip(picture.size, lowest, strict=True))
        fitting = (p for p in REDUCTIONS if all(side % p == 0 and side // p >= low for side, low in sides))
        wanted = next(fitting, 1)
        if wanted > 1 and picture.draft(None, (picture.width // wanted, picture.height // wanted)):  # JPEG alone can
            part = wanted

    try:
        with _decoding(source, limits, reduce) as picture:
            image = _upright_rgb(picture, name_of(source))
    except FiguregroundError:
        if part == 1:
            raise
        image, part = read_image(source, limits), 1  # lossless ones; what is broken is found so again
    return image, (image.shape[0] * part, image.shape[1] * part)


def read_levels(source: str | Path, limits: ReadLimits = DEFAULT_LIMITS) -> NDArray[Any]:
    """The grey levels (H, W) of a mask file, upright: 8 or 16 bits as stored, colours as their luminance."""
    with _decoding(source, limits) as picture:
        upright = ImageOps.exif_transpose(picture)
        return np.asarray(upright if upright.mode.startswith("I") else upright.convert("RGB").convert("L"))


def read_indices(source: str | Path, limits: ReadLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """The stored values (H, W) of a label file: of a palette file the indices, not the colours."""
    with _decoding(source, limits) as picture:
        upright = ImageOps.exif_transpose(picture)
        return np.asarray(upright if upright.mode in ("L", "P") else upright.convert("L"))


@contextmanager
def _decoding(
    source: str | Path | bytes | Image.Image,
    limits: ReadLimits,
    prepare: Callable[[Image.Image], None] = lambda picture: None,
) -> Iterator[Image.Image]:
    """The decoded picture, as it is stored; every way in which a file can be broken becomes one clear error.

    ``prepare`` sees the picture of a file before it is decoded.
    """
    name = name_of(source)
    if not isinstance(source, str | Path | bytes | Image.Image):
        raise UnreadableImageError(
            f"a photo was given as {type(source).__name__}; expected a file's name, bytes or pixels"
        )
    try:
        if isinstance(source, Image.Image):
            yield source
        else:
            with opening(source, limits) as picture:
                if picture.width * picture.height > limits.pixels:
                    raise TooLargeError(
                        f"{name} is too large ({picture.width}×{picture.height} is more than {limits.pixels:.0f} "
                        f"pixels); {SMALLER}"
                    )
                several = getattr(picture, "is_animated", False) and not picture.tell()  # otherwise previews precede it
                if several and picture.format != "MPO":  # a camera's, with previews
                    log.warning("%s holds several pictures; the first is used", name)
                prepare(picture)
                picture.load()
                yield _from_black_to_white(picture)
    except FileNotFoundError:
        raise UnreadableImageError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise UnreadableImageError(f"{name} is a folder; expected an image") from None
    except PermissionError:
        raise UnreadableImageError(f"{name} may not be read (permission denied)") from None
    except (Image.DecompressionBombError, MemoryError) as error:  # Pillow's, of a part of the picture
        raise TooLargeError(f"{name} is too large ({error or 'no memory is left'}); {SMALLER}") from None
    except BROKEN_PICTURE as error:
        raise UnreadableImageError(
            f"{name} cannot be decoded ({error}); is it damaged? Get it again, or convert it to PNG"
        ) from None


def _from_black_to_white(picture: Image.Image) -> Image.Image:
    """A decoded picture, with levels from black, 0, to white, where Pillow leaves those of a TIFF file of 16 bits from
    white to black.
    """
    if picture.format != "TIFF" or picture.mode != "I;16":
        return picture
    if picture.getexif().get(ExifTags.Base.PhotometricInterpretation) != WHITE_IS_ZERO:
        return picture
    return Image.fromarray(65535 - np.asarray(picture))  # upright: Pillow turns TIFF files when it loads them


def pixel_count(source: str | Path, limits: ReadLimits = DEFAULT_LIMITS) -> int:
    """Width times height, from the head of a file; 0 where it cannot be read, or only once."""
    if not os.path.isfile(source):
        return 0
    try:
        with opening(source, limits) as picture:
            return picture.width * picture.height
    except (FiguregroundError, *BROKEN_PICTURE):
        return 0


def read_profile(source: str | Path | bytes, limits: ReadLimits = DEFAULT_LIMITS) -> bytes | None:
    """The ICC profile of an RGB photo, without which its colours look different elsewhere; none if it has none,
    or can be read only once.
    """
    if not isinstance(source, bytes) and not os.path.isfile(source):
        return None
    try:
        with opening(source, limits) as picture:
            profile = picture.info.get("icc_profile")
    except (FiguregroundError, *BROKEN_PICTURE):
        return None
    return profile if isinstance(profile, bytes) and profile[16:20] == b"RGB " else None


def to_srgb(image: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """An image (H, W, 3) whose colours are of an ICC profile, none: sRGB, in sRGB."""
    return _between(image, profile, None)


def from_srgb(image: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """An image (H, W, 3) in sRGB with the colours of an ICC profile, none: sRGB."""
    return _between(image, None, profile)


def _between(image: NDArray[np.uint8], given: bytes | None, wanted: bytes | None) -> NDArray[np.uint8]:
    """Of an RGB profile that is broken nothing is known: its pixels stay as they are, as viewers show them."""
    if given == wanted:
        return image
    from PIL import ImageCms

    srgb = ImageCms.createProfile("sRGB")
    try:
        first, second = (srgb if profile is None else io.BytesIO(profile) for profile in (given, wanted))
        return np.asarray(ImageCms.profileToProfile(Image.fromarray(image), first, second, outputMode="RGB"))
    except ImageCms.PyCMSError as error:
        log.warning("a colour profile cannot be used (%s): colours stay as they are", error)
        return image


def strips(height: int, width: int, pixels: int = CACHED_PIXELS) -> Iterator[slice]:
    """The rows of a picture, some at a time: for steps that would otherwise need copies of the whole."""
    step = max(1, pixels // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _upright_rgb(picture: Image.Image, name: str) -> NDArray[np.uint8]:
    """The pixels (H, W, 3). Whole, each of Pillow's conversions would copy the photo at four bytes a pixel."""
    orientation = _orientation(picture)
    width, height = picture.size
    image = np.empty((width, height, 3) if orientation in LYING else (height, width, 3), np.uint8)
    stored = _as_stored(image, orientation)
    of_12_bits = picture.format == "TIFF" and picture.getexif().get(ExifTags.Base.BitsPerSample) == 12
    white = 4095 if of_12_bits else 65535
    for rows in strips(height, width):
        stored[rows] = np.asarray(_as_rgb(picture.crop((0, rows.start, width, rows.stop)), name, white))
    return image


def _orientation(picture: Image.Image) -> int:
    """How EXIF says that it is stored, 1 to 8; 1: upright."""
    found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def _as_stored(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """An upright image (H, W, 3) seen as a file of an EXIF orientation holds it: a view, to be written to."""
    rows, columns = (slice(None, None, -1 if orientation in turned else 1) for turned in ((3, 4, 7, 8), (2, 3, 6, 7)))
    flipped = image[rows, columns]
    return flipped.swapaxes(0, 1) if orientation in LYING else flipped


def _as_rgb(picture: Image.Image, name: str, white: int) -> Image.Image:
    """Any of Pillow's modes as RGB; 16 bits, or 12, of which the highest is ``white``, are scaled to 8, not cut off."""
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        levels = np.asarray(picture).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise UnreadableImageError(
                f"{name} has values from {levels.min()} to {levels.max()}; expected 8 or 16 bits. Convert it first"
            )
        picture = Image.fromarray(np.round(levels / (white / 255)).astype(np.uint8))
    if picture.mode == "F":
        raise UnreadableImageError(f"{name} holds floating-point values; expected 8 or 16 bits. Convert it first")
    return picture.convert("RGBA").convert("RGB") if picture.mode in ("P", "PA") else picture.convert("RGB")


def write_image(
    path: str | Path, pixels: NDArray[np.uint8] | NDArray[np.uint16] | Image.Image, profile: bytes | None = None
) -> None:
    """Write grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) uint8, or grey (H, W) uint16, as the suffix says.

    Args:
        path: the file.
        pixels: what is written, or Pillow's picture of it.
        profile: the ICC profile of its colours.

    Raises:
        CannotWriteError: a suffix that cannot hold it, a picture too large for the format, or a full disk.
    """
    path = Path(path)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES.get(picture.mode, ()):
        expected = ", ".join(WRITABLE_SUFFIXES.get(picture.mode, ("no format",)))
        raise CannotWriteError(
            f"{path} cannot hold this picture ({picture.mode}); expected a name that ends in: {expected}"
        )
    most = LARGEST_SIDE.get(suffix)
    if most is not None and max(picture.size) > most:
        raise CannotWriteError(
            f"{path} would be {picture.width}×{picture.height}; {suffix} holds up to {most} pixels in a direction"
        )
    with replacing(path) as partial:  # colours at the default level take three times as long, for a fifth less
        picture.save(partial, icc_profile=profile, quality=92, compress_level=1)


def write_grey(path: Path, rows: Iterable[NDArray[Any]], height: int, width: int) -> None:
    """Write a PNG file of one channel, (H, W) uint8 or uint16, from strips of its rows.

    Raises:
        CannotWriteError: the folder cannot be written to, or the disk is full.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        file.writelines(encode_grey(rows, height, width))


def encode_image(picture: Image.Image, profile: bytes | None = None) -> bytes:
    """A picture and its profile as the bytes of a PNG file, as `write_image` writes it."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", icc_profile=profile, compress_level=1)
    return buffer.getvalue()
