import csv
import sys
import weakref

import numpy as np
import pytest
from PIL import Image

from figureground.bundle import BundleInfo
from figureground.config import OperatingPoint
from figureground.data.dataset import Sample, targets_of
from figureground.errors import FiguregroundError
from figureground.evaluation import Example, draw_examples, evaluate, show_prediction
from figureground.evaluation.scoring.properties import PROPERTIES
from figureground.evaluation.scoring.scores import COLUMNS, METRICS, Tally, score_image
from figureground.prediction import Member, Segmenter
from figureground.preprocessing import Preprocessing

from ...stubs import Brightness


class FourImages:
    """32×32: found exactly, half of it found, nothing there and nothing found, a border that does not count."""

    name, split, foreground = "four", "test", "ignore"
    names = ("exact", "half", "empty", "border")

    def __len__(self):
        return 4

    def __getitem__(self, index):
        found, mask, kept = np.zeros((32, 32), np.uint8), np.zeros((32, 32), bool), np.ones((32, 32), bool)
        if index in (0, 3):
            found[:16], mask[:16] = 255, True
        if index == 1:
            found[:8], mask[:16] = 255, True
        if index == 3:
            found[:20], kept[16:20] = 255, False
        return Sample(self.names[index], np.repeat(found[..., None], 3, axis=2), targets_of(mask, kept))


@pytest.fixture
def evaluation():
    info = BundleInfo(preprocessing=Preprocessing((32, 32)))
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


@pytest.mark.parametrize(
    ("preprocessing", "words", "dice"),
    [
        (Preprocessing((64, 48), "fit"), "within 48×64", [1, 2 / 3, 1, 1]),  # 48×48 of it, the rest is padding
        (Preprocessing((32, 32), "crops"), "at their own size", [1, 2 / 3, 1, 1]),
        (Preprocessing((64, 64), "crops", scale=0.5), "at 0.5 times their size", [1, 2 / 3, 1, 1]),
    ],
    ids=["fit", "crops", "half"],
)
def test_padding_is_not_scored(preprocessing, words, dice):
    """A padded pixel would count: 32 rows above and below that repeat a white edge are found, and are no figure."""
    info = BundleInfo(preprocessing=preprocessing)
    found = evaluate(Segmenter(Member(info, Brightness(), "brightness")), FourImages())
    np.testing.assert_allclose(found.dice_per_image, dice)
    assert (found.scored_at, found.to_json()["scored_at"]) == (words, words)
    assert found.summary().splitlines()[1].strip().startswith(words)
    np.testing.assert_allclose(found.native.column("dice"), [1, 2 / 3, 1, 1])
    same = preprocessing.seen_size(32, 32) == (32, 32)
    assert (found.scores.column("tp") == found.native.column("tp")).all() == same


def test_the_batch_size_changes_nothing(evaluation):
    info = BundleInfo(preprocessing=Preprocessing((32, 32)))
    alone = evaluate(Segmenter(Member(info, Brightness(), "brightness")), FourImages(), batch_size=1)
    np.testing.assert_array_equal(alone.scores.rows, evaluation.scores.rows)


def test_the_threshold_of_the_bundle_is_scored_beside_the_headline():
    info = BundleInfo(preprocessing=Preprocessing((32, 32)), operating_point=OperatingPoint(0.99999))
    strict = evaluate(Segmenter(Member(info, Brightness(), "brightness")), FourImages())
    fitted = strict.fitted.scores.column("dice")
    assert fitted.tolist() == [0, 0, 1, 0]  # the highest probability is sigmoid(10) = 0.99995
    np.testing.assert_allclose(strict.dice_per_image, [1, 2 / 3, 1, 1])  # at 0.5


def test_each_size_and_point_has_its_columns(tmp_path):
    info = BundleInfo(preprocessing=Preprocessing((32, 32)), operating_point=OperatingPoint(0.4))
    segmenter = Segmenter(Member(info, Brightness(), "brightness"))
    evaluate(segmenter, FourImages(), per_image=tmp_path / "a.csv")
    header, *rows = (line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines())
    columns = [kind + name for kind in ("", "native_", "fitted_") for name in COLUMNS]
    assert header == ["name", "foreground", *PROPERTIES, *columns, "estimated_dice", "needs_review"]
    assert [row[-1] for row in rows] == ["0", "0", "1", "0"]  # the empty one


FULL = [  # image, metric, expected
    ("exact", {"precision": 1, "recall": 1, "boundary_f1": 1, "boundary_iou": 1, "hd95": 0, "asd": 0}),
    ("half", {"dice": 2 / 3, "precision": 1, "recall": 1 / 2, "tp": 256, "fp": 0, "fn": 256, "empty_masks": 0}),
    ("empty", {"dice": 1, "precision": 1, "recall": 1, "hd95": 0, "asd": 0, "boundary_f1": 1, "empty_masks": 2}),
    ("border", {"dice": 1, "boundary_f1": 1, "boundary_iou": 1, "hd95": 0}),
]


@pytest.mark.parametrize(("name", "expected"), FULL)
def test_an_image_by_hand(evaluation, name, expected):
    index = evaluation.names.index(name)
    assert {key: evaluation.scores.column(key)[index] for key in expected} == pytest.approx(expected)


def test_the_boundaries_of_the_half_that_was_found(evaluation):
    """Rows 0 to 7 of 0 to 15, as wide as the image; both boundaries run along the image's edge."""
    predicted, true = 32 * 2 + 6 * 2, 32 * 2 + 14 * 2  # pixels of the boundaries
    shared = 32 + 7 * 2  # rows 0 to 7 of the truth's boundary: the first row and both ends of the others
    inner = sum(2 * min(7, column) for column in range(1, 16))  # row 7: to row 0, 8 columns or the sides, whichever
    scores = evaluation.scores
    assert scores.column("boundary_f1_2px")[1] == pytest.approx(
        2 * (p := (shared + 2 * 2) / predicted) * (r := (shared + 2 * 2) / true) / (p + r)
    )
    assert scores.column("asd")[1] == pytest.approx((inner + 2 * sum(range(1, 9)) + 30 * 8) / (predicted + true))


def test_the_rules_are_stated(evaluation):
    figures = evaluation.to_json()
    assert figures["empty_mask_rule"].startswith("prediction and truth both empty score 1, distances 0")
    assert "left out" in figures["left_out_rule"]
    assert (figures["both_empty"], figures["one_empty"]) == (1, 0)
    assert "BCa" in figures["interval"]
    summary = evaluation.summary()
    assert "both empty score 1" in summary
    assert "border counted as: ignore" in summary
    assert "pixels that are left out count nowhere" in summary
    assert "with fewer than 100 images intervals are too narrow" in summary
    assert "95% BCa bootstrap" in summary


class Photos(FourImages):
    """64×48 and brighter above; the last has the network's size."""

    foreground = "foreground"
    names = ("higher, as is the truth", "truth less high", "small")
    read = ()

    def __len__(self):
        return 3

    def __getitem__(self, index):
        height, width = (32, 32) if index == 2 else (64, 48)
        image = np.zeros((height, width, 3), np.uint8)
        image[: height // 2] = 255
        mask = np.zeros((height, width), bool)
        mask[: (29 if index == 1 else height // 2)] = True
        return Sample(self.names[index], image, targets_of(mask))


@pytest.fixture
def segmenter():
    return Segmenter(Member(BundleInfo(preprocessing=Preprocessing((32, 32))), Brightness(), "brightness"))


def test_scores_at_the_photos_own_size(segmenter):
    evaluation = evaluate(segmenter, Photos())
    np.testing.assert_allclose(evaluation.dice_per_image, [1, 28 / 30, 1])  # 14 of 29 rows are left at 32×32
    np.testing.assert_allclose(evaluation.native.column("dice"), [1, 58 / 61, 1])
    assert evaluation.native.column("height").tolist() == [64, 64, 32]
    assert evaluation.native.column("width").tolist() == [48, 48, 32]
    figures = evaluation.to_json()
    assert figures["native"]["dice"]["mean"] == pytest.approx((1 + 58 / 61 + 1) / 3)
    pooled = 2 * (32 * 48 + 29 * 48 + 16 * 32)
    assert figures["native"]["dataset_dice"] == pytest.approx(pooled / (pooled + 3 * 48))
    assert "at the photos' own size" in evaluation.summary()
    assert "worst: truth less high 0.9333, higher, as is the truth 1.0000, small 1.0000" in evaluation.summary()


def test_estimates_are_held_against_the_photos_own_masks(segmenter):
    """Right at 32×32; of the photo's 64 rows of truth every other one is missing where the figure is."""

    class Striped(Photos):
        names = ("striped",)

        def __len__(self):
            return 1

        def __getitem__(self, index):
            sample = super().__getitem__(0)
            return Sample(sample.name, sample.image, targets_of(sample.mask & (np.arange(64) % 2 == 0)[:, None]))

    (estimate,) = evaluate(segmenter, Striped()).estimates[:, 0]
    evaluation = evaluate(segmenter, Striped())
    assert evaluation.quality.mean_absolute_error.mean == pytest.approx(abs(estimate - 2 * 16 / (32 + 16)), abs=1e-6)


def test_photos_of_the_networks_size_are_scored_once(segmenter, monkeypatch):
    scored = []
    module = sys.modules[evaluate.__module__]  # its name leads to the function
    monkeypatch.setattr(module, "score_image", lambda *given: scored.append(given) or score_image(*given))
    evaluation = evaluate(segmenter, FourImages())
    assert len(scored) == 4
    np.testing.assert_array_equal(evaluation.native.rows, evaluation.scores.rows)


def test_without_the_photos_own_size(segmenter, tmp_path):
    evaluation = evaluate(segmenter, Photos(), native=False, per_image=tmp_path / "per_image.csv")
    assert evaluation.native is None
    assert evaluation.to_json()["native"] is None
    assert "own size" not in evaluation.summary()
    assert "native" not in (tmp_path / "per_image.csv").read_text()


def test_every_figure_of_every_image_is_in_the_table(segmenter, tmp_path):
    evaluation = evaluate(segmenter, Photos(), per_image=tmp_path / "per_image.csv")
    with (tmp_path / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(evaluation.names)
    assert {row["foreground"] for row in rows} == {"foreground"}
    for name in COLUMNS:
        np.testing.assert_allclose([float(row[name]) for row in rows], evaluation.scores.column(name))
        np.testing.assert_allclose([float(row[f"native_{name}"]) for row in rows], evaluation.native.column(name))
    assert rows[0]["native_tp"] == str(32 * 48)


def test_a_table_is_written_whole_or_not_at_all(segmenter, tmp_path):
    class Broken(Photos):
        def __getitem__(self, index):
            if index == 2:
                raise FiguregroundError("photo 2 is broken")
            return super().__getitem__(index)

    with pytest.raises(FiguregroundError, match="photo 2 is broken"):
        evaluate(segmenter, Broken(), batch_size=1, per_image=tmp_path / "per_image.csv")
    assert list(tmp_path.iterdir()) == []


def test_images_are_let_go(segmenter):
    """Of an image only its figures are kept: no more samples live than two batches hold."""
    samples, alive = [], []

    class Many(Photos):
        names = tuple(map(str, range(40)))

        def __len__(self):
            return 40

        def __getitem__(self, index):
            image = np.zeros((32, 32, 3), np.uint8)
            sample = Sample(self.names[index], image, targets_of(image[..., 0] > 0))
            samples.append(weakref.ref(sample))
            alive.append(sum(reference() is not None for reference in samples))
            return sample

    evaluate(segmenter, Many(), batch_size=4)
    assert len(alive) == 40
    assert max(alive) <= 8


def test_pooled_figures_are_those_of_all_pixels_together():
    rng = np.random.default_rng(0)
    tally = Tally()
    for _ in range(3):
        probability = rng.random((20, 30)).astype(np.float32)
        truth = rng.integers(0, 2, (20, 30)) == 1
        tally.add(score_image(probability > 0.5, probability, (truth, None)))
    scores = tally.scores()
    tp, fp, fn = (scores.column(name).sum() for name in ("tp", "fp", "fn"))
    assert scores.pooled["precision"] == tp / (tp + fp)
    assert scores.pooled["recall"] == tp / (tp + fn)
    assert scores.pooled["brier"] == pytest.approx(scores.column("brier").mean())  # the images are equally large
    assert scores.pooled["ece"] < scores.column("ece").mean()  # deviations by chance cancel out
    assert "hd95" not in scores.pooled
    assert set(scores.means) == set(METRICS)


def test_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    image = np.full((20, 30, 3), 80, np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:20] = True
    examples = [Example("one", image, mask, ~mask, 0.25), Example("two", image, mask, mask, 1.0)]
    assert draw_examples(examples, tmp_path / "cases.png") == tmp_path / "cases.png"
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
