"""How good a mask is likely to be, judged without the true one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from figureground.config import QualityConfig, require

UNCERTAIN = (0.1, 0.9)
"""A pixel between these probabilities is uncertain."""
SIDE = 256
"""Large predictions are looked at on a grid of about so many rows and columns; the features are shares."""
FEATURES = ("expected_dice", "uncertain", "entropy", "area", "scattered")


def expected_dice(mask: NDArray[np.bool_], probability: NDArray[np.float32]) -> float:
    """The Dice of a mask (H, W) that the probabilities (H, W) themselves lead to expect, 0 to 1.

    Twice the expected overlap over the expected sum of areas, 2 Σ m p / (Σ m + Σ p) for a mask m and
    probabilities p. It is as good as they are: a model that is too sure expects too much.
    """
    inside = float(probability.sum(where=mask, dtype=np.float64))
    areas = float(mask.sum()) + float(probability.sum(dtype=np.float64))
    return 2 * inside / areas if areas else 1.0


def features(mask: NDArray[np.bool_], probability: NDArray[np.float32]) -> dict[str, float]:
    """What can be said of a prediction without the truth, by ``FEATURES``; none depends on the photo's size.

    Args:
        mask: (H, W), cleaned up.
        probability: (H, W), 0 to 1, calibrated.

    Returns:
        ``expected_dice``; ``uncertain``, the uncertain pixels relative to the mask, at most 1; ``entropy``, the mean
        of theirs, 0 to 1 bit; ``area``, the mask's share of the photo; ``scattered``, the share of the mask outside
        its largest part.
    """
    step = max(1, max(mask.shape) // SIDE)
    seen, given = mask[::step, ::step], probability[::step, ::step]
    figure = int(np.count_nonzero(seen))
    band = given[(given > UNCERTAIN[0]) & (given < UNCERTAIN[1])]
    return {
        "expected_dice": expected_dice(mask, probability),
        "uncertain": min(1.0, band.size / max(figure, 1)),
        "entropy": _entropy(band),
        "area": figure / seen.size,
        "scattered": _scattered(seen) if figure else 0.0,
    }


def _entropy(probability: NDArray[np.float32]) -> float:
    """The mean binary entropy in bits, 0 for no pixel."""
    if not probability.size:
        return 0.0
    rest = 1 - probability
    return float(-(probability * np.log2(probability) + rest * np.log2(rest)).mean())


def _scattered(mask: NDArray[np.bool_]) -> float:
    """The share outside the largest part (8-connected, as in post-processing)."""
    from scipy.ndimage import label

    parts, _ = label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel())[1:]
    return float(1 - areas.max() / areas.sum())


def estimate_dice(found: Mapping[str, float], quality: QualityConfig) -> float:
    """The Dice that a prediction with such features is likely to have, 0 to 1.

    Raises:
        FiguregroundError: the settings weigh a feature that this version does not know.
    """
    unknown = sorted(set(quality.weights) - set(found))
    require(not unknown, f"quality weighs {', '.join(unknown)}; known are: {', '.join(FEATURES)}. Update figureground")
    # Weights that no fit gives can add up to what is no number; nothing speaks for such a mask.
    score = quality.intercept + sum(weight * found[name] for name, weight in quality.weights.items())
    return float(np.nan_to_num(np.clip(np.interp(score, quality.scores, quality.dice), 0, 1)))
