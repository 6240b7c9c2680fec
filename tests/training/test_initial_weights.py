import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from figureground import pretrained
from figureground.bundle import BundleInfo, read_info, read_tensors, write_bundle
from figureground.config import DataConfig, InitialWeights, ModelConfig, TrainConfig
from figureground.errors import FiguregroundError
from figureground.models import create_model
from figureground.models.encoder_weights import RGB_MEAN, RGB_STD, published_weights
from figureground.preprocessing import Preprocessing
from figureground.training import resume, train
from figureground.training.initial_weights import settled_weights

TINY = TrainConfig(
    data=DataConfig("synthetic:n=40,size=32", cache="off"),
    model=ModelConfig("unet", {"base_width": 4}),
    preprocessing=Preprocessing((32, 32)),
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
    config = replace(TINY, model=ModelConfig("compact_fpn"), preprocessing=Preprocessing((64, 64)))
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


COMPACT = replace(
    TINY,
    model=ModelConfig("compact_fpn", {"pyramid_widths": [16, 12, 8, 8, 8]}, "efficientnet_lite0"),
    preprocessing=Preprocessing((64, 64)),
)


def test_an_encoder_starts_from_imagenet(tmp_path):
    """From the installed package, and with the pixels that its weights know."""
    run = train(replace(COMPACT, initial_weights=InitialWeights(encoder="imagenet")), tmp_path / "run")
    found, published = read_tensors(run.model), published_weights("tf_efficientnet_lite0", "imagenet")
    np.testing.assert_allclose(found["encoder.model.conv_stem.weight"], published["conv_stem.weight"], atol=1e-9)
    assert read_info(run.model).preprocessing == Preprocessing((64, 64), mean=(0.5,) * 3, std=(0.5,) * 3)
    assert train(from_network(run.folder, COMPACT), tmp_path / "second").rows


def test_a_file_that_does_not_fit_leaves_no_run(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pth")
    config = replace(COMPACT, initial_weights=InitialWeights(encoder=str(tmp_path / "a.pth")))
    with pytest.raises(FiguregroundError, match="holds 1 weights, tf_efficientnet_lite0 has 247"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_resumed_without_what_it_started_from(first, tmp_path):
    source = shutil.copytree(first.folder, tmp_path / "first")
    run = train(from_network(source), tmp_path / "run")
    shutil.rmtree(source)
    assert len(resume(run.folder).rows) == 1


GREY = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("model", "encoder", "given", "expected"),
    [
        (ModelConfig("unet"), None, (None, None), ((0.5,) * 3, (0.5,) * 3)),
        (ModelConfig("fpn", encoder="resnet18"), None, (None, None), ((0.5,) * 3, (0.5,) * 3)),
        (ModelConfig("fpn", encoder="resnet18"), "imagenet", (None, None), (RGB_MEAN, RGB_STD)),
        (ModelConfig("resnet34_unet"), "a.pth", (None, None), (RGB_MEAN, RGB_STD)),
        (ModelConfig("fpn", encoder="resnet18"), "imagenet", GREY, GREY),
        (ModelConfig("fpn", encoder="resnet18"), "imagenet", (GREY[0], None), (GREY[0], RGB_STD)),
    ],
)
def test_pixels_are_what_the_weights_want_unless_given_by_hand(model, encoder, given, expected):
    preprocessing = Preprocessing((64, 64), mean=given[0], std=given[1])
    config = replace(TINY, model=model, preprocessing=preprocessing, initial_weights=InitialWeights(None, encoder))
    settled = settled_weights(config).preprocessing
    assert (settled.mean, settled.std) == expected


def test_pixels_are_those_of_the_network_that_it_starts_from(first, tmp_path):
    info = replace(read_info(first.model), preprocessing=Preprocessing((32, 32), mean=GREY[0], std=GREY[1]))
    write_bundle(tmp_path / "a.safetensors", read_tensors(first.model), info)
    settled = settled_weights(from_network(tmp_path / "a.safetensors")).preprocessing
    assert (settled.size, settled.mean, settled.std) == ((32, 32), *GREY)
