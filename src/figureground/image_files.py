"""Which picture files are opened, and within which limits: photographs come from outside, and are not trusted."""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from PIL import Image, features

from figureground.errors import MissingPackageError, TooLargeError, UnreadableImageError, UsageError

COMMON_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
IMAGE_SUFFIXES = (*COMMON_SUFFIXES, ".jfif", ".avif", ".heic", ".heif")
PLUGINS = {
    "JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "TIFF": "Tiff", "BMP": "Bmp", "GIF": "Gif", "AVIF": "Avif",
}  # fmt: skip
"""The formats that are read, HEIF apart, by the names that Pillow gives them, and which of its modules read them. None
of these starts a program, as Pillow's module for EPS does."""
HEIF = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos"),
    *(".nef", ".nrw", ".pef", ".sr2", ".srf", ".srw"),
)
"""Of what cameras saw, which begins as TIFF files do and holds a small preview first."""
SUBFILE_TYPE, BITS, INK_SET, SAMPLE_FORMAT = 254, 258, 332, 339
"""Tags of TIFF, and, below, values of theirs (TIFF Revision 6.0, sections 8, 16 and 19)."""
PREVIEW, CMYK, SIGNED = 1, 1, 2
HEAD = 16  # bytes by which a format is told
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


def is_picture(path: Path) -> bool:
    """Whether the name of a file says that it is a picture, damaged or not, or else its first bytes do.

    Photos of a camera in its own format (``RAW_SUFFIXES``) are none, nor is what may not be read.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in RAW_SUFFIXES:
        return suffix in IMAGE_SUFFIXES
    start = first_bytes(path)
    if start.startswith(b"BM"):  # as texts do
        return start[6:10] == bytes(4)
    return start[4:12] in HEIF or any(_plugin(name, path, start)[1](start) is True for name in PLUGINS)


def copies_among(pictures: Collection[Path]) -> set[Path]:
    """Those known by their first bytes alone that are copies of one beside them which is known by its suffix, as
    programs keep them: ``a.jpg~`` and ``a.jpg_original`` of ``a.jpg``. Its name begins theirs, or has their stem.
    """
    named = {str(path) for path in pictures if path.suffix.lower() in IMAGE_SUFFIXES}
    stems = {os.path.splitext(name)[0] for name in named}
    return {
        path
        for path in pictures
        if (name := str(path)) not in named
        and (os.path.splitext(name)[0] in stems or any(name[:end] in named for end in range(len(name))))
    }


def first_bytes(path: Path) -> bytes:
    """The first ``HEAD`` bytes of a file; none of what is no file, or may not be read."""
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            return file.read(HEAD)
    except OSError:
        return b""


@contextmanager
def opening(source: str | Path | bytes, limits: ReadLimits) -> Iterator[Image.Image]:
    """Pillow's picture of a file, of which it has read the head.

    ``Image.open`` would do the same with a warning at a number of pixels that is set for the whole process.
    """
    with _file(source, limits) as file:
        start = file.read(HEAD)
        file_name = "" if isinstance(source, bytes) else str(source)
        for name in limits.formats:
            reads, accepts = _plugin(name, source, start)
            if accepts is not None and accepts(start) is True:
                file.seek(0)
                with reads(file, file_name) as picture:
                    if name == "TIFF":
                        _find_whole(picture, name_of(source))
                    yield picture
                return
    problem = "is not an image, or of a kind that is not supported" if start else "is empty (0 bytes)"
    raise UnreadableImageError(f"{name_of(source)} {problem}; expected one of: {', '.join(IMAGE_SUFFIXES)}")


def _find_whole(picture: Any, name: str) -> None:
    """Turn to the first page of a TIFF file that is no preview, and refuse what Pillow would misread."""
    while picture.tag_v2.get(SUBFILE_TYPE, 0) & PREVIEW:
        try:
            picture.seek(picture.tell() + 1)
        except EOFError:
            raise UnreadableImageError(
                f"{name} holds no more than a preview, as a camera's raw photo; convert it to TIFF or JPEG"
            ) from None
    tags = picture.tag_v2
    if SIGNED in tags.get(SAMPLE_FORMAT, ()) and (8 in tags.get(BITS, ()) or tags.prefix == b"MM"):
        raise UnreadableImageError(f"{name} holds signed numbers; expected 8 or 16 bits without sign. Convert it first")
    if tags.get(INK_SET, CMYK) != CMYK:
        raise UnreadableImageError(f"{name} holds inks other than CMYK; expected RGB. Convert it first")


def _plugin(name: str, source: str | Path | bytes, start: bytes) -> Any:
    """What reads a format, and what tells it by its first bytes, as Pillow has them once their module is there.

    That of HEIF is in a package of its own, which is loaded when such a file comes.
    """
    if name == "HEIF" and start[4:12] not in HEIF:
        return None, None
    if name != "HEIF":
        _load(PLUGINS[name])
    if name not in Image.OPEN:
        try:
            from pillow_heif import register_heif_opener
        except ModuleNotFoundError:
            raise MissingPackageError(
                f"{name_of(source)} is a HEIC picture, which needs one more package: pip install 'figureground[heic]'"
            ) from None
        register_heif_opener()
    return Image.OPEN[name]


@cache
def _load(name: str) -> None:
    """One of Pillow's modules. That of TIFF shall leave all layouts to libtiff: its own code, for uncompressed files,
    takes planes of 16 bits for 8, and refuses others.
    """
    module: Any = import_module(f"PIL.{name}ImagePlugin")
    if name == "Tiff" and features.check("libtiff"):
        module.READ_LIBTIFF = True


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
