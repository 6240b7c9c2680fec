"""Scores of a mask's area against the truth, from counts that are kept per image and aggregated once.

``counts`` and ``dice_score`` take numpy arrays and torch tensors alike, which keeps torch out of this module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from figureground.labels import FIGURE, LEFT_OUT


class Counts(NamedTuple):
    """Pixels of each image that are true positive, false positive and false negative, each of shape (N,)."""

    tp: Any
    fp: Any
    fn: Any


def counts(prediction: Any, labels: Any) -> Counts:
    """Compare masks (N, H, W) bool with label maps (N, H, W) uint8; pixels that are left out count nowhere."""
    figure = labels == FIGURE
    kept = labels != LEFT_OUT
    return Counts(
        tp=(prediction & figure).sum((-2, -1)),
        fp=(prediction & ~figure & kept).sum((-2, -1)),
        fn=(~prediction & figure).sum((-2, -1)),
    )


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
