"""``figureground predict`` into a folder with results: of the same photos, models and options, or of others."""

import io
import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from figureground.bundle import read_info
from figureground.cli import main
from figureground.config import OperatingPoint
from figureground.export.onnx import write_info
from figureground.prediction import load, origins

THERE = "0 of 1 photos done, 1 were there (--overwrite replaces them): out\n"


@pytest.fixture
def command(monkeypatch, capsys, bright_onnx, tmp_path):
    """Run the command with the model of known answers in an empty folder; exit status, and what it says of the work."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(bright_onnx, "model.onnx")

    def predict(*arguments):
        options = ["-m", "model.onnx", "--engine", "onnxruntime", "-o", "out"]
        monkeypatch.setattr(sys, "argv", ["figureground", "predict", *options, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return predict


def save(path, share):
    """A photo of 40 × 30 whose left columns are white: as many of ten."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, : share * 4] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path, **({"quality": 100} if path.suffix == ".jpg" else {}))


def tenths(path):
    with Image.open(path) as mask:
        return round(10 * np.asarray(mask).mean() / 255)


def anew(what, folder="out"):
    return f", 1 made anew: {what} changed: {folder}\n"


@pytest.mark.parametrize(("first", "second"), [("d1/a.bmp", "d2/a.bmp"), ("d/a.jpg", "d/a.png")])
def test_a_result_of_another_photo_is_neither_taken_nor_replaced(command, tmp_path, first, second):
    save(tmp_path / first, 3)
    save(tmp_path / second, 7)
    os.utime(tmp_path / second, ns=(0, (tmp_path / first).stat().st_mtime_ns))
    assert command(first)[0] == 0
    said = f"skipped: out/a.png was made from {tmp_path / first}, not from {tmp_path / second}; choose another folder"
    assert command(second, "--json", "s.json")[::2] == (1, f"{said}, or replace it with --overwrite\n")
    (entry,) = json.loads((tmp_path / "s.json").read_text())["images"]
    assert (entry["status"], entry["files"], tenths("out/a.png")) == ("failed", [], 3)
    assert command(second, "--overwrite")[0] == 0
    assert tenths("out/a.png") == 7
    assert command(second)[:2] == (0, THERE)
    assert command(first)[0] == 1


def test_nor_is_one_of_several_kinds(command, tmp_path):
    """The mask of another photo would be replaced, for its overlay is missing."""
    save(tmp_path / "d1/a.png", 3)
    save(tmp_path / "d2/a.png", 7)
    command("d1", "--save", "mask,overlay")
    (tmp_path / "out/overlay/a.jpg").unlink()
    status, _, err = command("d2", "--save", "mask,overlay")
    assert (status, tenths("out/mask/a.png")) == (1, 3)
    assert err.startswith(f"skipped: out/mask/a.png was made from {tmp_path / 'd1/a.png'}, not from ")
    assert command("d1", "--save", "mask,overlay")[1].startswith("1 of 1 photos done in ")


def test_a_photo_that_has_changed_is_done_anew(command, tmp_path):
    """Also if it is as large as before, and its time was set to what it had been."""
    photo = tmp_path / "d/a.bmp"
    save(photo, 3)
    command("d")
    before = photo.stat()
    save(photo, 7)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    status, out, err = command("d", "--json", "s.json")
    assert (status, err, tenths("out/a.png")) == (0, "", 7)
    assert out.endswith(anew("source"))
    (entry,) = json.loads((tmp_path / "s.json").read_text())["images"]
    assert (entry["status"], entry["message"]) == ("done", "made anew: source changed")
    assert command("d")[:2] == (0, THERE)
    photo.write_bytes(b"x")
    assert command("d")[2].startswith("skipped: d/a.bmp is not an image")
    save(tmp_path / "d/b.png", 3)
    photo.unlink()
    assert command("d/b.png", photo)[::2] == (1, f"skipped: {photo}: no such file\n")
    assert tenths("out/a.png") == 7


def test_a_photo_that_was_moved_or_touched_is_the_same(command, tmp_path, monkeypatch):
    save(tmp_path / "d/a.png", 3)
    command("d")
    digest_of, digested = origins.digest_of, []
    monkeypatch.setattr(origins, "digest_of", lambda path: (digested.append(str(path)), digest_of(path))[1])
    assert command("d")[:2] == (0, THERE)
    assert digested == ["model.onnx"]  # the photo is as it was left
    digested.clear()
    (tmp_path / "d").rename("moved")
    assert command("moved")[:2] == (0, THERE)
    os.utime("moved/a.png")
    for _ in range(2):
        assert command("moved")[:2] == (0, THERE)
    assert [path for path in digested if path != "model.onnx"] == ["moved/a.png"] * 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--fill-holes"], "clean-up"),
        (["--tta"], "views"),
        (["--tile", "2", "--min-area", "0.1"], "views and clean-up"),
        (["-m", "model.onnx"], "model"),
        (["--background", "white"], "background"),
    ],
)
def test_other_options_make_results_anew(command, tmp_path, options, what):
    save(tmp_path / "d/a.png", 3)
    kind = ["--save", "cutout"]
    command("d", *kind)
    assert command("d", *kind, *options)[1].endswith(anew(what))
    assert command("d", *kind, *options)[1] == THERE
    assert command("d", *kind, "--threads", "1")[1].endswith(anew(what))


def test_another_model_or_threshold_makes_results_anew(command, tmp_path):
    """The probability falls at the edge of the white columns, which are resized; the threshold moves the mask's."""
    save(tmp_path / "d/a.png", 3)
    command("d", "--save", "mask,coco")
    columns = []
    for threshold in (0.01, 0.99):
        point = replace(read_info(tmp_path / "model.onnx"), operating_point=OperatingPoint(threshold))
        write_info(tmp_path / "model.onnx", point)
        assert command("d", "--save", "mask,coco")[1].endswith(anew("model and threshold"))
        with Image.open("out/a.png") as mask:
            columns.append(np.asarray(mask).any(axis=0).sum())
        (annotation,) = json.loads((tmp_path / "out/coco.json").read_text())["annotations"]
        assert annotation["area"] == 30 * columns[-1]
    assert columns[0] > columns[1]


def test_the_document_has_each_photo_as_it_is_now(command, tmp_path):
    save(tmp_path / "d/a.png", 3)
    save(tmp_path / "other/a.png", 9)
    command("d", "--save", "coco")
    save(tmp_path / "d/a.png", 7)
    assert command("d", "--save", "coco")[1].endswith(anew("source"))
    assert command("other", "--save", "coco")[2].startswith("skipped: out/coco.json/a.png was made from ")
    assert command("d", "--save", "coco")[1] == THERE
    (annotation,) = json.loads((tmp_path / "out/coco.json").read_text())["annotations"]
    assert round(annotation["area"] / 30 / 4) == 7


@pytest.mark.parametrize(
    "records",
    [
        None,
        b"\xff\x00[",
        b'\n{"file_name": "RESULT"}\n[1]\n{"file_name": "a.p',
        b'\n{"file_name": "RESULT", "source": "a", "source_stamp": [], "digest": "", "made": 1}',
    ],
)
def test_results_without_a_record_are_left_alone_and_counted(command, tmp_path, records):
    """As those from before there were records, or whose records are lost."""
    save(tmp_path / "d/a.png", 3)
    command("d")
    if records is None:
        (tmp_path / "out/.made-from.jsonl").unlink()
    else:
        result = f"a.png {origins.stamp_of(tmp_path / 'out/a.png')}".encode()
        (tmp_path / "out/.made-from.jsonl").write_bytes(records.replace(b"RESULT", result))
    save(tmp_path / "d/a.png", 7)
    said = "1 were there (--overwrite replaces them; 1 without a record of what they were made from): out\n"
    status, out, err = command("d", "--json", "s.json")
    assert (status, out, err) == (0, f"0 of 1 photos done, {said}", "")
    (entry,) = json.loads((tmp_path / "s.json").read_text())["images"]
    assert (entry["status"], entry["message"]) == ("there", "there is no record of what it was made from")
    assert tenths("out/a.png") == 3
    assert command("d", "--overwrite")[0] == 0
    assert command("d")[1] == THERE


def test_a_result_that_was_changed_by_hand_is_not_made_anew(command, tmp_path):
    save(tmp_path / "d/a.png", 3)
    command("d")
    Image.new("L", (40, 30), 255).save("out/a.png")
    save(tmp_path / "d/a.png", 7)
    assert "1 without a record" in command("d", "--tta")[1]
    assert tenths("out/a.png") == 10


def test_nor_is_it_where_another_kind_is_missing_or_has_changed(command, tmp_path):
    save(tmp_path / "d/a.png", 3)
    edited = Image.new("L", (40, 30), 255)
    command("d")
    edited.save("out/a.png")
    assert command("d", "--save", "mask,coco")[1].startswith("1 of 1 photos done in ")
    (annotation,) = json.loads((tmp_path / "out/coco.json").read_text())["annotations"]
    assert (tenths("out/a.png"), round(annotation["area"] / 30 / 4)) == (10, 3)
    command("d", "--save", "mask,cutout")
    edited.save("out/mask/a.png")
    assert command("d", "--save", "mask,cutout", "--background", "white")[1].endswith(anew("background"))
    with Image.open("out/cutout/a.png") as cutout:
        assert (tenths("out/mask/a.png"), cutout.mode) == (10, "RGB")


def test_masks_are_of_the_model_that_was_loaded_though_its_file_be_replaced(tmp_path, bright_onnx):
    model = tmp_path / "model.onnx"
    shutil.copy(bright_onnx, model)
    digest, segmenter = origins.digest_of(model), load(model, engine="onnxruntime")
    model.unlink()
    assert segmenter.making["model"] == [digest]


def test_films(command, tmp_path):
    av = pytest.importorskip("av")

    def film(name, level):
        with av.open(name, "w") as out:
            stream = out.add_stream("libx264" if name.endswith("mov") else "libvpx-vp9", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(2):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8))))
            out.mux(stream.encode())

    def shown():
        with av.open("out/a.mp4") as made:
            return next(made.decode(video=0)).to_ndarray(format="gray").mean() > 128

    film("a.webm", 0)
    film("a.mov", 255)
    there = "out/a.mp4 was there (--overwrite replaces it)\n"
    assert command("a.webm")[0] == 0
    assert command("a.webm")[:2] == (0, there)
    named = f"made from {tmp_path / 'a.webm'}, not from {tmp_path / 'a.mov'}"
    said = f"skipped: out/a.mp4 was {named}; choose another folder, or replace it with --overwrite\n"
    assert command("a.mov") == (1, "", said)
    assert not shown()
    status, _, err = command("a.webm", "--save", "overlay")
    assert (status, err.split(";")[0]) == (1, "skipped: out/a.mp4 is of kind mask, not overlay")
    film("a.webm", 255)
    assert command("a.webm")[1].endswith(", made anew: source changed\n")
    assert shown()
    assert command("a.webm", "--smoothing", "0.5")[1].endswith(", made anew: smoothing changed\n")
    assert command("a.webm", "--smoothing", "0.5")[1] == there
    (tmp_path / "out/.made-from.jsonl").unlink()
    unknown = "out/a.mp4 was there (--overwrite replaces it; there is no record of what it was made from)\n"
    assert command("a.mov")[:2] == (0, unknown)
    assert command("a.mov", "--overwrite")[0] == 0
    assert command("a.mov")[1] == there
