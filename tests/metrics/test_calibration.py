import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError
from torchmetrics.functional import mean_squared_error

from figureground.metrics import Reliability, brier_score, expected_calibration_error, reliability

PROBABILITY = np.array([[0.1, 0.3], [0.9, 0.9]], np.float32)
TRUTH = np.array([[False, True], [True, False]])


def test_by_hand():
    found = reliability(PROBABILITY, TRUTH)
    assert np.flatnonzero(found.pixels).tolist() == [1, 4, 13]  # of fifteen bins
    assert found.pixels[[1, 4, 13]].tolist() == [1, 1, 2]
    assert found.figure[[1, 4, 13]].tolist() == [0, 1, 1]
    assert brier_score(found) == pytest.approx((0.01 + 0.49 + 0.01 + 0.81) / 4)
    assert expected_calibration_error(found) == pytest.approx((0.1 + 0.7 + 0.8) / 4)


@pytest.mark.parametrize(("value", "place"), [(0.0, 0), (1.0, 14), (0.2, 3), (0.1999, 2)])
def test_bins(value, place):
    found = reliability(np.full((1, 1), value, np.float32), np.ones((1, 1), bool))
    assert np.flatnonzero(found.pixels).tolist() == [place]


def test_certain_and_right_is_perfect():
    found = reliability(TRUTH.astype(np.float32), TRUTH)
    assert (brier_score(found), expected_calibration_error(found)) == (0, 0)


def test_a_coin_is_calibrated():
    """All pixels at 50%, half of them figure: no calibration error, and the Brier score of a coin."""
    found = reliability(np.full((2, 2), 0.5, np.float32), TRUTH)
    assert (brier_score(found), expected_calibration_error(found)) == (0.25, 0)


def test_what_is_left_out_counts_nowhere():
    kept = np.array([[True, False], [True, False]])
    found = reliability(PROBABILITY, TRUTH, kept)
    assert brier_score(found) == pytest.approx((0.01 + 0.01) / 2)
    nothing = reliability(PROBABILITY, TRUTH, np.zeros((2, 2), bool))
    assert (brier_score(nothing), expected_calibration_error(nothing)) == (0, 0)


def test_agreement_with_torchmetrics_of_an_image_and_of_all_pooled():
    rng = np.random.default_rng(2)
    probability = rng.beta(0.5, 0.5, (5, 40, 50)).astype(np.float32)
    truth = rng.random((5, 40, 50)) < probability**1.5
    error = BinaryCalibrationError(n_bins=15, norm="l1")
    found = [reliability(p, t) for p, t in zip(probability, truth, strict=True)]
    pooled = Reliability(*(sum(sums) for sums in zip(*found, strict=True)))
    for ours, p, t in [*zip(found, probability, truth, strict=True), (pooled, probability, truth)]:
        pair = torch.as_tensor(p).ravel(), torch.as_tensor(t).int().ravel()
        assert expected_calibration_error(ours) == pytest.approx(error(*pair).item(), abs=1e-5)
        assert brier_score(ours) == pytest.approx(mean_squared_error(pair[0], pair[1].float()).item(), abs=1e-6)
