"""What the documentation shows is run."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figureground import load
from figureground.export.gate import LIMITS
from figureground.prediction.engines import ENGINES

EXPORT = (Path(__file__).parents[1] / "docs" / "export.md").read_text()


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


def test_the_limits_and_engines_of_the_page():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) \|$", EXPORT, re.MULTILINE))
    assert {name: float(limit) for name, limit in rows.items()} == LIMITS
    shown = re.findall(r"^\| (?:`\S+` )?\| `(\w+)` \|", EXPORT, re.MULTILINE)
    assert shown == [name for engines in ENGINES.values() for name in engines]
