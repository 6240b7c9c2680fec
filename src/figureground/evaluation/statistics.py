"""How sure a mean is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CHUNK = 100  # resamples drawn at once: bounds the memory for any n


@dataclass(frozen=True)
class Mean:
    """A mean over images with its 95% interval."""

    mean: float
    ci95: tuple[float, float]


def bootstrap_mean(values: NDArray[np.float64], seed: int = 0) -> Mean:
    """The mean of ``values`` (n,) with its 95% percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    Images are drawn with replacement ``RESAMPLES`` times; the same seed gives the same interval.
    """
    rng = np.random.default_rng(seed)
    n = len(values)
    draws = (values[rng.integers(0, n, (CHUNK, n))].mean(axis=1) for _ in range(RESAMPLES // CHUNK))
    low, high = np.percentile(np.concatenate(list(draws)), [2.5, 97.5])
    return Mean(float(values.mean()), (float(low), float(high)))
