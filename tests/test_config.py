import dataclasses

import pytest
import yaml

from figureground.config import (
    DataConfig,
    ModelConfig,
    OperatingPoint,
    Phase,
    TrainConfig,
    merge,
    parse,
    plain,
    read_settings,
    recipe_names,
    to_yaml,
)
from figureground.errors import FiguregroundError
from figureground.preprocessing import Preprocessing
from figureground.runs import read_config

UNUSUAL = TrainConfig(
    data=DataConfig("photos", "ignore", 128, cache="off"),
    model=ModelConfig("unet", {"base_width": 16, "depths": [1, 2]}),
    preprocessing=Preprocessing((96, 128), "stretch", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)),
    epochs=7,
    learning_rate=3e-5,
    optimizer="adamw",
    schedule="one_cycle",
    warmup=0.25,
    ema_decay=0.99,
    phases=(Phase(0.5, 64), Phase(0.75, 96)),
    clip=1.0,
    early_stopping=3,
    workers=0,
    seed=5,
)


@pytest.mark.parametrize(
    ("cls", "given", "expected"),
    [
        (TrainConfig, {"learning_rat": 1}, ["learning_rat", "did you mean 'learning_rate'?"]),
        (TrainConfig, {"preprocessing": {"sise": [64, 64]}}, ["preprocessing", "'sise'", "did you mean 'size'?"]),
        (ModelConfig, {"qqq": 1}, ["unknown setting 'qqq'", "known are: name, arguments, encoder"]),
        (TrainConfig, {"epochs": "ten"}, ["epochs is 'ten'", "expected int"]),
        (TrainConfig, {"epochs": 2.5}, ["epochs is 2.5", "expected int"]),
        (TrainConfig, {"epochs": True}, ["epochs is True", "expected int"]),
        (TrainConfig, {"epochs": None}, ["epochs is None", "expected int"]),
        (TrainConfig, {"learning_rate": "fast"}, ["learning_rate is 'fast'", "expected a number"]),
        (TrainConfig, {"learning_rate": True}, ["learning_rate is True", "expected float"]),
        (TrainConfig, {"learning_rate": [1]}, ["learning_rate is [1]", "expected float"]),
        (TrainConfig, {"optimizer": "sgd"}, ["optimizer is 'sgd'", "adam, adamw"]),
        (TrainConfig, {"data": {"foreground": "border"}}, ["'border'", "foreground, background, ignore"]),
        (TrainConfig, {"data": "pets"}, ["data", "expected settings by name", "'pets'"]),
        (TrainConfig, {"phases": [{"until": 0.5}]}, ["phases", "size"]),
        (Preprocessing, {"size": 256}, ["size is 256", "expected a list"]),
        (Preprocessing, {"size": [256]}, ["size is [256]", "expected 2 values"]),
        (Preprocessing, {"size": [256, "x"]}, ["size is 'x'", "expected int"]),
        (Preprocessing, {"mean": [0.5, 0.5]}, ["mean", "expected 3 values"]),
        (ModelConfig, {"arguments": [1]}, ["arguments is [1]", "expected settings by name"]),
        (DataConfig, {"source": 3}, ["source is 3", "expected str"]),
        (TrainConfig, [1, 2], ["expected settings by name", "[1, 2]"]),
        (TrainConfig, None, ["expected settings by name", "None"]),
    ],
)
def test_what_is_wrong_is_named(cls, given, expected):
    with pytest.raises(FiguregroundError) as caught:
        parse(cls, given, "mine.yaml")
    for words in ["mine.yaml", *expected]:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "given", "words"),
    [
        (TrainConfig, {"epochs": 0}, "epochs is 0; expected at least 1"),
        (TrainConfig, {"batch_size": -1}, "batch_size is -1"),
        (TrainConfig, {"accumulate": 0}, "accumulate is 0"),
        (TrainConfig, {"learning_rate": 0}, "learning_rate is 0"),
        (TrainConfig, {"learning_rate": "nan"}, "learning_rate is nan"),
        (TrainConfig, {"weight_decay": -0.1}, "weight_decay is -0.1"),
        (TrainConfig, {"warmup": 1}, "warmup is 1"),
        (TrainConfig, {"ema_decay": 1.0}, "ema_decay is 1.0"),
        (TrainConfig, {"phases": [{"until": 0.5, "size": 64}, {"until": 0.2, "size": 96}]}, "phases end at [0.5, 0.2]"),
        (Preprocessing, {"size": [31, 256]}, "size is (31, 256)"),
        (Preprocessing, {"std": [0.5, 0, 0.5]}, "std is (0.5, 0.0, 0.5)"),
        (OperatingPoint, {"threshold": 0}, "threshold is 0"),
        (OperatingPoint, {"threshold": 1}, "threshold is 1"),
        (OperatingPoint, {"temperature": 0}, "temperature is 0"),
    ],
)
def test_values_out_of_range_are_refused(cls, given, words):
    with pytest.raises(FiguregroundError) as caught:
        parse(cls, given, "mine.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("mine.yaml")


@pytest.mark.parametrize(
    ("cls", "given", "name", "expected"),
    [
        (TrainConfig, {"learning_rate": "1e-4"}, "learning_rate", 0.0001),
        (TrainConfig, {"learning_rate": 1}, "learning_rate", 1.0),
        (TrainConfig, {"ema_decay": "0.5"}, "ema_decay", 0.5),
        (TrainConfig, {"ema_decay": None}, "ema_decay", None),
        (TrainConfig, {"early_stopping": 4}, "early_stopping", 4),
        (TrainConfig, {"phases": [{"until": "5e-1", "size": 64}]}, "phases", (Phase(0.5, 64),)),
        (Preprocessing, {"size": [64, 96]}, "size", (64, 96)),
        (Preprocessing, {"mean": [0, 1, "5e-1"]}, "mean", (0.0, 1.0, 0.5)),
        (ModelConfig, {"arguments": {"base_width": 8}}, "arguments", {"base_width": 8}),
        (DataConfig, {"mask_threshold": 7}, "mask_threshold", 7),
    ],
)
def test_values_get_the_declared_type(cls, given, name, expected):
    value = getattr(parse(cls, given), name)
    assert value == expected
    assert type(value) is type(expected)


def test_text_in_yaml_with_an_exponent_is_a_number():
    given = yaml.safe_load("learning_rate: 1e-4")
    assert given == {"learning_rate": "1e-4"}  # YAML 1.1
    assert parse(TrainConfig, given).learning_rate == 0.0001


@pytest.mark.parametrize("config", [TrainConfig(), UNUSUAL])
def test_plain_and_yaml_read_back_as_the_same_settings(config):
    assert parse(TrainConfig, plain(config)) == config
    assert parse(TrainConfig, yaml.safe_load(to_yaml(config))) == config


def test_plain_holds_no_tuples_or_dataclasses():
    given = plain(UNUSUAL)
    assert given["phases"] == [{"until": 0.5, "size": 64}, {"until": 0.75, "size": 96}]
    assert given["preprocessing"]["size"] == [96, 128]
    assert given["model"] == {"name": "unet", "encoder": None, "arguments": {"base_width": 16, "depths": [1, 2]}}


def test_yaml_keeps_the_declared_order():
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    top = [line.split(":")[0] for line in to_yaml(UNUSUAL).splitlines() if line[0] not in " -"]
    assert top == names


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"data": {"x": 1, "y": 2}}, {"data": {"y": 3}}, {"data": {"x": 1, "y": 3}}),
        ({"data": {"x": 1}}, {"data": 5}, {"data": 5}),
        ({"data": None}, {"data": {"x": 1}}, {"data": {"x": 1}}),
        ({"phases": [1, 2]}, {"phases": [3]}, {"phases": [3]}),
        (
            {"model": {"name": "unet", "arguments": {"base_width": 8}}},
            {"model": {"arguments": {"depth": 2}}},
            {"model": {"name": "unet", "arguments": {"depth": 2}}},
        ),
    ],
)
def test_merge(base, changes, expected):
    before = repr(base)
    assert merge(base, changes) == expected
    assert repr(base) == before


def test_recipe_report_is_the_lab_reports():
    config = parse(TrainConfig, read_settings("report"))
    assert (config.epochs, config.batch_size, config.learning_rate) == (10, 4, 1e-4)
    assert (config.optimizer, config.weight_decay, config.schedule, config.loss) == ("adam", 0.0, "constant", "bce")
    assert config.augmentation == "report"
    assert config.preprocessing.settled() == Preprocessing((256, 256), "stretch", (0.5,) * 3, (0.5,) * 3)
    assert (config.ema_decay, config.phases, config.accumulate, config.clip) == (None, (), 1, None)


def test_every_recipe_is_valid():
    assert {"report", "strong"} <= set(recipe_names())
    for name in recipe_names():
        assert isinstance(parse(TrainConfig, read_settings(name), name), TrainConfig)


def test_settings_are_read_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\nmodel: {name: unet}\n")
    assert read_settings(path) == {"epochs": 3, "model": {"name": "unet"}}
    assert read_settings(str(path)) == read_settings(path)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("start_from: runs/a", {"initial_weights": {"network": "runs/a"}}),
        ("start_from: null", {"initial_weights": {"network": None}}),
        (
            "model: {name: resnet34_unet, arguments: {pretrained: true}}",
            {"model": {"name": "resnet34_unet", "arguments": {}}, "initial_weights": {"encoder": "imagenet"}},
        ),
        ("model: {arguments: {pretrained: false}}", {"model": {"arguments": {}}, "initial_weights": {"encoder": None}}),
        (
            "{start_from: runs/a, model: {arguments: {pretrained: true}}}",
            {"model": {"arguments": {}}, "initial_weights": {"network": "runs/a", "encoder": "imagenet"}},
        ),
        ("model: {arguments: {base_width: 8}}", {"model": {"arguments": {"base_width": 8}}}),
    ],
)
def test_settings_of_version_0_1_are_read(tmp_path, before, now):
    (tmp_path / "old.yaml").write_text(before)
    assert read_settings(tmp_path / "old.yaml") == now
    parse(TrainConfig, now)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file, and no recipe of that name; recipes are: pets, report"),
        ("epochs: [1", "is not readable as YAML"),
        ("- 1\n- 2\n", "expected settings by name, found list"),
        ("", "expected settings by name, found NoneType"),
    ],
)
def test_files_that_hold_no_settings(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FiguregroundError) as caught:
        read_settings(path)
    assert "mine.yaml" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("epoch", "size"), [(0, (64, 64)), (4, (64, 64)), (5, (96, 96)), (7, (96, 96)), (8, (128, 160)), (9, (128, 160))]
)
def test_size_at_follows_the_phases(epoch, size):
    config = TrainConfig(epochs=10, phases=(Phase(0.5, 64), Phase(0.8, 96)), preprocessing=Preprocessing((128, 160)))
    assert config.size_at(epoch) == size


def test_size_at_without_phases():
    assert [TrainConfig().size_at(epoch) for epoch in (0, 9)] == [(256, 256), (256, 256)]


def test_a_run_from_before_shares_keeps_its_division(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "data: {source: mine, foreground: ignore, mask_threshold: null, cache: auto}\n"
    )
    assert read_config(tmp_path).data == DataConfig("mine", "ignore", split="names")
    (tmp_path / "config.yaml").write_text(to_yaml(TrainConfig()))
    assert read_config(tmp_path).data.split == "shares"


@pytest.mark.parametrize(("epochs", "sizes"), [(1, [256]), (2, [128, 256]), (3, [128, 192, 256])])
def test_the_last_epoch_has_the_full_size(epochs, sizes):
    config = TrainConfig(epochs=epochs, phases=(Phase(0.4, 128), Phase(0.75, 192)))
    assert [config.size_at(epoch)[0] for epoch in range(epochs)] == sizes
    assert TrainConfig(epochs=2, phases=(Phase(1.0, 64),)).size_at(1) == (64, 64)
