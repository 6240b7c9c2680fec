"""Which training images are changed into others, and how they become batches."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from figureground.config import DataConfig, TrainConfig, merge, parse
from figureground.data import open_dataset
from figureground.data.dataset import FIGURE, FULL, WEIGHT, Sample, targets_of
from figureground.errors import FiguregroundError
from figureground.preprocessing import Preprocessing
from figureground.training import loaders as loaders_file
from figureground.training.loaders import Collate, Shuffled, TrainingImages, kept, loaders

N = 40
IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def images(**changes):
    given = {"preprocessing": {"size": [48, 48]}, "augmentation": "none"}
    config = parse(TrainConfig, merge(given, changes))
    dataset = open_dataset("synthetic:n=50,size=48", "train")
    assert len(dataset) == N
    return TrainingImages(dataset, config, config.preprocessing), dataset


def test_nothing_is_changed_by_default():
    found, dataset = images()
    for index in range(N):
        np.testing.assert_array_equal(found[0, 0, index].image, dataset[index].image)
        np.testing.assert_array_equal(found[0, 0, index].targets[FIGURE], dataset[index].mask * FULL)


def changed(found, dataset, epoch=0):
    return [index for index in range(N) if not np.array_equal(found[epoch, epoch, index].image, dataset[index].image)]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_negatives_take_the_place_of_a_share(share):
    found, dataset = images(negatives=share)
    without = [index for index in range(N) if not found[0, 0, index].mask.any()]
    assert len(without) / N == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / N))
    assert without == changed(found, dataset)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_figures_are_pasted_onto_a_share(share):
    found, dataset = images(copy_paste=share)
    pasted = changed(found, dataset)
    assert len(pasted) / N == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / N))
    for index in pasted:
        before, after = dataset[index].mask, found[0, 0, index].mask
        assert (after | ~before).all()  # the figure that was there still counts as figure
        assert after.any()


def test_epoch_and_index_decide():
    found, dataset = images(copy_paste=0.5, negatives=0.2)
    again, _ = images(copy_paste=0.5, negatives=0.2)
    for index in range(N):
        np.testing.assert_array_equal(found[3, 3, index].image, again[3, 3, index].image)
    assert changed(found, dataset, epoch=1) != changed(found, dataset, epoch=2)


def samples(n=3, height=5, width=7, without_border=()):
    rng = np.random.default_rng(0)
    for index in range(n):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        labels = rng.choice(np.array([0, 1, 255], np.uint8), (height, width))
        image.setflags(write=False)  # as those of the cache
        kept = None if index in without_border else labels != 255
        yield Sample(f"{index}", image, targets_of(labels == 1, kept))


@pytest.mark.parametrize("preprocessing", [Preprocessing(), IMAGENET])
@pytest.mark.parametrize("n", [1, 3])
def test_batches_are_normalised_as_in_prediction(preprocessing, n):
    given = list(samples(n))
    batch = Collate(preprocessing)(given)
    images = batch["image"]
    assert list(batch) == ["image", FIGURE, WEIGHT]
    assert (images.shape, images.dtype) == ((n, 3, 5, 7), torch.float32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    expected = preprocessing.normalise(np.stack([sample.image for sample in given]))
    assert np.array_equal(images.numpy(), expected)
    for name in (FIGURE, WEIGHT):
        assert torch.equal(batch[name], torch.from_numpy(np.stack([sample.targets[name] for sample in given])))


def test_a_batch_has_a_weight_where_any_of_its_samples_has_one():
    some = Collate(IMAGENET)(list(samples(without_border=[1])))
    assert (some[WEIGHT][1] == FULL).all()
    assert (some[WEIGHT][[0, 2]] == 0).any(-1).any(-1).all()
    assert list(Collate(IMAGENET)(list(samples(without_border=[0, 1, 2])))) == ["image", FIGURE]


def test_black_and_white_become_minus_one_and_one():
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 255
    batch = Collate(Preprocessing())([Sample("a", image, {FIGURE: image[..., 0]})])
    assert batch["image"].flatten().tolist() == [-1, 1] * 3


def test_batches_do_not_depend_on_workers(strong):
    data = open_dataset("synthetic:n=40,size=32", "train")
    alone, _ = loaders(strong, data, data, on_gpu=False)
    helped, _ = loaders(replace(strong, workers=1), data, data, on_gpu=False)
    for epoch in range(2):
        for loader in (alone, helped):
            loader.sampler.set_epoch(epoch)
        for batch, same in zip(alone, helped, strict=True):
            assert set(batch) == set(same) == {"image", "figure"}
            for name, tensor in batch.items():
                assert torch.equal(tensor, same[name])
            assert batch["image"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("workers", "free", "refused"),  # five batches of 4 × 32 × 32 pixels of 14 bytes
    [(2, 5 * 57_344, False), (2, 5 * 57_344 - 1, True), (0, 0, False)],
)
def test_workers_need_shared_memory_for_their_batches(tmp_path, monkeypatch, tiny, workers, free, refused):
    monkeypatch.setattr(loaders_file, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    data = open_dataset("synthetic:n=40,size=32", "train")
    if not refused:
        loaders(replace(tiny, workers=workers), data, data, on_gpu=False)
        return
    with pytest.raises(FiguregroundError, match=r"has 0.3 MB free, and 2 worker processes need 0.3 MB.*--shm-size"):
        loaders(replace(tiny, workers=workers), data, data, on_gpu=False)


def test_an_epoch_of_fewer_images_goes_on_where_the_last_one_ended():
    order = Shuffled(10, seed=1, drawn=4)
    shown = []
    for epoch in range(5):
        order.set_epoch(epoch)
        keys = list(order)
        assert len(keys) == len(order) == 4
        assert all(key[0] == epoch for key in keys)
        shown += keys
    turns = [[index for _, turn, index in shown if turn == number] for number in (0, 1)]
    assert [sorted(turn) for turn in turns] == [list(range(10))] * 2
    assert turns[0] != turns[1]


@pytest.mark.parametrize("drawn", [None, 4, 25])
def test_the_first_of_an_epoch_are_left_out(drawn):
    whole, rest = Shuffled(10, 0, drawn), Shuffled(10, 0, drawn)
    for order in (whole, rest):
        order.set_epoch(2)
    rest.skip = 3
    assert list(rest) == list(whole)[3:]


def test_crops_and_what_covers_the_valid_images():
    seen = {"size": [32, 32], "resize": "crops"}
    given = {"preprocessing": seen, "augmentation": "strong", "figure_crops": 1.0, "batch_size": 4}
    config = parse(TrainConfig, given)
    dataset = open_dataset("synthetic:n=20,size=50", "train")
    train, valid = loaders(config, dataset, dataset, on_gpu=False)
    batch = next(iter(train))
    assert batch["image"].shape == (4, 3, 32, 32)
    assert (batch[FIGURE] > 127).any(dim=(1, 2)).float().mean() > 0.7  # turning may move a figure out
    counted = torch.zeros(len(dataset), dtype=torch.int64)
    for batch in valid:
        counted.index_add_(0, batch["number"], (batch["weight"] > 0).sum((1, 2)))
    assert counted.tolist() == [50 * 50] * len(dataset)


def test_images_that_have_no_upper_side_are_turned():
    config = parse(TrainConfig, {"preprocessing": {"size": [48, 48]}, "augmentation": "none", "upright": False})
    dataset = open_dataset("synthetic:n=50,size=48", "train")
    found, image = TrainingImages(dataset, config, config.preprocessing), dataset[0].image
    turned = [np.rot90(side, quarter) for side in (image, image[::-1]) for quarter in range(4)]
    seen = {
        next(n for n, each in enumerate(turned) if np.array_equal(found[0, turn, 0].image, each)) for turn in range(60)
    }
    assert len(seen) >= 4


@pytest.mark.parametrize(("resize", "seen"), [("crops", (25, 25)), ("fit", (32, 32)), ("stretch", (50, 50))])
@pytest.mark.parametrize("cache", ["off", None])
def test_what_is_drawn_from_has_its_scale_with_and_without_a_cache(tmp_path, resize, seen, cache):
    data = DataConfig("synthetic:n=20,size=50", cache=cache or str(tmp_path))
    preprocessing = Preprocessing((32, 32), resize, scale=0.5)
    found = kept(open_dataset(data, "train"), data, preprocessing, progress=False)[0]
    expected = (32, 32) if resize == "stretch" and cache is None else seen  # uncached, it is augmented as it comes
    assert found.image.shape[:2] == found.mask.shape == expected
