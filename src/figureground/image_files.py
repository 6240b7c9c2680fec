"""Which picture files are opened, and within which limits: photographs come from outside, and are not trusted."""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from PIL import Image

from figureground.errors import MissingPackageError, TooLargeError, UnreadableImageError, UsageError

COMMON_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
IMAGE_SUFFIXES = (*COMMON_SUFFIXES, ".jfif", ".avif", ".heic", ".heif")
PLUGINS = {
    "JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "TIFF": "Tiff", "BMP": "Bmp", "GIF": "Gif", "AVIF": "Avif",
}  # fmt: skip
"""The formats that are read, HEIF apart, by the names that Pillow gives them, and which of its modules read them. None
of these starts a program, as Pillow's module for EPS does."""
HEIF = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
SMALLER = "if it is trusted, shrink it, or raise the limit (predict: --max-pixels)"


@dataclass(frozen=True)
class ReadLimits:
    """What a picture file may be: a small one can hold a picture that fills the memory."""

    pixels: float = 178_956_970
    """Width times height, at the most; three bytes of memory each."""
    bytes: float = 2**31
    """Of the file, at the most."""
    formats: tuple[str, ...] = (*PLUGINS, "HEIF")
    """Those that are read, by the names that Pillow gives them; the content counts, not the file's name."""

    def __post_init__(self) -> None:
        for name in ("pixels", "bytes"):
            if not 1 <= (most := getattr(self, name)) < math.inf:
                raise UsageError(f"a limit of {most} {name}; expected a number from 1, such as 2e8")
        if unknown := set(self.formats) - {*PLUGINS, "HEIF"}:
            raise UsageError(f"formats {', '.join(unknown)} are not read; known are: {', '.join(PLUGINS)}, HEIF")


DEFAULT_LIMITS = ReadLimits()


@contextmanager
def opening(source: str | Path | bytes, limits: ReadLimits) -> Iterator[Image.Image]:
    """Pillow's picture of a file, of which it has read the head.

    ``Image.open`` would do the same with a warning at a number of pixels that is set for the whole process.
    """
    with _file(source, limits) as file:
        start = file.read(16)
        file_name = "" if isinstance(source, bytes) else str(source)
        for name in limits.formats:
            reads, accepts = _plugin(name, source, start)
            if accepts is not None and accepts(start) is True:
                file.seek(0)
                with reads(file, file_name) as picture:
                    yield picture
                return
    problem = "is not an image, or of a kind that is not supported" if start else "is empty (0 bytes)"
    raise UnreadableImageError(f"{name_of(source)} {problem}; expected one of: {', '.join(IMAGE_SUFFIXES)}")


def _plugin(name: str, source: str | Path | bytes, start: bytes) -> Any:
    """What reads a format, and what tells it by its first bytes, as Pillow has them once their module is there.

    That of HEIF is in a package of its own, which is loaded when such a file comes.
    """
    if name == "HEIF" and start[4:12] not in HEIF:
        return None, None
    if name not in Image.OPEN and name != "HEIF":
        import_module(f"PIL.{PLUGINS[name]}ImagePlugin")
    if name not in Image.OPEN:
        try:
            from pillow_heif import register_heif_opener
        except ModuleNotFoundError:
            raise MissingPackageError(
                f"{name_of(source)} is a HEIC picture, which needs one more package: pip install 'figureground[heic]'"
            ) from None
        register_heif_opener()
    return Image.OPEN[name]


@contextmanager
def _file(source: str | Path | bytes, limits: ReadLimits) -> Iterator[IO[bytes]]:
    """An open file; what cannot be read twice, such as a pipe, is read first."""
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        regular = isinstance(source, bytes) or stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        content: IO[bytes] = file if regular else io.BytesIO(file.read(int(limits.bytes) + 1))
        if content.seek(0, os.SEEK_END) > limits.bytes:
            raise TooLargeError(f"{name_of(source)} is too large (more than {limits.bytes:.0f} bytes); {SMALLER}")
        content.seek(0)
        yield content


def name_of(source: object) -> str:
    """What messages call it."""
    return str(source) if isinstance(source, str | Path) else "the image"
