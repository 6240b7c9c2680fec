"""What a dataset is like, in the figures that decide how to train on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from figureground.data import Dataset, Sample

MOST = 200
"""Images that are looked at, evenly spaced; a median hardly changes with more."""
READERS = 2
UPRIGHT = 0.3
"""A difference of up and down, in standard deviations over the images, from which they matter."""
BEYOND_CHANCE = 3.0
"""Standard errors that it must have as well."""
CELLS = 4
"""On a side, into which the figure is counted: a body with its legs below has as much above the middle as below it."""


@dataclass(frozen=True)
class Fingerprint:
    """What a dataset is like; all but counts are medians over images."""

    images: int
    height: float
    width: float
    longest: tuple[int, int]
    """The shortest and the longest of the images' longer sides."""
    colour: bool
    """Whether any image has colours."""
    share: float
    """Of an image's pixels that are figure, where there is one."""
    mean_share: float
    """Of all pixels of all images."""
    empty: float
    """The share of images without figure."""
    parts: float
    """Connected pieces of figure."""
    thickness: float
    """Of the figure, in pixels: twice its area over its outline, so that of a band it is the width."""
    upright: bool
    """Whether up and down matter: the upper and the lower part of the images differ in light, or in where figure is."""

    def __str__(self) -> str:
        sizes = f"{self.width:.0f}×{self.height:.0f}"
        if self.longest[0] != self.longest[1]:
            sizes += f" (longer sides {self.longest[0]} to {self.longest[1]})"
        parts = f"{self.parts:.0f} part{'s' if self.parts != 1 else ''}, {self.thickness:.1f} pixels wide"
        without = f"; {self.empty:.0%} of the images are without" if self.empty else ""
        return (
            f"{self.images} training images of {sizes}, {'colour' if self.colour else 'grey'}; the figure covers "
            f"{self.share:.1%} in {parts}{without}"
        )

    @property
    def side(self) -> float:
        """The longer side of an image."""
        return max(self.height, self.width)


@dataclass(frozen=True)
class _Look:
    """Of one image."""

    size: tuple[int, int]
    colour: bool
    share: float
    parts: int
    thickness: float
    light: float
    """Mean luminance of the upper half less that of the lower, 0 to 1."""
    where: NDArray[np.float64]
    """(2, 2): share of the figure in the cells of the upper half less that in the lower's, left and right together."""


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Look at the images of a split, at most ``MOST`` of them.

    Raises:
        FiguregroundError: a sample that cannot be read.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(MOST, len(dataset))).round().astype(int))
    with ThreadPoolExecutor(READERS) as pool:
        looks = list(pool.map(lambda index: _look(dataset[int(index)]), chosen))
    filled = [look for look in looks if look.parts]
    longest = [max(look.size) for look in looks]
    return Fingerprint(
        images=len(dataset),
        height=float(np.median([look.size[0] for look in looks])),
        width=float(np.median([look.size[1] for look in looks])),
        longest=(min(longest), max(longest)),
        colour=any(look.colour for look in looks),
        share=_median([look.share for look in filled]),
        mean_share=float(np.mean([look.share for look in looks])),
        empty=1 - len(filled) / len(looks),
        parts=_median([look.parts for look in filled]),
        thickness=_median([look.thickness for look in filled]),
        upright=_differs([look.light for look in looks]) or _differs([look.where for look in filled]),
    )


def _look(sample: Sample) -> _Look:
    from scipy.ndimage import label

    image, mask = sample.image, sample.mask
    half = image.shape[0] // 2
    grey = image.mean(axis=2, dtype=np.float32) / 255
    area = int(mask.sum())
    _, parts = label(mask, np.ones((3, 3)))
    return _Look(
        size=(image.shape[0], image.shape[1]),
        colour=bool((np.ptp(image[::8, ::8].astype(np.int16), axis=2) > 8).mean() > 0.01),
        share=area / mask.size,
        parts=int(parts),
        thickness=2 * area / max(_outline(mask), 1),
        light=float(grey[:half].mean() - grey[half:].mean()),
        where=_ups_and_downs(mask),
    )


def _outline(mask: NDArray[np.bool_]) -> int:
    """The length of the figure's outline in sides of pixels; the image's edge is none."""
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


def _ups_and_downs(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = (np.arange(CELLS) * side // CELLS for side in mask.shape)
    cells = np.add.reduceat(np.add.reduceat(mask, rows, 0, np.int64), columns, 1) / max(int(mask.sum()), 1)
    mirrored = cells + cells[:, ::-1]
    return (mirrored - mirrored[::-1])[: CELLS // 2, : CELLS // 2]


def _differs(values: Sequence[float] | Sequence[NDArray[np.float64]]) -> bool:
    """Whether a difference, or one of several, has one sign, clearly and beyond chance."""
    if len(values) < 2:
        return False
    least = max(UPRIGHT, BEYOND_CHANCE / math.sqrt(len(values)))
    return bool((np.abs(np.mean(values, axis=0)) > least * np.std(values, axis=0)).any())
