"""Fits the estimate of a mask's Dice that needs no true mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.config import QualityConfig
from figureground.evaluation.scoring.estimates import POOR
from figureground.prediction.photos.quality import FEATURES, estimate_dice

FOUND = 0.8
"""The share of the poor masks that ``review_below`` must flag on the split it is fitted on.

Of a good model a split holds a dozen or two. With a share of 0.9 the last two of them would decide the level, and
between two models that are alike the flagged share of all masks went from a third to three quarters.
"""
FLAGGED = 0.1
"""The share of all masks that ``review_below`` flags at most: nobody looks at half of the photos."""
FOLDS = 5
RIDGE = 0.01  # penalty of the standardised weights, relative to the number of images
Array = NDArray[np.float64]


class QualityFit(NamedTuple):
    """The estimator that was chosen, and how each did in cross-validation."""

    config: QualityConfig
    estimator: str
    errors: dict[str, float]
    """Mean absolute error by estimator, of images that it was not fitted to."""


def fit_quality(features: Array, dice: Array, split: str) -> QualityFit:
    """Fit each estimator, and keep the one with the smaller error in five-fold cross-validation.

    ``review_below`` is the lowest level below which the estimates of ``FOUND`` of the masks with a Dice under ``POOR``
    lie, taken from the same cross-validation, but not above that of ``FLAGGED`` of all masks; ``POOR`` itself where all
    masks are better.

    Args:
        features: (N, len(FEATURES)), of predictions whose mask is not empty; N at least ``FOLDS``.
        dice: (N,), their true Dice.
        split: its name.
    """
    estimates = {name: _held_out(fit, features, dice) for name, fit in ESTIMATORS.items()}
    errors = {name: float(np.abs(held_out - dice).mean()) for name, held_out in estimates.items()}
    best = min(errors, key=lambda name: errors[name])
    poor = np.sort(estimates[best][dice < POOR])
    level = np.nextafter(poor[int(np.ceil(FOUND * len(poor))) - 1], 2) if len(poor) else POOR
    most = max(POOR, float(np.quantile(estimates[best], FLAGGED)))
    config = replace(ESTIMATORS[best](features, dice), review_below=float(min(level, most)), fitted_on=split)
    return QualityFit(config, best, errors)


def _held_out(fit: Callable[[Array, Array], QualityConfig], features: Array, dice: Array) -> Array:
    """The estimates of each image by a fit to the other folds, (N,)."""
    fold = np.random.default_rng(0).permutation(len(dice)) % FOLDS
    estimates = np.empty(len(dice))
    for held in range(FOLDS):
        config = fit(features[fold != held], dice[fold != held])
        estimates[fold == held] = estimate_all(features[fold == held], config)
    return estimates


def estimate_all(features: Array, config: QualityConfig) -> Array:
    """``estimate_dice`` of each row of features (N, len(FEATURES))."""
    return np.array([estimate_dice(dict(zip(FEATURES, row, strict=True)), config) for row in features.tolist()])


def fit_isotonic(features: Array, dice: Array) -> QualityConfig:
    """The Dice as a rising curve over ``expected_dice`` alone; a line leads down from its first point to 0 at 0."""
    scores, levels = pool_adjacent_violators(features[:, FEATURES.index("expected_dice")], dice)
    points = {0.0: 0.0} | dict(zip(scores.round(6).tolist(), levels.round(6).tolist(), strict=True))
    return QualityConfig(scores=tuple(points), dice=tuple(points.values()))


def fit_ridge(features: Array, dice: Array) -> QualityConfig:
    """The Dice as a weighted sum of all features, by least squares with a penalty (ridge regression)."""
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < 1e-9] = np.inf  # a feature that never changes gets no weight
    standard = (features - centre) / spread
    penalty = RIDGE * len(dice) * np.eye(features.shape[1])
    weights = np.linalg.solve(standard.T @ standard + penalty, standard.T @ (dice - dice.mean())) / spread
    by_feature = dict(zip(FEATURES, weights.tolist(), strict=True))
    return QualityConfig(weights=by_feature, intercept=float(dice.mean() - weights @ centre))


ESTIMATORS = {"isotonic": fit_isotonic, "ridge": fit_ridge}


def pool_adjacent_violators(x: Array, y: Array) -> tuple[Array, Array]:
    """The rising step function nearest to points (n,), as the mean x and mean y of each step, both (steps,).

    Neighbours that fall are pooled until none does (Ayer et al. 1955; isotonic regression by least squares). x rises
    strictly, y as well.
    """
    from scipy.optimize import isotonic_regression

    values, place, points = np.unique(x, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(place, y) / points, weights=points)
    starts = fitted.blocks[:-1]
    return np.add.reduceat(values * points, starts) / np.add.reduceat(points, starts), fitted.x[starts]
