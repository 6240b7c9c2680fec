"""One U-Net for images and volumes."""

import pytest
import torch
from torch import nn

from figureground.errors import UsageError
from figureground.models import create_model
from figureground.models.learning import start_head

VOLUME = {"base_width": 4, "dimensions": 3, "channels": 1}


def sizes(*sides):
    return [torch.Size(side) for side in sides]


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({"base_width": 4, "norm": "instance"}, (33, 47)),
        (VOLUME, (33, 40, 35)),
        ({**VOLUME, "norm": "instance"}, (32, 32, 48)),
        ({**VOLUME, "norm": "instance", "spacing": [0.5, 0.5, 5.0]}, (64, 64, 5)),
        ({**VOLUME, "channels": 2, "spacing": [3, 1, 1]}, (11, 33, 34)),
    ],
)
def test_it_gives_logits_of_its_inputs_size_and_every_weight_learns(arguments, size):
    torch.manual_seed(0)
    network = create_model("unet", arguments)
    logits = network(torch.randn(2, arguments.get("channels", 3), *size))["figure"]
    assert logits.shape == (2, 1, *size)
    logits.square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 31_043_521),
        # of a 3×3×3 convolution 27 weights a pair of channels instead of 9, of a 2×2×2 one 8 instead of 4
        ({"dimensions": 3, "channels": 1, "base_width": 16}, 5_647_857),
        ({"dimensions": 3, "channels": 1, "base_width": 16, "norm": "instance"}, 5_647_857),
    ],
)
def test_parameter_count(arguments, parameters):
    assert sum(p.numel() for p in create_model("unet", arguments).parameters()) == parameters


def test_state_dicts_of_images_have_the_names_they_had():
    names = set(create_model("unet", {"base_width": 4}).state_dict())
    assert {"down1.0.weight", "down1.1.running_mean", "bottleneck.3.bias", "up4.up.weight", "head.bias"} <= names
    assert {name.split(".")[0] for name in names} == {
        *("down1", "down2", "down3", "down4", "bottleneck", "up4", "up3", "up2", "up1", "head")
    }


def test_a_coarse_axis_is_neither_pooled_nor_convolved_until_the_others_have_caught_up():
    network = create_model("unet", {**VOLUME, "spacing": [1, 1, 5]})
    assert [pool.kernel_size for pool in (network.pool1, network.pool2, network.pool3)] == [
        (2, 2, 1),  # 1, 1, 5 mm
        (2, 2, 1),  # 2, 2, 5
        (2, 2, 2),  # 4, 4, 5
    ]
    kernels = [stage[0].kernel_size for stage in (network.down1, network.down2, network.down3, network.down4)]
    assert kernels == [(3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3)]
    assert isinstance(network.up1.up, nn.ConvTranspose3d)
    assert network.up1.up.stride == (2, 2, 1)


def test_its_head_starts_at_the_share_of_figure():
    network = create_model("unet", VOLUME)
    start_head(network, 0.25)
    assert network.head.bias.sigmoid().item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dimensions": 4}, "dimensions is 4; expected 2"),
        ({"dimensions": True}, "dimensions is True"),
        ({"norm": "layer"}, "norm is 'layer'; expected one of: batch, instance"),
        ({"channels": 0}, "channels is 0"),
        ({"dimensions": 3, "spacing": [1, 1]}, "spacing is \\[1, 1\\]; expected 3 lengths"),
        ({"dimensions": 3, "spacing": [1, 1, 0]}, "expected 3 lengths in mm above 0"),
        ({"spacing": 1}, "spacing is 1; expected 2 lengths"),
        ({"dimensions": [3]}, "dimensions is \\[3\\]"),
        ({"norm": ["batch"]}, "norm is \\['batch'\\]"),
    ],
)
def test_what_cannot_be_built_is_said(arguments, said):
    with pytest.raises(UsageError, match=said):
        create_model("unet", arguments)
