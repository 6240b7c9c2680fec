import numpy as np
import pytest
from PIL import Image

from figureground.bundle import BundleInfo
from figureground.config import PreprocessingConfig
from figureground.errors import FiguregroundError
from figureground.prediction import Member, Segmenter
from figureground.prediction.batch import find_jobs, predict_files


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


def test_folders_are_kept_and_names_do_not_collide(photos, tmp_path):
    out = tmp_path / "out"
    targets = {job.target.relative_to(out).as_posix() for job in find_jobs([photos], out)}
    assert targets == {"a.jpg.png", "a.png.png", "sub/a.png", "sub/deep/b.png"}


def test_a_broken_file_is_reported_and_the_others_are_done(photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"no photo")
    segmenter = Segmenter(Member(BundleInfo(preprocessing=PreprocessingConfig((32, 32))), Everything(), "all"))
    jobs = find_jobs([photos], tmp_path / "out")
    outcomes = list(predict_files(segmenter, jobs))
    assert sorted(outcome.status for outcome in outcomes) == ["done"] * 4 + ["failed"]
    assert "broken.jpg is not an image" in next(o.message for o in outcomes if o.status == "failed")
    with Image.open(tmp_path / "out" / "sub" / "deep" / "b.png") as mask:
        assert (mask.size, mask.getextrema()) == ((5, 4), (255, 255))
    again = list(predict_files(segmenter, jobs))
    assert sorted(outcome.status for outcome in again) == ["failed"] + ["there"] * 4


@pytest.mark.parametrize(("name", "message"), [("none", "no such file or folder"), ("empty", "no photo in")])
def test_inputs_without_photos(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FiguregroundError, match=message):
        find_jobs([tmp_path / name], tmp_path / "out")


def test_two_folders_with_the_same_names_are_refused(photos, tmp_path):
    with pytest.raises(FiguregroundError, match="would both become"):
        find_jobs([photos / "sub", photos / "sub" / "a.jpg"], tmp_path / "out")
