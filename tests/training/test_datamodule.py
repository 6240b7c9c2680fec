"""Which training images are changed into others."""

import numpy as np
import pytest

from figureground.config import TrainConfig, merge, parse
from figureground.data import open_dataset
from figureground.labels import FIGURE
from figureground.preprocessing import Preprocessing
from figureground.training.datamodule import TrainingImages

N = 40


def images(**changes):
    given = {"preprocessing": {"size": [48, 48]}, "augmentation": "none"}
    config = parse(TrainConfig, merge(given, changes))
    dataset = open_dataset("synthetic:n=50,size=48", "train")
    assert len(dataset) == N
    return TrainingImages(dataset, config, Preprocessing.of(config.preprocessing)), dataset


def test_nothing_is_changed_by_default():
    found, dataset = images()
    for index in range(N):
        np.testing.assert_array_equal(found[0, index].image, dataset[index].image)
        np.testing.assert_array_equal(found[0, index].labels, dataset[index].labels)


def changed(found, dataset, epoch=0):
    return [index for index in range(N) if not np.array_equal(found[epoch, index].image, dataset[index].image)]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_negatives_take_the_place_of_a_share(share):
    found, dataset = images(negatives=share)
    without = [index for index in range(N) if not (found[0, index].labels == FIGURE).any()]
    assert len(without) / N == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / N))
    assert without == changed(found, dataset)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_figures_are_pasted_onto_a_share(share):
    found, dataset = images(copy_paste=share)
    pasted = changed(found, dataset)
    assert len(pasted) / N == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / N))
    for index in pasted:
        before, after = dataset[index].labels == FIGURE, found[0, index].labels == FIGURE
        assert (after | ~before).all()  # the figure that was there still counts as figure
        assert found[0, index].labels.any()


def test_epoch_and_index_decide():
    found, dataset = images(copy_paste=0.5, negatives=0.2)
    again, _ = images(copy_paste=0.5, negatives=0.2)
    for index in range(N):
        np.testing.assert_array_equal(found[3, index].image, again[3, index].image)
    assert changed(found, dataset, epoch=1) != changed(found, dataset, epoch=2)
