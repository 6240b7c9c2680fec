"""Windows of photos: those that training draws, and those that show a photo once and whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.data.dataset import FULL, WEIGHT, Sample
from figureground.preprocessing import Preprocessing, resized

SMALLEST, LARGEST = 32, 8192  # pixels of a window's sides


def draw_crop(
    sample: Sample, preprocessing: Preprocessing, figure_crops: float, zoom: float, rng: np.random.Generator
) -> Sample:
    """A window of the network's size from a random place of a sample.

    Args:
        sample: at the size at which it is seen.
        preprocessing: whose ``size`` the window has; what is padded is left out.
        figure_crops: how likely it lies around a random pixel of the figure.
        zoom: the window shows up to so many times more, or less, in each direction; 1: always its own size.
        rng: decides.
    """
    factor = math.exp(rng.uniform(-1, 1) * math.log(zoom))
    height, width = (min(LARGEST, max(SMALLEST, round(factor * side))) for side in preprocessing.size)
    room = [max(0, whole - part) for whole, part in zip(sample.image.shape, (height, width), strict=False)]
    top, left = (int(rng.integers(free + 1)) for free in room)
    if rng.random() < figure_crops:
        figure = np.flatnonzero(sample.mask)
        if len(figure):
            row, column = divmod(int(figure[rng.integers(len(figure))]), sample.image.shape[1])
            top, left = row - int(rng.integers(height)), column - int(rng.integers(width))
            top, left = (min(max(0, place), free) for place, free in zip((top, left), room, strict=True))
    at = replace(preprocessing, size=(height, width))
    window = _cut(sample, at, top, left)
    targets = {
        name: resized(target, *preprocessing.size, Image.Resampling.NEAREST) for name, target in window.targets.items()
    }
    return Sample(sample.name, resized(window.image, *preprocessing.size), targets)


def _cut(sample: Sample, at: Preprocessing, top: int, left: int) -> Sample:
    """A window of a sample; where it reaches beyond the photo, its pixels are left out."""
    targets = {name: at.cut(target, top, left, padding=0) for name, target in sample.targets.items()}
    if WEIGHT not in targets and any(a < b for a, b in zip(sample.image.shape, at.size, strict=False)):
        whole = np.full(sample.image.shape[:2], FULL, np.uint8)
        targets[WEIGHT] = at.cut(whole, top, left, padding=0)
    return Sample(sample.name, at.cut(sample.image, top, left), targets)


class Cover:
    """The windows that show a sample whole; each pixel counts in one of them.

    Args:
        sample: at the size at which it is seen.
        preprocessing: of ``crops``.
    """

    def __init__(self, sample: Sample, preprocessing: Preprocessing) -> None:
        self._sample = sample
        self._at = replace(preprocessing, overlap=0.0)
        self._images = self._at.windows(sample.image)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> Sample:
        targets = {name: self._at.windows(target, padding=0)[number] for name, target in self._sample.targets.items()}
        counted = self._counted(number)
        targets[WEIGHT] = np.minimum(targets[WEIGHT], counted) if WEIGHT in targets else counted
        return Sample(self._sample.name, self._images[number], targets)

    def _counted(self, number: int) -> NDArray[np.uint8]:
        """Where a window is the first to show a pixel of the photo, 255 or 0 (H, W)."""
        row, column = divmod(number, len(self._images.lefts))
        whole = np.full(self._sample.image.shape[:2], FULL, np.uint8)
        weight = self._at.windows(whole, padding=0)[number].copy()
        tops, lefts = self._images.tops, self._images.lefts
        if row:
            weight[: tops[row - 1] + self._at.size[0] - tops[row]] = 0
        if column:
            weight[:, : lefts[column - 1] + self._at.size[1] - lefts[column]] = 0
        return weight
