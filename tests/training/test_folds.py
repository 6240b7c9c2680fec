"""A cross-validation: what it leaves, goes on with, and is taken for."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from figureground.bundle import read_info, replace_info
from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset
from figureground.errors import FiguregroundError
from figureground.evaluation import average, score_run, sum_up_folds
from figureground.prediction import load
from figureground.runs import bundle_path, members_of, read_config, refuse_foreign, remove_run
from figureground.training import begin_folds, train_folds
from figureground.training.folds import of_fold

FOLDS = 2


@pytest.fixture(scope="module")
def in_folds(tiny):
    return replace(tiny, data=DataConfig("synthetic:n=20,size=32", cache="off", folds=FOLDS), epochs=1)


@pytest.fixture(scope="module")
def validated(in_folds, tmp_path_factory):
    """The folder of a finished cross-validation; to be left as it is."""
    folder = tmp_path_factory.mktemp("runs") / "x"
    begin_folds(in_folds, folder)
    assert train_folds(folder, lambda run: score_run(run.folder))
    sum_up_folds(folder)
    return folder


def test_every_image_has_the_score_of_the_network_that_has_not_seen_it(validated, in_folds):
    figures = json.loads((validated / "folds.json").read_text())
    with (validated / "out_of_fold.csv").open() as file:
        rows = list(csv.DictReader(file))
    everything = open_dataset(in_folds.data, "train").names
    assert sorted(row["name"] for row in rows) == sorted(everything)
    assert figures["n"] == len(everything)
    for number in range(1, FOLDS + 1):
        own = json.loads((validated / f"fold-{number}" / "test.json").read_text())
        dice = [float(row["dice"]) for row in rows if row["fold"] == str(number)]
        assert np.mean(dice) == pytest.approx(own["dice"]["mean"])
        assert figures["dice_by_fold"][number - 1] == pytest.approx(own["dice"]["mean"])
        held_out = replace(in_folds.data, fold=number)
        assert {row["name"] for row in rows if row["fold"] == str(number)} == set(open_dataset(held_out, "test").names)
    first, second = figures["dice_by_fold"]
    assert figures["dice_spread"] == pytest.approx(abs(first - second) / 2**0.5)


def test_the_folder_is_one_segmenter(validated):
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    together = load(validated)
    apart = load(*members_of(validated))
    assert len(together.members) == FOLDS
    assert np.array_equal(together.predict(photo).probability, apart.predict(photo).probability)
    assert (validated.parent / "latest").resolve() == validated.resolve()
    assert len(load(validated.parent / "latest").members) == FOLDS


def test_where_one_model_is_wanted_the_message_names_a_way(validated):
    with pytest.raises(FiguregroundError, match=r"holds folds.*fold-1, or make one of them with: figureground average"):
        bundle_path(validated)


def test_a_fold_that_is_missing_is_named(validated, tmp_path):
    copy = shutil.copytree(validated, tmp_path / "x")
    (copy / "fold-2" / "model.safetensors").unlink()
    with pytest.raises(FiguregroundError, match=r"1 hold no model \(fold-2\); go on with: .*--resume"):
        load(copy)


def test_it_is_replaced_as_a_run_is(validated, tmp_path):
    copy = shutil.copytree(validated, tmp_path / "x")
    refuse_foreign(copy)
    remove_run(copy)
    assert list(copy.iterdir()) == []


def test_it_goes_on_where_it_stopped(in_folds, interrupt, tmp_path, validated):
    done = []

    def finish(run):
        score_run(run.folder)
        done.append(run.folder.name)

    folder = tmp_path / "x"
    begin_folds(in_folds, folder)
    interrupt(3)  # the second fold's first of two
    assert not train_folds(folder, finish)
    assert done == ["fold-1"]
    assert train_folds(folder, finish)
    assert done == ["fold-1", "fold-2"]
    assert train_folds(folder, lambda run: pytest.fail("all was done"))
    ours, others = (json.loads((each / "fold-2" / "test.json").read_text()) for each in (folder, validated))
    assert ours["dice"] == others["dice"]


@pytest.mark.parametrize(("apart", "holds"), [(0.0, True), (1.0, False)])
def test_weights_are_averaged_where_their_mean_knows_the_images_better(validated, in_folds, tmp_path, apart, holds):
    copy = shutil.copytree(validated, tmp_path / "x")
    for fold in members_of(copy):
        info = read_info(bundle_path(fold))
        replace_info(bundle_path(fold), replace(info, scores={"test": {"dice": {"mean": apart}}}))
    if holds:
        assert len(average(members_of(copy), tmp_path / "mean", in_folds.data)) == FOLDS
        assert len(load(tmp_path / "mean").members) == 1
    else:
        with pytest.raises(FiguregroundError, match="their weights have no mean, so none is written"):
            average(members_of(copy), tmp_path / "mean", in_folds.data)
        assert not (tmp_path / "mean").exists()


def test_minutes_are_shared(in_folds):
    assert of_fold(replace(in_folds, minutes=10), 2).minutes == 10 / FOLDS
    assert of_fold(replace(in_folds, minutes=10), 2).data.fold == 2


def test_the_command(in_process, tmp_path):
    given = ["--data", "synthetic:n=14,size=32", "--model", "unet", "--arguments", "{base_width: 4}", "--cache", "off"]
    given += ["--epochs", "1", "--set", "preprocessing.size=[32, 32]", "--output", tmp_path, "--name", "x"]
    status, output, errors = in_process("train", *given, "--folds", "2")
    assert status == 0, errors
    assert "out of fold: Dice" in output
    status, output, errors = in_process("evaluate", tmp_path / "x")
    assert status == 0, errors
    assert "test Dice" in output
    root = tmp_path / "data"  # the same images, in files
    for split, sample in ((part, each) for part in SPLITS for each in open_dataset(given[1], part)):
        for kind, pixels in (("images", sample.image), ("masks", sample.mask.astype(np.uint8) * 255)):
            path = root / kind / split / f"{sample.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    json_file = tmp_path / "check.json"
    status, output, errors = in_process("data", "check", root, "--folds", tmp_path / "x", "--json", json_file)
    assert "2 folds judged the masks" in output, errors
    assert len(json.loads(json_file.read_text())["ranking"]) == 14
    status, _, errors = in_process("data", "check", root, "--folds", tmp_path / "x" / "fold-1")
    assert (status, "holds no out_of_fold.csv" in errors) == (1, True)
    assert in_process("train", "--resume", tmp_path / "x")[0] == 0  # nothing is left to do
    status, _, errors = in_process("train", "--resume", tmp_path / "x", "--epochs", "3")
    assert (status, "leave out --epochs" in errors) == (2, True)
    status, _, errors = in_process("train", *given, "--folds", "20", "--overwrite")
    assert (status, "images for 20 folds" in errors) == (1, True)
    assert (tmp_path / "x" / "folds.json").is_file()  # what was refused has replaced nothing


def test_the_settings_are_kept(validated, in_folds):
    assert read_config(validated) == in_folds
    assert read_config(validated / "fold-1") == replace(in_folds, data=replace(in_folds.data, fold=1))
