"""The metadata of an ONNX file, and the sum of all else in it, without the onnx package."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from figureground.errors import BadBundleError

METADATA_PROPS = 14
"""The field of ONNX's ModelProto that holds entries of key (field 1) and value (field 2)."""


class _Span(NamedTuple):
    start: int
    stop: int


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file by key. Of its protocol buffer only the outermost fields are looked at.

    Raises:
        BadBundleError: missing, damaged, or another kind of file.
    """
    entries: dict[str, str] = {}
    with _opened(path) as content:
        for number, span in _fields(content, 0, len(content)):
            if number == METADATA_PROPS:
                entry = {inner: content[part.start : part.stop] for inner, part in _fields(content, *span)}
                entries[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
    return entries


def sum_of_onnx(path: Path) -> str:
    """SHA-256, in hexadecimal digits, of the outermost fields of an ONNX file but its metadata: of the whole network.

    Raises:
        BadBundleError: missing, damaged, or another kind of file.
    """
    digest = hashlib.sha256()
    with _opened(path) as content, memoryview(content) as view:
        for number, span in _fields(content, 0, len(content)):
            if number != METADATA_PROPS:
                digest.update(f"{number} {span.stop - span.start} ".encode())
                digest.update(view[span.start : span.stop])
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    """What is in a file; what is wrong with it is an error of ours."""
    if not path.is_file():
        raise BadBundleError(f"{path}: no such file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
    except (ValueError, OSError) as error:  # also of an empty file, and of text that is not UTF-8
        raise BadBundleError(
            f"{path} is not a readable .onnx file ({error}); is it cut short, or another kind of file?"
        ) from None


def _fields(content: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, _Span]]:
    """The fields of a protocol buffer message (https://protobuf.dev/programming-guides/encoding): number and place."""
    while start < stop:
        key, start = _varint(content, start, stop)
        length = {0: 0, 1: 8, 5: 4}.get(key & 7)
        if length == 0:
            end = _varint(content, start, stop)[1]
        elif key & 7 == 2:
            size, start = _varint(content, start, stop)
            end = start + size
        elif length is not None:
            end = start + length
        else:
            raise ValueError(f"no protocol buffer: wire type {key & 7}")
        if end > stop:
            raise ValueError(f"it ends {end - stop} bytes early")
        yield key >> 3, _Span(start, end)
        start = end


def _varint(content: mmap.mmap, start: int, stop: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for place in range(10):
        if start + place >= stop:
            raise ValueError("it ends within a number")
        byte = content[start + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, start + place + 1
    raise ValueError("no protocol buffer: a number of more than ten bytes")
