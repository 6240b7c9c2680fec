"""Scores of a probability: whether a pixel that is figure with 80% is figure in 80% of the cases."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15


class Reliability(NamedTuple):
    """Sums over the pixels in each bin of probability, (BINS,): a reliability diagram. They add up over images.

    The bins are ``BINS`` equal parts of 0 to 1; a probability on the edge of two belongs to the upper one.
    """

    pixels: NDArray[np.float64]
    figure: NDArray[np.float64]
    """Pixels that are figure."""
    probability: NDArray[np.float64]
    squared_error: NDArray[np.float64]


def reliability(
    probability: NDArray[np.float32], truth: NDArray[np.bool_], kept: NDArray[np.bool_] | None = None
) -> Reliability:
    """Sort the probabilities (H, W) into bins with the truth (H, W); where ``kept`` is False, pixels count nowhere."""
    given, figure = (each.ravel() if kept is None else each[kept] for each in (probability, truth))
    place = np.minimum((given * BINS).astype(np.intp), BINS - 1)
    weights = (None, figure, given, np.square(given - figure))
    return Reliability(*(np.bincount(place, weight, BINS).astype(float) for weight in weights))


def brier_score(found: Reliability) -> float:
    """The mean squared difference of probability and truth (Brier 1950), 0 to 1, lower is better."""
    return float(found.squared_error.sum() / max(found.pixels.sum(), 1))


def expected_calibration_error(found: Reliability) -> float:
    """The mean over pixels of the difference between their bin's mean probability and its share of figure.

    (Naeini et al. 2015; Guo et al. 2017, section 2.) The probability is that of figure, not of the likelier class.
    0 to 1, lower is better.
    """
    return float(np.abs(found.probability - found.figure).sum() / max(found.pixels.sum(), 1))
