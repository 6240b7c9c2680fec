"""The operating point of a model: the temperature of its logits and the threshold, from a split's histograms.

Everything but boundaries follows from how many pixels of either label have which logit, so pixels are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.config import require
from figureground.data import Dataset, Sample
from figureground.data.dataset import Truth
from figureground.errors import UsageError
from figureground.evaluation.scoring.evaluation import at_network_size, over_split
from figureground.evaluation.scoring.scores import TOLERANCE_SHARE
from figureground.evaluation.statistics import ROUNDED_TO, Mean, bootstrap_mean, cross_fitted_gain
from figureground.metrics import (
    Counts,
    boundary_distances,
    boundary_f1,
    complete_truth,
    dice,
    iou,
    matches,
    precision,
    recall,
)
from figureground.prediction import Segmenter

EDGES = np.arange(-120, 121) / 10
"""Of the bins of logits, (E,), and the thresholds that are tried; 0 is one, so a threshold of 0.5 is exact."""
HALF = 120
"""The place of the logit 0 in it."""
BINS = len(EDGES) + 1
BOUNDARY_EDGES = tuple(range(80, 161, 10))
"""The places in ``EDGES`` at which boundaries are compared, which takes long: logits -4 to 4."""
EXTREMES = (1e-4, 1 - 1e-4)
"""Beyond, a probability in float32 is too coarse to be told from 0 or 1."""
TEMPERATURES = (0.05, 20.0)
COARSE, CLEAR = (0.5, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8), 0.005
"""The thresholds that few images choose between, and the gain in Dice of all pixels that is not put down to chance."""


@dataclass(frozen=True)
class Histograms:
    """The logits of a split at the network's size."""

    pixels: NDArray[np.int32]
    """(N, 2, BINS): of each image the background and the figure pixels in each bin; left-out pixels are in none."""
    sums: NDArray[np.float64]
    """(2, BINS): the sum of the logits of all images' pixels."""
    boundary_f1: NDArray[np.float64] | None
    """(N, len(BOUNDARY_EDGES)); none where boundaries were not compared."""


class Row(NamedTuple):
    """What a threshold is worth: means over images."""

    threshold: float
    """A probability, after the temperature."""
    dice: float
    iou: float
    precision: float
    recall: float
    boundary_f1: float | None
    """Within 0.75% of the diagonal; none where it was not measured."""


class Temperature(NamedTuple):
    """What a temperature does for the probabilities."""

    temperature: float
    nll_before: float
    """Mean negative log-likelihood of a pixel, in nats, at temperature 1."""
    nll_after: float


def collect(segmenter: Segmenter, dataset: Dataset, *, boundaries: bool = True, progress: bool = False) -> Histograms:
    """Go through a split once.

    Args:
        segmenter: its logits are taken as they come, so that what is fitted to them is relative to the temperature
            that they have been divided by already: 1 for an operating point of the raw network.
        dataset: the split.
        boundaries: compare them too, which takes longer than the rest.
        progress: show a bar.
    """
    pixels = np.zeros((len(dataset), 2, BINS), np.int32)
    sums = np.zeros((2, BINS))
    compared = np.zeros((len(dataset), len(BOUNDARY_EDGES))) if boundaries else None

    def look(sample: Sample, logits: NDArray[np.float32]) -> tuple[Any, Any, list[float]]:
        _, logits, truth = at_network_size(segmenter, sample, logits)
        kept = slice(None) if truth[1] is None else truth[1]
        given, figure = logits[kept].ravel(), truth[0][kept].ravel()
        place = np.searchsorted(EDGES, given) + BINS * figure  # above edge e: in a bin after e
        near = [_boundary_f1(logits > EDGES[edge], truth) for edge in BOUNDARY_EDGES] if boundaries else []
        return np.bincount(place, minlength=2 * BINS), np.bincount(place, given, 2 * BINS), near

    for index, (found, summed, near) in enumerate(over_split(segmenter, dataset, look, progress=progress)):
        pixels[index] = found.reshape(2, BINS)
        sums += summed.reshape(2, BINS)
        if compared is not None:
            compared[index] = near
    return Histograms(pixels, sums, compared)


def _boundary_f1(mask: NDArray[np.bool_], truth: Truth) -> float:
    distances = boundary_distances(mask, complete_truth(mask, *truth))
    return boundary_f1(*matches(distances, TOLERANCE_SHARE * float(np.hypot(*mask.shape))))


def fit_temperature(found: Histograms) -> Temperature:
    """The temperature by which logits are divided for the smallest negative log-likelihood of all pixels.

    (Guo et al. 2017, "On calibration of modern neural networks", section 4.2.) Pixels of a bin count as if all had the
    bin's mean logit. A fit to one number cannot change which of two pixels is the likelier, so at threshold 0.5 the
    masks stay as they are.
    """
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(
        lambda log_temperature: _nll(found, np.exp(log_temperature)),
        bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    temperature = float(np.exp(best.x))
    return Temperature(temperature, _nll(found, 1.0), _nll(found, temperature))


def no_temperature(found: Histograms) -> Temperature:
    """Logits as they are."""
    return Temperature(1.0, _nll(found, 1.0), _nll(found, 1.0))


def _nll(found: Histograms, temperature: float) -> float:
    """Mean over pixels of log(1 + exp(∓z)), z the logit divided by the temperature, - for figure."""
    pixels = found.pixels.sum(axis=0, dtype=np.int64)
    logits = found.sums / np.maximum(pixels, 1) / temperature
    signs = np.array([[1.0], [-1.0]])
    return float((pixels * np.logaddexp(0, signs * logits)).sum() / max(pixels.sum(), 1))


def sweep(found: Histograms, temperature: float = 1.0) -> list[Row]:
    """What each threshold is worth, from low to high; counts are exact, as thresholds are edges of bins."""
    counted = _counts(found)
    means = np.stack([metric(*counted).mean(axis=0) for metric in (dice, iou, precision, recall)], axis=1)
    compared = [] if found.boundary_f1 is None else found.boundary_f1.mean(axis=0).tolist()
    boundaries = dict(zip(BOUNDARY_EDGES, compared, strict=False))
    thresholds = _thresholds(temperature)
    return [
        Row._make((float(threshold), *means[edge].tolist(), boundaries.get(edge)))
        for edge, threshold in enumerate(thresholds)
        if EXTREMES[0] <= threshold <= EXTREMES[1]
    ]


def _counts(found: Histograms) -> Counts:
    """Of each image at each edge, (N, E)."""
    above = found.pixels[:, :, ::-1].cumsum(axis=2, dtype=np.int64)[:, :, ::-1]
    fp, tp = above[:, 0, 1:], above[:, 1, 1:]
    return Counts(tp, fp, above[:, 1, :1] - tp)


def _thresholds(temperature: float) -> NDArray[np.float64]:
    """The edges as probabilities, (E,)."""
    return np.asarray(1 / (1 + np.exp(-EDGES / temperature)))


def gain(found: Histograms, row: Row, temperature: float = 1.0) -> Mean:
    """By how much the Dice at a threshold of ``sweep`` is above that at 0.5, on the same images."""
    per_image = dice(*_counts(found))
    return bootstrap_mean(per_image[:, _edge(row, temperature)] - per_image[:, HALF])


def gain_of_choosing(found: Histograms, rows: Sequence[Row], temperature: float = 1.0) -> Mean:
    """By how much the Dice at the best threshold of ``rows`` is above that at 0.5, on images that did not choose it."""
    by_distance = sorted(rows, key=lambda row: abs(row.threshold - 0.5))  # 0.5 is the first
    return cross_fitted_gain(dice(*_counts(found))[:, [_edge(row, temperature) for row in by_distance]])


def choose_by_pixels(found: Histograms, rows: Sequence[Row]) -> tuple[Row, float]:
    """Where there are few images: the best Dice of all pixels together, and by how much it is above that at 0.5.

    Only thresholds near ``COARSE`` are tried, for raw logits, and 0.5 stays unless ``CLEAR`` is gained.
    """
    pooled = dice(*(count.sum(axis=0) for count in _counts(found)))
    edges = [int(np.abs(_thresholds(1.0) - threshold).argmin()) for threshold in COARSE]
    best = max(edges, key=lambda edge: float(pooled[edge]))
    gained = float(pooled[best] - pooled[HALF])
    edge = best if gained > CLEAR else HALF
    return min(rows, key=lambda row: abs(_edge(row, 1.0) - edge)), gained


def _edge(row: Row, temperature: float) -> int:
    """The place in ``EDGES`` of a threshold of ``sweep``."""
    return int(np.abs(_thresholds(temperature) - row.threshold).argmin())


def choose_threshold(rows: Sequence[Row], target: str = "dice") -> Row:
    """The best mean Dice of all thresholds, or of those that reach a target; of equals the one nearest 0.5.

    Args:
        rows: of ``sweep``.
        target: ``dice``, or what must be reached: ``precision=0.98``, ``recall=0.95``, means over images.

    Raises:
        UsageError: another target.
        FiguregroundError: one that no threshold reaches, with the best that one does.
    """
    reaching, name, value = list(rows), *parse_target(target)
    if name != "dice":
        reaching = [row for row in rows if getattr(row, name) >= value]
        best = max(rows, key=lambda row: float(getattr(row, name)))
        require(
            len(reaching) > 0,
            f"no threshold reaches {target} on valid; the highest {name} is {getattr(best, name):.4f}, at threshold "
            f"{best.threshold:.4f}, where recall is {best.recall:.4f} and precision {best.precision:.4f}",
        )
    return max(reaching, key=lambda row: (round(row.dice, ROUNDED_TO), -abs(row.threshold - 0.5)))


def parse_target(target: str) -> tuple[str, float]:
    """What a threshold is chosen by, and the value that must be reached, 0 for the Dice.

    Raises:
        UsageError: another target.
    """
    if target == "dice":
        return target, 0.0
    name, _, text = target.partition("=")
    with suppress(ValueError):
        if name in ("precision", "recall") and 0 < float(text) <= 1:
            return name, float(text)
    raise UsageError(f"target {target!r}; expected dice, precision=NUMBER or recall=NUMBER, from 0 to 1")
