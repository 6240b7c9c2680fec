"""How far the estimates of a mask's Dice, made without the true mask, can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.config import plain
from figureground.evaluation.statistics import Mean, bootstrap_mean, spearman

POOR = 0.8
"""A mask with a lower Dice should be found by a review."""
Array = NDArray[np.float64]


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
