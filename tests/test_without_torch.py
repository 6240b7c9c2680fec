"""Predicting and scoring on the base install: a real environment that holds the packages of pyproject.toml alone."""

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

import figureground
from figureground import pretrained

ROOT = Path(__file__).parents[1]
PACKAGE = Path(figureground.__file__).parent


def base_distributions():
    """The packages that pyproject.toml names without any extra, and what these need in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting, found = list(project["dependencies"]), {}
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[requirement.name] = distribution(requirement.name)
        waiting += found[requirement.name].requires or []
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment that holds links to these packages and to ours."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / PACKAGE.name).symlink_to(PACKAGE)
    for package in base_distributions().values():
        for name in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(package.locate_file(name))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def place(tmp_path_factory, narrow_onnx, narrow_bundle):
    """A folder with both kinds of model, three photos and their masks."""
    root = tmp_path_factory.mktemp("place")
    (root / "model.onnx").symlink_to(narrow_onnx)
    (root / "model.safetensors").symlink_to(narrow_bundle)
    for kind in ("images", "masks"):
        (root / kind / "test").mkdir(parents=True)
    samples = figureground.open_dataset("synthetic:n=30,size=40", "test")
    for index in range(3):
        Image.fromarray(samples[index].image).save(root / "images" / "test" / f"{index}.png")
        Image.fromarray(samples[index].mask).save(root / "masks" / "test" / f"{index}.png")
    return root


def run(python, place, *arguments, status=0):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([python, *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def command(python, place, *arguments, status=0):
    return run(python, place, "-m", "figureground", *arguments, status=status)


def test_the_environment_is_the_base_install(python, place):
    names = [
        "torch",
        "lightning",
        "torchvision",
        "safetensors",
        "albumentations",
        "matplotlib",
        "yaml",
        "openvino",
        "onnx",
    ]
    code = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    assert run(python, place, "-c", code).strip() == "[]"
    assert command(python, place, "--version").strip() == figureground.__version__


def test_the_same_predictions_as_here(python, place):
    code = (
        "import numpy as np, figureground as fg; segmenter = fg.load('model.onnx'); print(segmenter.engine); "
        "np.save('probability.npy', segmenter.predict('images/test/0.png').probability)"
    )
    assert run(python, place, "-c", code).strip() == "onnxruntime"
    expected = figureground.load(place / "model.safetensors").predict(place / "images" / "test" / "0.png")
    np.testing.assert_allclose(np.load(place / "probability.npy"), expected.probability, atol=1e-5)


def test_predict(python, place):
    output = command(python, place, "predict", "model.onnx", "images", "--save", "mask,cutout", "--output", "out")
    assert "3 of 3 photos done" in output
    assert len(list((place / "out").rglob("*.png"))) == 6


def test_evaluate(python, place):
    command(python, place, "evaluate", "model.onnx", "--data", ".", "--json", "scores.json", "--overwrite")
    found = json.loads((place / "scores.json").read_text())
    dataset = figureground.open_dataset(place, "test")
    expected = figureground.evaluate(figureground.load(place / "model.safetensors"), dataset)
    assert found["n"] == 3
    assert found["dice"]["mean"] == pytest.approx(expected.dice.mean, abs=0.002)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "model.safetensors", "images"],
            "needs safetensors and torch, .* pip install 'figureground.train.'",
        ),
        (["evaluate", "model.safetensors", "--data", "."], "needs safetensors and torch, which are not installed"),
        (["predict", "model.onnx", "images", "--engine", "openvino"], "pip install 'figureground.openvino.'"),
        (["train", "--data", "."], r"this needs \w+, which is not installed: pip install 'figureground.train.'"),
        (["export", "model.safetensors", "--data", "."], r"this needs \w+, .* pip install 'figureground.train.'"),
    ],
)
def test_what_needs_more_says_so(python, place, arguments, message):
    output = command(python, place, *arguments, status=1)
    assert len(output.splitlines()) == 1
    assert re.search(message, output)


def test_the_model_in_the_box(python, place):
    """The demonstration's first half works, its second says what it needs."""
    output = command(python, place, "demo", "--output", "demo", status=1)
    assert "a cat, found in" in output
    assert re.search(
        r"this needs \w+, which is not installed: pip install 'figureground.train.'", output.splitlines()[-1]
    )
    assert "1 of 1 photos done" in command(python, place, "predict", pretrained.EXAMPLE, "--output", "cat")
    assert "test Dice 0.9" in command(python, place, "models")


def test_importing_the_package_needs_nothing(python, place):
    code = "import sys, figureground.prediction; print(sorted({'onnxruntime', 'scipy'} & set(sys.modules)))"
    assert run(python, place, "-c", code).strip() == "[]"
    assert sys.prefix not in run(python, place, "-c", "import sys; print(sys.path)")
