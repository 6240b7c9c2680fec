"""Folds: who is held out when, and what cannot be divided into them."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset
from figureground.data.splits import Member, divide_fold
from figureground.errors import FiguregroundError


def members(n, share=lambda index: 0.5, group=lambda index: None):
    return [Member(f"image-{index}", group(index), share(index)) for index in range(n)]


def held_out(found, folds):
    """The names that each fold holds out."""
    parts = [divide_fold("D", found, fold + 1, folds) for fold in range(folds)]
    assert all(set(part.values()) == {0, 1, 2} for part in parts)
    return [{name for name, place in part.items() if SPLITS[place] == "test"} for part in parts]


@pytest.mark.parametrize(("n", "folds"), [(4, 2), (5, 5), (7, 5), (8, 5), (13, 5), (50, 5), (31, 3)])
def test_each_image_is_held_out_once_and_folds_are_of_equal_size(n, folds):
    found = held_out(members(n), folds)
    assert Counter(name for fold in found for name in fold) == {f"image-{index}": 1 for index in range(n)}
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_folds_are_stratified():
    shares = {f"image-{index}": index / 50 for index in range(50)}
    for fold in held_out(members(50, lambda index: index / 50), 5):
        assert abs(np.mean([shares[name] for name in fold]) - 0.49) < 0.05


def test_groups_stay_together():
    for fold in held_out(members(40, group=lambda index: f"patient-{index // 4}"), 5):
        assert len(fold) == 8
        assert len({int(name[6:]) // 4 for name in fold}) == 2


@pytest.fixture
def folder(tmp_path):
    """Puts noisy pictures with a square figure into ``images`` and ``masks``; of no side: no figure."""

    def put(sides, split="."):
        for index, side in enumerate(sides):
            pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), np.uint8)
            mask = np.zeros((32, 32), np.uint8)
            mask[:side, :side] = 255
            for kind, picture in (("images", pixels), ("masks", mask)):
                path = tmp_path / kind / split / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
        return tmp_path

    return put


def test_a_folder_without_splits_is_all_in_folds(folder):
    root = folder([8] * 10)
    parts = [open_dataset(DataConfig(str(root), folds=5, fold=fold), "test").names for fold in range(1, 6)]
    assert sorted(name for names in parts for name in names) == [str(index) for index in range(10)]
    assert len(open_dataset(DataConfig(str(root), folds=5), "train")) == 10
    with pytest.raises(FiguregroundError, match=r"no test beside its 5 folds.*add a test part"):
        open_dataset(DataConfig(str(root), folds=5), "test")


def test_an_official_test_part_is_in_no_fold(folder):
    folder([8] * 6, "train")
    folder([8] * 2, "valid")
    root = folder([8] * 3, "test")
    inside = DataConfig(str(root), folds=2, fold=1)
    assert sum(len(open_dataset(inside, split)) for split in SPLITS) == 8
    assert len(open_dataset(DataConfig(str(root), folds=2), "test")) == 3


@pytest.mark.parametrize(
    ("sides", "folds", "says"),
    [
        ([8, 8], 5, "has 2 images for 5 folds; expected at least one for each"),
        ([8, 8, 8], 2, "fold 1 of 2 leaves 1 images, of one group"),
        ([8, 0, 0, 0, 0, 0], 3, r"fold \d of 3 has no figure in any of its 2 images"),
    ],
)
def test_what_cannot_be_divided_is_one_line(folder, sides, folds, says):
    with pytest.raises(FiguregroundError, match=says):
        open_dataset(DataConfig(str(folder(sides)), folds=folds, fold=1), "train")


@pytest.mark.parametrize("settings", [{"fold": 1}, {"folds": 2, "fold": 3}, {"folds": 2, "split": "names"}])
def test_settings_that_do_not_agree(settings):
    with pytest.raises(FiguregroundError, match="fold"):
        DataConfig(**settings)


def test_few_images_are_told_of_folds(folder, caplog):
    with caplog.at_level("INFO"):
        open_dataset(str(folder([8] * 10)), "train")
    assert "figureground train --folds 5" in caplog.text
