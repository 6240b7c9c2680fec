import json

import numpy as np
import pytest

from figureground.evaluation.scoring.estimates import risk_coverage, score_quality


def test_risk_coverage_by_hand():
    estimates, risks = np.array([0.7, 0.9, 0.8]), np.array([0.6, 0.1, 0.2])
    np.testing.assert_allclose(risk_coverage(estimates, risks), [0.1, 0.15, 0.3])


def test_ties_count_with_their_mean():
    np.testing.assert_allclose(risk_coverage(np.array([0.5, 0.5, 0.9]), np.array([0.2, 0.6, 0.0])), [0, 0.2, 0.8 / 3])
    np.testing.assert_allclose(risk_coverage(np.ones(4), np.array([0, 0, 0, 1.0])), [0.25] * 4)


def test_scores_by_hand():
    dice, estimates = np.array([0.9, 0.8, 0.4, 0.7]), np.array([0.8, 0.9, 0.5, 0.6])
    scores = score_quality(estimates, estimates < 0.55, dice)
    assert scores.mean_absolute_error.mean == pytest.approx(0.1)
    assert scores.rank_correlation.mean == pytest.approx(0.8)  # 1 - 6 (1 + 1) / (4 · 15)
    assert scores.aurc == pytest.approx((0.2 + 0.15 + 0.2 + 0.3) / 4)
    assert scores.aurc_perfect == pytest.approx((0.1 + 0.15 + 0.2 + 0.3) / 4)
    assert scores.aurc_random == pytest.approx(0.3)
    by_coverage = dict(scores.curve)
    assert [by_coverage[share] for share in (0.25, 0.5, 0.75, 1.0)] == pytest.approx([0.2, 0.15, 0.2, 0.3])
    assert len(by_coverage) == 20
    assert (scores.flagged, scores.poor, scores.poor_flagged) == (0.25, 2, 0.5)
    assert json.loads(json.dumps(scores.to_json()))["mean_absolute_error"]["mean"] == pytest.approx(0.1)
    assert "for review: 25.0% of all, 50% of the 2 below 0.8" in scores.summary()


def test_no_poor_mask():
    scores = score_quality(np.array([0.9, 0.9]), np.array([False, False]), np.array([0.9, 0.95]))
    assert scores.poor_flagged is None
    assert scores.summary().endswith("for review: 0.0% of all")
