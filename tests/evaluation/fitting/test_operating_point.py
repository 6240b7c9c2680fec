import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from figureground.bundle import BundleInfo, read_info, read_tensors, replace_info
from figureground.cli import app
from figureground.config import OperatingPoint, PostProcessingConfig
from figureground.data import open_dataset
from figureground.data.dataset import Sample, targets_of
from figureground.errors import FiguregroundError, UsageError
from figureground.evaluation import evaluate, fit_on_valid, fit_run, score_run
from figureground.evaluation.fitting.operating_point import (
    EDGES,
    Row,
    choose_threshold,
    collect,
    fit_temperature,
    gain,
    sweep,
)
from figureground.evaluation.statistics import Mean, cross_fitted_gain
from figureground.prediction import Member, Segmenter, load
from figureground.preprocessing import Preprocessing

LEFT_OUT = 255
ODDS = np.log(3)  # the logit of 3 in 4


class Levels:
    """The logit is the grey level, 128 being 0, in steps of ``step``."""

    name = "levels"

    def __init__(self, step=0.1):
        self.step = step

    def run(self, batch):
        return {
            "figure": ((np.round((batch.mean(axis=1, keepdims=True) + 1) * 127.5) - 128) * self.step).astype(np.float32)
        }


class Drawn:
    """Images of grey levels (32, 32) with label maps of 0, 1 and 255, which is left out."""

    name, split, foreground = "drawn", "valid", "foreground"

    def __init__(self, *images, split="valid"):
        self.images, self.split = images, split
        self.names = tuple(map(str, range(len(images))))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        levels, labels = self.images[index]
        image = np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)
        return Sample(self.names[index], image, targets_of(labels == 1, labels != LEFT_OUT))


def member(engine, **settings):
    return Member(BundleInfo(preprocessing=Preprocessing((32, 32)), **settings), engine, "levels")


def rows_of(*counted):
    """An image whose rows come in runs of (number, level, label)."""
    levels, labels = (np.repeat([run[i] for run in counted], [run[0] for run in counted]) for i in (1, 2))
    return (np.repeat(levels[:, None], 32, axis=1), np.repeat(labels[:, None].astype(np.uint8), 32, axis=1))


THREE_IN_FOUR = rows_of((12, 138, 1), (4, 138, 0), (4, 118, 1), (12, 118, 0))
"""3 of 4 pixels of logit 10 steps are figure, and 1 of 4 of logit -10 steps."""


@pytest.mark.parametrize("factor", [0.5, 1, 2, 5])
def test_logits_that_are_too_large_have_that_temperature(factor):
    segmenter = Segmenter(member(Levels(step=ODDS / 10 * factor)))
    found = fit_temperature(collect(segmenter, Drawn(THREE_IN_FOUR)))
    assert found.temperature == pytest.approx(factor, rel=1e-3)
    honest = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))  # the entropy, which no probability beats
    assert found.nll_after == pytest.approx(honest, abs=1e-6)
    z = ODDS * factor
    assert found.nll_before == pytest.approx(0.75 * np.log1p(np.exp(-z)) + 0.25 * np.log1p(np.exp(z)), abs=1e-6)


def test_pixels_that_are_left_out_have_no_part_in_it():
    levels, labels = THREE_IN_FOUR
    labels = labels.copy()
    labels[:, 16:] = LEFT_OUT
    found = collect(Segmenter(member(Levels())), Drawn((levels, labels)))
    assert found.pixels.sum() == 16 * 32


# Half of it is figure: 8 rows of logit 1, 4 of -1 and 4 of -2; of the background 4 rows have -1, 12 have -3.
GRADED = rows_of((8, 138, 1), (4, 118, 1), (4, 108, 1), (4, 118, 0), (12, 98, 0))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(
    ("logit", "dice", "precision", "recall"),
    [
        (0.0, 2 * 8 / 24, 1, 1 / 2),
        (0.85, 2 * 8 / 24, 1, 1 / 2),
        (1.05, 0, 0, 0),
        (-1.55, 2 * 12 / 32, 12 / 16, 12 / 16),
        (-2.55, 2 * 16 / 36, 16 / 20, 1),
        (-4.0, 2 * 16 / 48, 1 / 2, 1),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_sweep_by_hand(logit, dice, precision, recall, temperature):
    edge = float(EDGES[np.searchsorted(EDGES, logit - 1e-9)])
    rows = sweep(collect(Segmenter(member(Levels())), Drawn(GRADED)), temperature)
    row = next(row for row in rows if row.threshold == pytest.approx(sigmoid(edge / temperature)))
    assert (row.dice, row.precision, row.recall) == pytest.approx((dice, precision, recall))
    assert row.iou == pytest.approx(dice / (2 - dice))


def test_means_are_over_images():
    empty = rows_of((32, 98, 0))
    rows = sweep(collect(Segmenter(member(Levels())), Drawn(GRADED, empty)))
    at_half = next(row for row in rows if row.threshold == 0.5)
    assert at_half.dice == pytest.approx((16 / 24 + 1) / 2)  # nothing there and nothing found counts 1


def test_boundaries_are_compared_at_some_thresholds():
    right = rows_of((16, 138, 1), (16, 118, 0))
    rows = sweep(collect(Segmenter(member(Levels())), Drawn(right)))
    measured = {row.threshold: row.boundary_f1 for row in rows if row.boundary_f1 is not None}
    assert len(measured) == 9
    assert measured[0.5] == 1
    assert measured[sigmoid(2.0)] == 0  # nothing is found


ROWS = [
    Row(0.2, 0.80, 0.70, 0.75, 0.95, None),
    Row(0.4, 0.90, 0.82, 0.90, 0.90, None),
    Row(0.6, 0.85, 0.75, 0.96, 0.80, None),
    Row(0.9, 0.60, 0.45, 0.99, 0.50, None),
]


@pytest.mark.parametrize(
    ("target", "threshold"), [("dice", 0.4), ("precision=0.95", 0.6), ("precision=0.98", 0.9), ("recall=0.92", 0.2)]
)
def test_the_target_chooses_the_threshold(target, threshold):
    assert choose_threshold(ROWS, target).threshold == threshold


def test_of_equals_the_nearest_to_a_half():
    assert choose_threshold([row._replace(dice=0.7) for row in ROWS[:3]]).threshold in (0.4, 0.6)
    assert choose_threshold([row._replace(dice=0.7) for row in ROWS[:2]]).threshold == 0.4


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "precision=0.995",
            "no threshold reaches precision=0.995 on valid; the highest precision is 0.9900, at thresh",
        ),
        ("recall=0.99", "the highest recall is 0.9500, at threshold 0.2000, where recall is 0.9500 and precision 0.75"),
        ("precision=98", "target 'precision=98'; expected dice, precision=NUMBER or recall=NUMBER"),
        ("precision", "target 'precision'; expected"),
        ("iou=0.9", "target 'iou=0.9'; expected"),
    ],
)
def test_targets_that_cannot_be_met(target, message):
    with pytest.raises(FiguregroundError, match=message):
        choose_threshold(ROWS, target)


def test_the_gain_by_hand():
    found = collect(Segmenter(member(Levels())), Drawn(GRADED, GRADED))
    row = min(sweep(found), key=lambda row: abs(row.threshold - sigmoid(-2.5)))
    difference = 32 / 36 - 16 / 24
    assert gain(found, row).mean == pytest.approx(difference)
    assert gain(found, row).ci95 == pytest.approx((difference, difference))


def test_a_gain_that_may_be_chance_leaves_the_threshold_at_a_half():
    """In eleven images a lower threshold is better, in nine a higher one."""
    lower = rows_of((8, 138, 1), (4, 118, 1), (20, 98, 0))
    higher = rows_of((8, 138, 1), (4, 118, 0), (20, 98, 0))
    images = Drawn(*[lower] * 11, *[higher] * 9)
    fit = fit_on_valid(member(Levels()), images)
    assert fit.info.operating_point.threshold == 0.5
    assert fit.chosen.gain.ci95[0] < 0
    assert fit.summary().count("which may be chance: 0.5 stays") == 1
    wanted = fit_on_valid(member(Levels()), images, target="recall=1")
    assert wanted.info.operating_point.threshold < 0.5  # what was asked for is done


MANY = Drawn(*[GRADED, THREE_IN_FOUR, rows_of((8, 138, 1), (24, 98, 0))] * 10)


def test_a_second_fit_gives_the_same():
    """The network's own logits are fitted, not those that the bundle's temperature has changed."""
    model = member(Levels())
    first = fit_on_valid(model, MANY)
    again = fit_on_valid(replace(model, info=first.info), MANY)
    assert again.info == first.info
    assert first.info.operating_point.fitted_on == "valid"
    assert first.info.operating_point.temperature != 1


def test_what_was_fitted_is_what_predict_does():
    fit = fit_on_valid(member(Levels()), MANY)
    evaluation = evaluate(Segmenter(replace(member(Levels()), info=fit.info)), MANY)
    assert evaluation.fitted.scores.column("dice").mean() == pytest.approx(fit.chosen.row.dice)
    assert evaluation.fitted.settings["threshold"] == fit.info.operating_point.threshold
    plain = evaluate(Segmenter(member(Levels())), MANY)
    np.testing.assert_array_equal(evaluation.dice_per_image, plain.dice_per_image)  # the headline is left alone
    assert evaluation.scores.pooled["brier"] == pytest.approx(plain.scores.pooled["brier"])
    assert evaluation.fitted.scores.pooled["brier"] < plain.scores.pooled["brier"]
    assert plain.fitted is None
    assert plain.to_json()["fitted"] is None
    figures = evaluation.to_json()
    assert figures["threshold"] == 0.5
    assert set(figures["fitted"]) > {"threshold", "temperature", "post_processing", "dice", "iou", "dataset_dice"}
    assert set(figures["quality"]) > {"mean_absolute_error", "rank_correlation", "aurc"}
    assert f"fitted, threshold {fit.chosen.row.threshold:.3f}" in evaluation.summary()


def test_the_clean_up_is_chosen_on_request():
    levels, labels = rows_of((16, 138, 1), (16, 98, 0))
    levels[30, 30] = 138  # a speck
    images = Drawn(*[(levels, labels)] * 20)
    assert fit_on_valid(member(Levels()), images).info.post_processing == PostProcessingConfig()
    fit = fit_on_valid(member(Levels()), images, post_processing=True)
    assert fit.info.post_processing == PostProcessingConfig(keep_largest=True)
    assert fit.quality.errors["isotonic"] < 1e-6  # of the cleaned masks, which are right


def test_a_network_that_finds_nothing_gets_no_estimator():
    fit = fit_on_valid(member(Levels()), Drawn(*[rows_of((32, 98, 0))] * 20))
    assert fit.quality is None
    assert fit.info.quality.fitted_on is None
    assert json.dumps(fit.to_json())


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Drawn(*[GRADED] * 20, split="test"), "fitted on valid, not on 'test'"),
        (Drawn(GRADED), "valid has 1 images; expected at least 3"),
    ],
)
def test_what_cannot_be_fitted_to(dataset, message):
    with pytest.raises(FiguregroundError, match=message):
        fit_on_valid(member(Levels()), dataset)


def test_few_images_are_too_few_for_a_target():
    with pytest.raises(FiguregroundError, match=r"valid has 5 images; expected at least 20 .* \(target recall=1\)"):
        fit_on_valid(member(Levels()), Drawn(*[GRADED] * 5), target="recall=1")


@pytest.mark.parametrize(
    ("image", "threshold", "why"),
    [  # 8 of 16 rows of figure are found at 0.5, at 0.2 4 more and 4 too much: 24 / 32 instead of 16 / 24
        (GRADED, sigmoid(-1.4), "by all pixels together a threshold of 0.20 gains 0.0833 over 0.5"),
        (rows_of((16, 138, 1), (16, 98, 0)), 0.5, "no threshold from 0.2 to 0.8 gains 0.005 over 0.5, which stays"),
    ],
)
def test_few_images_choose_a_threshold_by_their_pixels(image, threshold, why):
    fit = fit_on_valid(member(Levels()), Drawn(*[image] * 5), post_processing=True)
    assert fit.info.operating_point == OperatingPoint(pytest.approx(threshold), 1.0, "valid")
    assert why in fit.summary()
    assert (fit.quality, fit.clean_up, fit.to_json()["gain"]) == (None, None, None)


def test_the_gain_is_that_of_images_that_did_not_choose():
    """Each image has a threshold of its own that is best: what one half chooses gains the other nothing."""
    assert cross_fitted_gain(np.eye(40)).mean < 1 / 40
    assert cross_fitted_gain(np.tile([0.5, 0.7, 0.6], (10, 1))) == Mean(pytest.approx(0.2), pytest.approx((0.2, 0.2)))


def test_estimates_are_fitted_at_the_photos_own_size():
    """Photos of 96×96, of whose truth each third row is missing, which 32×32 cannot show: 2·⅔ / (1 + ⅔)."""

    class Large(Drawn):
        def __getitem__(self, index):
            small = super().__getitem__(index)
            figure = small.mask.repeat(3, axis=0).repeat(3, axis=1)
            figure[2::3] = False
            return Sample(small.name, small.image.repeat(3, axis=0).repeat(3, axis=1), targets_of(figure))

    fit = fit_on_valid(member(Levels()), Large(*[rows_of((16, 138, 1), (16, 98, 0))] * 20))
    segmenter = Segmenter(replace(member(Levels()), info=fit.info))
    sample = Large(rows_of((16, 138, 1), (16, 98, 0)))[0]
    assert segmenter.predict(sample.image).estimated_dice == pytest.approx(0.8, abs=0.02)


def test_the_command_rewrites_the_metadata(tmp_path):
    write_run(tmp_path, "synthetic:n=200,size=32")
    path = tmp_path / "model.safetensors"
    weights = read_tensors(path)
    replace_info(path, replace(read_info(path), scores={"test": {"dice": 0.5, "fitted": {}, "quality": {}}}))
    given = ["calibrate", str(tmp_path), "--json", str(tmp_path / "c.json")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    info = read_info(path)
    assert info.operating_point.fitted_on == "valid"
    assert info.operating_point != OperatingPoint()
    assert info.scores == {"test": {"dice": 0.5}}
    assert all(np.array_equal(read_tensors(path)[name], tensor) for name, tensor in weights.items())
    figures = json.loads((tmp_path / "c.json").read_text())
    assert figures["chosen"]["threshold"] == info.operating_point.threshold
    assert "<- chosen" in result.output
    unreachable = [*given[:2], "--target", "precision=1"]
    before = path.read_bytes()
    assert isinstance(CliRunner().invoke(app, unreachable).exception, FiguregroundError)
    assert path.read_bytes() == before


def test_a_target_that_is_none_is_refused_before_the_network_runs():
    class Untouched:
        split = "valid"

        def __len__(self):
            raise AssertionError

    with pytest.raises(UsageError, match="target 'iou=1'; expected dice"):
        fit_on_valid(member(Levels()), Untouched(), target="iou=1")


def write_run(folder, source):
    from figureground.bundle import write_bundle
    from figureground.config import DataConfig, ModelConfig, TrainConfig, to_yaml
    from figureground.models import create_model

    settings = TrainConfig(
        data=DataConfig(source),
        model=ModelConfig("unet", {"base_width": 4}),
        preprocessing=Preprocessing((32, 32)),
    )
    weights = {k: v.numpy() for k, v in create_model("unet", {"base_width": 4}).state_dict().items()}
    write_bundle(folder / "model.safetensors", weights, BundleInfo(settings.model, settings.preprocessing))
    (folder / "config.yaml").write_text(to_yaml(settings))


def test_a_run_is_fitted_on_valid_before_it_is_scored_on_test(tmp_path):
    write_run(tmp_path, "synthetic:n=200,size=32")
    evaluation = score_run(tmp_path)
    info = read_info(tmp_path / "model.safetensors")
    assert info.operating_point.fitted_on == info.quality.fitted_on == "valid"
    assert evaluation.fitted.settings["threshold"] == info.operating_point.threshold
    assert evaluate(load(tmp_path), open_dataset("synthetic:n=200,size=32", "test")).to_json() == info.scores["test"]


def test_a_run_can_leave_test_alone(tmp_path):
    write_run(tmp_path, "synthetic:n=200,size=32")
    fitted = fit_run(tmp_path)
    info = read_info(tmp_path / "model.safetensors")
    assert info == fitted.info
    assert (info.operating_point.fitted_on, info.scores) == ("valid", {})
    evaluation = score_run(tmp_path, split="valid")
    info = read_info(tmp_path / "model.safetensors")
    assert list(info.scores) == ["valid"]
    assert json.loads((tmp_path / "valid.json").read_text())["dice"]["mean"] == evaluation.dice.mean
    assert not (tmp_path / "test.json").exists()


def test_a_run_with_few_valid_images_stays_at_a_half(tmp_path, caplog):
    write_run(tmp_path, "synthetic:n=20,size=32")
    with caplog.at_level("INFO"):
        assert score_run(tmp_path).fitted is None
    assert "valid has 2 images, too few to choose a threshold (3): it stays 0.5" in caplog.text
    assert read_info(tmp_path / "model.safetensors").operating_point == OperatingPoint()


def test_an_exported_file_is_calibrated_too(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    from figureground.export.onnx import write_info

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images"], ["logits"], axes=[1], keepdims=1)], "mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, 32, 32])],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    write_info(path, BundleInfo(preprocessing=Preprocessing((32, 32))))
    result = CliRunner().invoke(app, ["calibrate", str(path), "--data", "synthetic:n=200,size=32"])
    assert result.exit_code == 0, result.output
    assert load(path).threshold == read_info(path).operating_point.threshold
    assert read_info(path).operating_point.fitted_on == "valid"
