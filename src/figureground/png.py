"""PNG files of one channel, written some rows at a time: masks in half of Pillow's time, large ones in no memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2
"""The filter: every row as its difference from the one above. Pillow would try all five of them on every row."""


def encode_grey(strips: Iterable[NDArray[Any]], height: int, width: int) -> Iterator[bytes]:
    """The bytes of a PNG file, piece by piece (W3C, Portable Network Graphics, third edition).

    Args:
        strips: rows (n, width) from top to bottom, uint8 or uint16, ``height`` of them together.
        height: of the picture.
        width: of the picture.
    """
    packer, above, depth = None, np.zeros(0, np.uint8), 0
    for strip in strips:
        rows = strip.astype(strip.dtype.newbyteorder(">"), copy=False).view(np.uint8)
        if packer is None:
            above, depth = np.zeros(rows.shape[1], np.uint8), 8 * strip.itemsize
            packer = _packer(depth)
            yield SIGNATURE + _chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, 0, 0, 0, 0))
        yield _chunk(b"IDAT", packer.compress(_filtered(rows, above)))
        above = rows[-1]
    assert packer is not None
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _packer(depth: int) -> Any:
    """Fast compression. Of masks only runs are looked for: the files are no larger for it."""
    strategy = zlib.Z_RLE if depth == 8 else zlib.Z_DEFAULT_STRATEGY
    return zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows of bytes (n, m) as the format holds them, (n, 1 + m): the filter's number first."""
    filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = UP
    np.subtract(rows[0], above, out=filtered[0, 1:])
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
