"""Scores of a mask's area against the truth, from counts that are kept per image and aggregated once.

``counts`` and ``dice_score`` take numpy arrays and torch tensors alike, which keeps torch out of this module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Those of a sweep, 0.05 to 0.95."""


class Counts(NamedTuple):
    """Pixels of each image that are true positive, false positive and false negative, each of shape (N,)."""

    tp: Any
    fp: Any
    fn: Any


def counts(prediction: Any, truth: Any, kept: Any = None) -> Counts:
    """Compare masks (N, H, W) with true ones, all bool; where ``kept`` is False, pixels count nowhere."""
    missed, extra = ~prediction & truth, prediction & ~truth
    found = prediction & truth
    if kept is not None:
        found, missed, extra = found & kept, missed & kept, extra & kept
    return Counts(tp=found.sum((-2, -1)), fp=extra.sum((-2, -1)), fn=missed.sum((-2, -1)))


def counts_by_threshold(
    probability: NDArray[np.float32], truth: NDArray[np.bool_], kept: NDArray[np.bool_] | None = None
) -> Counts:
    """What the mask ``probability > threshold`` would count at each of ``THRESHOLDS``, each of shape (thresholds,).

    Args:
        probability: (H, W).
        truth: (H, W).
        kept: (H, W), False where pixels count nowhere; none: all count.
    """
    if kept is not None:
        probability, truth = probability[kept], truth[kept]
    steps = len(THRESHOLDS) + 1
    above = np.ceil(probability * steps).astype(np.intp) - 1  # how many thresholds it exceeds; -1 for 0
    figure, background = (np.bincount(np.maximum(above[where], 0), minlength=steps) for where in (truth, ~truth))
    tp, fp = (steps_above[::-1].cumsum()[-2::-1] for steps_above in (figure, background))
    return Counts(tp, fp, figure.sum() - tp)


def dice(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> NDArray[np.float64]:
    """Dice 2tp / (2tp + fp + fn), elementwise; 1 where prediction and truth are both empty."""
    tp, fp, fn = np.asarray(tp), np.asarray(fp), np.asarray(fn)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def iou(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union tp / (tp + fp + fn), elementwise; 1 where prediction and truth are both empty."""
    tp, fp, fn = np.asarray(tp), np.asarray(fp), np.asarray(fn)
    return _ratio(tp, tp + fp + fn)


def precision(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> NDArray[np.float64]:
    """The share of the prediction that is figure, tp / (tp + fp), elementwise.

    Where nothing is predicted: 1 if nothing is there, 0 otherwise (as Dice has it).
    """
    tp, fp, fn = np.asarray(tp), np.asarray(fp), np.asarray(fn)
    return _ratio(tp, tp + fp, otherwise=fn == 0)


def recall(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> NDArray[np.float64]:
    """The share of the figure that is predicted, tp / (tp + fn), elementwise.

    Where nothing is there: 1 if nothing is predicted, 0 otherwise (as Dice has it).
    """
    return precision(tp, fn, fp)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any], otherwise: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Numerator / denominator, and ``otherwise`` where the denominator is 0."""
    return np.where(denominator == 0, otherwise, numerator / np.maximum(denominator, 1))


def dice_score(logits: Any, target: Any) -> float:
    """The lab report's Dice of a batch: sigmoid, threshold 0.5, the mean over the images.

    Args:
        logits: (B, 1, H, W) or (B, H, W).
        target: the same shape, 1 (or True) where the figure is, 0 elsewhere.
    """
    if tuple(logits.shape) != tuple(target.shape):
        raise ValueError(f"logits are {tuple(logits.shape)}, target is {tuple(target.shape)}; expected equal shapes")
    prediction = (logits > 0).reshape(-1, *logits.shape[-2:])  # sigmoid(x) > 0.5 exactly where x > 0
    figure = (target > 0.5).reshape(-1, *target.shape[-2:])
    return float(dice(*(pixels.tolist() for pixels in counts(prediction, figure))).mean())
