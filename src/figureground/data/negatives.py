"""Training pictures without a figure, made of the backgrounds that there are.

A network that has only seen pictures with a figure finds one in every picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from figureground.data.dataset import Sample
from figureground.preprocessing import resized

DRAWN = 0.2
"""The share that is drawn: even colours, gradients, blobs, noise."""
GRIDS = (1, 2, 3, 8, 32, 256)
"""Cells in each direction of a drawn picture, which are blended into each other."""
SMALLEST = 0.25  # of a piece of background, as a share of the photo's side
TRIES = 20


def negative(draw_sample: Callable[[], Sample], rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) uint8 of ``size`` without a figure: a piece of background, four of them, or a drawing.

    Args:
        draw_sample: gives a random sample at each call.
        rng: decides what is made.
        size: height and width.
    """
    if rng.random() < DRAWN:
        cells = int(rng.choice(GRIDS))
        return resized(rng.integers(0, 256, (cells, cells, 3), np.uint8), *size)
    pieces = int(rng.integers(1, 3))  # in each direction
    height, width = (-(-side // pieces) for side in size)
    rows = [
        np.concatenate([resized(_background(draw_sample, rng), height, width) for _ in range(pieces)], axis=1)
        for _ in range(pieces)
    ]
    return np.concatenate(rows)[: size[0], : size[1]]


def _background(draw_sample: Callable[[], Sample], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A rectangle of a photo that holds nothing of a figure; grey if no luck lasts for ``TRIES`` photos."""
    for _ in range(TRIES):
        sample = draw_sample()
        free = [
            place
            for place in (_rectangle(sample.image.shape[:2], rng) for _ in range(TRIES))
            if _is_free(sample, place)
        ]
        if free:
            return sample.image[max(free, key=_area)]
    return np.full((1, 1, 3), 128, np.uint8)


def _rectangle(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    sides = [max(1, round(rng.uniform(SMALLEST, 1.0) * side)) for side in shape]
    starts = [int(rng.integers(whole - side + 1)) for whole, side in zip(shape, sides, strict=True)]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns


def _is_free(sample: Sample, place: tuple[slice, slice]) -> bool:
    kept = sample.kept
    return not sample.mask[place].any() and (kept is None or bool(kept[place].all()))


def _area(place: tuple[slice, slice]) -> int:
    rows, columns = place
    return int((rows.stop - rows.start) * (columns.stop - columns.start))
