import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from figureground.bundle import BundleInfo, read_info, read_tensors, write_bundle
from figureground.config import DataConfig, ModelConfig, TrainConfig, to_yaml
from figureground.data import open_dataset
from figureground.errors import FiguregroundError, UsageError
from figureground.evaluation import average, compare, evaluate, write_average
from figureground.models import create_model
from figureground.prediction import load
from figureground.preprocessing import Preprocessing
from figureground.runs import read_config

average_module = sys.modules["figureground.evaluation.fitting.mean_weights"]
DATA = DataConfig("synthetic:n=30,size=32")
UNET = ModelConfig("unet", {"base_width": 8})
SIZE = Preprocessing((32, 32))
BATCHES_SEEN = 7


def flat(root, name, logit, model=UNET, preprocessing=SIZE):
    """A run whose network gives every pixel the same logit: all figure above 0, nothing below."""
    torch.manual_seed(0)
    weights = {key: tensor.numpy() for key, tensor in create_model(model.name, model.arguments).state_dict().items()}
    weights["head.weight"] = np.zeros_like(weights["head.weight"])
    weights["head.bias"] = np.full_like(weights["head.bias"], logit)
    (seen,) = [key for key in weights if key.endswith("num_batches_tracked")][:1]
    weights[seen] = np.asarray(BATCHES_SEEN)
    folder = root / name
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(TrainConfig(DATA, model, preprocessing)))
    write_bundle(folder / "model.safetensors", weights, BundleInfo(model, preprocessing))
    return str(folder)


def logit(folder):
    (bias,) = read_tensors(folder / "model.safetensors")["head.bias"]
    return float(bias)


def test_only_those_that_help_stay(tmp_path):
    low, nothing, high = (flat(tmp_path, name, given) for name, given in (("a", 1), ("b", -9), ("c", 3)))
    assert average([nothing, low, high], tmp_path / "mean", DATA) == (low, high)
    assert logit(tmp_path / "mean") == 2


def test_all_are_taken_if_wanted(tmp_path):
    models = [flat(tmp_path, name, given) for name, given in (("a", 1), ("b", -9), ("c", 2))]
    assert average(models, tmp_path / "mean", DATA, choose=False) == tuple(models)
    assert logit(tmp_path / "mean") == -2


def test_it_is_a_run_like_others(tmp_path):
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", 3)]
    average(models, tmp_path / "mean", DATA)
    config = read_config(tmp_path / "mean")
    assert (config.data, config.model, config.preprocessing) == (DATA, UNET, SIZE.settled())
    assert (tmp_path / "mean" / "config.yaml").read_text().startswith(f"# The mean of the weights of {models[0]!r}")
    assert read_info(tmp_path / "mean" / "model.safetensors").model == UNET


def test_every_tensor_is_averaged_and_keeps_its_kind(tmp_path):
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path, scale in zip(paths, (1, 2), strict=True):
        tensors = {"kernel": np.arange(4, dtype=np.float32) * scale, "seen": np.asarray(BATCHES_SEEN * scale)}
        write_bundle(path, tensors, BundleInfo())
    write_average(paths, tmp_path / "mean", DATA)
    mean = read_tensors(tmp_path / "mean" / "model.safetensors")
    np.testing.assert_array_equal(mean["kernel"], np.array([0, 1.5, 3, 4.5], np.float32))
    assert mean["kernel"].dtype == np.float32
    assert mean["seen"].dtype == np.int64
    assert mean["seen"] == 10  # of 10.5


def test_where_no_mean_is_as_good_as_one_alone_none_is_written(tmp_path):
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", -9)]
    with pytest.raises(FiguregroundError, match=r"no mean has the valid Dice of .*/a alone \(0\.\d{4}\)"):
        average(models, tmp_path / "mean", DATA)
    assert not (tmp_path / "mean").exists()
    assert not (tmp_path / "latest").is_symlink()


@pytest.mark.parametrize(
    ("model", "preprocessing"),
    [(ModelConfig("unet", {"base_width": 4}), SIZE), (UNET, replace(SIZE, size=(48, 48)))],
    ids=["network", "size"],
)
def test_other_networks_are_refused(tmp_path, model, preprocessing):
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", 1, model, preprocessing)]
    with pytest.raises(FiguregroundError, match="expected the same network"):
        average(models, tmp_path / "mean", DATA)


def test_weights_of_another_shape_than_the_metadata_say_are_refused(tmp_path):
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", 1)]
    other = tmp_path / "b" / "model.safetensors"
    write_bundle(other, {**read_tensors(other), "head.bias": np.zeros(2, np.float32)}, read_info(other))
    with pytest.raises(FiguregroundError, match=r"1 weights differ in shape \(such as head\.bias\)"):
        average(models, tmp_path / "mean", DATA)


def test_another_command_that_takes_the_folder_meanwhile_loses_nothing(tmp_path, monkeypatch):
    models = [flat(tmp_path, name, given) for name, given in (("a", 1), ("b", 3), ("c", 5))]
    inner = []

    def evaluated(*given, **settings):
        if not inner:
            inner.append(True)
            with pytest.raises(FiguregroundError, match="mean exists"):
                average(models[1:], tmp_path / "mean", DATA)
        return evaluate(*given, **settings)

    monkeypatch.setattr(average_module, "evaluate", evaluated)
    average(models[:2], tmp_path / "mean", DATA)
    assert logit(tmp_path / "mean") == 2


def test_exported_files_have_no_weights_to_average(tmp_path, narrow_bundle, narrow_onnx):
    with pytest.raises(FiguregroundError, match=r"is an exported file; expected runs or \.safetensors bundles"):
        average([str(narrow_bundle), str(narrow_onnx)], tmp_path / "mean", DATA)


def test_one_model_or_the_same_twice_is_refused(tmp_path):
    run = flat(tmp_path, "a", 1)
    with pytest.raises(UsageError, match="1 model to average; expected two or more"):
        average([run], tmp_path / "mean", DATA)
    with pytest.raises(UsageError, match="given twice"):
        average([run, f"{run}/model.safetensors"], tmp_path / "mean", DATA)


def test_nothing_is_replaced(tmp_path):
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", 3)]
    with pytest.raises(FiguregroundError, match="a exists; choose another --name"):
        average(models, tmp_path / "a", DATA)
    assert logit(tmp_path / "a") == 1


def test_means_of_the_same_network_are_not_seeds_of_one_training(tmp_path):
    models = [flat(tmp_path, name, given) for name, given in (("a", 1), ("b", 2), ("c", 3))]
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, pair in zip(folders, (models[:2], models[1:]), strict=True):
        average(pair, folder, DATA, choose=False)
    test = open_dataset(DATA.source, "test")
    comparison = compare([evaluate(load(folder), test) for folder in folders])
    assert [contender.models for contender in comparison.contenders] == [(str(folder),) for folder in folders]


def test_the_command_scores_the_mean_on_test(tmp_path, in_process):
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", -9), flat(tmp_path, "c", 3)]
    status, out, err = in_process("average", *models, "--output", tmp_path)
    assert status == 0
    assert f"mean of {models[0]}, {models[2]}" in out
    assert f"with {models[1]}: valid Dice 0.0000, left out" in err
    assert (tmp_path / "latest").resolve() == tmp_path / "average"
    for name in ("test.json", "report.html", "model.safetensors"):
        assert (tmp_path / "average" / name).is_file()
    status, _, err = in_process("average", models[0], models[1], "--output", tmp_path, "--name", "a")
    assert status == 1
    assert err.startswith(f"error: {tmp_path / 'a'} exists; choose another --name")
    for wrong, expected, message in [
        ([models[0]], 2, "1 model to average"),
        ([models[0], "pets"], 1, "is an exported file"),
        ([models[0], tmp_path / "none"], 1, "no such model"),
    ]:
        status, _, err = in_process("average", *wrong, "--output", tmp_path)
        assert (status, message in err) == (expected, True)


def test_an_interruption_while_the_mean_is_scored_says_what_is_there(tmp_path, in_process, monkeypatch):
    def interrupted(*given, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("figureground.evaluation.score_run", interrupted)
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", 3)]
    status, _, err = in_process("average", *models, "--output", tmp_path)
    assert status == 130
    assert f"{tmp_path / 'average'} holds the mean, but no score; remove it and give the command again" in err
    assert not (tmp_path / "latest").is_symlink()


def test_data_without_a_split_that_is_needed_leave_nothing(tmp_path, in_process):
    models = [flat(tmp_path, "a", 1), flat(tmp_path, "b", 3)]
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
            Image.new("L", (32, 32), 255).save(tmp_path / "data" / split / kind / "1.png")
    status, _, err = in_process("average", *models, "--all", "--data", tmp_path / "data", "--output", tmp_path / "runs")
    assert status == 1
    assert "valid" in err
    assert not (tmp_path / "runs").exists()


def test_the_data_are_those_of_the_first_run(tmp_path, in_process):
    run, other = flat(tmp_path, "a", 1), flat(tmp_path, "b", 3)
    shutil.copy(f"{other}/model.safetensors", tmp_path / "bundle.safetensors")
    status, *_ = in_process("average", tmp_path / "bundle.safetensors", run, "--output", tmp_path)
    assert status == 0
    assert read_config(tmp_path / "average").data == DATA
