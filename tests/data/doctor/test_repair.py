import csv

import numpy as np
import pytest
from PIL import Image

from figureground.config import DataConfig
from figureground.data import open_dataset
from figureground.data.doctor import KINDS, check, repair
from figureground.errors import FiguregroundError

from . import test_check as faults
from .conftest import draw_mask

TRUTH = np.asarray(draw_mask()) > 0


def repaired(folder, accept=(), **settings):
    """The report of the repaired copy, its folder and the log."""
    output = folder.root.parent / "repaired"
    repair(check(DataConfig(str(folder.root), **settings), accept=accept), output)
    with (output / "repairs.csv").open(newline="") as file:
        return check(output), output, list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("plant", "kind"), [planted[:2] for planted in faults.PLANTED], ids=lambda value: getattr(value, "__name__", value)
)
def test_a_repaired_copy_is_clean(folder, plant, kind):
    plant(folder)
    report, output, log = repaired(folder)
    assert report.clean
    if KINDS[kind].repair != "keep":
        assert report.findings == ()
        assert log
    assert len(open_dataset(output, "test")) == 3
    kept = len(open_dataset(output, "train"))
    assert kept == (5 if KINDS[kind].repair == "leave out" and KINDS[kind].severity == "problem" else 6)


def test_a_clean_set_is_copied_as_it_is(folder):
    _, output, log = repaired(folder)
    assert log == []
    for path in folder.root.rglob("*.png"):
        assert np.array_equal(Image.open(path), Image.open(output / path.relative_to(folder.root)))
    assert (output / "images" / "train" / "0.png").read_bytes() == folder.image.read_bytes()


MENDED = [
    (faults.values_0_1, "0/1 (0, 1) to 0 and 255"),
    (faults.alpha_mask, "alpha"),
    (faults.inverted, "figure and background exchanged"),
    (faults.specks, "1 pixels of specks erased"),
    (faults.pinholes, "1 pixels of pinholes filled"),
    (faults.off_by_one, "resized from 97×64"),
    (faults.jpeg_mask, "jpeg"),
    (faults.anti_aliased, "anti-aliased"),
]


@pytest.mark.parametrize(("plant", "detail"), MENDED, ids=lambda value: getattr(value, "__name__", None))
def test_mended_masks(folder, plant, detail):
    plant(folder)
    _, output, log = repaired(folder)
    assert detail in log[0]["detail"]
    assert log[0]["action"] == "mended"
    with Image.open(output / "masks" / "train" / "0.png") as mask:
        assert mask.mode == "L"
        assert np.count_nonzero((np.asarray(mask) == 255) != TRUTH) <= 0.01 * TRUTH.size


@pytest.mark.parametrize(("orientation", "suffix"), [(5, ".png"), (6, ".png"), (7, ".png"), (8, ".png"), (6, ".tif")])
def test_masks_are_turned_as_their_images(folder, orientation, suffix):
    """The image shows its own mask, so they must lie on each other again."""
    drawing = np.zeros((64, 96), np.uint8)
    drawing[5:40, 10:30] = drawing[5:15, 10:70] = 255
    Image.fromarray(drawing).save(folder.mask)
    folder.image.unlink()
    faults.save_exif(Image.fromarray(drawing).convert("RGB"), folder.image.with_suffix(suffix), orientation)
    _, output, _ = repaired(folder)
    sample = open_dataset(output, "train")[0]
    assert sample.image.shape == (96, 64, 3)
    assert np.array_equal(sample.image[..., 0] == 255, sample.mask)


@pytest.mark.parametrize("plant", [faults.exact_leak, faults.near_leak])
def test_test_keeps_its_image_of_a_leak(folder, plant):
    plant(folder)
    _, output, log = repaired(folder)
    pair = ["images/train/0.png", "masks/train/0.png"]
    assert [(row["file"], row["action"]) for row in log] == [(file, "left out") for file in pair]
    assert list(open_dataset(output, "test").names) == ["0", "1", "2"]


def test_what_is_accepted_is_kept(folder):
    faults.empty_mask(folder)
    faults.inverted(folder)
    faults.empty_mask(folder)
    _, output, log = repaired(folder, accept=["empty_mask"])
    assert log == []
    assert not open_dataset(output, "train")[0].mask.any()


@pytest.mark.parametrize("plant", [faults.several_classes, faults.size_differs])
def test_what_cannot_be_written_is_left_out_even_if_accepted(folder, plant):
    plant(folder)
    report, _, log = repaired(folder, accept=[plant.__name__])
    assert report.findings == ()
    assert [row["action"] for row in log] == ["left out"] * len(log) != []


def test_classes_are_kept_with_a_threshold(folder):
    faults.several_classes(folder)
    _, output, _ = repaired(folder, mask_threshold=200)
    assert np.array_equal(open_dataset(output, "train")[0].mask, np.asarray(Image.open(folder.mask)) >= 200)


def test_pets_become_a_folder(pets):
    faults.Image.new("L", (96, 64), 2).save(pets / "annotations" / "trimaps" / "cat_3.png")
    output = pets.parent / "repaired"
    actions = repair(check(DataConfig(str(pets), foreground="background")), output)
    pair = ["annotations/trimaps/cat_3.png", "images/cat_3.jpg"]
    assert [(action.file, action.detail) for action in actions] == [(file, "empty masks") for file in pair]
    dataset = open_dataset(output, "train")
    assert len(dataset) == 17
    assert np.array_equal(dataset[0].mask, open_dataset(DataConfig(str(pets), "background"), "train")[0].mask)


def test_refusals(folder):
    with pytest.raises(FiguregroundError, match="is not empty; give a new folder"):
        repair(check(folder.root), folder.root)
    with pytest.raises(FiguregroundError, match="cannot leave pixels out"):
        repair(check(DataConfig(str(folder.root), foreground="ignore")), folder.root.parent / "repaired")


def test_the_original_is_not_changed(folder):
    faults.inverted(folder)
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    repaired(folder)
    assert before == {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}


def test_of_copies_the_one_whose_mask_is_good_remains(folder):
    faults.exact_leak(folder)
    Image.new("L", draw_mask().size).save(folder.root / "masks" / "test" / "0.png")  # test's own is empty
    report, output, log = repaired(folder)
    assert report.clean
    assert (output / "images" / "train" / "0.png").is_file()
    assert {row["file"] for row in log} == {"images/test/0.png", "masks/test/0.png"}
