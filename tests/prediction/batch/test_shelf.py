import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from pycocotools.coco import COCO

from figureground import Prediction, images
from figureground.errors import FiguregroundError
from figureground.prediction.batch import shelf as shelf_module
from figureground.prediction.batch.jobs import Job
from figureground.prediction.batch.shelf import KINDS, Shelf
from figureground.prediction.origins import Source
from figureground.prediction.records import Records

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2
GREEN = (40, 200, 60)


def job(name="a.jpg", folder=Path("photos")):
    return Job(folder / name, Path(name), Path(name).with_suffix(""))


@pytest.fixture
def prediction():
    """A green photo of which the right half is figure, with probability 0.75, the left with 0.25."""
    image = np.full((40, 60, 3), GREEN, np.uint8)
    probability = np.full((40, 60), 0.25, np.float32)
    probability[:, 30:] = 0.75
    return Prediction(image, probability)


def has(shelf, job):
    return shelf.found(job, Source(job.source), dict)[0] == []


def opened(path):
    with Image.open(path) as picture:
        picture.load()
    return picture


def visible(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name[0] != ".")


def coco_masks(folder):
    coco = COCO(folder / "coco.json")
    masks = {}
    for image in coco.imgs.values():
        (annotation,) = coco.imgToAnns[image["id"]]
        masks[image["file_name"]] = coco.annToMask(annotation).astype(bool)
    return masks


def test_every_kind_at_once_each_in_a_folder(prediction, tmp_path):
    shelf = Shelf(tmp_path, KINDS)
    shelf.put(job("sub/a.jpg"), prediction)
    shelf.close()
    pictures = ["cutout/sub/a.png", "mask/sub/a.png", "overlay/sub/a.jpg", "probability/sub/a.png"]
    assert visible(tmp_path) == ["coco.json", *pictures]

    mask = opened(tmp_path / "mask/sub/a.png")
    assert mask.mode == "L"
    np.testing.assert_array_equal(mask, np.where(prediction.mask, 255, 0))
    probability = opened(tmp_path / "probability/sub/a.png")
    assert probability.mode == "I;16"
    np.testing.assert_array_equal(probability, np.where(prediction.mask, 49151, 16384))  # 0.75 and 0.25 of 65,535
    overlay = opened(tmp_path / "overlay/sub/a.jpg")
    assert overlay.format == "JPEG"
    assert np.abs(np.subtract(overlay.getpixel((8, 20)), GREEN)).max() <= 3
    assert np.abs(np.subtract(overlay.getpixel((52, 20)), (137, 110, 33))).max() <= 3  # 45% of red, 55% of the photo
    cutout = opened(tmp_path / "cutout/sub/a.png")
    assert cutout.mode == "RGBA"
    assert (cutout.getpixel((2, 20)), cutout.getpixel((58, 20))) == ((0, 0, 0, 0), (*GREEN, 255))
    (found,) = coco_masks(tmp_path).items()
    assert found[0] == "sub/a.jpg"
    np.testing.assert_array_equal(found[1], prediction.mask)


@pytest.mark.parametrize(("kind", "name"), [("mask", "a.png"), ("overlay", "a.jpg"), ("coco", "coco.json")])
def test_one_kind_lies_directly_in_the_folder(prediction, tmp_path, kind, name):
    shelf = Shelf(tmp_path, (kind, kind))
    assert not has(shelf, job())
    shelf.put(job(), prediction)
    shelf.close()
    assert visible(tmp_path) == [name]
    assert has(Shelf(tmp_path, (kind,)), job())


def test_a_background_behind_cutouts(prediction, tmp_path):
    Shelf(tmp_path, ("cutout",), (1, 2, 3)).put(job(), prediction)
    cutout = opened(tmp_path / "a.png")
    assert (cutout.mode, cutout.getpixel((2, 20)), cutout.getpixel((58, 20))) == ("RGB", (1, 2, 3), GREEN)


@pytest.mark.parametrize("kinds", [("masks",), ("mask", "svg"), ()])
def test_unknown_kinds(tmp_path, kinds):
    with pytest.raises(FiguregroundError, match="expected: mask, overlay, cutout, probability, coco"):
        Shelf(tmp_path, kinds)


def test_a_photo_without_a_figure_is_in_the_document_without_an_annotation(prediction, tmp_path):
    shelf = Shelf(tmp_path, ("coco",))
    shelf.put(job(), Prediction(prediction.image, np.zeros((40, 60), np.float32)))
    shelf.close()
    document = json.loads((tmp_path / "coco.json").read_text())
    assert ([image["file_name"] for image in document["images"]], document["annotations"]) == (["a.jpg"], [])


def test_a_record_that_was_cut_short_spoils_no_other(prediction, tmp_path):
    first = Shelf(tmp_path, ("coco",))
    for name in ("a.jpg", "b.jpg"):
        first.put(job(name), prediction)
    records = tmp_path / ".coco.jsonl"
    records.write_bytes(records.read_bytes()[:-20])  # as a killed process leaves it
    second = Shelf(tmp_path, ("coco",))
    assert (has(second, job("a.jpg")), has(second, job("b.jpg"))) == (True, False)
    for name in ("b.jpg", "c.jpg"):
        second.put(job(name), prediction)
    second.close()
    assert sorted(coco_masks(tmp_path)) == ["a.jpg", "b.jpg", "c.jpg"]


def test_records_that_are_written_at_once_do_not_mix(tmp_path):
    mask = np.random.default_rng(0).random((60, 80)) < 0.5
    speckled = Prediction(np.zeros((60, 80, 3), np.uint8), mask.astype(np.float32))

    def fill(letter):
        shelf = Shelf(tmp_path, ("coco",))
        for index in range(8):
            shelf.put(job(f"{letter}{index}.jpg"), speckled)
        shelf.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, "abcd"))
    assert (tmp_path / ".coco.jsonl").stat().st_size > 32 * 30_000  # far more than a file's buffer each
    assert len(coco_masks(tmp_path)) == 32


def test_a_document_that_another_process_has_outdated_is_made_again(prediction, tmp_path, monkeypatch):
    shelf, other = Shelf(tmp_path, ("coco",)), Shelf(tmp_path, ("coco",))
    shelf.put(job("a.jpg"), prediction)
    places, calls = Records.places, []

    def places_while_the_other_writes(records):
        found = places(records)
        if not calls:
            other.put(job("b.jpg"), prediction)
        calls.append(1)
        return found

    monkeypatch.setattr(Records, "places", places_while_the_other_writes)
    shelf.close()
    assert sorted(coco_masks(tmp_path)) == ["a.jpg", "b.jpg"]
    assert len(calls) == 2


def test_a_folder_that_cannot_be_made_is_named_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FiguregroundError, match=r"file.* cannot be a folder of results .*; choose another"):
            Shelf(folder).open([job()])


def test_a_photo_is_never_replaced(tmp_path):
    photo = Job(tmp_path / "a.png", Path("a.png"), Path("a"))
    with pytest.raises(FiguregroundError, match=r"a\.png is a photo, and would be replaced; expected another folder"):
        Shelf(tmp_path).open([photo])
    Shelf(tmp_path, ("overlay",)).open([photo])


def test_a_full_disk_fails_the_picture_and_leaves_nothing_of_it(prediction, tmp_path, monkeypatch):
    def full(strips, height, width):
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(images, "encode_grey", full)
    shelf = Shelf(tmp_path, ("mask", "overlay"))
    with pytest.raises(FiguregroundError, match=r"a\.png could not be written \(No space left on device\)"):
        shelf.put(job(), prediction)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.jpg"]
    assert not has(shelf, job())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full: a disk that is full")
def test_a_full_disk_fails_the_record(prediction, tmp_path):
    shelf = Shelf(tmp_path, ("mask", "coco"))
    shelf._records = Records(Path("/dev/full"))
    with pytest.raises(FiguregroundError, match=r"/dev/full could not be written \(No space left on device\)"):
        shelf.put(job(), prediction)
    assert visible(tmp_path) == ["a.png"]  # what can be written is


def test_a_picture_too_large_for_jpeg_fails_alone(tmp_path):
    wide = Prediction(np.zeros((3, 65_535, 3), np.uint8), np.ones((3, 65_535), np.float32))
    with pytest.raises(FiguregroundError, match=r"a\.jpg would be 65535×3; \.jpg holds up to 65500 pixels"):
        Shelf(tmp_path, ("overlay", "mask", "probability")).put(job(), wide)
    assert visible(tmp_path) == ["mask/a.png", "probability/a.png"]
    assert opened(tmp_path / "mask/a.png").size == (65_535, 3)


def test_colour_profiles_go_along_with_colours(prediction, tmp_path):
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk = rgb[:16] + b"CMYK" + rgb[20:]
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", icc_profile=rgb)
    Image.new("CMYK", (60, 40)).save(tmp_path / "b.jpg", icc_profile=cmyk)
    kinds = ("overlay", "cutout", "mask")
    shelf = Shelf(tmp_path / "out", kinds)
    for name, kept in (("a.jpg", rgb), ("b.jpg", None)):
        shelf.put(job(name, tmp_path), prediction)
        found = [opened(path).info.get("icc_profile") for path in shelf.files(job(name))]
        assert found == [kept, kept, None]


@pytest.mark.parametrize("kind", ["mask", "probability", "cutout"])
@pytest.mark.parametrize("there", ["mask", "probability", "cutout"])
def test_another_kind_of_result_is_not_taken_for_this_one(prediction, tmp_path, there, kind):
    """One kind lies directly in the folder, so all three would be a.png."""
    Shelf(tmp_path, [there]).put(job(), prediction)
    shelf = Shelf(tmp_path, [kind])
    if there == kind:
        shelf.open([job()])
        return
    with pytest.raises(FiguregroundError, match=rf"a\.png is there, and no {kind}; choose another folder, or"):
        shelf.open([job()])
    shelf.open([job()], overwrite=True)


def test_a_cutout_on_a_background_is_one_too(prediction, tmp_path):
    shelf = Shelf(tmp_path, ["cutout"], (255, 255, 255))
    shelf.put(job(), prediction)
    shelf.open([job()])


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf_module.os, "access", lambda path, mode: mode != shelf_module.os.W_OK)  # root may
    with pytest.raises(FiguregroundError, match=r"cannot be a folder of results \(Permission denied\); choose another"):
        Shelf(tmp_path).open([job()])
