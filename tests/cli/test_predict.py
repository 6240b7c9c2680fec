"""``figureground predict`` as a user gives it; the process is the test's own, so that it costs no start."""

import io
import itertools
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from figureground import Views, load
from figureground.bundle import read_info
from figureground.cli import main
from figureground.config import PostProcessingConfig
from figureground.errors import CannotWriteError
from figureground.export.onnx import write_info
from figureground.prediction.batch import predict as predict_batch
from figureground.prediction.photos import reading as photo


@pytest.fixture
def command(monkeypatch, capsysbinary, bright_onnx, tmp_path):
    """Run the command with the model of known answers in an empty folder; its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def predict(*arguments, models=(bright_onnx,), stdin=b""):
        engine = ["--engine", "onnxruntime"]
        monkeypatch.setattr(sys, "argv", ["figureground", "predict", *engine, *map(str, (*models, *arguments))])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsysbinary.readouterr()
        return ended.value.code, out, err.decode()

    return predict


def save(name, pixels, size=None):
    picture = Image.fromarray(np.asarray(pixels, np.uint8))
    (picture.resize(size, Image.Resampling.NEAREST) if size else picture).save(name)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(source):
    with Image.open(source) as picture:
        return np.asarray(picture)


def halves(width=64, height=48):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 255
    return image


@pytest.fixture
def photos(tmp_path):
    for name in ("a.png", "sub/b.png", "sub/größe.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, halves())
    return tmp_path / "photos"


def test_models_come_first_or_with_an_option(command, photos, bright_onnx):
    for models in [(bright_onnx,), ("--model", bright_onnx), ("-m", bright_onnx, "--model", bright_onnx)]:
        status, out, err = command("photos", "--overwrite", models=models)
        assert (status, err) == (0, "")
        assert out.decode().startswith("3 of 3 photos done in ")
        assert out.decode().endswith("onnxruntime): masks\n")
        assert (pixels("masks/sub/b.png") == np.where(halves()[..., 0], 255, 0)).mean() > 0.97


def test_several_models_are_averaged(command, photos, bright_onnx, tmp_path, monkeypatch):
    """Half of what one says: of white 10 and 5 of 10, with a temperature of 2, in logits: 7.5."""
    from dataclasses import replace

    from figureground.bundle import read_info
    from figureground.config import OperatingPoint
    from figureground.prediction.photos import member

    infos = iter([OperatingPoint(0.5, 1.0), OperatingPoint(0.7, 2.0)])
    monkeypatch.setattr(member, "read_info", lambda path: replace(read_info(path), operating_point=next(infos)))
    save("white.png", np.full((8, 8, 3), 255))
    status, _, _ = command("white.png", "--save", "probability", "--json", "f.json", models=(bright_onnx, bright_onnx))
    assert status == 0
    assert pixels("masks/white.png")[0, 0] == round(65535 / (1 + np.exp(-7.5)))
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["model"] == f"{bright_onnx} + {bright_onnx}"
    assert figures["threshold"] == pytest.approx(0.6)


def test_one_photo_on_stdin_to_a_picture_on_stdout(command):
    status, out, err = command("-", stdin=png(halves()))
    assert (status, err) == (0, "")
    mask = pixels(io.BytesIO(out))
    assert (mask.shape, mask[0, 0], mask[0, 63]) == ((48, 64), 0, 255)
    status, out, _ = command("-", "--save", "cutout", "--background", "#010203", stdin=png(halves()))
    assert (status, pixels(io.BytesIO(out))[0, 0].tolist()) == (0, [1, 2, 3])


def test_what_stdin_cannot_do(command, photos):
    for arguments, stdin, expected, message in [
        (["-"], b"", 1, "the image is empty (0 bytes)"),
        (["-"], b"text", 1, "the image is not an image"),
        (["-", "--save", "mask,overlay"], png(halves()), 2, "stdout takes one picture, 2 were asked for"),
        (["-", "--save", "coco"], png(halves()), 2, "there is no picture 'coco'; expected one of: mask, overlay"),
        (["-", "-o", "out.png"], png(halves()), 2, "out.png is the name of a picture, results go into a folder"),
        (["-", "-o", "out"], png(halves()), 2, "leave out --output and --json"),
        (["-", "--json", "s.json"], png(halves()), 2, "leave out --output and --json"),
        (["-", "photos"], png(halves()), 2, "- is one photo on stdin, 2 sources were given; expected it alone"),
    ]:
        status, out, err = command(*arguments, stdin=stdin)
        assert (status, out) == (expected, b""), arguments
        assert message in err


def test_lists_of_photos(command, photos, tmp_path):
    names = "photos/a.png\r\n\nphotos/sub/größe.png\n".encode()
    (tmp_path / "names.txt").write_bytes(names)
    for source, stdin in (("names.txt", b""), ("-", names)):
        status, out, _ = command("--list", source, "--output", f"out-{source}", stdin=stdin)
        assert (status, out[:6]) == (0, b"2 of 2")
        assert sorted(path.name for path in (tmp_path / f"out-{source}").glob("[!.]*")) == ["a.png", "größe.png"]
    status, out, err = command("--list", "names.txt", "gone.png", "--output", "more")
    assert (status, out[:6]) == (1, b"2 of 3")
    assert err == "skipped: gone.png: no such file\n"
    assert command("--list", "none.txt")[::2] == (1, "error: none.txt: No such file or directory\n")


def test_photos_are_known_by_their_first_bytes_and_what_is_left_out_is_named(command, photos, tmp_path):
    Image.new("RGB", (8, 8)).save(photos / "noext", "JPEG")
    for name in "abcd":
        (photos / f"{name}.txt").write_text("no picture")
    status, out, _ = command("photos", "--json", "f.json")
    assert status == 0
    assert (tmp_path / "masks" / "noext.png").is_file()
    assert "left out, as no pictures: 4 files (a.txt, b.txt, c.txt, ...)\n" in out.decode()
    left_out = json.loads((tmp_path / "f.json").read_text())["left_out"]
    assert left_out == [f"photos/{name}.txt" for name in "abcd"]


def test_what_became_of_each_photo_as_json(command, photos, bright_onnx, tmp_path):
    (photos / "broken.jpg").write_bytes(b"x")
    command("photos/a.png")
    status, out, err = command("photos", "--json", "f.json")
    assert status == 1
    assert out.decode().startswith("2 of 4 photos done in ")
    assert out.decode().endswith(", 1 were there (--overwrite replaces them), 1 failed: masks\n")
    assert err.startswith("skipped: photos/broken.jpg is not an image")
    figures = json.loads((tmp_path / "f.json").read_text())
    there, broken, done, _ = figures.pop("images")
    assert figures.pop("seconds") > 0
    assert figures == {
        "model": str(bright_onnx), "engine": "onnxruntime", "threshold": 0.5, "done": 2, "there": 1, "failed": 1,
        "left_out": [],
    }  # fmt: skip
    assert there == {"file": "photos/a.png", "status": "there", "files": ["masks/a.png"]}
    assert sorted(broken) == ["file", "files", "message", "status"]
    assert (broken["status"], broken["files"]) == ("failed", [])
    assert sorted(done.pop("seconds")) == ["predict", "read", "write"]
    assert done.pop("figure") == pytest.approx(0.5, abs=0.03)
    assert done.pop("expected_dice") == pytest.approx(1, abs=0.05)
    assert 0 <= done.pop("estimated_dice") <= 1
    assert done.pop("needs_review") in (True, False)
    assert done == {
        "file": "photos/sub/b.png", "status": "done", "height": 48, "width": 64, "files": ["masks/sub/b.png"],
    }  # fmt: skip
    assert command("photos", "--json", "f.json")[0] == 1  # the same command goes on, and writes what is so now
    figures = json.loads((tmp_path / "f.json").read_text())
    assert [figures[status] for status in ("done", "there", "failed")] == [0, 3, 1]
    (tmp_path / "mine.json").write_text("[1, 2]")
    assert "mine.json exists; choose another name" in command("photos", "--json", "mine.json")[2]
    assert (tmp_path / "mine.json").read_text() == "[1, 2]"


ENDINGS = [
    (KeyboardInterrupt(), 130, "interrupted behind {} of 3 photos\n"),
    (SystemExit(143), 143, "interrupted behind {} of 3 photos\n"),
    (CannotWriteError("no space"), 1, "error: no space\n"),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: str(ending[1]))
@pytest.mark.parametrize("after", [0, 2])
def test_the_json_of_an_interrupted_batch_is_not_that_of_another(command, photos, tmp_path, monkeypatch, after, ending):
    command("photos", "--json", "f.json")
    whole = predict_batch.predict_files

    def interrupted(*arguments, **settings):
        yield from itertools.islice(whole(*arguments, **settings), after)
        raise ending[0]

    monkeypatch.setattr(predict_batch, "predict_files", interrupted)
    status, _, err = command("photos", "--json", "f.json", "--overwrite")
    assert (status, err) == (ending[1], ending[2].format(after))
    assert (tmp_path / "f.json").exists() == (after > 0)
    if after:
        figures = json.loads((tmp_path / "f.json").read_text())
        assert (figures["done"], len(figures["images"]), figures["interrupted"]) == (2, 2, True)


def test_a_command_that_is_refused_leaves_no_json_of_another(command, photos, tmp_path):
    command("photos", "--json", "f.json")
    assert command("none.jpg", "--json", "f.json")[0] == 1
    assert not (tmp_path / "f.json").exists()


# 32 × 32: a frame with a hole and a dot in it, and a bar
PARTS = np.zeros((32, 32, 3), np.uint8)
PARTS[2:20, 2:20] = 255
PARTS[5:17, 5:17] = 0
PARTS[10, 10] = 255
PARTS[25:28, 4:28] = 255


@pytest.mark.parametrize(
    ("options", "area"),
    [
        ([], 18 * 18 - 12 * 12 + 1 + 3 * 24),
        (["--keep-largest"], 18 * 18 - 12 * 12),
        (["--fill-holes"], 18 * 18 + 3 * 24),
        (["--keep-largest", "--fill-holes"], 18 * 18),
        (["--min-area", "0.05"], 18 * 18 - 12 * 12 + 3 * 24),  # 51 pixels
        (["--min-area", "0.1"], 18 * 18 - 12 * 12),  # 102
        (["--keep-all", "--keep-holes", "--min-area", "0"], 18 * 18 - 12 * 12 + 1 + 3 * 24),
    ],
)
def test_clean_up(command, options, area):
    save("parts.png", PARTS)
    assert command("parts.png", *options)[0] == 0
    assert (pixels("masks/parts.png") == 255).sum() == area


def test_a_model_brings_its_clean_up(command, bright_onnx, tmp_path):
    """Of one that was fitted with the largest part alone nothing need be said, and it can be turned off."""
    shutil.copy(bright_onnx, "own.onnx")
    settings = PostProcessingConfig(keep_largest=True)
    write_info(tmp_path / "own.onnx", replace(read_info(bright_onnx), post_processing=settings))
    save("parts.png", PARTS)
    for options, area in (([], 18 * 18 - 12 * 12), (["--keep-all"], 18 * 18 - 12 * 12 + 1 + 3 * 24)):
        assert command("parts.png", "--overwrite", *options, models=("own.onnx",))[0] == 0
        assert (pixels("masks/parts.png") == 255).sum() == area


def test_a_cutout_is_cleaned_up_too(command):
    save("parts.png", PARTS)
    assert command("parts.png", "--save", "cutout", "--keep-largest")[0] == 0
    assert not pixels("masks/parts.png")[24:, :, 3].any()  # the bar


class Slope:
    """Logits that rise from left to right, whatever the photo: -15.5, -14.5 ... 15.5."""

    name = "slope"
    lanes = 1

    def run(self, batch):
        return {"figure": np.broadcast_to(np.arange(32, dtype=np.float32) - 15.5, batch[:, :1].shape)}


def test_a_mirrored_look_is_averaged(command, monkeypatch):
    """A slope and its mirror image cancel out: probability 0.5 everywhere."""
    monkeypatch.setattr("figureground.prediction.photos.member.open_engine", lambda *_: Slope())
    save("grey.png", np.full((32, 32, 3), 128))
    found = {}
    for options in ([], ["--tta"]):
        assert command("grey.png", "--save", "probability", "--overwrite", *options)[0] == 0
        found[bool(options)] = pixels("masks/grey.png")
    assert (found[False][0, 0], found[False][0, 31]) == (0, 65535)
    assert (found[True] == 32768).all()


def test_tiles_show_what_the_network_cannot_see_at_once(command):
    """Stripes of one pixel are grey when 64 pixels are shrunk to 32, and stripes when they are not."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    save("stripes.png", stripes)
    assert command("stripes.png", "--output", "whole", "--save", "probability")[0] == 0
    assert np.abs(pixels("whole/stripes.png")[:, 8:-8].astype(int) - 32768).max() < 0.02 * 65535
    assert command("stripes.png", "--output", "tiles", "--tile", "2")[0] == 0
    np.testing.assert_array_equal(pixels("tiles/stripes.png"), stripes[..., 0])


def test_a_limit_of_pixels(command):
    save("large.png", np.zeros((1000, 1000), np.uint8))
    status, _, err = command("large.png", "--max-pixels", "9e5")
    assert status == 1
    assert "skipped: large.png is too large (1000×1000 is more than 900000 pixels)" in err
    assert "if it is trusted, shrink it, or raise the limit (predict: --max-pixels)" in err
    assert command("large.png", "--max-pixels", "1e6")[::2] == (0, "")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "no photo was given; expected files, folders, --list FILE or - for stdin"),
        (["runs/none", "photos"], 1, "runs/none: no such model, photo or folder; models are run folders, bundles and"),
        (["MODEL"], 2, "no photo was given; expected files, folders, --list FILE or - for stdin"),
        (
            ["none.onnx", "photos"],
            1,
            "none.onnx: no such model; expected a run folder, a bundle (.safetensors, .onnx), or a",
        ),
        (["--model", "runs/none", "photos"], 1, "runs/none: no such model"),
        (["photos/text.onnx", "photos"], 1, "photos/text.onnx is not a readable .onnx file"),
        (["run", "photos"], 1, "run holds no model.safetensors; expected a run folder behind its first epoch"),
        (["MODEL", "run", "photos"], 1, "run holds no model.safetensors"),
        (["photos", "run"], 2, "run is a model or a run among the photos; name models first, or with --model"),
        (["MODEL", "photos", "MODEL"], 2, "bright.onnx is a model or a run among the photos"),
        (["photos", "pets"], 2, "pets is a model or a run among the photos"),
        (["photos", "--list", "list.txt"], 2, "run is a model or a run among the photos"),
        (["MODEL", "none.jpg"], 1, "none.jpg: no such file or folder; expected photos"),
        (["MODEL", "empty"], 1, "no photo in empty; expected files of: .jpg, .jpeg"),
        (["MODEL", "photos", "--save", "mask,svg"], 2, "nothing known by ['svg'] to save; expected: mask, overlay"),
        (["MODEL", "photos", "--save", ""], 2, "nothing known by [''] to save"),
        (["MODEL", "photos", "--background", "red"], 2, "--background is for cut-outs, and mask was asked for"),
        (["MODEL", "a.mp4", "--json", "s.json"], 2, "s.json is about photos, and only films were given"),
        (
            ["MODEL", "photos", "--save", "cutout", "--background", "bleu"],
            2,
            "background 'bleu' is neither a colour nor a file",
        ),
        (["MODEL", "photos", "--max-pixels", "nan"], 2, "a limit of nan pixels; expected a number from 1"),
        (["MODEL", "photos", "--max-pixels", "many"], 2, "Invalid value for '--max-pixels'"),
        (["MODEL", "photos", "--tile", "0.5"], 2, "scales are (1.0, 0.5); expected numbers from 1"),
        (["MODEL", "photos", "--min-area", "2"], 2, "min_area is 2.0; expected at least 0 and below 1"),
        (
            ["MODEL", "photos", "--engine", "torch"],
            2,
            "bright.onnx runs with openvino or onnxruntime, not with 'torch'",
        ),
        (["MODEL", "photos", "--output", "photos"], 1, "the results would lie among the photos of photos"),
        (["MODEL", "photos/a.png", "--output", "photos"], 1, "photos/a.png is a photo, and would be replaced"),
        (["MODEL", "photos", "--output", "file"], 1, "file cannot be a folder of results (File exists)"),
        (["MODEL", "a.mp4", "b.mp4", "--output", "c.mp4"], 2, "c.mp4 names one film, but more was asked for"),
        (["MODEL", "a.mp4", "--output", "c.avi"], 2, "c.avi is no name of a film that can be written"),
        (["MODEL", "a.mp4", "photos", "--save", "mask,coco"], 2, "a film cannot show coco; expected some of: overlay"),
        (["MODEL", "photos", "--smoothing", "0.5"], 2, "--smoothing 0.5 is for films, and there is none; leave it out"),
        (["MODEL", "a.mp4", "--smoothing", "2"], 2, "smoothing is 2.0; expected at least 0 (off) and below 1"),
        (["MODEL", "photos", "--tile", "inf"], 2, "scales are (1.0, inf); expected numbers from 1"),
        (["MODEL", "photos/a.png", "--output", "cat.png"], 2, "cat.png is the name of a picture, results go into"),
        (["MODEL", "photos", "--colour", "red"], 2, "No such option: --colour"),
    ],
)
def test_wrong_input_is_one_line(command, photos, bright_onnx, tmp_path, arguments, status, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("epochs: 1\n")
    (tmp_path / "list.txt").write_text("photos/a.png\nrun\n")
    (photos / "text.onnx").write_text("text")
    before = sorted(tmp_path.rglob("*"))
    found, out, err = command(*(bright_onnx if word == "MODEL" else word for word in arguments), models=())
    assert (found, out) == (status, b"")
    assert message in " ".join(err.replace("│", " ").split())
    if "Invalid value" not in err and "No such option" not in err:  # typer's own words are in a frame
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_films_and_photos_of_one_command(command, photos, tmp_path):
    """A broken film does not stop the others; what is there is left alone."""
    av = pytest.importorskip("av")
    with av.open("clip.mp4", "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(4):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(halves(), format="rgb24")))
        out.mux(stream.encode())
    (tmp_path / "broken.mp4").write_bytes(b"x")
    status, out, err = command("broken.mp4", "clip.mp4", "photos")
    assert status == 1
    assert err.startswith("skipped: broken.mp4 cannot be read as a film")
    film, batch = out.decode().splitlines()
    assert film.startswith("masks/clip.mp4: 4 frames of 64×48, ")
    assert batch.startswith("3 of 3 photos done")
    status, out, _ = command("clip.mp4", "photos", "--save", "mask")
    assert status == 0
    assert out.decode().splitlines()[0] == "masks/clip.mp4 was there (--overwrite replaces it)"
    save("beach.png", np.full((9, 9, 3), (10, 20, 30)))
    assert command("clip.mp4", "-o", "cut.mp4", "--save", "cutout", "--background", "beach.png")[0] == 0
    with av.open("cut.mp4") as made:
        frame = next(made.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(frame[24, 8].astype(int) - (10, 20, 30)).max() < 8
    (tmp_path / "films" / "sub").mkdir(parents=True)
    for name in ("films/a.mp4", "films/sub/a.mp4"):
        (tmp_path / name).write_bytes((tmp_path / "clip.mp4").read_bytes())
    status, out, _ = command("films", "-o", "of-folder")
    assert [line.split(":")[0] for line in out.decode().splitlines()] == ["of-folder/a.mp4", "of-folder/sub/a.mp4"]
    assert command("clip.mp4", "-o", ".")[::2] == (1, "skipped: clip.mp4 is the film itself; choose another name\n")
    status, out, err = command("clip.mp4", "gone.jpg", "-o", "gone")  # the film is made nevertheless
    assert (status, err) == (1, "skipped: gone.jpg: no such file\n")
    assert out.decode().startswith("gone/clip.mp4: 4 frames")
    (tmp_path / "holiday.mov").mkdir()
    save("holiday.mov/a.png", halves())
    status, out, _ = command("holiday.mov", "-o", "of-photos", "--save", "coco,mask")
    assert (status, out.decode().startswith("1 of 1 photos done")) == (0, True)
    status, _, err = command("x" * 300 + ".jpg", "holiday.mov", "-o", "of-both")  # fails alone
    assert (status, "skipped: " in err, (tmp_path / "of-both" / "a.png").is_file()) == (1, True, True)
    save("films/a.png", halves())
    status, out, err = command("films", "-o", "with-photo", "--save", "mask,coco")
    assert (status, err) == (0, "films are made without coco\n")
    assert (tmp_path / "with-photo" / "a.mp4").is_file()
    assert (tmp_path / "with-photo" / "coco.json").is_file()
    status, out, err = command("films", "-o", "without-films", "--save", "coco")
    assert (status, err) == (0, "films are left out: they cannot show coco\n")


@pytest.mark.parametrize("kinds", ["mask", "mask,overlay"])
@pytest.mark.parametrize(("views", "flags"), [(Views(), []), (Views(True, (1.0, 2.0)), ["--tta", "--tile", "2"])])
def test_a_large_jpeg_gives_the_masks_of_the_library(
    command, tmp_path, narrow_onnx, compact_onnx, views, flags, kinds, monkeypatch
):
    """Two networks, which see 32×48 and 64×64 pixels: a photo of 512×768 is read at a quarter, or a half for tiles."""
    seen = []
    read = photo.read_reduced
    monkeypatch.setattr(photo, "read_reduced", lambda *given: (seen.append(given[1]), read(*given))[1])
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(noise).resize((768, 512), Image.Resampling.BICUBIC).save("photo.jpg", quality=90)
    models = (narrow_onnx, compact_onnx)
    status, *_ = command("photo.jpg", "--save", kinds, "-o", "out", *flags, models=models)
    assert status == 0
    written = pixels(tmp_path / "out" / ("mask/photo.png" if "," in kinds else "photo.png")) > 0
    expected = load(*models, engine="onnxruntime", views=views).predict("photo.jpg").mask
    np.testing.assert_array_equal(written, expected)
    assert 0.02 < expected.mean() < 0.98
    assert seen == [(256, 256) if flags else (128, 128)] * 2
