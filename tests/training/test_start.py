"""Training goes on from an exported file: the batch norms that export folded away come back."""

import numpy as np
import pytest
import torch

from figureground.bundle import BundleInfo, read_info, read_tensors
from figureground.config import DataConfig, ModelConfig, PreprocessingConfig, TrainConfig
from figureground.data import open_dataset
from figureground.errors import FiguregroundError
from figureground.export.onnx import store_in_float16, to_onnx, write_info
from figureground.images import read_image
from figureground.models import MODELS, create_model
from figureground.prediction import load
from figureground.pretrained import EXAMPLE, pretrained_bundle
from figureground.training import train
from figureground.training.start import convolutions, exported_layers, starting_weights, unfold

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


@pytest.mark.parametrize("name", MODELS)
def test_the_network_answers_as_its_file_does_and_also_in_training(name, tmp_path):
    original, images = trained_looking(name), torch.randn(6, 3, *SIZE)
    to_onnx(original, SIZE, tmp_path / "model.onnx")
    network = create_model(name, NARROW.get(name, {}))
    unfold(network, exported_layers(tmp_path / "model.onnx"), images)
    with torch.no_grad():
        expected, found, training = original.eval()(images), network.eval()(images), network.train()(images)
    scale = expected.std()
    assert (found - expected).abs().max() / scale < 1e-3
    assert (training - expected).abs().max() / scale < 1e-3  # batch norms use the statistics of this batch


def test_kernels_are_as_large_as_a_new_networks(tmp_path):
    """Batch norms that were taken into them make them small, and an optimizer's steps large beside them."""
    original = trained_looking("compact_fpn")
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(100)
    to_onnx(original, SIZE, tmp_path / "model.onnx")
    layers, network = exported_layers(tmp_path / "model.onnx"), create_model("compact_fpn")
    kernels = {name: module.weight.data for name, module in convolutions(network).items() if module.bias is None}
    new = {name: kernel.std() for name, kernel in kernels.items()}
    assert all(layers[name].weight.std() < 0.2 * size for name, size in new.items())
    unfold(network, layers, torch.randn(6, 3, *SIZE))
    torch.testing.assert_close({name: kernel.std() for name, kernel in kernels.items()}, new)


def test_half_precision_is_read_too(tmp_path):
    original, path = trained_looking("unet"), tmp_path / "model.onnx"
    to_onnx(original, SIZE, path)
    store_in_float16(path)
    found = exported_layers(path)["up1.up"]
    expected = original.get_submodule("up1.up")
    assert found.weight.dtype == torch.float32
    torch.testing.assert_close(found.weight, expected.weight.data, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found.bias, expected.bias.data)


def test_the_model_in_the_box_comes_back():
    weights = starting_weights(pretrained_bundle("pets"), open_dataset("synthetic:n=100,size=64", "train"))
    network = create_model(read_info(pretrained_bundle("pets")).model.name)
    network.load_state_dict(weights)
    segmenter = load("pets", engine="onnxruntime")
    image = read_image(EXAMPLE)
    batch = segmenter.preprocessing.normalise(segmenter.preprocessing.resize_image(image)[None])
    expected = segmenter.members[0].engine.logits(batch) > 0
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(batch))[:, 0].numpy() > 0
    assert expected.mean() > 0.2
    assert (found != expected).mean() < 0.01


def test_a_training_that_starts_from_a_file(tmp_path):
    path, model = tmp_path / "model.onnx", ModelConfig("unet", {"base_width": 4})
    original = trained_looking("unet")
    to_onnx(original, SIZE, path)
    write_info(path, BundleInfo(model, PreprocessingConfig(SIZE)))
    config = TrainConfig(
        DataConfig("synthetic:n=40,size=64", cache="off"), model, PreprocessingConfig(SIZE),
        epochs=1, learning_rate=1e-12, start_from=str(path),
    )  # fmt: skip
    found = read_tensors(train(config, tmp_path / "run").model)
    for name in ("down1.0.weight", "head.weight"):
        expected = original.state_dict()[name] if name == "head.weight" else exported_layers(path)["down1.0"].weight
        np.testing.assert_allclose(found[name], expected, atol=1e-6)


def test_metadata_that_name_another_network_are_refused(tmp_path):
    path = tmp_path / "model.onnx"
    to_onnx(trained_looking("unet"), SIZE, path)
    write_info(path, BundleInfo(ModelConfig("unet", {"base_width": 8}), PreprocessingConfig(SIZE)))
    with pytest.raises(FiguregroundError, match=r"model.onnx does not hold the network .* make it again"):
        starting_weights(path, open_dataset("synthetic:n=40,size=64", "train"))


def test_the_seed_decides_also_what_a_file_is_rebuilt_to(tmp_path):
    to_onnx(trained_looking("compact_fpn"), SIZE, tmp_path / "model.onnx")
    info = BundleInfo(ModelConfig("compact_fpn"), PreprocessingConfig(SIZE))
    write_info(tmp_path / "model.onnx", info)
    config = TrainConfig(
        data=DataConfig("synthetic:n=20,size=64", cache="off"), model=info.model, preprocessing=info.preprocessing,
        epochs=1, learning_rate=1e-12, start_from=str(tmp_path / "model.onnx"), precision="float32",
    )  # fmt: skip
    runs = []
    for name in ("a", "b"):
        torch.manual_seed(len(runs))  # whatever the process has drawn before
        runs.append(read_tensors(train(config, tmp_path / name).model))
    for key, tensor in runs[0].items():
        np.testing.assert_array_equal(runs[1][key], tensor)
