"""What a mask and a probability are worth against the truth; definitions and sources are in ``docs/evaluation.md``.

Every score is computed from counts that add up over images, so the same function gives an image's figure and the pooled
one. Nothing here imports torch, and SciPy only when boundaries are compared.
"""

from __future__ import annotations

from figureground.metrics.boundary import (
    Distances,
    Matches,
    average_surface_distance,
    band_counts,
    boundary,
    boundary_distances,
    boundary_f1,
    boundary_iou,
    complete_truth,
    hausdorff95,
    matches,
)
from figureground.metrics.calibration import Reliability, brier_score, expected_calibration_error, reliability
from figureground.metrics.overlap import Counts, counts, dice, dice_score, iou, precision, recall

__all__ = [
    "Counts",
    "Distances",
    "Matches",
    "Reliability",
    "average_surface_distance",
    "band_counts",
    "boundary",
    "boundary_distances",
    "boundary_f1",
    "boundary_iou",
    "brier_score",
    "complete_truth",
    "counts",
    "dice",
    "dice_score",
    "expected_calibration_error",
    "hausdorff95",
    "iou",
    "matches",
    "precision",
    "recall",
    "reliability",
]
