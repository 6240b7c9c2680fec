"""Images beside their truth and what was predicted: the worst, the typical and the best of a split, or any one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.data import Dataset
from figureground.drawing import PANEL, show_pictures
from figureground.evaluation.scoring.evaluation import HEADLINE_THRESHOLD, headline_probability
from figureground.prediction import Segmenter
from figureground.prediction.photos.result import lay_over
from figureground.preprocessing import tensor_to_image

MOST = 6
FALLBACK = Path("prediction.png")
ERROR_COLOURS = {
    "figure that was found": (235, 235, 235),
    "figure that was missed": (59, 130, 196),
    "too much": (217, 119, 43),
    "background": (40, 40, 44),
    "not counted": (120, 120, 120),
}
"""Of an error map."""


class Example(NamedTuple):
    """One image with its truth and what was predicted."""

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    dice: float
    kept: NDArray[np.bool_] | None = None
    """(H, W), where pixels count; none: everywhere."""


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


def examples_of(
    segmenter: Segmenter, dataset: Dataset, dice: NDArray[np.float64], indices: Sequence[int]
) -> Iterator[Example]:
    """Read and predict some images of a split once more, one at a time: the masks that the headline's Dice is of."""
    for index in indices:
        sample = dataset[int(index)]
        (logits,) = segmenter.logit_maps([sample.image])
        found = headline_probability(segmenter, logits, *sample.image.shape[:2]) > HEADLINE_THRESHOLD
        kept = sample.kept
        yield Example(sample.name, sample.image, sample.mask, found, float(dice[index]), kept)


def error_map(
    mask: NDArray[np.bool_], truth: NDArray[np.bool_], kept: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Where a mask (H, W) is right and wrong, (H, W, 3) in ``ERROR_COLOURS``."""
    left_out = np.zeros_like(truth) if kept is None else ~kept
    colours = np.empty((*truth.shape, 3), np.uint8)
    regions = (truth & mask, truth & ~mask, ~truth & mask, ~truth & ~mask, left_out)
    for region, colour in zip(regions, ERROR_COLOURS.values(), strict=True):
        colours[region] = colour
    return colours


def draw_examples(examples: Sequence[Example], path: Path | None = None, *, fallback: Path = FALLBACK) -> Path | None:
    """A row an example: the photo, the predicted mask with its Dice, the true mask.

    Args:
        examples: the rows.
        path: write a PNG here; none: show a window or, without a screen, write ``fallback``.
        fallback: see ``path``.

    Returns:
        The file, if one was written.
    """
    rows = [
        [(each.name, each.image), (f"prediction, Dice {each.dice:.4f}", each.prediction), ("truth", each.mask)]
        for each in examples
    ]
    return show_pictures(rows, path, fallback)


def show_prediction(image: Any, mask: Any, path: str | Path | None = None, *, title: str = "") -> Path | None:
    """An image with its mask laid over it in transparent red.

    Args:
        image: (H, W, 3) uint8, or a normalised tensor (3, H, W), which ``tensor_to_image`` turns back.
        mask: (H, W) or (1, H, W), bool or 0 and 1, an array or a tensor.
        path: write a PNG here; none: show a window or, without a screen, write ``prediction.png``.
        title: above the picture.

    Returns:
        The file, if one was written.
    """
    pixels = image if isinstance(image, np.ndarray) and image.dtype == np.uint8 else tensor_to_image(image)
    flat = np.asarray(mask).reshape(pixels.shape[:2]) > 0.5
    return show_pictures([[(title, lay_over(pixels, flat))]], Path(path) if path else None, FALLBACK, 2 * PANEL)
