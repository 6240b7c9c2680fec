import numpy as np
import pytest

from figureground.preprocessing import (
    Preprocessing,
    Restored,
    resized,
    resized_above,
    resized_strips,
    restoring,
    sigmoid,
)

IMAGENET = Preprocessing((32, 48), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("logit", "expected"),
    [(0, 0.5), (np.log(3), 0.75), (-np.log(3), 0.25), (np.log(9), 0.9)],
)
@pytest.mark.parametrize("size", [(32, 48), (7, 11), (100, 60)])
def test_restore_known_values(logit, expected, size):
    probabilities = IMAGENET.restore(np.full((32, 48), logit, np.float32), *size)
    assert probabilities.shape == size
    assert probabilities.dtype == np.float32
    assert probabilities == pytest.approx(np.full(size, expected), abs=1e-6)


def test_restore_puts_things_where_they_were():
    logits = np.full((32, 32), -5, np.float32)
    logits[:16, 16:] = 5
    figure = Preprocessing((32, 32)).restore(logits, 64, 128) > 0.5
    expected = np.zeros((64, 128), bool)
    expected[:32, 64:] = True
    assert np.argwhere(figure != expected).tolist() == [[31, 64]]  # the corner: 0.75 * 0.625 of it is below a half


def test_restore_interpolates_logits_not_probabilities():
    probabilities = Preprocessing((32, 32)).restore(np.array([[0, 8]], np.float32), 1, 4)
    # Pillow's bilinear at twice the width: 1/4 and 3/4 between the two
    assert probabilities[0] == pytest.approx(1 / (1 + np.exp(-np.array([0, 2, 6, 8]))), abs=1e-5)


@pytest.mark.parametrize(("logit", "expected"), [(1e9, 1.0), (-1e9, 0.0), (0, 0.5)])
def test_sigmoid_saturates(logit, expected):
    assert sigmoid(np.array([logit], np.float32))[0] == pytest.approx(expected, abs=1e-30)


@pytest.mark.parametrize(("small", "large"), [((32, 40), (501, 300)), ((64, 32), (70, 1000)), ((100, 90), (50, 200))])
def test_strips_equal_the_whole(small, large, monkeypatch):
    logits = np.random.default_rng(0).normal(size=small).astype(np.float32)
    whole = resized(logits, *large)
    monkeypatch.setattr(restoring, "STRIP", 7 * large[1])  # seven rows at once
    strips = list(resized_strips(logits, *large))
    assert [rows.start for rows, _ in strips] == list(range(0, large[0], 7))
    np.testing.assert_allclose(np.concatenate([strip for _, strip in strips]), whole, atol=2e-5)


@pytest.mark.parametrize("rows", [slice(0, 501), slice(0, 3), slice(200, 231), slice(490, 501)])
def test_rows_equal_those_of_the_whole(rows):
    logits = np.random.default_rng(0).normal(size=(32, 40)).astype(np.float32)
    whole = sigmoid(resized(logits, 501, 300))
    np.testing.assert_allclose(Restored(logits, (501, 300))[rows], whole[rows], atol=1e-5)


def test_where_a_map_is_above_a_threshold():
    """Between 0 and 8 at four places, as above: 0, 2, 6, 8."""
    logits = np.array([[0, 8]], np.float32)
    found = {threshold: resized_above(logits, 1, 4, threshold)[0].tolist() for threshold in (-1, 1.9, 2, 7, 8)}
    assert found == {
        -1: [True] * 4,
        1.9: [False, True, True, True],
        2: [False, False, True, True],
        7: [False, False, False, True],
        8: [False] * 4,
    }


@pytest.mark.parametrize("large", [(32, 40), (33, 40), (501, 300), (70, 1000), (20, 300), (300, 20), (7, 9), (1, 1)])
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_a_mask_is_where_the_probability_is_above_the_threshold(large, threshold, monkeypatch):
    logits = resized(np.random.default_rng(0).normal(scale=3, size=(8, 8)).astype(np.float32), 32, 40)
    monkeypatch.setattr(restoring, "STRIP", 7 * large[1])
    restored = Restored(logits, large)
    certain = np.abs(restored[:] - threshold) > 1e-5
    np.testing.assert_array_equal((restored > threshold)[certain], (restored[:] > threshold)[certain])
    assert certain.mean() > 0.99 or large == (1, 1)
