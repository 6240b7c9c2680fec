"""``figureground predict`` in processes of its own: pipes, two at once, and processes that are ended."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
from figureground.cli import main
from figureground.prediction.photos.engines.onnxruntime_engine import OnnxRuntimeEngine

run = OnnxRuntimeEngine.run
def slowly(engine, batch):
    time.sleep(0.03)
    return run(engine, batch)
OnnxRuntimeEngine.run = slowly
main()
"""
COUNT = 48  # six batches: with three, all may be under way when the first file is seen
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def photos(tmp_path):
    """A checkerboard each, so that outlines are long and records larger than a file's buffer."""
    (tmp_path / "photos").mkdir()
    board = np.kron(np.indices((32, 32)).sum(axis=0) % 2, np.ones((2, 2)))[..., None] * np.full(3, 255)
    for index in range(COUNT):
        Image.fromarray(board.astype(np.uint8)).save(tmp_path / "photos" / f"{index:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def start(bright_onnx, photos, tmp_path):
    """Start the command on all photos; with a network that takes its time, or with the real one."""

    def begin(slow=True):
        program = ["-c", SLOW] if slow else ["-m", "figureground"]
        options = ["--engine", "onnxruntime", "--tile", "2", "--save", "mask,coco", "--output", tmp_path / "out"]
        return subprocess.Popen(
            list(map(str, [sys.executable, *program, "predict", bright_onnx, photos, *options])),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return begin


def finished(process):
    out, err = process.communicate()
    return process.returncode, out, err


def wait_for_a_file(folder):
    for _ in range(400):
        if any(path.suffix == ".png" and path.name[0] != "." for path in folder.glob("*")):
            return
        time.sleep(0.05)
    raise AssertionError("nothing was written in 20 s")


def recorded(folder):
    document = json.loads((folder / "coco.json").read_text())
    return sorted(image["file_name"] for image in document["images"])


def assert_whole(folder):
    """All masks can be read, none is half there, and the document has them all."""
    names = [f"{index:02}.png" for index in range(COUNT)]
    assert sorted(path.name for path in folder.glob("[!.]*.png")) == names
    for name in names:
        with Image.open(folder / name) as mask:
            assert np.asarray(mask).mean() == pytest.approx(127.5, abs=10)
    assert recorded(folder) == names


def test_a_batch_goes_on_after_it_was_killed(start, photos, tmp_path):
    out = tmp_path / "out"
    process = start()
    wait_for_a_file(out)
    process.kill()
    assert finished(process)[0] == -signal.SIGKILL
    there = len(list(out.glob("[!.]*.png")))
    assert 1 <= there < COUNT
    assert not (out / "coco.json").exists()
    with (out / ".coco.jsonl").open("a") as records:
        records.write('\n{"file_name": "2')  # killed while it wrote
    with (out / ".made-from.jsonl").open("a") as records:
        records.write('\n{"file_name": "02.png", "stamp": [3')
    status, output, _ = finished(start(slow=False))
    assert status == 0
    assert f"{COUNT} of {COUNT} photos done" not in output
    assert "were there" in output
    assert_whole(out)
    for path in photos.glob("*.png"):
        Image.new("RGB", (64, 64)).save(path)
    output = finished(start(slow=False))[1]
    assert int(re.search("([0-9]+) made anew: source changed", output)[1]) >= COUNT - 3  # killed before these records
    with Image.open(out / "40.png") as mask:
        assert not np.asarray(mask).any()


def test_two_processes_may_share_a_folder(start, tmp_path):
    first, second = start(), start()
    assert [finished(process)[::2] for process in (first, second)] == [(0, ""), (0, "")]
    assert_whole(tmp_path / "out")
    assert not [path for path in (tmp_path / "out").glob(".*") if path.suffix != ".jsonl"]
    assert f" {COUNT} were there (--overwrite replaces them): " in finished(start(slow=False))[1]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_leave_whole_files_and_their_document(start, tmp_path, number, expected):
    out = tmp_path / "out"
    process = start()
    wait_for_a_file(out)
    process.send_signal(number)
    status, _, err = finished(process)
    assert (status, "Traceback" in err) == (expected, False)
    assert f" of {COUNT} photos; the same command goes on" in err
    masks = sorted(path.name for path in out.glob("[!.]*.png"))
    assert recorded(out) == masks
    assert 1 <= len(masks) < COUNT


def test_a_pipe_is_binary(bright_onnx, photos):
    command = [sys.executable, "-m", "figureground", "predict", bright_onnx, "-", "--engine", "onnxruntime"]
    photo = (photos / "00.png").read_bytes()
    done = subprocess.run(list(map(str, command)), input=photo, capture_output=True, check=True)
    assert done.stderr == b""
    assert done.stdout.startswith(b"\x89PNG\r\n\x1a\n")
    assert done.stdout.endswith(b"IEND\xaeB`\x82")
    read, write = os.pipe()
    os.close(read)  # as when `| head` has ended
    done = subprocess.run(list(map(str, command)), input=photo, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX only")
def test_a_name_that_is_not_utf8_can_be_printed(bright_onnx, tmp_path):
    photo = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (40, 30)).save(photo)
    command = [sys.executable, "-m", "figureground", "predict", bright_onnx, photo, "--output", tmp_path / "out"]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as under a locale such as en_US.UTF-8
    done = subprocess.run(list(map(str, command)), capture_output=True, env=strict, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf\\udce9.png" in done.stdout  # it should be looked at: its mask is empty
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe9.png")).is_file()
