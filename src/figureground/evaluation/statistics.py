"""How sure a mean is, and whether two models differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Interval = Literal["bca", "percentile"]
RESAMPLES = 10_000
LEVEL = 0.95
INTERVAL_METHOD = f"{LEVEL:.0%} BCa bootstrap over images, {RESAMPLES:,} resamples"
FEWEST_FOR_INTERVALS = 100
FEW_IMAGES = "with fewer than 100 images intervals are too narrow where a model fails rarely (docs/evaluation.md)"
EXACT_UP_TO = 13
"""Differences of which all 2^n sign patterns are tried; beyond, ``RESAMPLES`` random ones."""
ROUNDING = 1e-12  # relative; what differs by less is the same
ROUNDED_TO = 6  # digits of means between which is chosen: what the order of a sum changes is no difference
CHUNK = 2**20  # draws held at once: bounds the memory for any n


@dataclass(frozen=True)
class Mean:
    """A mean over images with its 95% interval."""

    mean: float
    ci95: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.ci95[0]:.4f}, {self.ci95[1]:.4f}]"


def bootstrap_mean(values: NDArray[np.float64]) -> Mean:
    """The mean of ``values`` (n,) with its 95% interval; see ``bootstrap_means``."""
    return bootstrap_means(values[:, None])[0]


def bootstrap_means(
    values: NDArray[np.float64], seed: int = 0, method: Interval = "bca", resamples: int = RESAMPLES
) -> list[Mean]:
    """The mean of each column of ``values`` (n, k) with its 95% bootstrap interval.

    Images are drawn with replacement, the same for all columns; the same seed gives the same intervals. A column that
    is constant has a point for an interval.

    Args:
        values: one row an image.
        seed: of the draws.
        method: ``bca``, bias-corrected and accelerated (Efron 1987; Efron & Tibshirani 1993, section 14.3), or
            ``percentile`` (ibid., section 13.3).
        resamples: how often n images are drawn.
    """
    means = values.mean(axis=0)
    deviations = values - means
    draws = _resampled_means(deviations, resamples, np.random.default_rng(seed))
    return [
        Mean(float(mean), _interval(float(mean), deviation, draw, method))
        for mean, deviation, draw in zip(means, deviations.T, draws.T, strict=True)
    ]


def _resampled_means(values: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The means (resamples, k) of ``values`` (n, k) drawn with replacement."""
    n = len(values)
    chunks = []
    for size in _chunks(resamples, n):
        drawn = rng.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        chunks.append(times @ values / n)
    return np.concatenate(chunks)


def _chunks(total: int, n: int) -> Iterator[int]:
    """Sizes that add up to ``total``, each of at most ``CHUNK`` / n."""
    most = max(1, CHUNK // n)
    for start in range(0, total, most):
        yield min(most, total - start)


def _interval(
    mean: float, deviations: NDArray[np.float64], draws: NDArray[np.float64], method: Interval
) -> tuple[float, float]:
    """The interval around ``mean``; ``deviations`` (n,) and ``draws`` (resamples,) are relative to it."""
    if np.ptp(deviations) <= ROUNDING * abs(mean):
        return mean, mean
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    shares = _bca_shares(deviations, draws, tails) if method == "bca" else tails
    low, high = np.quantile(draws, shares) + mean
    return float(low), float(high)


def _bca_shares(
    deviations: NDArray[np.float64], draws: NDArray[np.float64], tails: Sequence[float]
) -> tuple[float, ...]:
    """The quantiles of the draws that BCa takes for the tails (Efron & Tibshirani 1993, equations 14.9 to 14.15).

    The acceleration is the jackknife's, which for a mean has a closed form.
    """
    normal = NormalDist()
    tied = np.isclose(draws, 0, atol=1e-9 * deviations.std())
    bias = normal.inv_cdf(float(np.mean(np.where(tied, 0.5, draws < 0))))
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    shifts = [bias + normal.inv_cdf(tail) for tail in tails]
    return tuple(normal.cdf(bias + shift / (1 - acceleration * shift)) for shift in shifts)


@dataclass(frozen=True)
class PairedDifference:
    """Figures of A minus those of B on the same images."""

    difference: Mean
    p: float
    """Of the permutation test, two-sided."""
    wins: int
    """Images on which A is better."""
    losses: int
    ties: int


def paired_difference(
    a: NDArray[np.float64], b: NDArray[np.float64], *, lower_is_better: bool = False
) -> PairedDifference:
    """Compare the figures (n,) of two models on the same images.

    Raises:
        ValueError: they are not equally many.
    """
    if a.shape != b.shape:
        raise ValueError(f"a has {len(a)} figures, b has {len(b)}; expected the same images")
    differences = a - b
    gains = -differences if lower_is_better else differences
    return PairedDifference(
        bootstrap_mean(differences),
        sign_flip_p(differences),
        wins=int((gains > 0).sum()),
        losses=int((gains < 0).sum()),
        ties=int((differences == 0).sum()),
    )


def cross_fitted_gain(scores: NDArray[np.float64]) -> Mean:
    """What is gained by the best of several choices over the first, on images that had no part in choosing.

    The best is chosen on one half of the images, by its mean, and measured on the other half, both ways; the figure of
    the choice on the very images that it is the best of would be too good.

    Args:
        scores: (n, choices), n at least 2; of equal means the earlier choice counts as better.
    """
    half = np.random.default_rng(0).permutation(len(scores)) % 2
    gains = np.empty(len(scores))
    for measured in (half == 0, half == 1):
        best = scores[~measured].mean(axis=0).round(ROUNDED_TO).argmax()
        gains[measured] = scores[measured, best] - scores[measured, 0]
    return bootstrap_mean(gains)


def sign_flip_p(differences: NDArray[np.float64]) -> float:
    """The two-sided p of a paired permutation test: how often the mean is as far from 0 when signs are by chance.

    Exact up to ``EXACT_UP_TO`` differences other than 0; beyond, (1 + as far) / (1 + ``RESAMPLES``), which is never 0
    (Phipson & Smyth 2010).
    """
    sizes = np.abs(differences[differences != 0])
    n, limit = len(sizes), abs(differences.sum())
    limit -= 1e-12 * sizes.sum()  # sums of the same numbers in another order are as far
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return float(np.mean(np.abs(signs @ sizes) >= limit))
    rng = np.random.default_rng(0)
    as_far = 0
    for size in _chunks(RESAMPLES, n):
        signs = 1 - 2 * rng.integers(0, 2, (size, n), dtype=np.int8)
        as_far += int((np.abs(signs @ sizes) >= limit).sum())
    return (1 + as_far) / (1 + RESAMPLES)


@dataclass(frozen=True)
class GroupDifference:
    """Figures of some images against those of all others."""

    mean: Mean
    """Of the group."""
    difference: Mean
    """The group's mean minus that of the others."""
    p: float
    """Of the permutation test, two-sided."""


def group_differences(values: NDArray[np.float64], members: NDArray[np.bool_]) -> list[GroupDifference]:
    """Compare each of several groups of images with the images outside it.

    The intervals are percentile bootstrap over all images (Efron & Tibshirani 1993, section 13.3), so a group's size
    varies as it would with other images. The p is that of a permutation of the images: how often a group of this size,
    drawn by chance, differs from the others as much, (1 + as much) / (1 + ``RESAMPLES``).

    Args:
        values: (n,).
        members: (n, groups), which images are in a group; neither none nor all.
    """
    found = _difference(values[:, None], members)
    rng = np.random.default_rng(0)
    means, differences = _resampled_differences(values, members, rng)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    mean_bounds, bounds = (np.nanquantile(draws, tails, axis=0).T for draws in (means, differences))
    as_far = _permuted_as_far(values, members, np.abs(found), rng)
    return [
        GroupDifference(
            Mean(float(values[members[:, group]].mean()), _pair(mean_bounds[group])),
            Mean(float(found[group]), _pair(bounds[group])),
            float(1 + as_far[group]) / (1 + RESAMPLES),
        )
        for group in range(members.shape[1])
    ]


def _pair(bounds: NDArray[np.float64]) -> tuple[float, float]:
    return float(bounds[0]), float(bounds[1])


def _difference(values: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each group's mean minus that of the others; ``values`` is (n, 1)."""
    inside, outside = members.sum(axis=0), (~members).sum(axis=0)
    return np.asarray((values * members).sum(axis=0) / inside - (values * ~members).sum(axis=0) / outside)


def _resampled_differences(
    values: NDArray[np.float64], members: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of images drawn with replacement, each group's mean and its difference to the others, (RESAMPLES, groups).

    NaN where a draw holds no image of a group.
    """
    n, groups = members.shape
    columns = np.column_stack([values[:, None] * members, members, values, np.ones(n)])
    sums = _resampled_means(columns, RESAMPLES, rng)
    total, size = sums[:, :groups], sums[:, groups:-2]
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = total / size
        return inside, inside - (sums[:, -2:-1] - total) / (1 - size)


def _permuted_as_far(
    values: NDArray[np.float64], members: NDArray[np.bool_], limits: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """How often permuted values (n,) give each group a difference of at least its limit, (groups,)."""
    n = len(values)
    size = members.sum(axis=0)
    deviations = values - values.mean()  # whose sum is 0: a group's mean fixes that of the others
    indicator = members.astype(float)
    as_far = np.zeros(len(size), np.int64)
    for rows in _chunks(RESAMPLES, n):
        sums = rng.permuted(np.broadcast_to(deviations, (rows, n)), axis=1) @ indicator
        as_far += (np.abs(sums) * n / (size * (n - size)) >= limits - 1e-12 * np.abs(values).max()).sum(axis=0)
    return as_far


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being several, each in its place (Holm 1979): the chance of any false finding is kept."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> Mean:
    """Spearman's rank correlation of a (n,) and b (n,), with the interval of Bonett & Wright (2000).

    It does not exist where one of them is constant, and says nothing below four images: 0, from -1 to 1.
    """
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0 or len(a) < 4:
        return Mean(0.0, (-1.0, 1.0))
    found = float(spearmanr(a, b).statistic)
    if 1 - abs(found) < 1e-12:  # where the interval's scale ends
        return Mean(found, (found, found))
    reach = 1.96 * np.sqrt((1 + found**2 / 2) / (len(a) - 3))
    low, high = np.tanh(np.arctanh(found) + np.array([-reach, reach]))
    return Mean(found, (float(low), float(high)))
