"""What the documentation shows is run."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from figureground import load
from figureground.cli import app
from figureground.cli.settings import page
from figureground.export.gate import LIMITS
from figureground.prediction.photos.engines import ENGINES
from figureground.pretrained import EXAMPLE

ROOT = Path(__file__).parents[1]
EXPORT = (ROOT / "docs" / "export.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = [line for page in PAGES for line in re.findall(r"^figureground ([^<>\n]+)", page.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("shown", SHOWN)
def test_every_command_that_is_shown_can_be_given(shown):
    """Its name and its flags; whether it works is the matter of other tests."""
    command, words = get_command(app), shlex.split(shown, comments=True)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("figureground", words)


@pytest.mark.parametrize("size", [(120, 90), (33, 47), (1, 1)])
def test_predicting_without_figureground(size, narrow_onnx, tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", EXPORT, re.MULTILINE | re.DOTALL)
    assert "figureground." not in code
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").symlink_to(narrow_onnx)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(image).save("photo.jpg")
    found: dict = {}
    exec(code, found)  # our own page
    expected = load("model.onnx").predict("photo.jpg")
    np.testing.assert_allclose(found["probability"], expected.probability, atol=1e-5)
    assert (found["mask"] == expected.mask).mean() > 0.999
    assert expected.probability.shape == size


def test_the_example_of_the_readme(tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, "cat.jpg")
    exec(code, {})  # our own page
    assert {path.name for path in tmp_path.iterdir()} == {"cat.jpg", "cat-mask.png", "cat.png", "cat-overlay.png"}
    with Image.open("cat.png") as cutout:
        assert cutout.mode == "RGBA"


def test_the_limits_and_engines_of_the_page():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) \|$", EXPORT, re.MULTILINE))
    assert {name: float(limit) for name, limit in rows.items()} == LIMITS
    shown = re.findall(r"^\| (?:`\S+` )?\| `(\w+)` \|", EXPORT, re.MULTILINE)
    assert shown == [name for engines in ENGINES.values() for name in engines]


def test_the_page_of_settings_is_what_the_command_writes():
    """After a change: ``figureground settings > docs/settings.md``."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page()
