import numpy as np
import pytest
from PIL import Image

from figureground.bundle import BundleInfo
from figureground.config import PreprocessingConfig
from figureground.errors import FiguregroundError
from figureground.prediction import Member, Segmenter
from figureground.prediction.batch import predict_files
from figureground.prediction.jobs import find_jobs
from figureground.prediction.shelf import Shelf


class Everything:
    name = "everything"

    def logits(self, batch):
        return np.ones(batch[:, 0].shape, np.float32)


@pytest.fixture
def photos(tmp_path):
    for name in ("a.jpg", "a.png", "sub/a.jpg", "sub/deep/b.webp"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), "red").save(path)
    (tmp_path / "photos" / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / "photos" / "notes.txt").write_text("x")
    return tmp_path / "photos"


def test_folders_are_kept_and_names_do_not_collide(photos):
    names = {job.name.as_posix() for job in find_jobs([photos])}
    assert names == {"a.jpg", "a.png", "sub/a", "sub/deep/b"}


def test_a_broken_file_is_reported_and_the_others_are_done(photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"no photo")
    segmenter = Segmenter(Member(BundleInfo(preprocessing=PreprocessingConfig((32, 32))), Everything(), "all"))
    jobs = find_jobs([photos])
    outcomes = list(predict_files(segmenter, jobs, Shelf(tmp_path / "out")))
    assert [outcome.job for outcome in outcomes] == jobs
    assert sorted(outcome.status for outcome in outcomes) == ["done"] * 4 + ["failed"]
    assert "broken.jpg is not an image" in next(o.message for o in outcomes if o.status == "failed")
    with Image.open(tmp_path / "out" / "sub" / "deep" / "b.png") as mask:
        assert (mask.size, mask.getextrema()) == ((5, 4), (255, 255))
    again = list(predict_files(segmenter, jobs, Shelf(tmp_path / "out")))
    assert sorted(outcome.status for outcome in again) == ["failed"] + ["there"] * 4


@pytest.mark.parametrize(("name", "message"), [("none", "no such file or folder"), ("empty", "no photo in")])
def test_inputs_without_photos(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FiguregroundError, match=message):
        find_jobs([tmp_path / name])


def test_the_same_name_in_two_folders_is_kept_apart(photos, tmp_path):
    other = tmp_path / "other" / "sub" / "a.jpg"
    other.parent.mkdir(parents=True)
    Image.new("RGB", (5, 4)).save(other)
    jobs = find_jobs([photos / "sub" / "a.jpg", other, photos / "sub" / "deep"])
    assert [job.name.as_posix() for job in jobs] == ["photos/sub/a", "other/sub/a", "b"]


def test_a_photo_that_is_given_twice_counts_once(photos):
    assert len(find_jobs([photos, photos / "sub" / "a.jpg", photos / "sub"])) == 4
