"""``figureground pseudo-label``: photos without masks become a dataset."""

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figureground.bundle import read_info
from figureground.config import DataConfig, QualityConfig
from figureground.data.sources import open_source
from figureground.export.onnx import write_info


def save(path, white, grey=255):
    """A photo of 32 × 32 whose left columns are of that brightness: the model's figure."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :white] = grey
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def pseudo_label(in_process, bright_onnx, tmp_path, monkeypatch):
    """The command, in a folder with two photos: one with a sharp figure and one without any."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(bright_onnx, "model.onnx")
    save(tmp_path / "photos/sure.png", 16)
    save(tmp_path / "photos/sub/empty.png", 0)
    (tmp_path / "photos/notes.txt").write_text("no picture")

    def run(*options):
        return in_process("pseudo-label", "model.onnx", "photos", "-o", "out", "--engine", "onnxruntime", *options)

    return run


def review_below(bound):
    quality = QualityConfig(review_below=bound, fitted_on="valid")
    path = Path("model.onnx")
    write_info(path, replace(read_info(path), quality=quality))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_sure_masks_are_a_dataset_and_the_others_stand_aside(pseudo_label, tmp_path):
    status, out, _ = pseudo_label()
    assert status == 0
    out_files = ["images/sure.png", "masks/sure.png", "review/images/sub/empty.png", "review/masks/sub/empty.png"]
    assert files(tmp_path / "out") == out_files
    assert "1 with an estimated Dice of 0.80 or more to train on: out; 1 to look at: out/review; " in out
    assert "photos are hard links\n" in out
    assert "left out, as no pictures: 1 files (notes.txt)" in out
    assert "the estimate of model.onnx was never fitted" in out
    assert os.path.samefile("photos/sure.png", "out/images/sure.png")
    (entry,) = open_source(DataConfig("out")).entries
    assert (entry.name, entry.truth.name) == ("sure", "sure.png")
    with open("out/estimates.csv", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows["images/sure.png"]["place"] == "train"
    assert float(rows["images/sure.png"]["estimated_dice"]) > 0.9
    empty = rows["review/images/sub/empty.png"]
    assert (empty["mask"], empty["place"], empty["estimated_dice"]) == (
        "review/masks/sub/empty.png",
        "review",
        "0.0000",
    )


def test_it_goes_on_and_another_model_sorts_anew(pseudo_label, tmp_path):
    pseudo_label()
    before = (tmp_path / "out/masks/sure.png").stat().st_mtime_ns
    assert "0 of 2 photos done, 2 were there" in pseudo_label()[1]
    assert (tmp_path / "out/masks/sure.png").stat().st_mtime_ns == before
    (tmp_path / "out/images/sure.png").unlink()
    pseudo_label()
    assert files(tmp_path / "out")[0] == "images/sure.png"
    review_below(1.0)
    assert "2 made anew: model changed" in pseudo_label()[1]
    names = ("sub/empty.png", "sure.png")
    assert files(tmp_path / "out") == [f"review/{kind}/{name}" for kind in ("images", "masks") for name in names]
    review_below(0.5)
    pseudo_label()
    assert files(tmp_path / "out")[:2] == ["images/sure.png", "masks/sure.png"]


def test_a_mask_that_was_mended_and_moved_is_left_alone(pseudo_label, tmp_path):
    pseudo_label()
    for kind in ("images", "masks"):
        (tmp_path / f"out/{kind}/sub").mkdir()
        (tmp_path / f"out/review/{kind}/sub/empty.png").rename(tmp_path / f"out/{kind}/sub/empty.png")
    mended = np.zeros((32, 32), np.uint8)
    mended[:, :7] = 255
    Image.fromarray(mended).save(tmp_path / "out/masks/sub/empty.png")
    review_below(0.7)
    assert "2 with an estimated Dice of 0.70 or more" in pseudo_label()[1]
    with Image.open("out/masks/sub/empty.png") as mask:
        assert np.asarray(mask)[0, :8].tolist() == [255] * 7 + [0]


def test_broken_photos_are_named_and_folders_without_any_refused(pseudo_label, tmp_path):
    (tmp_path / "photos/broken.png").write_bytes(b"x")
    status, out, err = pseudo_label()
    assert (status, "1 failed" in out) == (1, True)
    assert err.startswith("skipped: photos/broken.png is not an image")
    shutil.rmtree(tmp_path / "photos")
    (tmp_path / "photos").mkdir()
    status, _, err = pseudo_label()
    assert (status, err.startswith("error: no photo in photos; expected files of: ")) == (1, True)
