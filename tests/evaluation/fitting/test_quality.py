import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from figureground.evaluation.fitting.quality import (
    estimate_all,
    fit_isotonic,
    fit_quality,
    fit_ridge,
    pool_adjacent_violators,
)
from figureground.prediction.photos.quality import FEATURES

RNG = np.random.default_rng(0)


def measured(n=200, **columns):
    """Features of chance, except for those that are given."""
    rng = np.random.default_rng(1)
    table = {name: rng.random(n) for name in FEATURES} | columns
    return np.stack([table[name] for name in FEATURES], axis=1)


@pytest.mark.parametrize(
    ("x", "y", "steps"),
    [
        ([1, 2, 3], [0.1, 0.2, 0.3], [(1, 0.1), (2, 0.2), (3, 0.3)]),
        ([1, 2, 3], [0.1, 0.4, 0.2], [(1, 0.1), (2.5, 0.3)]),
        ([1, 2, 3, 4], [0.9, 0.6, 0.3, 0.2], [(2.5, 0.5)]),
        ([3, 1, 2], [0.2, 0.1, 0.4], [(1, 0.1), (2.5, 0.3)]),  # in any order
        ([1, 1, 2], [0.2, 0.4, 0.5], [(1, 0.3), (2, 0.5)]),  # the same x twice
        ([1, 2, 3, 4], [0.5, 0.3, 0.4, 0.2], [(2.5, 0.35)]),  # pooled backwards more than once
    ],
)
def test_pool_adjacent_violators_by_hand(x, y, steps):
    found = pool_adjacent_violators(np.array(x, float), np.array(y, float))
    np.testing.assert_allclose(np.stack(found, axis=1), steps)


def test_pool_adjacent_violators_agrees_with_scipy():
    x, y = np.arange(100.0), np.arange(100) / 50 + RNG.normal(0, 0.5, 100)
    expected = isotonic_regression(y).x
    np.testing.assert_allclose(pool_adjacent_violators(x, y)[1], np.unique(expected.round(12)), atol=1e-9)


def test_isotonic_follows_a_curve_and_falls_to_0():
    expected = np.linspace(0.5, 1, 200)
    config = fit_isotonic(measured(expected_dice=expected), expected**2)
    np.testing.assert_allclose(
        estimate_all(measured(3, expected_dice=np.array([0.6, 0.8, 1.0])), config), [0.36, 0.64, 1], atol=1e-3
    )
    np.testing.assert_allclose(
        estimate_all(measured(2, expected_dice=np.array([0, 0.25])), config), [0, 0.125], atol=1e-3
    )


def test_ridge_finds_the_features_that_matter():
    features = measured()
    dice = 0.9 - 0.3 * features[:, FEATURES.index("uncertain")] - 0.2 * features[:, FEATURES.index("scattered")]
    config = fit_ridge(features, dice)
    assert config.weights["uncertain"] == pytest.approx(-0.3, abs=0.005)
    assert config.weights["scattered"] == pytest.approx(-0.2, abs=0.005)
    assert config.weights["area"] == pytest.approx(0, abs=0.005)
    assert config.intercept == pytest.approx(0.9, abs=0.01)


def test_a_feature_that_never_changes_gets_no_weight():
    features = measured(scattered=np.zeros(200))
    assert fit_ridge(features, features[:, 0]).weights["scattered"] == 0


def test_the_better_estimator_is_chosen():
    features = measured()
    expected, scattered = (features[:, FEATURES.index(name)] for name in ("expected_dice", "scattered"))
    curved = fit_quality(features, np.where(expected > 0.5, 0.9, 0.3), "valid")
    linear = fit_quality(features, 0.9 - 0.5 * scattered, "valid")
    assert (curved.estimator, linear.estimator) == ("isotonic", "ridge")
    assert curved.errors["isotonic"] < curved.errors["ridge"]
    assert linear.errors["ridge"] < 0.01
    assert linear.config.fitted_on == "valid"


def test_four_of_five_poor_masks_are_flagged():
    features = measured()
    dice = np.clip(1 - 0.6 * features[:, FEATURES.index("uncertain")] + RNG.normal(0, 0.05, 200), 0, 1)
    config = fit_quality(features, dice, "valid").config
    flagged = estimate_all(features, config) < config.review_below
    assert flagged[dice < 0.8].mean() == pytest.approx(0.8, abs=0.03)
    assert flagged[dice > 0.9].mean() < 0.05


def test_without_a_poor_mask_the_level_is_the_poor_dice():
    features = measured(expected_dice=np.linspace(0.85, 0.99, 200))
    assert fit_quality(features, features[:, 0], "valid").config.review_below == 0.8


def test_no_more_than_a_tenth_is_flagged():
    """Poor masks that look good would have nearly all flagged."""
    features = measured(expected_dice=np.linspace(0.85, 0.99, 200))
    dice = features[:, 0].copy()
    dice[::10] = 0.5
    config = fit_quality(features, dice, "valid").config
    assert (estimate_all(features, config) < config.review_below).mean() <= 0.15
