"""Fits the estimate of a mask's Dice that needs no true mask, and says how far it can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.config import QualityConfig, plain
from figureground.evaluation.statistics import Mean, bootstrap_mean, spearman
from figureground.prediction.photos.quality import FEATURES, estimate_dice

POOR = 0.8
"""A mask with a lower Dice should be found by a review."""
FOUND = 0.8
"""The share of the poor masks that ``review_below`` must flag on the split it is fitted on.

Of a good model a split holds a dozen or two. With a share of 0.9 the last two of them would decide the level, and
between two models that are alike the flagged share of all masks went from a third to three quarters.
"""
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
    lie, taken from the same cross-validation; ``POOR`` itself where all masks are better.

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
    config = replace(ESTIMATORS[best](features, dice), review_below=float(min(level, 1.0)), fitted_on=split)
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
    blocks: list[tuple[float, float, int]] = []  # sum of x, sum of y, points
    for value in np.unique(x):
        same = y[x == value]
        block = (float(value) * len(same), float(same.sum()), len(same))
        while blocks and blocks[-1][1] / blocks[-1][2] >= block[1] / block[2]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    sums = np.array(blocks)
    return sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]


@dataclass(frozen=True)
class QualityScores:
    """How good the estimates are, on images that they were not fitted to."""

    mean_absolute_error: Mean
    """Of the estimate against the true Dice."""
    rank_correlation: Mean
    """Spearman's, -1 to 1."""
    aurc: float
    """Area under the risk-coverage curve."""
    aurc_random: float
    """The same where estimates are by chance: the mean risk."""
    aurc_perfect: float
    """The same where they are in the order of the true Dice."""
    curve: list[tuple[float, float]]
    """Of risk and coverage, in steps of 5%: a share of the images, those with the highest estimates, and their mean
    risk.
    """
    flagged: float
    """Share of the images that need a review."""
    poor: int
    """Images with a Dice under ``POOR``."""
    poor_flagged: float | None
    """Their share that is flagged; none where there are none."""

    def to_json(self) -> dict[str, Any]:
        """As part of ``evaluate --json``."""
        return dict(plain(self))

    def summary(self) -> str:
        """For people, one line."""
        found = f", {self.poor_flagged:.0%} of the {self.poor} below {POOR}" if self.poor_flagged is not None else ""
        return (
            f"estimated Dice: off by {self.mean_absolute_error}, rank correlation {self.rank_correlation}, "
            f"AURC {self.aurc:.4f} (chance {self.aurc_random:.4f}, perfect {self.aurc_perfect:.4f}); "
            f"for review: {self.flagged:.1%} of all{found}"
        )


def score_quality(estimates: Array, needs_review: NDArray[np.bool_], dice: Array) -> QualityScores:
    """Hold estimates (N,) against the true Dice (N,); the risk of a mask is 1 - Dice."""
    curve = risk_coverage(estimates, 1 - dice)
    poor = dice < POOR
    points = [(share / 100, float(curve[max(0, round(share / 100 * len(dice)) - 1)])) for share in range(5, 101, 5)]
    return QualityScores(
        mean_absolute_error=bootstrap_mean(np.abs(estimates - dice)),
        rank_correlation=spearman(estimates, dice),
        aurc=float(curve.mean()),
        aurc_random=float(1 - dice.mean()),
        aurc_perfect=float(risk_coverage(dice, 1 - dice).mean()),
        curve=points,
        flagged=float(needs_review.mean()),
        poor=int(poor.sum()),
        poor_flagged=float(needs_review[poor].mean()) if poor.any() else None,
    )


def risk_coverage(estimates: Array, risks: Array) -> Array:
    """The mean risk of the k images with the highest estimates, for k = 1 to n, (n,): the risk-coverage curve.

    Its mean is the area under it (AURC: Geifman & El-Yaniv 2017; Geifman et al. 2019). Of images with the same
    estimate each counts with the mean risk of them all, as if their order were by chance.
    """
    _, group = np.unique(-estimates, return_inverse=True)
    tied = np.bincount(group, risks) / np.bincount(group)
    return np.asarray(np.cumsum(tied[np.sort(group)]) / np.arange(1, len(risks) + 1))
