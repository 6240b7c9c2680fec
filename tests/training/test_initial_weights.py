from dataclasses import replace

import numpy as np
import pytest
import torch

from figureground import pretrained
from figureground.bundle import BundleInfo, read_tensors, write_bundle
from figureground.config import DataConfig, InitialWeights, ModelConfig, PreprocessingConfig, TrainConfig
from figureground.errors import FiguregroundError
from figureground.models import create_model
from figureground.training import resume, train

TINY = TrainConfig(
    data=DataConfig("synthetic:n=40,size=32", cache="off"),
    model=ModelConfig("unet", {"base_width": 4}),
    preprocessing=PreprocessingConfig((32, 32)),
    epochs=1,
    learning_rate=1e-12,  # too little to move a weight
    precision="float32",
)


def from_network(source, config=TINY):
    return replace(config, initial_weights=InitialWeights(str(source)))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return train(replace(TINY, learning_rate=1e-3), tmp_path_factory.mktemp("first") / "run")


def test_starting_from_the_weights_of_a_run(first, tmp_path):
    second = train(from_network(first.folder), tmp_path / "second")
    trained, found = read_tensors(first.model), read_tensors(second.model)
    for name in (name for name in trained if "running" not in name and "num_batches" not in name):
        np.testing.assert_allclose(found[name], trained[name], atol=1e-9)
    third = train(replace(from_network(first.model), epochs=2), tmp_path / "third")
    assert len(resume(third.folder).rows) == 2  # the checkpoint counts, not the weights it started from


def test_starting_from_another_network_is_refused_and_leaves_no_run(first, tmp_path):
    other = from_network(first.folder, replace(TINY, model=ModelConfig("unet", {"base_width": 8})))
    with pytest.raises(FiguregroundError, match=r"is of unet .*4.*the network to train is unet .*8.*expected the same"):
        train(other, tmp_path / "second")
    with pytest.raises(FiguregroundError, match=r"none.safetensors: no such model"):
        train(from_network(tmp_path / "none.safetensors"), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_arguments_that_build_the_same_network_are_the_same(tmp_path):
    """Tuples against lists, and defaults against nothing."""
    model = ModelConfig("compact_fpn", {"widths": (24, 48, 96, 160, 256), "head_stride": 2})
    weights = create_model("compact_fpn").state_dict()
    write_bundle(tmp_path / "a.safetensors", {k: np.asarray(v) for k, v in weights.items()}, BundleInfo(model))
    config = replace(TINY, model=ModelConfig("compact_fpn"), preprocessing=PreprocessingConfig((64, 64)))
    assert train(from_network(tmp_path / "a.safetensors", config), tmp_path / "run").rows


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "narrow",
            r"narrow.onnx is an exported file, which is not trained on; give the run or the .safetensors",
        ),
        ("pets", r"pets has no trainable weights in this version; start from a run .* or learn from it with --teacher"),
    ],
)
def test_exported_files_are_not_trained_on(source, message, narrow_onnx, tmp_path, monkeypatch):
    monkeypatch.setattr("figureground.runs.pretrained_bundle", lambda name: tmp_path / f"{name}.onnx")
    (tmp_path / "pets.onnx").write_bytes(narrow_onnx.read_bytes())
    with pytest.raises(FiguregroundError, match=message):
        train(from_network(narrow_onnx if source == "narrow" else source), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_with_trainable_weights(first, tmp_path, monkeypatch, narrow_onnx):
    """They are in float16, beside the exported file."""
    assert "pets" in pretrained.PRETRAINED
    monkeypatch.setattr("figureground.runs.pretrained_bundle", lambda name: tmp_path / f"{name}.onnx")
    (tmp_path / "pets.onnx").write_bytes(narrow_onnx.read_bytes())
    halves = {name: tensor.astype(np.float16) for name, tensor in read_tensors(first.model).items()}
    write_bundle(tmp_path / "pets.safetensors", halves, BundleInfo(TINY.model, TINY.preprocessing))
    found = read_tensors(train(from_network("pets"), tmp_path / "run").model)
    assert found["head.weight"].dtype == np.float32
    np.testing.assert_allclose(found["head.weight"], halves["head.weight"], atol=1e-9)


def test_random_weights_are_the_seeds(tmp_path):
    runs = [train(replace(TINY, seed=seed), tmp_path / f"{index}") for index, seed in enumerate((0, 0, 1))]
    zero, again, one = (torch.from_numpy(read_tensors(run.model)["down1.0.weight"]) for run in runs)
    assert torch.equal(zero, again)
    assert not torch.equal(zero, one)
