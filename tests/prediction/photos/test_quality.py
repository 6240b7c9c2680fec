import numpy as np
import pytest

from figureground.bundle import BundleInfo
from figureground.config import QualityConfig, parse, plain
from figureground.errors import FiguregroundError
from figureground.prediction import Member, Prediction, Segmenter
from figureground.prediction.batch.jobs import find_jobs
from figureground.prediction.batch.predict import predict_files
from figureground.prediction.batch.shelf import Shelf
from figureground.prediction.photos.quality import FEATURES, estimate_dice, expected_dice, features
from figureground.preprocessing import Preprocessing

IMAGE = np.zeros((4, 5, 3), np.uint8)
PROBABILITY = np.array([[1, 1, 0, 0, 0.75], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0.25, 0, 0, 0, 0]], np.float32)


def test_features_by_hand():
    found = features(PROBABILITY > 0.5, PROBABILITY)
    assert tuple(found) == FEATURES
    quarter = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert found == pytest.approx(
        {
            "expected_dice": 2 * 4.75 / (5 + 5),
            "uncertain": 2 / 5,  # 0.75 and 0.25, over a mask of 5
            "entropy": quarter,
            "area": 5 / 20,
            "scattered": 1 / 5,  # the pixel on the right
        }
    )


def test_features_do_not_depend_on_the_size():
    large = np.kron(PROBABILITY, np.ones((300, 300), np.float32))
    assert features(large > 0.5, large) == pytest.approx(features(PROBABILITY > 0.5, PROBABILITY), abs=0.01)


def test_features_of_nothing_and_of_everything():
    nothing, everything = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    assert features(nothing > 0.5, nothing) == dict.fromkeys(FEATURES, 0.0) | {"expected_dice": 1.0}
    assert features(everything > 0.5, everything) == dict.fromkeys(FEATURES, 0.0) | {"expected_dice": 1, "area": 1}
    doubtful = np.full((4, 4), 0.4, np.float32)
    assert features(doubtful > 0.5, doubtful)["uncertain"] == 1


def test_the_expected_dice_of_calibrated_probabilities_is_about_the_true_one():
    rng = np.random.default_rng(0)
    probability = rng.random((200, 200)).astype(np.float32)
    mask, truth = probability > 0.5, rng.random((200, 200)) < probability
    true_dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert expected_dice(mask, probability) == pytest.approx(true_dice, abs=0.01)


def test_an_estimate_by_hand():
    config = QualityConfig({"expected_dice": 2.0, "scattered": -1.0}, 0.1, (0.0, 1.0, 2.0), (0.1, 0.5, 0.9))
    found = dict.fromkeys(FEATURES, 0.0) | {"expected_dice": 0.75, "scattered": 0.1}
    assert estimate_dice(found, config) == pytest.approx(0.7)  # a score of 1.5, between 0.5 and 0.9
    assert estimate_dice(found | {"expected_dice": 9.0}, config) == pytest.approx(0.9)
    assert estimate_dice(found | {"expected_dice": -9.0}, config) == pytest.approx(0.1)


def test_by_default_the_expected_dice_is_believed():
    prediction = Prediction(IMAGE, PROBABILITY)
    assert prediction.estimated_dice == pytest.approx(0.95) == prediction.expected_dice
    assert not prediction.needs_review


@pytest.mark.parametrize(("below", "expected"), [(0.94, False), (0.96, True)])
def test_a_low_estimate_needs_review(below, expected):
    assert Prediction(IMAGE, PROBABILITY, quality=QualityConfig(review_below=below)).needs_review is expected


def test_weights_that_add_up_to_no_number_speak_for_nothing():
    config = QualityConfig({"area": 1e308, "uncertain": -1e308})
    found = dict.fromkeys(FEATURES, 0.0) | {"area": 1e9, "uncertain": 1e9}  # infinite, and minus as much
    assert estimate_dice(found, config) == 0


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_estimate_that_is_no_number_needs_review():
    """`nan < 0.8` is false: a network that is broken must not be the one that nobody looks at."""
    prediction = Prediction(IMAGE, np.full((4, 5), np.inf, np.float32))
    assert prediction.mask.all()
    assert prediction.needs_review


def test_an_empty_mask_needs_review():
    hopeful = QualityConfig(intercept=1.0, review_below=0.0)
    prediction = Prediction(IMAGE, np.zeros((4, 5), np.float32), quality=hopeful)
    assert prediction.estimated_dice == 0
    assert prediction.needs_review


class Faint:
    name = "faint"
    lanes = 1

    def run(self, batch):
        return {"figure": np.full(batch[:, :1].shape, 0.5, np.float32)}


def test_the_bundles_settings_reach_every_outcome(tmp_path):
    from PIL import Image

    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    quality = QualityConfig(scores=(0.0, 1.0), dice=(0.25, 0.25), review_below=0.3, fitted_on="valid")
    info = BundleInfo(preprocessing=Preprocessing((32, 32)), quality=quality)
    segmenter = Segmenter(Member(info, Faint(), "faint"))
    (outcome,) = predict_files(segmenter, find_jobs([tmp_path / "a.png"]), Shelf(tmp_path / "masks"))
    entry = outcome.to_json()
    assert (entry["estimated_dice"], entry["needs_review"]) == (0.25, True)


def test_settings_round_trip():
    config = QualityConfig({"area": 0.5}, 0.25, (0.0, 0.5), (0.1, 0.9), 0.7, "valid")
    assert parse(QualityConfig, plain(config)) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scores": [1, 0]}, "scores are .1.0, 0.0.; expected rising"),
        ({"scores": []}, "expected rising"),
        ({"dice": [0.5]}, "1 dice for 2 scores"),
        ({"review_below": 2}, "review_below is 2.0; expected 0 to 1"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(FiguregroundError, match=message):
        parse(QualityConfig, settings)


def test_a_feature_of_a_later_version_is_refused():
    with pytest.raises(FiguregroundError, match="quality weighs colour; known are: expected_dice, uncertain"):
        _ = Prediction(IMAGE, PROBABILITY, quality=QualityConfig({"colour": 1.0})).estimated_dice
