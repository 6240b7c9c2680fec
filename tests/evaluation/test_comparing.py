import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from figureground.bundle import BundleInfo, DataSummary, read_info, replace_info, write_bundle
from figureground.cli import app
from figureground.config import DataConfig, ModelConfig, TrainConfig, to_yaml
from figureground.errors import FiguregroundError
from figureground.evaluation import Evaluation, compare
from figureground.evaluation.scoring.scores import COLUMNS, Scores
from figureground.preprocessing import Preprocessing
from figureground.runs import read_config

N = 60
BASE = np.random.default_rng(0).beta(20, 2, N)


def evaluation(model, figures, metric="dice", names=None, size=(32, 32), native=None):
    rows = np.zeros((len(figures), len(COLUMNS)))
    rows[:, COLUMNS.index(metric)] = figures
    names = names or tuple(map(str, range(len(figures))))
    return Evaluation(
        "pets", model, "test", "foreground", 0.5, size, names, Scores(rows, None), native,
        fitted=None, quality=None, properties=None, estimates=None, scored_at="",
    )  # fmt: skip


def run_folder(root, name, **settings):
    (root / name).mkdir()
    (root / name / "config.yaml").write_text(to_yaml(TrainConfig(**settings)))
    return str(root / name)


def noise(seed, scale=0.01):
    return np.random.default_rng(seed).normal(0, scale, N)


def test_a_difference_that_the_data_can_tell():
    comparison = compare([evaluation("a", BASE + 0.02 + noise(1)), evaluation("b", BASE)])
    (pair,) = comparison.pairs
    assert 0.015 < pair.result.difference.mean < 0.025
    assert pair.result.p == pair.p_corrected == 1 / 10_001
    assert pair.result.wins + pair.result.losses == N
    verdict = pair.verdict(lower_is_better=False)
    assert verdict.startswith("a is better than b by 0.0195 [0.01")
    assert "the data can tell them apart (p = 0.0001, Holm-corrected, n = 60)" in verdict


def test_the_better_one_is_named_whichever_comes_first():
    (pair,) = compare([evaluation("b", BASE), evaluation("a", BASE + 0.02 + noise(1))]).pairs
    verdict = pair.verdict(lower_is_better=False)
    assert verdict.startswith("a is better than b by 0.0195 [0.01")
    low, high = (float(bound) for bound in verdict.split("[")[1].split("]")[0].split(", "))
    assert 0 < low < 0.02 < high


def test_a_difference_that_the_data_cannot_tell():
    comparison = compare([evaluation("a", BASE + noise(1)), evaluation("b", BASE)])
    assert comparison.pairs[0].verdict(False).startswith("the data cannot tell a and b apart: difference ")
    assert "the data cannot tell a and b apart" in comparison.summary()


def test_of_distances_the_lower_is_better():
    comparison = compare([evaluation("a", BASE + 3, "hd95"), evaluation("b", BASE + 5, "hd95")], "hd95")
    (pair,) = comparison.pairs
    assert (pair.result.wins, pair.result.losses) == (N, 0)
    assert pair.result.difference.mean == pytest.approx(-2)
    assert comparison.to_json()["pairs"][0]["verdict"].startswith("a is better than b by 2.0000 [2.0000, 2.0000]")


def test_three_models_make_three_pairs_that_are_corrected():
    models = [evaluation("a", BASE + 0.004 + noise(1)), evaluation("b", BASE), evaluation("c", BASE + noise(3))]
    comparison = compare(models)
    assert [(pair.a.name, pair.b.name) for pair in comparison.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = sorted((pair.result.p, pair.p_corrected) for pair in comparison.pairs)
    assert raw[0][1] == pytest.approx(min(1, 3 * raw[0][0]))
    assert all(corrected >= p for p, corrected in raw)


def test_seeds_of_one_configuration_are_taken_together(tmp_path):
    figures = [BASE + shift for shift in (-0.01, 0.0, 0.01)]
    data = DataConfig(cache="off")
    others = ({}, {"workers": 2, "data": data}, {"device": "cpu"})  # which change nothing but the speed
    runs = [run_folder(tmp_path, f"unet-{seed}", seed=seed, **settings) for seed, settings in enumerate(others)]
    other = run_folder(tmp_path, "other", seed=1, epochs=11)
    models = [evaluation(run, values) for run, values in zip(runs, figures, strict=True)]
    comparison = compare([*models, evaluation(other, BASE - 0.05)])
    together, alone = comparison.contenders
    assert together.models == tuple(runs)
    assert alone.models == (other,)
    spread = comparison.to_json()["models"][0]["seeds"]
    mean = BASE.mean()
    assert spread == pytest.approx(
        {"mean": mean, "standard_deviation": 0.01, "lowest": mean - 0.01, "highest": mean + 0.01}
    )
    assert len(comparison.pairs) == 1
    assert comparison.pairs[0].result.difference.mean == pytest.approx(0.05)
    assert f"{runs[0]} (3 seeds) is better than {other} by 0.0500" in comparison.summary()
    assert "over 3 seeds: standard deviation 0.0100" in comparison.summary()


def test_seeds_alone_make_no_pair(tmp_path):
    runs = [run_folder(tmp_path, name, seed=seed) for seed, name in enumerate("ab")]
    comparison = compare([evaluation(run, BASE) for run in runs])
    assert comparison.pairs == ()
    assert "over 2 seeds: standard deviation 0.0000" in comparison.summary()


def test_other_input_sizes_are_compared_at_the_photos_own():
    native = Scores(evaluation("", BASE + 0.1).scores.rows, None)
    small, large = evaluation("a", BASE, native=native), evaluation("b", BASE, size=(64, 64), native=native)
    comparison = compare([small, large])
    assert comparison.native
    assert comparison.to_json()["size"] == "native"
    assert comparison.contenders[0].mean.mean == pytest.approx(BASE.mean() + 0.1)
    with pytest.raises(FiguregroundError, match="b was not scored at the photos' own size"):
        compare([small, replace(large, native=None)])


@pytest.mark.parametrize(
    ("models", "metric", "message"),
    [
        ([evaluation("a", BASE)], "dice", "1 model to compare; expected two or more"),
        ([evaluation("a", BASE)] * 2, "dice", "given twice: a, a"),
        ([evaluation("a", BASE), evaluation("b", BASE)], "dise", "no metric 'dise'; expected one of: dice, iou"),
        ([evaluation("a", BASE), evaluation("b", BASE[:9])], "dice", "b was scored on other images"),
        ([evaluation("a", BASE), replace(evaluation("b", BASE), foreground="ignore")], "dice", "border policy than a"),
    ],
)
def test_what_cannot_be_compared(models, metric, message):
    with pytest.raises(FiguregroundError, match=message):
        compare(models, metric)


def write_run(root, seed, size=32):
    import torch

    from figureground.models import create_model

    torch.manual_seed(seed)
    settings = TrainConfig(
        data=DataConfig("synthetic:n=60,size=48"), model=ModelConfig("unet", {"base_width": 4}), seed=seed,
        preprocessing=Preprocessing((size, size)),
    )  # fmt: skip
    folder = root / f"run-{seed}"
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(settings))
    weights = create_model("unet", {"base_width": 4}).state_dict()
    info = BundleInfo(settings.model, settings.preprocessing)
    write_bundle(folder / "model.safetensors", {name: value.numpy() for name, value in weights.items()}, info)
    return str(folder)


def test_the_evaluate_command_writes_both_files(tmp_path):
    files = {kind: tmp_path / f"scores.{kind}" for kind in ("json", "csv")}
    given = ["evaluate", write_run(tmp_path, 0), "--data", "synthetic:n=60,size=48"]
    given += [f"--{kind}={path}" for kind, path in files.items()]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert json.loads(files["json"].read_text())["native"]["dice"]["mean"] >= 0
    assert len(files["csv"].read_text().splitlines()) == 7
    assert all(f"written: {path}" in result.output for path in files.values())
    files["json"].unlink()
    assert "scores.csv exists" in str(CliRunner().invoke(app, given).exception)


def test_commands_take_the_border_of_the_run(tmp_path):
    """A trimap's border is left out if the run's training has left it out, or counts as the user says."""
    pets = tmp_path / "pets"
    (pets / "images").mkdir(parents=True)
    (pets / "annotations" / "trimaps").mkdir(parents=True)
    for index in range(4):
        draw = np.full((48, 48), 2, np.uint8)
        draw[10:30], draw[30:34] = 1, 3
        Image.fromarray(draw).save(pets / "annotations" / "trimaps" / f"cat_{index}.png")
        Image.fromarray(draw * 60).convert("RGB").save(pets / "images" / f"cat_{index}.jpg")
    for name in ("trainval", "test"):
        (pets / "annotations" / f"{name}.txt").write_text("".join(f"cat_{i} 1 1 1\n" for i in range(4)))
    runs = [write_run(tmp_path, seed) for seed in range(2)]
    for run, foreground in zip(runs, ("ignore", "background"), strict=True):
        settings = read_config(Path(run))
        text = to_yaml(replace(settings, data=DataConfig(str(pets), foreground)))
        (Path(run) / "config.yaml").write_text(text)
    alone = CliRunner().invoke(app, ["evaluate", runs[0]])
    assert "border counted as: ignore" in alone.output, alone.output
    told = CliRunner().invoke(app, ["evaluate", runs[0], "--foreground", "foreground"])
    assert "border counted as: foreground" in told.output
    unclear = CliRunner().invoke(app, ["compare", *runs])
    assert "was trained with foreground 'ignore'" in str(unclear.exception)
    clear = CliRunner().invoke(app, ["compare", *runs, "--foreground", "ignore"])
    assert "border counted as: ignore" in clear.output
    model = str(Path(runs[0]) / "model.safetensors")
    path = Path(model)
    replace_info(path, replace(read_info(path), data=DataSummary(foreground="background")))
    bundle = CliRunner().invoke(app, ["evaluate", model, "--data", str(pets)])
    assert "border counted as: background" in bundle.output


def test_the_compare_command(tmp_path):
    models = [write_run(tmp_path, 0), write_run(tmp_path, 1), write_run(tmp_path, 2, size=64)]
    given = [*models, "--data", "synthetic:n=60,size=48", "--metric", "iou", "--json", str(tmp_path / "c.json")]
    result = CliRunner().invoke(app, ["compare", *given])
    assert result.exit_code == 0, result.output
    assert "test IoU at the photos' own size, higher is better, n=6" in result.output
    assert "over 2 seeds: standard deviation" in result.output
    figures = json.loads((tmp_path / "c.json").read_text())
    assert [len(model["models"]) for model in figures["models"]] == [2, 1]
    assert figures["pairs"][0]["verdict"] in result.output
    assert figures["metric"] == "iou"
    assert isinstance(CliRunner().invoke(app, ["compare", *given]).exception, FiguregroundError)  # c.json is there
