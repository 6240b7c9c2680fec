"""Several looks of a network at one photo, averaged: mirrored, and enlarged in overlapping tiles.

Averages are taken of logits, as nnU-Net does for its mirrored passes and its folds (Isensee et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from figureground.errors import UsageError
from figureground.prediction.photos.member import Member
from figureground.preprocessing import resized, resized_strips

BATCH_SIZE = 8
KEPT = 2  # times what a network sees in either direction
OVERLAP = 0.5  # of neighbouring tiles, as a share of a tile
Images = Sequence[NDArray[np.uint8]]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Views:
    """How a network looks at a photo."""

    flip: bool = False
    """Also mirrored left to right."""
    scales: tuple[float, ...] = (1.0,)
    """Multiples of the network's size at which it sees the photo; above 1 in overlapping tiles of its size."""

    def __post_init__(self) -> None:
        if not self.scales or not all(1 <= scale < math.inf for scale in self.scales):
            raise UsageError(f"scales are {self.scales}; expected numbers from 1, such as 1 and 2")


def least_size(sizes: Iterable[tuple[int, int]], views: Views) -> tuple[int, int]:
    """Height and width of a photo that show networks of these sizes all that they can see of a larger one.

    Twice what they see it at: how the photo was reduced to that does not matter then, or next to nothing.
    """
    heights, widths = zip(*sizes, strict=True)
    return math.ceil(KEPT * max(views.scales) * max(heights)), math.ceil(KEPT * max(views.scales) * max(widths))


def logit_maps(member: Member, images: Images, views: Views) -> list[Logits]:
    """What a model sees in photos (H, W, 3) uint8: a map of logits (h, w) for each, the larger the finer its views."""

    def look(batch: Images) -> Logits:
        logits = member.logits(batch)
        if not views.flip:
            return logits
        mirrored = member.logits([image[:, ::-1] for image in batch])[:, :, ::-1]
        return np.asarray((logits + mirrored) / 2, np.float32)

    size = member.preprocessing.size
    by_scale = [
        list(look([member.preprocessing.resize_image(image) for image in images]))
        if scale == 1
        else [_tiled(look, _enlarged(member, image, scale), size) for image in images]
        for scale in views.scales
    ]
    return [mean_map(maps) for maps in zip(*by_scale, strict=True)]


def mean_map(maps: Sequence[Logits]) -> Logits:
    """The mean of maps (h, w) of any sizes, at the size of the largest."""
    if len(maps) == 1:
        return maps[0]
    height, width = max(logits.shape[0] for logits in maps), max(logits.shape[1] for logits in maps)
    total = np.zeros((height, width), np.float32)
    for logits in maps:
        for rows, strip in resized_strips(logits, height, width):
            total[rows] += strip
    total /= len(maps)
    return total


def _enlarged(member: Member, image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """A photo at ``scale`` times the network's size, but no side longer than its own: that shows nothing new."""
    sides = zip(image.shape, member.preprocessing.size, strict=False)
    height, width = (max(seen, min(round(scale * seen), own)) for own, seen in sides)
    return resized(image, height, width)


def _tiled(look: Callable[[Images], Logits], image: NDArray[np.uint8], tile: tuple[int, int]) -> Logits:
    """A map of the image's size from overlapping tiles. A tile counts less towards its edge, where it sees less."""
    height, width = tile
    tops, lefts = _starts(image.shape[0], height), _starts(image.shape[1], width)
    weights = np.outer(_ramp(height), _ramp(width))
    total = np.zeros(image.shape[:2], np.float32)
    places = list(product(tops, lefts))
    for start in range(0, len(places), BATCH_SIZE):
        chunk = places[start : start + BATCH_SIZE]
        seen = look([image[top : top + height, left : left + width] for top, left in chunk])
        for (top, left), logits in zip(chunk, seen, strict=True):
            total[top : top + height, left : left + width] += logits * weights
    total /= _coverage(tops, height, image.shape[0])[:, None]
    total /= _coverage(lefts, width, image.shape[1])[None]
    return total


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin, evenly spread, so that neighbours overlap by ``OVERLAP`` or more."""
    count = math.ceil((length - tile) / (tile * (1 - OVERLAP))) + 1
    return [round(place) for place in np.linspace(0, length - tile, count)]


def _ramp(length: int) -> NDArray[np.float32]:
    """Weights (length,) that fall from the middle to both ends, and stay above 0."""
    return (1 - np.abs(np.linspace(-1, 1, length + 2, dtype=np.float32)[1:-1])).astype(np.float32)


def _coverage(starts: Sequence[int], tile: int, length: int) -> NDArray[np.float32]:
    """The sum of all tiles' weights along one direction (length,)."""
    total = np.zeros(length, np.float32)
    for start in starts:
        total[start : start + tile] += _ramp(tile)
    return total
