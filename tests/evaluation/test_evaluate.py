import numpy as np
import pytest
from PIL import Image

from figureground.bundle import BundleInfo
from figureground.config import OperatingPoint, PreprocessingConfig
from figureground.data.dataset import Sample
from figureground.evaluation import Case, draw_cases, evaluate, show_prediction
from figureground.evaluation.statistics import bootstrap_mean
from figureground.prediction import Member, Segmenter


class Brightness:
    name = "brightness"

    def logits(self, batch):
        return 10 * batch.mean(axis=1)


class FourImages:
    """32×32: found exactly, half of it found, nothing there and nothing found, a border that does not count."""

    name, split, foreground = "four", "test", "ignore"
    names = ("exact", "half", "empty", "border")

    def __len__(self):
        return 4

    def __getitem__(self, index):
        found, labels = np.zeros((2, 32, 32), np.uint8)
        if index in (0, 3):
            found[:16], labels[:16] = 255, 1
        if index == 1:
            found[:8], labels[:16] = 255, 1
        if index == 3:
            found[:20], labels[16:20] = 255, 255
        return Sample(self.names[index], np.repeat(found[..., None], 3, axis=2), labels)


@pytest.fixture
def evaluation():
    info = BundleInfo(preprocessing=PreprocessingConfig((32, 32)))
    return evaluate(Segmenter(Member(info, Brightness(), "brightness")), FourImages(), batch_size=3)


def test_scores_by_hand(evaluation):
    np.testing.assert_allclose(evaluation.dice_per_image, [1, 2 / 3, 1, 1])
    figures = evaluation.to_json()
    assert figures["dice"]["mean"] == pytest.approx((3 + 2 / 3) / 4)
    assert figures["iou"]["mean"] == pytest.approx(3.5 / 4)
    assert figures["dataset_dice"] == pytest.approx(2 * 1280 / (2 * 1280 + 256))  # 512 + 256 + 512 found, 256 missed
    assert figures["dataset_iou"] == pytest.approx(1280 / 1536)
    assert (figures["n"], figures["foreground"], figures["threshold"], figures["split"]) == (4, "ignore", 0.5, "test")
    assert "n=4" in evaluation.summary()


def test_the_batch_size_changes_nothing(evaluation):
    info = BundleInfo(preprocessing=PreprocessingConfig((32, 32)))
    alone = evaluate(Segmenter(Member(info, Brightness(), "brightness")), FourImages(), batch_size=1)
    np.testing.assert_array_equal(alone.counts, evaluation.counts)


def test_the_threshold_of_the_bundle_is_used():
    info = BundleInfo(preprocessing=PreprocessingConfig((32, 32)), operating_point=OperatingPoint(0.99999))
    strict = evaluate(Segmenter(Member(info, Brightness(), "brightness")), FourImages())
    assert strict.dice_per_image.tolist() == [0, 0, 1, 0]  # the highest probability is sigmoid(10) = 0.99995


def test_interval_of_a_constant_is_a_point():
    mean = bootstrap_mean(np.full(50, 0.75))
    assert (mean.mean, mean.ci95) == (0.75, (0.75, 0.75))


def test_interval_is_that_of_scipy():
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).beta(8, 2, 200)
    theirs = bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    np.testing.assert_allclose(bootstrap_mean(values).ci95, theirs, atol=1e-3)


def test_the_interval_covers_at_its_level():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = bootstrap_mean(rng.beta(8, 2, 60)).ci95
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 200 <= 0.985


def test_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    image = np.full((20, 30, 3), 80, np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:20] = True
    cases = [Case("one", image, mask, ~mask, 0.25), Case("two", image, mask, mask, 1.0)]
    assert draw_cases(cases, tmp_path / "cases.png") == tmp_path / "cases.png"
    with Image.open(tmp_path / "cases.png") as picture:
        assert picture.width > 900
    assert str(show_prediction(image, mask, title="one")) == "prediction.png"
    with Image.open("prediction.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 1] > 50).mean()
    assert 0.05 < red < 0.3  # 100 of 600 pixels, less the margin


def test_show_prediction_takes_tensors(tmp_path):
    import torch

    target = show_prediction(torch.zeros(3, 20, 30), torch.ones(1, 20, 30), tmp_path / "a.png")
    assert target.is_file()
