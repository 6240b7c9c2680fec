"""A photo in overlapping windows of a network's size, and one map of the logits of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Padding = Literal["edge", "reflect"] | int
Look = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
"""Windows, each (H, W, 3) uint8, to logits (N, H, W)."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a photo or map, by rows; each is cut when it is asked for."""

    whole: NDArray[np.uint8]
    """(h, w, 3) or (h, w), padded in the middle of where it is smaller than a window."""
    inside: tuple[int, int]
    """Height and width without padding."""
    size: tuple[int, int]
    """Of a window."""
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def place(self, index: int) -> tuple[slice, slice]:
        """The rows and columns of a window."""
        top, left = self.tops[index // len(self.lefts)], self.lefts[index % len(self.lefts)]
        return slice(top, top + self.size[0]), slice(left, left + self.size[1])

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if not 0 <= index < len(self):  # what ends an iteration
            raise IndexError(index)
        return self.whole[self.place(index)]


def padded(pixels: NDArray[np.uint8], size: tuple[int, int], how: Padding) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) or (h, w) in the middle of at least ``size``: edge or mirror image around them, or a value."""
    if pixels.shape[0] >= size[0] and pixels.shape[1] >= size[1]:
        return pixels
    around = [_margins(*sides) for sides in zip(pixels.shape, size, strict=False)] + [(0, 0)] * (pixels.ndim - 2)
    if isinstance(how, int):
        return np.pad(pixels, around, constant_values=how)
    return np.pad(pixels, around, mode=how)


def _margins(length: int, window: int) -> tuple[int, int]:
    """How much is missing before and behind."""
    missing = max(0, window - length)
    return missing // 2, missing - missing // 2


def starts(length: int, window: int, overlap: float) -> tuple[int, ...]:
    """Where windows begin, evenly spread, so that neighbours share ``overlap`` or more and none reaches outside."""
    count = math.ceil((length - window) / (window * (1 - overlap))) + 1
    return tuple(round(place) for place in np.linspace(0, length - window, count))


def ramp(length: int) -> NDArray[np.float32]:
    """Weights (length,) that fall from the middle to both ends, and stay above 0."""
    return (1 - np.abs(np.linspace(-1, 1, length + 2, dtype=np.float32)[1:-1])).astype(np.float32)


@lru_cache(maxsize=8)
def _weights(size: tuple[int, int]) -> NDArray[np.float32]:
    """What the pixels of a window count, (H, W)."""
    return np.outer(ramp(size[0]), ramp(size[1]))


def coverage(starts: Sequence[int], window: int, length: int) -> NDArray[np.float32]:
    """The sum of all windows' weights along one direction (length,)."""
    total = np.zeros(length, np.float32)
    for start in starts:
        total[start : start + window] += ramp(window)
    return total


class _Blend:
    """The map of a photo that grows with the logits of its windows; besides it nothing of its size is held."""

    def __init__(self, windows: Windows) -> None:
        self._inside, self._size = windows.inside, windows.size
        self._tops, self._lefts = windows.tops, windows.lefts
        self._shape = windows.whole.shape[:2]
        self._only = len(windows) == 1
        self._total = np.empty(0, np.float32) if self._only else np.zeros(self._shape, np.float32)

    def add(self, place: tuple[slice, slice], logits: NDArray[np.float32]) -> None:
        """Of a window; it counts less towards its edge, where it sees less."""
        if self._only:
            self._total = logits
        else:
            self._total[place] += logits * _weights(self._size)

    def map(self) -> NDArray[np.float32]:
        """(h, w) without padding, once every window is there."""
        if not self._only:  # the weights are products, and so are their sums
            self._total /= coverage(self._tops, self._size[0], self._shape[0])[:, None]
            self._total /= coverage(self._lefts, self._size[1], self._shape[1])[None]
        (top, _), (left, _) = (_margins(*sides) for sides in zip(self._inside, self._size, strict=True))
        return self._total[top : top + self._inside[0], left : left + self._inside[1]]


def blended(look: Look, photos: Iterable[Windows], at_once: int) -> list[NDArray[np.float32]]:
    """A map of logits (h, w) of each photo, without its padding.

    Windows of several photos go together; of the photos, which may be made as they are asked for, one or two are held.

    Args:
        look: the network.
        photos: their windows.
        at_once: how many windows the network is shown together.
    """
    blends: list[_Blend] = []

    def each() -> Iterator[tuple[_Blend, tuple[slice, slice], NDArray[np.uint8]]]:
        for windows in photos:
            blends.append(_Blend(windows))
            for index in range(len(windows)):
                yield blends[-1], windows.place(index), windows[index]

    waiting = each()
    while chunk := list(islice(waiting, at_once)):
        seen = look([window for _, _, window in chunk])
        for (blend, place, _), logits in zip(chunk, seen, strict=True):
            blend.add(place, logits)
    return [blend.map() for blend in blends]
