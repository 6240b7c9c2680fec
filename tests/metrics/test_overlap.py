import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    binary_f1_score,
    binary_jaccard_index,
    binary_precision,
    binary_recall,
)

from figureground.metrics import THRESHOLDS, counts, counts_by_threshold, dice, dice_score, iou, precision, recall


def truth_of(labels):
    """From a label map of 0, 1 and 255, which is left out: what is figure, and what counts."""
    return labels == 1, labels != 255


# prediction, labels (255 is left out), (tp, fp, fn), Dice, IoU
TABLE = [
    ([[1, 1], [0, 0]], [[1, 1], [0, 0]], (2, 0, 0), 1, 1),
    ([[1, 1], [0, 0]], [[1, 0], [1, 0]], (1, 1, 1), 1 / 2, 1 / 3),
    ([[1, 1], [1, 1]], [[1, 0], [0, 0]], (1, 3, 0), 2 / 5, 1 / 4),
    ([[1, 0], [0, 0]], [[1, 1], [1, 0]], (1, 0, 2), 1 / 2, 1 / 3),
    ([[1, 0], [0, 0]], [[0, 1], [0, 0]], (0, 1, 1), 0, 0),
    ([[0, 0], [0, 0]], [[0, 0], [0, 0]], (0, 0, 0), 1, 1),
    ([[0, 0], [0, 0]], [[1, 0], [0, 0]], (0, 0, 1), 0, 0),
    ([[1, 0], [0, 0]], [[0, 0], [0, 0]], (0, 1, 0), 0, 0),
    ([[1, 1], [0, 0]], [[1, 255], [255, 0]], (1, 0, 0), 1, 1),
    ([[1, 1], [0, 1]], [[255, 0], [1, 1]], (1, 1, 1), 1 / 2, 1 / 3),
    ([[1, 0], [1, 0]], [[255, 255], [255, 255]], (0, 0, 0), 1, 1),
]


@pytest.mark.parametrize("as_tensor", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(("prediction", "labels", "numbers", "expected_dice", "expected_iou"), TABLE)
def test_known_answers(as_tensor, prediction, labels, numbers, expected_dice, expected_iou):
    truth, kept = truth_of(np.array([labels], np.uint8))
    found = counts(as_tensor(np.array([prediction], bool)), as_tensor(truth), as_tensor(kept))
    assert tuple(int(number[0]) for number in found) == numbers
    assert dice(*found) == pytest.approx([expected_dice])
    assert iou(*found) == pytest.approx([expected_iou])


# (tp, fp, fn), precision, recall
SHARES = [
    ((3, 1, 2), 3 / 4, 3 / 5),
    ((0, 2, 3), 0, 0),
    ((0, 0, 0), 1, 1),  # both empty
    ((0, 0, 4), 0, 0),  # nothing predicted
    ((0, 4, 0), 0, 0),  # nothing there
]


@pytest.mark.parametrize(("numbers", "expected_precision", "expected_recall"), SHARES)
def test_precision_and_recall_by_hand(numbers, expected_precision, expected_recall):
    assert precision(*numbers) == pytest.approx(expected_precision)
    assert recall(*numbers) == pytest.approx(expected_recall)


def test_each_image_is_counted_by_itself():
    predictions = np.array([row[0] for row in TABLE], bool)
    labels = np.array([row[1] for row in TABLE], np.uint8)
    found = counts(predictions, *truth_of(labels))
    assert [tuple(map(int, row)) for row in zip(*found, strict=True)] == [row[2] for row in TABLE]
    assert dice(*found) == pytest.approx([row[3] for row in TABLE])
    assert iou(*found) == pytest.approx([row[4] for row in TABLE])


def _random_masks():
    rng = np.random.default_rng(7)
    density = rng.uniform(0.05, 0.95, (20, 1, 1))
    return rng.random((20, 17, 23)) < density, rng.random((20, 17, 23)) < rng.permutation(density)


def test_numpy_and_torch_give_the_same():
    prediction, truth = _random_masks()
    kept = np.ones(truth.shape, bool)
    kept[:, :3] = False
    with_numpy = counts(prediction, truth, kept)
    with_torch = counts(*map(torch.as_tensor, (prediction, truth, kept)))
    for ours, theirs in zip(with_numpy, with_torch, strict=True):
        assert ours.tolist() == theirs.tolist()
    assert dice(*with_numpy).tolist() == dice(*with_torch).tolist()


def test_what_is_left_out_counts_nowhere():
    prediction, truth = _random_masks()
    kept = np.ones(truth.shape, bool)
    kept[:, :3] = False
    alone = counts(prediction[:, 3:], truth[:, 3:])
    ignored = counts(prediction, truth, kept)
    flipped = counts(prediction ^ ~kept, truth, kept)
    other_truth = counts(prediction, truth ^ ~kept, kept)
    for a, b, c, d in zip(alone, ignored, flipped, other_truth, strict=True):
        assert a.tolist() == b.tolist() == c.tolist() == d.tolist()


def test_agreement_with_torchmetrics():
    prediction, truth = _random_masks()
    found = counts(prediction, truth)
    for index in range(len(truth)):
        pair = torch.as_tensor(prediction[index]).int(), torch.as_tensor(truth[index]).int()
        assert dice(*found)[index] == pytest.approx(binary_f1_score(*pair).item(), abs=1e-6)
        assert iou(*found)[index] == pytest.approx(binary_jaccard_index(*pair).item(), abs=1e-6)
        assert precision(*found)[index] == pytest.approx(binary_precision(*pair).item(), abs=1e-6)
        assert recall(*found)[index] == pytest.approx(binary_recall(*pair).item(), abs=1e-6)


# Logits of two images: the first overlaps half (Dice 1/2), the second is right (Dice 1)
LOGITS = [[[2.0, 0.1], [-0.1, -3.0]], [[-1.0, -1.0], [-1.0, 0.3]]]
TARGET = [[[1, 0], [1, 0]], [[0, 0], [0, 1]]]


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 1, 2, 2)])
@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.float32])
@pytest.mark.parametrize("as_tensor", [np.asarray, torch.as_tensor])
def test_dice_score_is_the_mean_over_the_images(as_tensor, kind, shape):
    logits = as_tensor(np.array(LOGITS, np.float32).reshape(shape))
    target = as_tensor(np.array(TARGET, kind).reshape(shape))
    assert dice_score(logits, target) == pytest.approx(0.75)  # all pixels together would give 2 * 2 / 6


@pytest.mark.parametrize(
    ("logits", "target", "expected"),
    [
        ([[[0.0, -1.0]]], [[[0, 0]]], 1.0),  # sigmoid(0) is 0.5, which is not above it
        ([[[1e-6, -1.0]]], [[[1, 0]]], 1.0),
        ([[[0.3, 0.4]]], [[[0, 1]]], 2 / 3),  # logits, not probabilities: both are above 0.5
        ([[[-5.0, -5.0]]], [[[0, 1]]], 0.0),
    ],
)
def test_dice_score_takes_logits(logits, target, expected):
    assert dice_score(torch.tensor(logits), torch.tensor(target)) == pytest.approx(expected)


def test_dice_score_takes_logits_with_a_gradient():
    assert dice_score(torch.tensor(LOGITS, requires_grad=True), torch.tensor(TARGET)) == pytest.approx(0.75)


def test_dice_score_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\).*\(2, 4, 4\)"):
        dice_score(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))


def test_counts_by_threshold_are_those_of_each_mask():
    rng = np.random.default_rng(0)
    probability = rng.random((30, 40), np.float32)
    probability[0, :19] = THRESHOLDS  # a probability that equals the threshold is not above it
    probability[1, 0], probability[1, 1] = 0, 1
    labels = rng.choice(np.array([0, 1, 255], np.uint8), (30, 40))
    truth, kept = truth_of(labels)
    for given in ((truth,), (truth, kept)):
        found = counts_by_threshold(probability, *given)
        for index, threshold in enumerate(THRESHOLDS):
            expected = counts(probability > np.float32(threshold), *given)
            assert tuple(pixels[index] for pixels in found) == tuple(expected)
