import os
import subprocess
import sys

import albumentations
import numpy as np
import pytest

from figureground.data import augmentation as module
from figureground.data.augmentation import AUGMENTATIONS, Augmentation
from figureground.data.dataset import FIGURE, FULL, WEIGHT

from .label_maps import labels as labels_of
from .label_maps import targets as targets_of

SIZE = (48, 64)
INSIDE, OUTSIDE = 190, 40


def sample(height=40, width=56):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.choice(np.array([0, 1, 255], np.uint8), (height, width))


def drawn(side=96):
    """An image made from its label map: an L, bright on dark, that no flip or turn maps onto itself."""
    labels = np.zeros((side, side), np.uint8)
    labels[side // 6 : side * 5 // 6, side // 6 : side // 3] = 1
    labels[side * 2 // 3 : side * 5 // 6, side // 6 : side * 3 // 4] = 1
    return np.where(labels[..., None] == 1, INSIDE, OUTSIDE).astype(np.uint8).repeat(3, axis=2), labels


class OfLabels:
    """An augmentation of an image with its map of labels."""

    def __init__(self, name, size):
        self.augmentation = Augmentation(name, size)

    def __call__(self, image, labels, seed):
        image, targets = self.augmentation(image, targets_of(labels), seed)
        return image, labels_of(targets)


def test_the_names():
    assert sorted(AUGMENTATIONS) == ["heavy", "none", "report", "strong"]


@pytest.mark.parametrize("name", ["none", "report", "strong", "heavy"])
def test_the_same_seed_does_the_same(name):
    image, labels = sample()
    first, second = OfLabels(name, SIZE), OfLabels(name, SIZE)
    for seed in ((0, 1, 2), (0, 1, 3), (7,)):
        expected = first(image, labels, seed)
        first(image, labels, (99,))  # what came before has no influence
        for found in (first(image, labels, seed), second(image, labels, seed)):
            assert np.array_equal(found[0], expected[0])
            assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("name", ["report", "strong", "heavy"])
def test_other_seeds_do_something_else(name):
    image, labels = sample()
    augmentation = OfLabels(name, SIZE)
    results = {augmentation(image, labels, (0, 0, index))[0].tobytes() for index in range(20)}
    assert len(results) > 15


def test_none_changes_nothing():
    image, labels = sample()
    for seed in range(5):
        changed = OfLabels("none", SIZE)(image, labels, (seed,))
        assert np.array_equal(changed[0], image)
        assert np.array_equal(changed[1], labels)


@pytest.mark.parametrize(
    ("name", "expected"), [("none", (40, 56)), ("report", (40, 56)), ("strong", SIZE), ("heavy", SIZE)]
)
def test_shapes_types_and_values(name, expected):
    image, labels = sample()
    before = image.copy(), labels.copy()
    augmentation = OfLabels(name, SIZE)
    for seed in range(40):
        new_image, new_labels = augmentation(image, labels, (seed,))
        assert (new_image.shape, new_image.dtype) == ((*expected, 3), np.uint8)
        assert (new_labels.shape, new_labels.dtype) == (expected, np.uint8)
        assert set(np.unique(new_labels)) <= {0, 1, 255}
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])


def test_targets_do_not_change_what_is_drawn():
    """One map or several, soft or hard: the same image, and each map as if it were alone.

    Where it is turned, OpenCV rounds places of two maps at once otherwise than those of one: some go to the neighbour.
    """
    image, labels = sample()
    soft = np.random.default_rng(2).integers(0, 256, labels.shape, dtype=np.uint8)
    weight = (labels != 255).astype(np.uint8) * np.uint8(FULL)
    for name in AUGMENTATIONS:
        augmentation = Augmentation(name, SIZE)
        for seed in range(10):
            both_image, both = augmentation(image, {FIGURE: soft, WEIGHT: weight}, (seed,))
            alone_image, alone = augmentation(image, {FIGURE: soft}, (seed,))
            assert (list(both), list(alone)) == ([FIGURE, WEIGHT], [FIGURE])
            assert np.array_equal(both_image, alone_image)
            assert (both[FIGURE] != alone[FIGURE]).mean() < 0.005
            assert (both[WEIGHT] != augmentation(image, {WEIGHT: weight}, (seed,))[1][WEIGHT]).mean() < 0.005
            assert set(np.unique(both[WEIGHT])) <= {0, FULL}


def test_what_turning_fills_is_background_that_counts():
    image, _ = sample(64, 64)
    targets = {FIGURE: np.full((64, 64), FULL, np.uint8), WEIGHT: np.zeros((64, 64), np.uint8)}
    augmentation = Augmentation("report", (64, 64))
    changed = [augmentation(image, targets, (seed,))[1] for seed in range(20)]
    filled = [each[FIGURE] == 0 for each in changed]
    assert 5 < sum(each.any() for each in filled) < 15  # by the turns of one half
    for each, place in zip(changed, filled, strict=True):
        assert np.array_equal(each[WEIGHT] > 0, place)


def overlap(image, labels):
    """IoU of what is bright in the image with what the labels call figure."""
    grey, figure = image.mean(-1), labels == 1
    bright = grey > (np.median(grey[figure]) + np.median(grey[~figure])) / 2
    return (bright & figure).sum() / (bright | figure).sum()


@pytest.mark.parametrize(
    ("name", "least"), [("report", 0.93), ("strong", 0.85), ("heavy", 0.8)]
)  # heavy: a blur of 4 pixels moves where the middle grey lies
def test_image_and_labels_move_together(name, least):
    image, labels = drawn()
    augmentation = OfLabels(name, (96, 96))
    together, apart = [], []
    for seed in range(60):
        new_image, new_labels = augmentation(image, labels, (seed,))
        if 0.03 < (new_labels == 1).mean() < 0.97:
            together.append(overlap(new_image, new_labels))
            apart.append(overlap(new_image, labels))
    assert len(together) > 50
    assert min(together) > least
    assert np.mean(apart) < 0.75  # the same measure, had the labels been left behind


def test_transforms_of_report_apply_independently():
    image, labels = drawn(64)
    augmentation = OfLabels("report", (64, 64))
    flipped, turned, coloured = [], [], []
    for seed in range(400):
        new_image, new_labels = augmentation(image, labels, (seed,))
        still = [np.array_equal(new_labels, known) for known in (labels, labels[:, ::-1])]
        stem = (new_labels == 1).sum(0).argmax()  # the column of the L's long side
        flipped.append(stem > 32)
        turned.append(not any(still))
        coloured.append(abs(float(np.median(new_image[new_labels == 1])) - INSIDE) > 0.5)
    flipped, turned, coloured = map(np.array, (flipped, turned, coloured))
    assert 0.42 < flipped.mean() < 0.58
    assert 0.38 < turned.mean() < 0.58  # half, less those by a fraction of a degree
    assert 0.6 < coloured.mean() < 0.85  # one of two that each apply to half, less those too weak to see
    for first, second in ((flipped, turned), (flipped, coloured), (turned, coloured)):
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
        assert {(bool(a), bool(b)) for a, b in zip(first, second, strict=True)} == {
            (False, False), (False, True), (True, False), (True, True)
        }  # fmt: skip


def coloured(height=64, width=80):
    """Broad gradients of all hues with some noise: what a photograph is made of."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9 + phase) + np.cos(y / 7 - phase) for phase in (0, 2, 4)], axis=2)
    rough = np.random.default_rng(5).normal(0, 6, waves.shape)
    return np.clip(128 + 80 * waves + rough, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("name", "most"), [("report", 12), ("strong", 12), ("heavy", 13)])
@pytest.mark.parametrize("image", [coloured(), sample(64, 80)[0]], ids=["coloured", "noise"])
def test_the_same_pictures_as_albumentations_alone(name, most, image, monkeypatch):
    """The same draws for the same seed, the same labels, and images that differ by rounding.

    Saturation and contrast do not round the greys between (``pixels``): one level. Where a hue follows, that level can
    move the pixel to the next of 180 hues, two degrees, which are up to 255 * 2 / 60 = 8.5 levels; factors behind it
    of up to 1.3 make 12 at the most, those of ``heavy``, 1.5, make 13.
    """
    labels = sample(64, 80)[1]
    ours = OfLabels(name, (48, 56))
    monkeypatch.setattr(module, "ColorJitter", albumentations.ColorJitter)
    monkeypatch.setattr(module, "Rotate", albumentations.Rotate)
    theirs = OfLabels(name, (48, 56))
    differences = []
    for seed in range(150):
        new_image, new_labels = ours(image, labels, (seed,))
        expected_image, expected_labels = theirs(image, labels, (seed,))
        assert np.array_equal(new_labels, expected_labels)
        differences.append(np.abs(new_image.astype(int) - expected_image.astype(int)))
    levels = np.concatenate([each.ravel() for each in differences])
    assert levels.max() <= most
    assert (levels > 0).mean() < 0.06
    assert (levels > 1).mean() < 0.01


def drawn_by_report(seeds):
    """What each transform of ``report`` drew, for each seed: an empty dict where it left the image alone."""
    image, labels = sample(8, 8)
    augmentation = OfLabels("report", (8, 8))
    transforms = augmentation.augmentation._compose.transforms
    for seed in range(seeds):
        augmentation(image, labels, (seed,))
        yield [dict(transform.params) for transform in transforms]


def test_events_of_report_and_their_ranges():
    drawn = list(drawn_by_report(1200))
    events = np.array([[bool(params) for params in each] for each in drawn])
    assert events.mean(0) == pytest.approx([0.5] * 4, abs=0.05)  # 3.5 standard deviations
    assert np.abs(np.corrcoef(events.T) - np.eye(4)).max() < 0.1
    _, contrast, jitter, rotation = zip(*drawn, strict=True)
    matrices = [params["matrix"] for params in rotation if params]
    ranges = {
        (0.8, 1.2): [params["alpha"] for params in contrast if params],
        (-51.0, 51.0): [params["beta"] for params in contrast if params],
        (-15.0, 15.0): [np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0])) for matrix in matrices],
        (-0.5, 0.5): [params["hue"] for params in jitter if params],
    }
    for name in ("brightness", "contrast", "saturation"):
        ranges[0.8, 1.2] += [params[name] for params in jitter if params]
    for (low, high), values in ranges.items():
        assert low <= min(values) < low + 0.03 * (high - low)
        assert high >= max(values) > high - 0.03 * (high - low)
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.05 * (high - low))
    assert len({tuple(params["order"]) for params in jitter if params}) == 24


IMPORT = """
import os, socket
asked = []
def refuse(*given, **named):
    asked.append(given[:1])
    raise OSError("no network")
socket.getaddrinfo = socket.create_connection = refuse
socket.socket.connect = refuse
import figureground.data.augmentation
print(os.environ["NO_ALBUMENTATIONS_UPDATE"], len(asked))
"""


def test_importing_asks_no_network():
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    result = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "0"]
