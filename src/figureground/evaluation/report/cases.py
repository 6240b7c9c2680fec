"""The worst, the typical and the best images, as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.data import Dataset, Sample
from figureground.evaluation.scoring.evaluation import HEADLINE_THRESHOLD, headline_probability
from figureground.labels import FIGURE, LEFT_OUT
from figureground.prediction import Segmenter

MOST = 6
SIDE = 200  # pixels of a thumbnail's longer side
RIGHT, NOTHING, EXTRA, MISSED, NOT_COUNTED = (
    (235, 235, 235),
    (40, 40, 44),
    (217, 119, 43),
    (59, 130, 196),
    (120, 120, 120),
)
"""The colours of an error map."""


class Panels(NamedTuple):
    """One image in four pictures of the same size, (h, w, 3) or (h, w)."""

    name: str
    dice: float
    picture: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    errors: NDArray[np.uint8]


def choose_cases(dice: NDArray[np.float64]) -> dict[str, list[int]]:
    """Which images to show: the worst first, those around the median in ascending order, the best first.

    Six of each, fewer where there are not 18; no image twice.
    """
    order = [int(index) for index in np.argsort(dice, kind="stable")]
    n = len(order)
    k = min(MOST, max(1, n // 3))
    middle = (n - k) // 2
    groups = {"worst": order[:k], "median": order[middle : middle + k], "best": order[::-1][:k]}
    seen: set[int] = set()
    chosen = {}
    for name, indices in groups.items():
        chosen[name] = [index for index in indices if index not in seen]
        seen.update(indices)
    return chosen


def draw_panels(
    segmenter: Segmenter, dataset: Dataset, dice: NDArray[np.float64], indices: Sequence[int]
) -> Iterator[Panels]:
    """Read and predict some images of a split once more, one at a time."""
    for index in indices:
        sample = dataset[index]
        yield _panels(sample, headline_mask(segmenter, sample.image), float(dice[index]))


def headline_mask(segmenter: Segmenter, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The mask (H, W) that the headline's Dice is of: at its threshold, and not cleaned up."""
    (logits,) = segmenter.logit_maps([image])
    return headline_probability(segmenter, logits, *image.shape[:2]) > HEADLINE_THRESHOLD


def _panels(sample: Sample, mask: NDArray[np.bool_], dice: float) -> Panels:
    height, width = mask.shape
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Panels(
        sample.name,
        dice,
        _thumbnail(sample.image, size),
        _thumbnail(sample.mask * np.uint8(255), size),
        _thumbnail(mask * np.uint8(255), size),
        _thumbnail(error_map(mask, sample.labels), size),
    )


def error_map(mask: NDArray[np.bool_], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where a mask (H, W) is right and wrong, (H, W, 3): found, missed, too much, rightly nothing, not counted."""
    truth = labels == FIGURE
    colours = np.empty((*labels.shape, 3), np.uint8)
    for region, colour in (
        (truth & mask, RIGHT),
        (~truth & ~mask, NOTHING),
        (~truth & mask, EXTRA),
        (truth & ~mask, MISSED),
        (labels == LEFT_OUT, NOT_COUNTED),
    ):
        colours[region] = colour
    return colours


def _thumbnail(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
