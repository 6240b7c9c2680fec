"""The commands and programs of docs/prediction.md, run as they stand there, one after the other."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figureground.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "prediction.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if "figureground predict" in line
]
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory, bright_onnx):
    """A folder with all that the page names."""
    place = tmp_path_factory.mktemp("page")
    for model in ("model.onnx", "second.onnx"):
        shutil.copy(bright_onnx, place / model)
    image = np.zeros((48, 64, 3), np.uint8)
    image[8:40, 16:48] = 250
    for name in ("cat.jpg", "beach.jpg", "photos/a.jpg", "photos/sub/b.jpg"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / name)
    av = pytest.importorskip("av")
    with av.open(str(place / "clip.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(stream.encode())
    return place


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(place, command, monkeypatch):
    monkeypatch.chdir(place)
    if re.search("[<|]", command):
        shell = f'figureground() {{ "{sys.executable}" -m figureground "$@"; }}\n{command}'
        subprocess.run(["bash", "-c", shell], check=True)
    else:
        monkeypatch.setattr(sys, "argv", shlex.split(command, comments=True))
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0


def test_what_the_commands_have_left(place):
    """As the page says it, after the commands above."""
    assert len(COMMANDS) == 14
    made = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file() and path.name[0] != "."}
    kinds = {"mask": ".png", "overlay": ".jpg", "cutout": ".png", "probability": ".png"}
    assert made >= {f"results/{kind}/{name}{suffix}" for kind, suffix in kinds.items() for name in ("a", "sub/b")}
    assert made >= {"masks/a.png", "masks/sub/b.png", "results/coco.json", "cat-mask.png", "small/a.png"}
    assert made >= {"cutouts/cat.png", "summary.json", "films/clip.mp4", "clip-green.mp4", "averaged/a.png"}


def test_programs(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    names = {}
    for program in PROGRAMS:
        exec(program, names)
    assert names["prediction"].mask.shape == (48, 64)
    assert "photos/a.jpg done" in capsys.readouterr().out
