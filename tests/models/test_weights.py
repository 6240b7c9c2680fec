import numpy as np
import pytest
import torch

from figureground import load
from figureground.bundle import BundleInfo, write_bundle
from figureground.config import ModelConfig
from figureground.errors import FiguregroundError
from figureground.models import create_model
from figureground.models.weights import misfit, rebuild, shapes_of
from figureground.preprocessing import Preprocessing

NARROW = ModelConfig("unet", {"base_width": 4})


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return create_model(NARROW.name, NARROW.arguments).state_dict()


def test_a_network_is_made_of_its_weights(weights):
    network = rebuild(NARROW, shapes_of(weights), lambda: weights, "here")
    assert not any(tensor.is_meta for tensor in network.state_dict().values())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_it_computes_in_float32_whatever_is_stored(weights, kind):
    stored = {name: tensor.to(kind) for name, tensor in weights.items()}
    network = rebuild(NARROW, shapes_of(stored), lambda: stored, "here")
    assert {name: tensor.dtype for name, tensor in network.state_dict().items()} == {
        name: tensor.dtype for name, tensor in weights.items()
    }


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig("unet", {"base_width": 4096}), "a.safetensors does not fit the model 'unet'.*another width"),
        (ModelConfig("unet", {"base_width": 10**9}), "base_width is 1000000000"),
        (ModelConfig("compact_fpn", {"blocks": [10**9] * 5}), "blocks is .* up to 64"),
        (ModelConfig("resnet34_unet"), "does not fit the model 'resnet34_unet'"),
        (ModelConfig("resnet34_unet", {"pretrained": True}), "has no argument pretrained"),
    ],
)
def test_metadata_that_ask_for_more_than_the_file_holds(weights, tmp_path, model, message):
    """A width of 4096 would take 500 GB."""
    with pytest.raises(FiguregroundError, match=message):
        rebuild(model, shapes_of(weights), lambda: pytest.fail("weights were read"), "a.safetensors")
    tensors = {name: np.asarray(tensor) for name, tensor in weights.items()}
    write_bundle(tmp_path / "a.safetensors", tensors, BundleInfo(model, Preprocessing((32, 32))))
    with pytest.raises(FiguregroundError, match=message):
        load(tmp_path / "a.safetensors")


def test_what_does_not_fit_is_counted(weights):
    network, found = create_model(NARROW.name, NARROW.arguments), shapes_of(weights)
    assert misfit(network, found) == ""
    found["extra"] = found.pop("head.bias")
    found["head.weight"] = (1, 5, 1, 1)
    assert misfit(network, found) == (
        "1 weights are missing, 1 are unknown and 1 have another shape (such as head.weight)"
    )
