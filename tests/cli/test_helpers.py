"""Threads that help a command and get no memory: it ends soon, with one line."""

import sys

import numpy as np
import pytest
from PIL import Image

from figureground.cli import main
from figureground.data import cache
from figureground.data.doctor import inspection
from figureground.prediction.batch import predict as batch
from figureground.prediction.batch.shelf import Shelf
from figureground.prediction.films import reading, writing
from figureground.prediction.photos.segmenter import Segmenter

TRAIN = ["train", "--data", "data", "--size", "32", "--model", "unet", "--base-width", "4", "--epochs", "1"]
PREDICT = ["predict", "--engine", "onnxruntime", "MODEL"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(12):
        pixels = np.zeros((32, 32), np.uint8)
        pixels[: 8 + number, 4:20] = 255
        for folder in ("images", "masks"):
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"{number}.png")
    av = pytest.importorskip("av")
    with av.open("film.mp4", "w") as film:
        stream = film.add_stream("libx264", rate=10, width=64, height=48)
        for _ in range(40):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        film.mux(stream.encode(None))
    return tmp_path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
@pytest.mark.parametrize(
    ("place", "name", "command"),
    [
        (cache, "as_cached", [*TRAIN, "--cache", "cache"]),
        (inspection, "inspect_image", ["data", "check", "data"]),
        (batch, "read_photo", [*PREDICT, "data/images"]),
        (Segmenter, "logit_maps", [*PREDICT, "data/images"]),
        (Shelf, "put", [*PREDICT, "data/images"]),
        (reading.Film, "_upright", [*PREDICT, "film.mp4"]),
        (Segmenter, "predict", [*PREDICT, "film.mp4"]),
        (writing, "_coded_colours", [*PREDICT, "film.mp4"]),
    ],
)
def test_a_thread_without_memory_ends_the_command_with_one_line(
    here, bright_onnx, monkeypatch, capsys, place, name, command, error
):
    works, calls = getattr(place, name), []

    def breaks_off(*arguments, **settings):
        calls.append(1)
        if len(calls) > 2 or name in ("logit_maps", "predict"):
            raise error
        return works(*arguments, **settings)

    monkeypatch.setattr(place, name, breaks_off)
    monkeypatch.setattr(sys, "argv", ["figureground", *(str(bright_onnx) if a == "MODEL" else a for a in command)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert calls
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("error: memory or threads ran out (")] == said[-1:]
    assert not any("Traceback" in line for line in said)
    assert not list(here.rglob("*.mp4"))[1:]
    assert not list(here.rglob("*.partial"))
