import json
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from PIL import Image

from figureground.bundle import BundleInfo
from figureground.errors import FiguregroundError
from figureground.images import read_image
from figureground.prediction import Member, Segmenter
from figureground.prediction.batch import predict as batch
from figureground.prediction.batch.jobs import find_jobs
from figureground.prediction.batch.predict import predict_files
from figureground.prediction.batch.shelf import Shelf
from figureground.prediction.photos.reading import Photo
from figureground.preprocessing import Preprocessing


class Everything:
    """Takes every pixel for figure, and counts the photos that it saw."""

    name = "everything"
    lanes = 1

    def __init__(self):
        self.seen = 0

    def run(self, batch):
        self.seen += len(batch)
        return {"figure": np.ones(batch[:, :1].shape, np.float32)}


class Interrupted(Everything):
    """Ctrl-C in the second batch."""

    def run(self, batch):
        if self.seen:
            raise KeyboardInterrupt
        return super().run(batch)


def segmenter(engine):
    return Segmenter(Member(BundleInfo(preprocessing=Preprocessing((32, 32))), engine, "stub"))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for index in range(20):
        Image.new("RGB", (5, 4), "red").save(tmp_path / "photos" / f"{index:02}.png")
    return tmp_path / "photos"


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def test_a_broken_file_is_reported_in_its_place_and_the_others_are_done(photos, tmp_path):
    (photos / "07.png").write_bytes(b"no photo")
    jobs = find_jobs([photos, tmp_path / "none.png"])
    outcomes = list(predict_files(segmenter(Everything()), jobs, Shelf(tmp_path / "out")))
    assert [outcome.job for outcome in outcomes] == jobs
    assert statuses(outcomes) == ["done"] * 7 + ["failed"] + ["done"] * 12 + ["failed"]
    assert "07.png is not an image" in outcomes[7].message
    assert "none.png: no such file" in outcomes[20].message
    assert (outcomes[0].size, outcomes[0].figure) == ((4, 5), 1.0)
    assert outcomes[0].expected_dice == pytest.approx(2 * 0.7311 / 1.7311, abs=1e-4)  # 0.7311 = 1 / (1 + exp(-1))
    assert set(outcomes[0].seconds) == {"read", "predict", "write"}
    for outcome in outcomes[:7]:
        with Image.open(*outcome.files) as mask:
            assert (mask.size, mask.getextrema()) == ((5, 4), (255, 255))


def test_what_is_there_is_not_done_again(photos, tmp_path):
    jobs = find_jobs([photos])
    engine = Everything()
    list(predict_files(segmenter(engine), jobs, Shelf(tmp_path / "out", ("mask", "overlay"))))
    (tmp_path / "out" / "mask" / "03.png").unlink()
    (tmp_path / "out" / "overlay" / "15.jpg").unlink()
    engine.seen = 0
    outcomes = list(predict_files(segmenter(engine), jobs, Shelf(tmp_path / "out", ("mask", "overlay"))))
    assert [index for index, outcome in enumerate(outcomes) if outcome.status == "done"] == [3, 15]
    assert statuses(outcomes).count("there") == 18
    assert engine.seen == 2
    again = list(predict_files(segmenter(engine), jobs, Shelf(tmp_path / "out", ("mask", "overlay")), overwrite=True))
    assert statuses(again) == ["done"] * 20


def test_an_interruption_leaves_whole_files_and_the_document_of_these(photos, tmp_path):
    jobs, kinds, out = find_jobs([photos]), ("mask", "coco"), tmp_path / "out"
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(predict_files(segmenter(Interrupted()), jobs, Shelf(out, kinds)))
    assert threading.active_count() == threads
    masks = sorted(path.stem for path in out.glob("*.png"))
    recorded = sorted(image["file_name"][:2] for image in json.loads((out / "coco.json").read_text())["images"])
    assert recorded == masks
    assert 1 <= len(masks) <= 8
    assert sorted(path.name for path in out.glob(".*")) == [".coco.jsonl", ".made-from.jsonl"]
    outcomes = list(predict_files(segmenter(Everything()), jobs, Shelf(out, kinds)))
    assert statuses(outcomes).count("there") == len(masks)
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 20


def test_a_consumer_that_stops_closes_the_shelf(photos, tmp_path):
    outcomes = predict_files(segmenter(Everything()), find_jobs([photos]), Shelf(tmp_path / "out", ("coco",)))
    next(outcomes)
    outcomes.close()
    assert json.loads((tmp_path / "out" / "coco.json").read_text())["images"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("where", ["put", "found"])
def test_a_fault_in_a_thread_ends_the_batch(photos, tmp_path, monkeypatch, where):
    def fault(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Shelf, where, fault)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        list(predict_files(segmenter(Everything()), find_jobs([photos]), Shelf(tmp_path / "out")))


def test_results_that_cannot_be_written_fail_before_the_network_runs(photos, tmp_path):
    engine = Everything()
    (tmp_path / "file").touch()
    for output, message in [(tmp_path / "file", "cannot be a folder of results"), (photos, "is a photo, and would be")]:
        with pytest.raises(FiguregroundError, match=message):
            list(predict_files(segmenter(engine), find_jobs([photos]), Shelf(output)))
    assert engine.seen == 0


def test_photos_are_read_while_the_models_load(photos, tmp_path, monkeypatch):
    read, begun = batch.read_photo, threading.Event()
    monkeypatch.setattr(batch, "read_photo", lambda *given, **more: (begun.set(), read(*given, **more))[1])
    loads = []

    def load():
        loads.append(begun.wait(10))
        return segmenter(Everything())

    outcomes = list(predict_files(load, find_jobs([photos]), Shelf(tmp_path / "out"), least=(64, 64)))
    assert statuses(outcomes) == ["done"] * 20
    assert loads == [True]


def test_models_that_cannot_be_loaded_end_the_batch(photos, tmp_path):
    def load():
        raise FiguregroundError("no such model")

    threads = threading.active_count()
    with pytest.raises(FiguregroundError, match="no such model"):
        list(predict_files(load, find_jobs([photos]), Shelf(tmp_path / "out")))
    assert threading.active_count() == threads
    assert not (tmp_path / "out").exists()


def test_masks_are_judged_if_that_is_wanted(photos, tmp_path):
    (outcome,) = predict_files(
        segmenter(Everything()), find_jobs([photos / "00.png"]), Shelf(tmp_path / "out"), judge=False
    )
    assert (outcome.figure, outcome.expected_dice, outcome.estimated_dice, outcome.needs_review) == (
        1,
        None,
        None,
        None,
    )


class Inside(Everything):
    """Takes bright pixels for figure, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def run(self, batch):
        self.batches.append(batch)
        return {"figure": batch[:, :1] * 5}


@pytest.fixture
def large_jpeg(tmp_path):
    """A bright disc with noise, at 1000 × 704."""
    rows, columns = np.mgrid[:704, :1000]
    disc = np.where(np.hypot(rows - 352, columns - 500) < 250, 200, 50)[..., None]
    noise = np.random.default_rng(0).normal(0, 5, (704, 1000, 3))
    path = tmp_path / "disc.jpg"
    Image.fromarray(np.clip(disc + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def test_a_large_jpeg_gives_the_same_mask_whatever_is_made_of_it(large_jpeg, tmp_path):
    masks, engines = [], [Inside(), Inside(), Inside()]
    for kinds, engine in zip((("mask",), ("mask", "overlay")), engines, strict=False):
        (outcome,) = predict_files(segmenter(engine), find_jobs([large_jpeg]), Shelf(tmp_path / str(len(kinds)), kinds))
        assert outcome.size == (704, 1000)
        for path in outcome.files:
            with Image.open(path) as picture:
                assert picture.size == (1000, 704)
        masks.append(np.asarray(Image.open(outcome.files[0])) > 0)
    prediction = segmenter(engines[2]).predict(large_jpeg)
    np.testing.assert_array_equal(prediction.image, read_image(large_jpeg))
    for mask in masks:
        np.testing.assert_array_equal(mask, prediction.mask)
    for engine in engines[1:]:
        np.testing.assert_array_equal(engine.batches, engines[0].batches)


def test_a_reduced_jpeg_shows_the_network_what_the_whole_does(large_jpeg):
    reduced, whole = Inside(), Inside()
    mask = segmenter(reduced).predict(large_jpeg).mask
    expected = segmenter(whole).predict(read_image(large_jpeg)).mask
    difference = np.abs(reduced.batches[0] - whole.batches[0])
    assert 0 < difference.mean() < 2 / 255  # one of 255 levels; not 0, for it was reduced
    assert difference.max() < 4 * 2 / 255
    assert (mask != expected).mean() < 2e-3


def test_models_that_are_still_to_be_loaded_see_the_same(large_jpeg, tmp_path):
    loaded, later, soon = Inside(), Inside(), Inside()
    for models, least in [
        (segmenter(loaded), None), (lambda: segmenter(later), None), (lambda: segmenter(soon), (64, 64))
    ]:  # fmt: skip
        list(predict_files(models, find_jobs([large_jpeg]), Shelf(tmp_path / "out"), least=least, overwrite=True))
    for engine in (later, soon):
        np.testing.assert_array_equal(engine.batches, loaded.batches)


def test_of_a_photo_that_was_not_read_whole_nothing_coloured_can_be_made():
    prediction = segmenter(Everything()).prediction(np.zeros((50, 75, 3), np.uint8), np.ones((32, 32)), (100, 150))
    assert prediction.mask.shape == (100, 150)
    for make in (prediction.overlay, prediction.cutout):
        with pytest.raises(FiguregroundError, match="of a photo of 150×100 only 75×50 pixels were read"):
            make()


class TwoLanes(Everything):
    """Counts how many threads ask at once."""

    lanes = 2

    def __init__(self):
        super().__init__()
        self.asking, self.most, self.lock = 0, 0, threading.Lock()

    def run(self, batch):
        with self.lock:
            self.asking += 1
            self.most = max(self.most, self.asking)
        time.sleep(0.02)
        with self.lock:
            self.asking -= 1
        return super().run(batch)


def test_every_lane_of_an_engine_has_work(photos, tmp_path):
    engine = TwoLanes()
    outcomes = list(predict_files(segmenter(engine), find_jobs([photos]), Shelf(tmp_path / "out")))
    assert [outcome.job for outcome in outcomes] == find_jobs([photos])
    assert (engine.most, engine.seen) == (2, 20)


@pytest.mark.parametrize(("at_once", "most"), [(0.9, 1), (4, 11), (1000, 40)])
def test_a_bounded_number_of_photos_is_in_memory(photos, tmp_path, monkeypatch, at_once, most):
    """So many are read ahead, half as many predicted, so many written; a photo above the bound is alone."""
    alive, counts, lock = set(), [], threading.Lock()

    def read(path, least, limits, *, whole):
        image = np.zeros((4, 5, 3), np.uint8)
        with lock:
            alive.add(path)
            counts.append(len(alive))
        weakref.finalize(image, alive.discard, path)
        return Photo(image, image, (4, 5))

    def put_slowly(*_):
        time.sleep(0.005)

    monkeypatch.setattr(batch, "PIXELS_AT_ONCE", round(at_once * 20))
    monkeypatch.setattr(batch, "read_photo", read)
    monkeypatch.setattr(Shelf, "put", put_slowly)
    for index in range(40):
        Image.new("RGB", (5, 4), "red").save(photos / f"more-{index:02}.png")
    outcomes = list(predict_files(segmenter(Everything()), find_jobs([photos]), Shelf(tmp_path / "out")))
    assert statuses(outcomes) == ["done"] * 60
    assert max(counts) <= most
    assert not alive


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from figureground.bundle import BundleInfo
from figureground.prediction import Member, Segmenter
from figureground.prediction.batch.predict import predict_files
from figureground.prediction.batch.jobs import find_jobs
from figureground.prediction.batch.shelf import Shelf

class Half:
    name = "half"
    lanes = 1
    def run(self, batch):
        return {"figure": np.linspace(-9, 9, 256, dtype=np.float32) + np.zeros((len(batch), 1, 256, 256), np.float32)}

folder, kinds = Path(sys.argv[1]), sys.argv[2].split(",")
segmenter = Segmenter(Member(BundleInfo(), Half(), ""))
for name in ("small", "large"):
    jobs = find_jobs([folder / f"{name}.jpg"])
    list(predict_files(segmenter, jobs, Shelf(folder / "out", kinds)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read as Linux reports them")
@pytest.mark.parametrize(("kinds", "most"), [("mask,probability", 9), ("overlay,cutout", 11)])
def test_memory_for_a_large_photo(tmp_path, kinds, most):
    """Bytes a pixel. With colours: the photo 3, while it is decoded 4 more; then the mask 1 and a picture 4. Without:
    the mask 1 and, for the estimate of its Dice, the probability 4 and a copy of what is inside. Others are strips.
    """
    sizes = {"small": (60, 40), "large": (4500, 3000)}
    for name, size in sizes.items():
        Image.new("RGB", size, "green").save(tmp_path / f"{name}.jpg")
    command = [sys.executable, "-c", PEAK, str(tmp_path), kinds]
    small, large = map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())
    assert (large - small) / (4500 * 3000) < most
