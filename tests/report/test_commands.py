"""The lab report's commands, as they are written there, from a copy of ``src/`` with its ``dataset/`` beside it."""

import io
import os
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from figureground import lab_report
from figureground.data import open_dataset
from figureground.images import read_image, read_levels
from figureground.models import create_model
from figureground.preprocessing import Preprocessing

DRAWN = "synthetic:n=20,size=64"
TEST = (12, 13)
SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy of the sources beside 2 images to train on, 1 to validate and 2 to test, in the official layout."""
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(SOURCE, root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    images, trimaps = root / "dataset" / "images", root / "dataset" / "annotations" / "trimaps"
    images.mkdir(parents=True)
    trimaps.mkdir(parents=True)
    samples = open_dataset(DRAWN, "train")
    lists = {"trainval": range(3), "test": TEST}
    for name, indices in lists.items():
        (trimaps.parent / f"{name}.txt").write_text("".join(f"cat_{index} 1 1 1\n" for index in indices))
        for index in indices:
            Image.fromarray(samples[index].image).save(images / f"cat_{index}.jpg")
            Image.fromarray(np.where(samples[index].mask, 1, 2).astype(np.uint8)).save(trimaps / f"cat_{index}.png")
    return root


def run(root, *command):
    environment = {**os.environ, "MPLBACKEND": "agg", "HOME": str(root)}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=root / "src",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run_here(root, script, *arguments, fails=False):
    """The same without a new process, whose imports take seconds."""
    printed, status = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.chdir(root / "src")
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        patch.setattr(lab_report, "DATASET", root / "dataset")
        patch.setattr(lab_report, "SAVED_MODELS", root / "saved_models")
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as ended:
            status = ended.code
    assert bool(status) == fails, printed.getvalue()
    return printed.getvalue()


@pytest.fixture(scope="module")
def trained(root):
    printed = {
        "unet": run(root, "train.py", "--model", "unet", "--epochs", 1, "--batch_size", 4, "--learning-rate", "1e-4"),
        "resnet": run(root, "train.py", "--model", "resnet", "-e", 1, "-b", 5, "-lr", "1e-4"),
    }
    half_figure(root / "saved_models" / "best_resnet.pth", root / "dataset" / "images")
    return printed


def half_figure(weights, images):
    """After so little training a network finds nothing: move its threshold until half of the pixels are figure."""
    preprocessing, network = Preprocessing((256, 256)), create_model("resnet34_unet").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    photos = [preprocessing.resize_image(read_image(images / f"cat_{index}.jpg")) for index in TEST]
    with torch.no_grad():
        network.head.bias -= network(torch.from_numpy(preprocessing.normalise(np.stack(photos))))["figure"].median()
    torch.save(network.state_dict(), weights)


@pytest.fixture(scope="module")
def evaluated(root, trained):
    """What evaluating each of the models prints."""
    return {
        model: run_here(
            root, "evaluate.py", "--data_path", root / "dataset", "--mode", "test", "--batch_size", 1,
            "--model_path", root / "saved_models" / f"best_{model}.pth", "--model_type", model,
        )
        for model in trained
    }  # fmt: skip


@pytest.mark.parametrize(("model", "parameters"), [("unet", 31_043_521), ("resnet", 33_867_649)])
def test_train_saves_the_best_weights_under_the_reports_name(root, trained, model, parameters):
    state = torch.load(root / "saved_models" / f"best_{model}.pth", weights_only=True)
    learned = [name for name in state if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert sum(state[name].numel() for name in learned) == parameters
    assert re.search(
        r"epoch 1/1 +train loss \d\.\d+ +valid loss \d\.\d+ +valid Dice \d\.\d+ +\d+\.\d s", trained[model]
    )
    assert (root / "runs" / f"report-{model}" / "history.png").is_file()


def test_an_interrupted_training_writes_no_weights_and_goes_on(root, trained, tmp_path, monkeypatch):
    from dataclasses import replace

    from figureground.training import Run

    saved = root / "saved_models" / "best_unet.pth"
    before, run_folder = saved.read_bytes(), root / "runs" / "report-unet"
    done = Run(run_folder, (), interrupted=True)
    monkeypatch.setattr(lab_report, "SAVED_MODELS", saved.parent)
    monkeypatch.setattr(lab_report, "train_run", lambda *_, **__: done)
    monkeypatch.setattr(lab_report, "resume_run", lambda folder, **_: replace(done, folder=folder, interrupted=False))
    saved.write_bytes(b"of an earlier training")
    lab_report.train("unet", root / "dataset", 1, 4, 1e-4)
    assert saved.read_bytes() == b"of an earlier training"
    lab_report.train("resnet", root / "dataset", 1, 4, 1e-4, resume=run_folder)  # the run knows its network
    weights = torch.load(saved, weights_only=True)
    saved.write_bytes(before)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in torch.load(saved, weights_only=True).items())


@pytest.mark.parametrize("model", ["unet", "resnet"])
def test_evaluate(evaluated, model):
    assert re.search(r"test Dice [01]\.\d{4} \[[01]\.\d{4}, [01]\.\d{4}\] .*n=2", evaluated[model])


def test_inference(root, trained, evaluated, tmp_path):
    settings = [
        "--data_path",
        root / "dataset",
        "--mode",
        "test",
        "--num_samples",
        5,
        "--save_dir",
        tmp_path,
        "--no_show",
    ]
    output = run_here(
        root, "inference.py", "--model", root / "saved_models/best_resnet.pth", "--model_type", "resnet", *settings
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"cat_{index}_{kind}.png" for index in TEST for kind in ("mask", "overlay")}
    assert all(name in output for name in names)
    dice = []
    for index in TEST:
        mask = read_levels(tmp_path / f"cat_{index}_mask.png")
        truth = open_dataset(DRAWN, "train")[index]
        assert set(np.unique(mask)) == {0, 255}
        dice.append(2 * np.sum((mask == 255) & truth.mask) / (np.sum(mask == 255) + np.sum(truth.mask)))
    printed = float(re.search(r"test Dice (0\.\d{4})", evaluated["resnet"])[1])
    assert np.mean(dice) == pytest.approx(printed, abs=0.02)  # scored at 256 × 256, the files are of 64 × 64


def test_test_models(root, trained):
    output = run(root, "test_models.py", "--model", "unet", "--image_index", 1)
    assert re.search(r"Dice [01]\.\d{4}, picture: unet-test-1\.png", output)
    with Image.open(root / "src" / "unet-test-1.png") as picture:
        assert picture.width > picture.height


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train.py", "--data_path", "nowhere"], "error: nowhere: no such folder"),
        (["evaluate.py", "--model_path", "none.pth"], "error: none.pth: no such file"),
        (["test_models.py", "--image_index", "3"], "error: there is no test image 3; expected 0 to 1"),
        (["evaluate.py", "--model_path", "../saved_models/best_resnet.pth"], "does not fit the model 'unet'"),
    ],
)
def test_wrong_input_is_one_line(root, trained, command, message):
    assert message in run_here(root, *command, fails=True)


def test_the_reports_helpers_are_public():
    import figureground

    logits = torch.tensor([[[[3.0, -3.0]]], [[[3.0, 3.0]]]])
    target = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
    assert figureground.dice_score(logits, target) == pytest.approx((1 + 2 / 3) / 2)
    image = figureground.tensor_to_image(torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1))
    assert image.tolist() == [[[0, 128, 255]]]
    assert callable(figureground.show_prediction)
