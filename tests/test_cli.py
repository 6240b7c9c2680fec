"""The commands as a user gives them; each in a process of its own where start-up or exit status matters."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from figureground.bundle import read_tensors
from figureground.cli import app
from figureground.cli.train import of_start
from figureground.config import TrainConfig, merge, parse, read_settings
from figureground.data import open_dataset


def figureground(*arguments, status=0):
    command = [sys.executable, "-m", "figureground", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A folder with images and masks, divided by the user."""
    root = tmp_path_factory.mktemp("my-pets")
    for split, count in (("train", 12), ("valid", 3), ("test", 3)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        samples = open_dataset("synthetic:n=60,size=48", "train")
        for index in range(count):
            Image.fromarray(samples[index].image).save(root / "images" / split / f"{index}.jpg")
            Image.fromarray(samples[index].mask).save(root / "masks" / split / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def run(pets):
    settings = ["--model", "unet", "--base-width", 4, "--size", 32, "-e", 2, "--cache", pets / "cache"]
    output = figureground("train", "--data", pets, *settings, "--output", pets / "runs", "--name", "first")
    assert re.search(r"test Dice 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\] .*n=3", output)
    return pets / "runs" / "first"


def test_version():
    from figureground import __version__

    assert figureground("--version").strip() == __version__


def test_train_evaluate_predict(in_process, run, pets, tmp_path):
    status, output, errors = in_process("evaluate", run, "--data", pets, "--json", tmp_path / "f.json")
    assert status == 0, errors
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures == {**json.loads((run / "test.json").read_text()), "model": str(run)}
    assert f"test Dice {figures['dice']['mean']:.4f}" in output
    assert in_process("predict", run, pets / "images" / "test", "--output", tmp_path / "masks")[0] == 0
    with Image.open(tmp_path / "masks" / "1.png") as mask:
        assert (mask.mode, mask.size) == ("L", (48, 48))
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    latest = in_process("predict", run.parent / "latest", pets / "images" / "test", "--output", tmp_path / "masks")[1]
    assert "0 of 3 photos done" in latest
    assert "3 were there" in latest


def test_a_json_file_is_not_overwritten(in_process, run, pets, tmp_path):
    (tmp_path / "f.json").write_text("mine")
    status, _, errors = in_process("evaluate", run, "--data", pets, "--json", tmp_path / "f.json")
    assert status == 1
    assert "exists; choose another name or replace it with --overwrite" in errors
    assert (tmp_path / "f.json").read_text() == "mine"


def test_a_folder_of_another_layout_is_not_taken_for_the_pets(in_process, pets):
    status, _, errors = in_process("data", "oxford-pet", "--root", pets)
    assert (status, errors) == (1, f"error: {pets} does not hold the dataset; get it there with --download\n")


def test_a_broken_photo_does_not_stop_the_others(in_process, run, pets, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    whole = (pets / "images" / "test" / "1.jpg").read_bytes()
    (photos / "good.jpg").write_bytes(whole)
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    Image.new("RGB", (1, 1)).save(photos / "one.png")
    status, output, errors = in_process("predict", run, photos, "--output", tmp_path / "masks")
    assert status == 1
    assert "2 of 4 photos done" in output
    assert "2 failed" in output
    assert re.search(r"skipped: .*cut.jpg cannot be decoded", errors)
    assert re.search(r"skipped: .*empty.jpg is empty \(0 bytes\)", errors)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train", "--epochs", "many"], 2, "--epochs"),
        (["train", "--score", "all"], 2, "--score 'all'; expected test, valid or none"),
        (["train", "--epochs", "0"], 2, "epochs is 0; expected at least 1"),
        (
            ["train", "--recipe", "mine"],
            1,
            "mine: no such file, and no recipe of that name; recipes are: pets, report, strong",
        ),
        (["train", "--model", "vnet"], 2, "there is no model 'vnet'"),
        (["train", "--data", "nowhere"], 1, "nowhere: no such folder"),
        (["train", "--precision", "half"], 2, "precision is 'half'; expected one of: auto, float32, bfloat16"),
        (["train", "--resume", "nowhere"], 1, "nowhere holds no config.yaml"),
        (["train", "--resume", "nowhere", "--epochs", "3"], 1, "nowhere holds no config.yaml"),
        (["train", "--resume", "nowhere", "--size", "64"], 2, "--resume goes on with the run's own config.yaml"),
        (["evaluate", "nowhere", "--data", "synthetic"], 1, "nowhere: no such model"),
        (["evaluate", "nowhere", "--data", "synthetic", "--split", "tests"], 2, "there is no split 'tests'"),
        (["predict", "nowhere", "none.jpg"], 1, "nowhere: no such model, photo or folder"),
        (["data", "oxford-pet", "--root", "nowhere"], 1, "nowhere does not hold the dataset; get it there with"),
        (["nothing"], 2, "No such command"),
    ],
)
def test_wrong_input(in_process, arguments, status, message, tmp_path):
    found, _, errors = in_process(*arguments, *(["--output", tmp_path] if arguments[0] == "train" else []))
    assert found == status
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors


def test_wrong_input_is_one_line_without_debug():
    assert len(figureground("predict", "nowhere", "none.jpg", status=1).strip().splitlines()) == 1
    command = [sys.executable, "-m", "figureground", "--debug", "predict", "nowhere", "none.jpg"]
    assert "Traceback" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_training_goes_on_from_other_weights(tmp_path, narrow_bundle):
    settings = ["--data", "synthetic:n=40,size=64", "--size", "64", "--epochs", "1", "--cache", "off"]
    done = CliRunner().invoke(
        app, ["train", *settings, "--recipe", "strong", "--start-from", str(narrow_bundle), "--output", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    config = (tmp_path / "latest" / "config.yaml").read_text()
    assert "name: unet" in config  # nobody named a network, so it is that of the weights
    assert f"network: {narrow_bundle}" in config


@pytest.mark.parametrize(
    ("recipe", "changes", "expected"),
    [
        ("strong", {}, ("unet", {"base_width": 8})),
        ("strong", {"name": "unet"}, ("unet", {"base_width": 8})),
        ("strong", {"name": "resnet34_unet"}, ("resnet34_unet", {})),
        ("pets", {"arguments": {"base_width": 4}}, ("compact_fpn", {"base_width": 4})),
    ],
)
def test_who_names_a_network_without_arguments_gets_those_of_the_weights(recipe, changes, expected, narrow_bundle):
    given = {"initial_weights": {"network": str(narrow_bundle)}, "model": changes}
    model = parse(TrainConfig, merge(of_start(read_settings(recipe), given), given)).model
    assert (model.name, model.arguments) == expected


@pytest.mark.parametrize(("score", "files"), [("none", set()), ("valid", {"valid.json", "report.html"})])
def test_what_a_training_is_scored_on(in_process, pets, tmp_path, score, files):
    """Not test: of the data only train and valid need to be there."""
    for kind in ("images", "masks"):
        for split in ("train", "valid"):
            shutil.copytree(pets / kind / split, tmp_path / "data" / kind / split)
    settings = ["--model", "unet", "--base-width", 4, "--size", 32, "-e", 1, "--cache", "off", "--score", score]
    status, out, errors = in_process("train", "--data", tmp_path / "data", *settings, "--output", tmp_path / "runs")
    assert status == 0, errors
    found = {path.name for path in (tmp_path / "runs" / "unet").iterdir()}
    assert found & {"test.json", "valid.json", "report.html"} == files
    assert all(name in out for name in files)


def test_a_finished_run_is_trained_longer(in_process, tmp_path):
    settings = [
        "--data",
        "synthetic:n=24,size=32",
        "--size",
        32,
        "--model",
        "unet",
        "--base-width",
        4,
        "--cache",
        "off",
    ]
    short = ["--recipe", "strong", "--epochs", 2, "--set", "phases=[]", "--score", "none", "--output", tmp_path]
    assert in_process("train", *settings, *short)[0] == 0
    status, _, errors = in_process("train", "--resume", tmp_path / "unet", "--epochs", 3, "--score", "none")
    assert status == 0, errors
    assert len((tmp_path / "unet" / "metrics.csv").read_text().splitlines()) == 1 + 3
    assert "epochs: 3" in (tmp_path / "unet" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("command", "works"),
    [
        (["evaluate", "RUN", "--csv", "FOLDER/f.csv", "--html", "FOLDER/f.html"], "figureground.evaluation.evaluate"),
        (["compare", "RUN", "OTHER", "--data", "DATA"], "figureground.evaluation.evaluate"),
        (["calibrate", "RUN"], "figureground.evaluation.fit_on_valid"),
        (["data", "check", "DATA", "--html", "FOLDER/f.html"], "figureground.data.doctor.check"),
        (["verify", "pets"], "figureground.prediction.photos.verify.verify"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_reports_never_tell_of_another_time(in_process, run, pets, tmp_path, monkeypatch, command, works):
    """Whatever ends the command, a report of an earlier one is not there."""

    def ended(*arguments, **settings):
        raise SystemExit(143)  # SIGTERM

    monkeypatch.setattr(works, ended)
    for name in ("f.json", "f.csv", "f.html"):
        (tmp_path / name).write_text("of another time")
    other = shutil.copy(run / "model.safetensors", run.parent / "other.safetensors")
    named = {
        "RUN": run,
        "OTHER": other,
        "DATA": pets,
        "FOLDER/f.csv": tmp_path / "f.csv",
        "FOLDER/f.html": tmp_path / "f.html",
    }
    given = [named.get(word, word) for word in command]
    status, _, errors = in_process(*given, "--json", tmp_path / "f.json", "--overwrite")
    assert status == 143, errors
    asked = {path.name for path in given if isinstance(path, Path) and path.parent == tmp_path} | {"f.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"f.json", "f.csv", "f.html"} - asked


def test_a_run_with_a_new_model_has_no_scores_of_its_last(in_process, tmp_path):
    options = [
        "--set",
        "phases=[]",
        "--learning-rate",
        0.02,
        "--model",
        "unet",
        "--base-width",
        4,
        "--size",
        32,
        "--cache",
        "off",
    ]
    data = ["--data", "synthetic:n=24,size=32", "--output", tmp_path, "--recipe", "strong", "--epochs", 1]
    assert in_process("train", *data, *options)[0] == 0
    told = {path.name for path in (tmp_path / "unet").iterdir()}
    before = read_tensors(tmp_path / "unet" / "model.safetensors")
    for epochs in range(2, 6):
        assert in_process("train", "--resume", tmp_path / "unet", "--epochs", epochs, "--score", "none")[0] == 0
        after = read_tensors(tmp_path / "unet" / "model.safetensors")
        if any(not np.array_equal(after[name], before[name]) for name in before):
            break
    assert {"test.json", "report.html", "per_image.csv"} == told - {path.name for path in (tmp_path / "unet").iterdir()}


def test_clear_cache(tmp_path):
    result = CliRunner().invoke(app, ["data", "clear-cache", "--folder", str(tmp_path)])
    assert result.exit_code == 0
    assert "0 entries removed" in result.output


def test_the_demonstration_replaces_nothing(in_process, tmp_path, monkeypatch):
    folders = []
    for name in ("cut_out_example", "train_small"):
        monkeypatch.setattr(f"figureground.demo.{name}", lambda output, *_: folders.append(output))
    (tmp_path / "demo").mkdir()
    assert in_process("demo", "--output", tmp_path / "demo")[0] == 0
    monkeypatch.chdir(tmp_path)
    assert in_process("demo", "--output", ".")[0] == 0
    assert folders == [tmp_path / "demo-2"] * 2 + [Path("demo-2")] * 2


def test_demo(tmp_path, monkeypatch):
    """In two short epochs, whatever fits into its minutes."""
    from figureground.demo import cut_out_example, train_small

    def short(config, *given):
        return replace(config, minutes=None, epochs=2, epoch_images=48), None

    monkeypatch.setattr("figureground.training.run.within_minutes", short)
    monkeypatch.setattr("figureground.demo.DRAWN", "synthetic:n=60,size=64")
    lines = []
    cut_out_example(tmp_path, lines.append)
    assert re.search(r"a cat, found in \d+\.\d s by the model in the box \(pets, ", lines[0])
    with Image.open(tmp_path / "cat.png") as picture:
        assert picture.size == (3 * 451 + 2 * 12, 300)
    train_small(tmp_path, False, lines.append)
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert any("test Dice" in line for line in lines)
    assert (tmp_path / "prediction.png").is_file()
