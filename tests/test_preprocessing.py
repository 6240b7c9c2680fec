import numpy as np
import pytest
import torch

from figureground import preprocessing
from figureground.preprocessing import (
    Preprocessing,
    Restored,
    resized,
    resized_above,
    resized_strips,
    sigmoid,
    tensor_to_image,
)

IMAGENET = Preprocessing((32, 48), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.mark.parametrize(("value", "expected"), [(0, -1.0), (255, 1.0), (51, -0.6), (204, 0.6)])
def test_normalise_known_values(value, expected):
    batch = Preprocessing().normalise(np.full((2, 3, 5, 3), value, np.uint8))
    assert batch.shape == (2, 3, 3, 5)
    assert batch.dtype == np.float32
    assert batch == pytest.approx(np.full((2, 3, 3, 5), expected), abs=1e-6)


def test_each_channel_has_its_own_mean_and_deviation():
    batch = IMAGENET.normalise(np.array([[[[0, 51, 255]]]], np.uint8))
    expected = [-0.485 / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert batch[0, :, 0, 0] == pytest.approx(expected, abs=1e-5)


def test_normalised_batches_are_channels_last_in_memory():
    batch = torch.from_numpy(Preprocessing().normalise(np.zeros((2, 4, 5, 3), np.uint8)))
    assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("preprocessing", [Preprocessing(), IMAGENET])
def test_denormalise_is_the_inverse(preprocessing):
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    images = np.concatenate([images, images[:, ::-1, :, ::-1]])
    images[1, ..., 1] = 255 - images[1, ..., 1]
    back = preprocessing.denormalise(preprocessing.normalise(images))
    assert back.dtype == np.uint8
    assert np.array_equal(back, images)


def test_denormalise_clips():
    assert Preprocessing().denormalise(np.full((1, 3, 1, 1), 9, np.float32)).tolist() == [[[[255, 255, 255]]]]
    assert Preprocessing().denormalise(np.full((1, 3, 1, 1), -9, np.float32)).tolist() == [[[[0, 0, 0]]]]


@pytest.mark.parametrize("as_tensor", [np.asarray, torch.as_tensor])
def test_tensor_to_image(as_tensor):
    normalised = as_tensor(np.array([-1.0, 0.0, 1.0], np.float32).reshape(3, 1, 1))
    assert tensor_to_image(normalised).tolist() == [[[0, 128, 255]]]
    assert tensor_to_image(normalised, (0.2, 0.4, 0.6), (0.1, 0.1, 0.2)).tolist() == [[[26, 102, 204]]]


def test_tensor_to_image_takes_a_tensor_with_a_gradient():
    assert tensor_to_image(torch.zeros(3, 2, 4, requires_grad=True)).shape == (2, 4, 3)


@pytest.mark.parametrize("shape", [(20, 90), (64, 64), (1, 1), (32, 48), (97, 31)])
def test_resize_labels_invents_no_value(shape):
    labels = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), shape)
    resized = Preprocessing((32, 48)).resize_labels(labels)
    assert resized.shape == (32, 48)
    assert set(np.unique(resized)) <= set(np.unique(labels))


def test_resize_labels_keeps_halves():
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 32:] = 1
    resized = Preprocessing((32, 48)).resize_labels(labels)
    assert resized[:, :24].max() == 0
    assert resized[:, 24:].min() == 1


def test_resize_image_averages_over_the_area():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 200  # stripes of one pixel: half of it everywhere
    resized = Preprocessing((32, 32)).resize_image(image)
    assert resized.shape == (32, 32, 3)
    assert np.abs(resized[2:-2].astype(int) - 100).max() <= 1


def test_what_has_the_size_is_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    assert np.array_equal(IMAGENET.resize_image(image), image)


def test_another_resize_policy_is_refused():
    with pytest.raises(ValueError, match="letterbox"):
        Preprocessing(resize="letterbox")


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
    monkeypatch.setattr(preprocessing, "STRIP", 7 * large[1])  # seven rows at once
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
    monkeypatch.setattr(preprocessing, "STRIP", 7 * large[1])
    restored = Restored(logits, large)
    certain = np.abs(restored[:] - threshold) > 1e-5
    np.testing.assert_array_equal((restored > threshold)[certain], (restored[:] > threshold)[certain])
    assert certain.mean() > 0.99 or large == (1, 1)
