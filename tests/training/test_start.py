"""Training goes on from an exported file: the batch norms that export folded away come back."""

import copy
import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from figureground.bundle import BundleInfo, read_info, read_tensors
from figureground.config import DataConfig, ModelConfig, PreprocessingConfig, TrainConfig
from figureground.data import open_dataset
from figureground.errors import FiguregroundError
from figureground.export.onnx import store_in_float16, to_onnx, write_info
from figureground.export.quantize import quantize
from figureground.images import read_image
from figureground.models import MODELS, create_model
from figureground.models.rewriting import enlarge_by_products, untranspose
from figureground.prediction import load
from figureground.pretrained import EXAMPLE, pretrained_bundle
from figureground.training import train
from figureground.training.start import Layer, convolutions, exported_layers, starting_weights, unfold

SIZE = (64, 96)
NARROW = {"unet": {"base_width": 4}}


def trained_looking(name):
    """A network whose batch norms have a past: any mean, variance, scale and shift."""
    torch.manual_seed(0)
    network = create_model(name, NARROW.get(name, {})).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    return network


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """What makes a network (as above) with the path of its exported file, of each name once."""

    @functools.cache
    def make(name):
        path = tmp_path_factory.mktemp(name) / "model.onnx"
        original = trained_looking(name)
        to_onnx(original, SIZE, path)
        write_info(path, BundleInfo(ModelConfig(name, NARROW.get(name, {})), PreprocessingConfig(SIZE)))
        return original, path

    return make


@pytest.mark.parametrize("name", MODELS)
def test_the_network_answers_as_its_file_does_and_also_in_training(name, traced):
    (original, path), images = traced(name), torch.randn(6, 3, *SIZE)
    network = create_model(name, NARROW.get(name, {}))
    unfold(network, exported_layers(path), images)
    with torch.no_grad():
        expected, found, training = original.eval()(images), network.eval()(images), network.train()(images)
    scale = expected.std()
    assert (found - expected).abs().max() / scale < 1e-3
    assert (training - expected).abs().max() / scale < 1e-3  # batch norms use the statistics of this batch


@pytest.mark.parametrize(("name", "others"), [("compact_fpn", ("reduce", "lateral", "head")), ("unet", ("up", "head"))])
def test_kernels_are_as_large_as_a_new_networks(name, others, traced):
    """Batch norms that were taken into them make them small, and an optimizer's steps large beside them."""
    layers, network = exported_layers(traced(name)[1]), create_model(name, NARROW.get(name, {}))
    kernels = {
        name: module.weight.data
        for name, module in convolutions(network).items()
        if name.rpartition(".")[2] not in others  # which no batch norm follows
    }
    new = {name: kernel.std() for name, kernel in kernels.items()}
    small = {name: Layer(0.1 * layer.weight, layer.bias) if name in new else layer for name, layer in layers.items()}
    unfold(network, small, torch.randn(6, 3, *SIZE))
    torch.testing.assert_close({name: kernel.std() for name, kernel in kernels.items()}, new)


def test_half_precision_is_read_too(tmp_path, traced):
    original, path = traced("unet")
    path = shutil.copy(path, tmp_path)
    store_in_float16(path)
    found = exported_layers(path)["up1.up"]
    expected = original.get_submodule("up1.up")
    assert found.weight.dtype == torch.float32
    torch.testing.assert_close(found.weight, expected.weight.data, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found.bias, expected.bias.data)


@pytest.mark.parametrize("name", ["unet", "resnet34_unet"])
def test_an_int8_file_gives_its_transposed_convolutions_back(name, tmp_path):
    original, path = trained_looking(name), tmp_path / "model.onnx"
    changed = copy.deepcopy(original)
    untranspose(changed)
    enlarge_by_products(changed)
    to_onnx(changed, SIZE, path)
    quantize(path, path, iter([torch.randn(2, 3, *SIZE).numpy()]))
    write_info(path, BundleInfo(ModelConfig(name, NARROW.get(name, {})), PreprocessingConfig(SIZE)))
    found = starting_weights(path, open_dataset("synthetic:n=10,size=64", "train"))
    for part, layer in convolutions(original).items():
        if isinstance(layer, torch.nn.ConvTranspose2d):
            step = layer.weight.abs().max() / 64  # int8 rounds to half of it
            torch.testing.assert_close(found[f"{part}.weight"], layer.weight.data, rtol=0, atol=0.51 * step.item())
            torch.testing.assert_close(found[f"{part}.bias"], layer.bias.data, rtol=0, atol=1e-3)


def test_the_model_in_the_box_comes_back():
    weights = starting_weights(pretrained_bundle("pets"), open_dataset("synthetic:n=100,size=64", "train"))
    model = read_info(pretrained_bundle("pets")).model
    network = create_model(model.name, model.arguments)
    network.load_state_dict(weights)
    segmenter = load("pets", engine="onnxruntime")
    image = read_image(EXAMPLE)
    batch = segmenter.preprocessing.normalise(segmenter.preprocessing.resize_image(image)[None])
    expected = segmenter.members[0].engine.logits(batch) > 0
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(batch))[:, 0].numpy() > 0
    assert expected.mean() > 0.2
    assert (found != expected).mean() < 0.01


def test_a_training_that_starts_from_a_file(tmp_path, traced):
    original, path = traced("unet")
    model = read_info(path).model
    config = TrainConfig(
        DataConfig("synthetic:n=40,size=64", cache="off"), model, PreprocessingConfig(SIZE),
        epochs=1, learning_rate=1e-12, start_from=str(path),
    )  # fmt: skip
    found = read_tensors(train(config, tmp_path / "run").model)
    np.testing.assert_allclose(found["head.weight"], original.state_dict()["head.weight"], atol=1e-6)
    kernel, expected = found["down1.0.weight"], exported_layers(path)["down1.0"].weight.numpy()
    np.testing.assert_allclose(kernel / kernel.std(), expected / expected.std(), atol=1e-5)


def test_metadata_that_name_another_network_are_refused(tmp_path, traced):
    path = Path(shutil.copy(traced("unet")[1], tmp_path))
    write_info(path, BundleInfo(ModelConfig("unet", {"base_width": 8}), PreprocessingConfig(SIZE)))
    with pytest.raises(FiguregroundError, match=r"model.onnx does not hold the network .* make it again"):
        starting_weights(path, open_dataset("synthetic:n=40,size=64", "train"))


def test_the_seed_decides_also_what_a_file_is_rebuilt_to(tmp_path, traced):
    path = traced("compact_fpn")[1]
    info = read_info(path)
    config = TrainConfig(
        data=DataConfig("synthetic:n=20,size=64", cache="off"), model=info.model, preprocessing=info.preprocessing,
        epochs=1, learning_rate=1e-12, start_from=str(path), precision="float32",
    )  # fmt: skip
    runs = []
    for name in ("a", "b"):
        torch.manual_seed(len(runs))  # whatever the process has drawn before
        runs.append(read_tensors(train(config, tmp_path / name).model))
    for key, tensor in runs[0].items():
        np.testing.assert_array_equal(runs[1][key], tensor)
