import numpy as np
import pytest
from scipy import stats

from figureground.evaluation.statistics import (
    bootstrap_mean,
    bootstrap_means,
    holm,
    paired_difference,
    sign_flip_p,
    spearman,
)


def dice_like(n, seed=3):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.05, rng.uniform(0, 0.6, n), rng.beta(30, 2, n))


@pytest.mark.parametrize("value", [0.75, 0.9, 0.0])
def test_interval_of_a_constant_is_a_point(value):
    mean = bootstrap_mean(np.full(50, value))
    assert mean.mean == pytest.approx(value)
    assert mean.ci95 == (mean.mean, mean.mean)


def test_one_image_has_a_point():
    assert bootstrap_mean(np.array([0.5])).ci95 == (0.5, 0.5)


@pytest.mark.parametrize(("method", "scipys"), [("percentile", "percentile"), ("bca", "BCa")])
def test_interval_is_that_of_scipy(method, scipys):
    values = dice_like(200)
    theirs = stats.bootstrap((values,), np.mean, method=scipys, rng=1, n_resamples=10_000).confidence_interval
    ours = bootstrap_means(values[:, None], method=method)[0]
    np.testing.assert_allclose(ours.ci95, theirs, atol=1e-3)
    assert ours.mean == pytest.approx(values.mean())


def test_few_distinct_values():
    """Resampled sums of 3 zeros and 9 ones are binomial, so that the quantiles of BCa (Efron 1987) are known."""
    sums = stats.binom(12, 9 / 12)
    bias = stats.norm.ppf(sums.cdf(8) + sums.pmf(9) / 2)  # ties count half
    acceleration = (3 * (-9 / 12) ** 3 + 9 * (3 / 12) ** 3) / (6 * (3 * (9 / 12) ** 2 + 9 * (3 / 12) ** 2) ** 1.5)
    shifts = bias + stats.norm.ppf([0.025, 0.975])
    shares = stats.norm.cdf(bias + shifts / (1 - acceleration * shifts))
    values = np.repeat([0.0, 1.0], [3, 9])
    np.testing.assert_allclose(bootstrap_mean(values).ci95, sums.ppf(shares) / 12, rtol=1e-12)


def test_columns_have_the_intervals_they_have_alone():
    values = np.stack([dice_like(40), dice_like(40, 4)], axis=1)
    for together, column in zip(bootstrap_means(values), values.T, strict=True):
        np.testing.assert_allclose(together.ci95, bootstrap_mean(column).ci95)


def test_memory_is_bounded(monkeypatch):
    values = dice_like(300)
    whole = bootstrap_mean(values)
    monkeypatch.setattr("figureground.evaluation.statistics.CHUNK", 1000)
    np.testing.assert_allclose(bootstrap_mean(values).ci95, whole.ci95, atol=1e-12)


def test_the_interval_covers_at_its_level():
    """benchmarks/interval_coverage.py measures this with care; here only against gross mistakes."""
    rng = np.random.default_rng(0)
    means = [mean for seed in range(100) for mean in bootstrap_means(rng.beta(8, 2, (60, 4)), seed, resamples=1000)]
    covered = np.mean([mean.ci95[0] <= 0.8 <= mean.ci95[1] for mean in means])
    assert 0.91 <= covered <= 0.98


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1, 2, 3], 2 / 8),  # only all plus and all minus are as far as 6
        ([3, 2, -1], 4 / 8),  # sums 6, 4, 2, 0 and their negatives; 4 is as far
        ([1, 1, -1], 1),
        ([1, 2, 3, 0, 0], 2 / 8),  # ties change nothing
        ([0, 0], 1),
        ([0.1] * 10, 2 / 1024),
    ],
)
def test_sign_flips_by_hand(differences, expected):
    assert sign_flip_p(np.array(differences, float)) == expected


def test_sign_flips_agree_with_scipy():
    differences = np.random.default_rng(0).normal(0.3, 1, 11)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue)
    differences = np.random.default_rng(0).normal(0.3, 1, 40)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0)
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=0.01)


def test_a_random_p_is_never_zero():
    assert sign_flip_p(np.full(500, 0.01)) == 1 / 10_001


def test_without_a_difference_five_in_a_hundred_are_found():
    rng = np.random.default_rng(1)
    found = np.mean([sign_flip_p(rng.standard_t(3, 10)) <= 0.05 for _ in range(1000)])
    assert 0.035 <= found <= 0.065


def test_paired_difference():
    a, b = np.array([0.9, 0.8, 0.7, 0.5, 0.5]), np.array([0.8, 0.7, 0.6, 0.6, 0.5])
    result = paired_difference(a, b)
    assert result.difference.mean == pytest.approx(0.04)
    assert (result.wins, result.losses, result.ties) == (3, 1, 1)
    assert result.p == 10 / 16  # 4 equal steps: |sum| is 4 twice and 2 eight times in sixteen
    worse = paired_difference(a, b, lower_is_better=True)
    assert (worse.wins, worse.losses, worse.difference) == (1, 3, result.difference)


def test_the_difference_is_surer_than_the_means():
    """Both models have the same hard images: the interval of the difference is narrow."""
    a = dice_like(300)
    b = a - 0.01 + np.random.default_rng(0).normal(0, 0.01, 300)
    low, high = paired_difference(a, b).difference.ci95
    assert 0.008 < low < 0.01 < high < 0.012
    assert paired_difference(a, b).p < 0.001


def test_a_pair_needs_the_same_images():
    with pytest.raises(ValueError, match="a has 3 figures, b has 2"):
        paired_difference(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4, 3, 2, 1 times, and never falling
        ([0.2], [0.2]),
        ([0.9, 0.8], [1, 1]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values, expected):
    assert holm(p_values) == pytest.approx(expected)


def test_figures_that_differ_by_their_rounding_are_constant():
    values = np.full(20, 0.7)
    values[3:5] = np.nextafter(0.7, 1)
    low, high = bootstrap_mean(values).ci95
    assert low == high == pytest.approx(0.7)


def test_spearman_with_its_interval():
    rng = np.random.default_rng(0)
    a = rng.normal(size=100)
    b = a + rng.normal(size=100)
    found = spearman(a, b)
    assert found.mean == pytest.approx(stats.spearmanr(a, b).statistic)
    reach = 1.96 * np.sqrt((1 + found.mean**2 / 2) / 97)
    assert np.arctanh(found.ci95) == pytest.approx([np.arctanh(found.mean) - reach, np.arctanh(found.mean) + reach])
    assert spearman(a, a).ci95 == pytest.approx((1, 1))
    assert spearman(a, np.zeros(100)).mean == 0
