"""Files and folders: those that are there, and new ones, which are written whole or not at all."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figureground.errors import CannotWriteError, FiguregroundError

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",  # before those of UTF-16, which they begin with
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""What texts begin with that are not UTF-8, and what they are."""
UNSPEAKABLE = "backslashreplace"  # how text files show names that are not valid UTF-8, as those of old archives
LONGEST_STEM = 50  # characters of a name that is only for a while; file systems allow 255 bytes
CACHE_FOLDER = Path.home() / ".cache" / "figureground"
"""Where things are kept that can be made again."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
UMASK = os.umask(0)  # can only be read by setting it, which threads that write must not see
os.umask(UMASK)


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted; links to other folders are not followed.

    Raises:
        FiguregroundError: a folder that may not be read: what is in it must not be left out silently.
    """

    def refuse(error: OSError) -> None:
        raise FiguregroundError(f"{error.filename} cannot be looked through ({error.strerror})") from error

    return sorted(Path(above, name) for above, _, names in os.walk(folder, onerror=refuse) for name in names)


def read_text(path: Path) -> str:
    """What is in a text file of somebody else's, or in a pipe; see ``decode_text``.

    Raises:
        FiguregroundError: it is not there, or no text.
    """
    try:
        return decode_text(path.read_bytes(), str(path))
    except OSError as error:
        raise FiguregroundError(f"{path} cannot be read ({error.strerror}); expected a text file") from None


def decode_text(data: bytes, where: str, errors: str = "strict") -> str:
    """Text in UTF-8, or in what its byte order mark says; the mark is dropped.

    Args:
        data: the bytes.
        where: what they are, for messages.
        errors: what becomes of bytes that are not UTF-8 (``bytes.decode``).

    Raises:
        FiguregroundError: another encoding.
    """
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), None)
    try:
        text = data.decode(encoding) if encoding else data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise FiguregroundError(
            f"{where} is no text in {encoding or 'UTF-8'} ({error.reason}); save it as UTF-8"
        ) from None
    if encoding is None and 3 * data.count(0) > len(data):  # of Latin letters in UTF-16 every other byte is zero
        raise FiguregroundError(f"{where} looks like UTF-16 without a byte order mark; save it as UTF-8")
    return text


def read_list(data: bytes, where: str) -> list[str]:
    """The entries of a list of names: lines, however they end, or what stands between zeros (``find -print0``).

    Names need not be UTF-8 (``os.fsdecode``). Empty entries are left out.

    Raises:
        FiguregroundError: as ``decode_text``.
    """
    text = decode_text(data, where, "surrogateescape")
    entries = text.split("\0") if "\0" in text else re.split(r"\r\n|\n|\r", text)
    return [entry for entry in entries if entry.strip()]


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a file below a folder, or a folder between them, has a name that begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def resolved(path: Path) -> Path:
    """The file itself, without links; of links in a circle, at which ``Path.resolve`` raises, as far as they lead."""
    return Path(os.path.realpath(path))


def digest_of(path: Path) -> str:
    """By which the bytes of a file are known again.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary_name(path: Path) -> tuple[str, str]:
    """How the names of files that ``replacing`` writes to begin and end; of a process that was killed they remain."""
    return f".{path.stem[:LONGEST_STEM]}-", path.suffix


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; renamed over it when all went well, removed otherwise.

    Raises:
        CannotWriteError: the folder cannot be written to, or the disk is full. Errors of other files that are read
            meanwhile pass as they are.
    """
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix, suffix = temporary_name(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
        os.close(handle)
        partial = Path(name)
        yield partial
        partial.chmod(0o666 & ~UMASK)
        partial.replace(path)
    except OSError as error:
        if partial is not None and not _is_of_writing(error, partial):
            raise
        raise CannotWriteError(
            f"{path} could not be written ({error.strerror or error}); nothing was changed there. "
            "Free some space or choose another folder"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _is_of_writing(error: OSError, partial: Path) -> bool:
    """Whether it names the file that is written, or can come from nothing but writing."""
    unnumbered = error.errno is None and error.filename is None  # as Pillow's encoders say that a disk is full
    return unnumbered or error.errno in FULL or str(partial) in (str(error.filename), str(error.filename2))


def write_json(path: Path, figures: object) -> None:
    """Write figures for programs and people.

    Raises:
        CannotWriteError: the folder cannot be written to, or the disk is full.
    """
    with replacing(path) as partial:
        partial.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
