"""All figures of an image, and of all images together, at one size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.data.dataset import Truth
from figureground.evaluation.statistics import Mean, bootstrap_means
from figureground.metrics import (
    Reliability,
    average_surface_distance,
    band_counts,
    boundary_distances,
    boundary_f1,
    boundary_iou,
    brier_score,
    complete_truth,
    counts,
    counts_by_threshold,
    dice,
    expected_calibration_error,
    hausdorff95,
    iou,
    matches,
    precision,
    recall,
    reliability,
)


class Metric(NamedTuple):
    """How a figure is shown and read."""

    title: str
    unit: str = ""
    lower_is_better: bool = False


METRICS = {
    "dice": Metric("Dice"),
    "iou": Metric("IoU"),
    "precision": Metric("precision"),
    "recall": Metric("recall"),
    "boundary_f1": Metric("boundary F1, 0.75%"),
    "boundary_f1_2px": Metric("boundary F1, 2 px"),
    "boundary_iou": Metric("boundary IoU"),
    "hd95": Metric("HD95", "px", lower_is_better=True),
    "asd": Metric("ASD", "px", lower_is_better=True),
    "brier": Metric("Brier", lower_is_better=True),
    "ece": Metric("ECE", lower_is_better=True),
}
COLUMNS = ("height", "width", "tp", "fp", "fn", "empty_masks", *METRICS)
"""Of an image; ``empty_masks`` says how many of its two masks are empty."""
TOLERANCE_SHARE = 0.0075  # of the diagonal (Csurka et al. 2013)
TOLERANCE_PIXELS = 2.0
BAND_SHARE = 0.02  # of the diagonal (Cheng et al. 2021)
EMPTY_MASK_RULE = (
    "prediction and truth both empty score 1, distances 0; one of them empty scores 0, distances the image's diagonal"
)
LEFT_OUT_RULE = (
    "pixels that are left out count nowhere; for boundaries the truth there is what was predicted, "
    "so a boundary inside the left-out border costs nothing"
)
DEFINITIONS = {
    "empty_mask_rule": EMPTY_MASK_RULE,
    "left_out_rule": LEFT_OUT_RULE,
    "boundary_f1_tolerance": {"boundary_f1": "0.75% of the diagonal", "boundary_f1_2px": "2 px"},
    "boundary_iou_band": "2% of the diagonal",
}


class Parts(NamedTuple):
    """What the figures of an image are made of; added up, what the pooled figures are made of."""

    overlap: NDArray[Any]
    """(3,), the fields of ``Counts``."""
    near_share: NDArray[Any]
    """(4,), the fields of ``Matches`` within ``TOLERANCE_SHARE``."""
    near_pixels: NDArray[Any]
    """(4,), the same within ``TOLERANCE_PIXELS``."""
    distance: NDArray[Any]
    """(2,), the sum of the boundary pixels' distances, and their number."""
    band: NDArray[Any]
    """(2,), what ``band_counts`` gives."""
    reliability: NDArray[Any]
    """(4, BINS), the fields of ``Reliability``."""
    sweep: NDArray[Any]
    """(3, thresholds), the fields of ``Counts`` at each of ``THRESHOLDS``, before any clean-up."""
    sweep_dice: NDArray[Any]
    """(thresholds,), the image's Dice at each; added up, the sum over the images."""


class Outline(NamedTuple):
    """What the outline of a mask is like, compared with that of the truth: it takes longer than all else together."""

    parts: dict[str, NDArray[Any]]
    """Of ``Parts``, those that come from outlines."""
    hd95: float
    empty: int
    """How many of the two masks are empty."""


class ImageScores(NamedTuple):
    """Of one image at one size."""

    row: tuple[float, ...]
    """By ``COLUMNS``."""
    parts: Parts


def outline_of(mask: NDArray[np.bool_], truth: Truth) -> Outline:
    """Compare the outlines of masks (H, W)."""
    complete = complete_truth(mask, *truth)
    diagonal = float(np.hypot(*mask.shape))
    distances = boundary_distances(mask, complete)
    parts = {
        "near_share": np.array(matches(distances, TOLERANCE_SHARE * diagonal)),
        "near_pixels": np.array(matches(distances, TOLERANCE_PIXELS)),
        "distance": np.array([sum(pixels.sum() for pixels in distances), sum(map(len, distances))]),
        "band": np.array(band_counts(mask, complete, max(1, round(BAND_SHARE * diagonal)))),
    }
    return Outline(parts, hausdorff95(distances), sum(len(pixels) == 0 for pixels in distances))


def score_image(
    mask: NDArray[np.bool_], probability: NDArray[np.float32], truth: Truth, outline: Outline | None = None
) -> ImageScores:
    """Score one prediction, all arguments of shape (H, W); ``outline`` is the mask's, where it is known."""
    outline = outline or outline_of(mask, truth)
    sweep = counts_by_threshold(probability, *truth)
    parts = Parts(
        overlap=np.array(counts(mask, *truth)),
        **outline.parts,
        reliability=np.array(reliability(probability, *truth)),
        sweep=np.array(sweep),
        sweep_dice=dice(*sweep),
    )
    figures = figures_of(parts) | {"hd95": outline.hd95}
    return ImageScores((*mask.shape, *parts.overlap, outline.empty, *(figures[name] for name in METRICS)), parts)


def figures_of(parts: Parts) -> dict[str, float]:
    """The figures of an image or, from added parts, of all pixels pooled; all but HD95, which does not add up."""
    found = Reliability(*parts.reliability)
    return {
        "dice": float(dice(*parts.overlap)),
        "iou": float(iou(*parts.overlap)),
        "precision": float(precision(*parts.overlap)),
        "recall": float(recall(*parts.overlap)),
        "boundary_f1": boundary_f1(*parts.near_share),
        "boundary_f1_2px": boundary_f1(*parts.near_pixels),
        "boundary_iou": boundary_iou(*parts.band),
        "asd": average_surface_distance(*parts.distance),
        "brier": brier_score(found),
        "ece": expected_calibration_error(found),
    }


@dataclass(frozen=True)
class Scores:
    """Of all images at one size."""

    rows: NDArray[np.float64]
    """(N, len(COLUMNS))."""
    parts: Parts
    """Of all images, added up."""

    def column(self, name: str) -> NDArray[np.float64]:
        """One of ``COLUMNS`` for every image, (N,)."""
        return self.rows[:, COLUMNS.index(name)]

    @cached_property
    def pooled(self) -> dict[str, float]:
        """What ``figures_of`` says of all pixels together."""
        return figures_of(self.parts)

    @cached_property
    def means(self) -> dict[str, Mean]:
        """The mean over images of each metric with its interval."""
        figures = self.rows[:, -len(METRICS) :]
        return dict(zip(METRICS, bootstrap_means(figures), strict=True))

    def images_with_empty_masks(self, empty: int) -> int:
        """How many images have ``empty`` (1 or 2) of their two masks empty."""
        return int((self.column("empty_masks") == empty).sum())

    def to_json(self) -> dict[str, Any]:
        """Means with intervals, pooled figures as ``dataset_...``, and how often the empty-mask rule was needed."""
        means = {name: {"mean": mean.mean, "ci95": list(mean.ci95)} for name, mean in self.means.items()}
        pooled = {f"dataset_{name}": value for name, value in self.pooled.items()}
        empty = {"both_empty": self.images_with_empty_masks(2), "one_empty": self.images_with_empty_masks(1)}
        return means | pooled | empty


class Tally:
    """Takes the scores of images one by one; of each it keeps its row, and of all the sum of their parts."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []
        self._parts = Parts(*(np.zeros(()) for _ in Parts._fields))

    def add(self, image: ImageScores) -> None:
        """Take one more."""
        self._rows.append(image.row)
        self._parts = Parts(*map(np.add, self._parts, image.parts))

    def scores(self) -> Scores:
        """Of all that were added."""
        return Scores(np.array(self._rows, np.float64), self._parts)
