"""Every decoder over three encoders, and what goes wrong with their names."""

import math

import numpy as np
import pytest
import torch

from figureground.bundle import BundleInfo, read_info, read_shapes, read_tensors, write_bundle
from figureground.config import ModelConfig
from figureground.errors import FiguregroundError
from figureground.models import build, create_model
from figureground.models.encoder_decoder import DECODERS
from figureground.models.learning import parameter_groups, start_head
from figureground.models.weights import rebuild

ENCODERS = ("efficientnet_lite0", "resnet18", "mobilenetv3_small_050")
NARROW = {"decoder_channels": [16, 12, 8, 8, 8]}
ARGUMENTS = {
    "unet": NARROW,
    "unetplusplus": NARROW,
    "manet": NARROW,
    "fpn": {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 64},
    "pspnet": {"psp_out_channels": 16},
    "deeplabv3": {"decoder_channels": 16},
    "deeplabv3plus": {"decoder_channels": 16, "encoder_output_stride": 8},
    "upernet": {"decoder_channels": 16},
    "segformer": {"decoder_segmentation_channels": 16},
    "compact_fpn": {"pyramid_widths": [16, 12, 8, 8, 8]},
}
"""That keep these tests fast; the others are built as they are."""


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", [*DECODERS, "compact_fpn"])
def test_a_decoder_over_an_encoder(decoder, encoder, tmp_path):
    model = ModelConfig(decoder, ARGUMENTS.get(decoder, {}), encoder)
    network, images = build(model), torch.randn(2, 3, 33, 47)
    logits = network(images)["figure"]  # as in training: batch norms see this batch
    assert logits.shape == (2, 1, 33, 47)
    assert logits.isfinite().all()
    logits.square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    path = tmp_path / "a.safetensors"
    write_bundle(path, {name: np.asarray(t) for name, t in network.state_dict().items()}, BundleInfo(model))
    tensors = {name: torch.from_numpy(array) for name, array in read_tensors(path).items()}
    again = rebuild(read_info(path).model, read_shapes(path), lambda: tensors, str(path))
    with torch.inference_mode():
        least = images[:1, :, :32, :32]
        assert torch.equal(again.eval()(least)["figure"], network.eval()(least)["figure"])


@pytest.mark.parametrize(
    ("decoder", "encoder", "parameters"),
    [
        ("compact_fpn", "efficientnet_lite0", 3_189_956),
        ("fpn", "efficientnet_lite0", 4_710_785),
        ("unet", "resnet18", 14_328_209),
        ("segformer", "mobilenetv3_small_050", 692_129),
    ],
)
def test_parameter_count(decoder, encoder, parameters):
    with torch.device("meta"):
        network = create_model(decoder, encoder=encoder)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "encoder", "arguments", "message"),
    [
        ("fpn", None, {}, "model 'fpn' decodes what an encoder finds; name one, such as --encoder efficientnet_lite0"),
        ("resnet34_unet", "resnet18", {}, "'resnet34_unet' has an encoder of its own; leave out --encoder resnet18"),
        (
            "vnet",
            None,
            {},
            "no model 'vnet'; expected one of: unet, resnet34_unet, compact_fpn, or with --encoder: une",
        ),
        ("vnet", "resnet18", {}, "there is no model 'vnet'"),
        ("fpn", "resnet81", {}, "there is no encoder 'resnet81'; did you mean resnet"),
        ("fpn", "hf-hub:somebody/network", {}, "there is no encoder 'hf-hub:somebody/network'"),
        ("fpn", "resnet18.a1_in1k", {}, "there is no encoder 'resnet18.a1_in1k'; did you mean"),
        ("fpn", "../resnet18", {}, "there is no encoder '../resnet18'"),
        ("fpn", "resnet18", {"width": 3}, "model 'fpn' has no argument width; it has: decoder_pyramid_channels"),
        ("fpn", "resnet18", {"encoder_weights": "imagenet"}, "model 'fpn' has no argument encoder_weights"),
        ("unet", "resnet18", {"base_width": 3}, "model 'unet' has no argument base_width; it has: decoder_"),
        ("unet", "resnet18", {"decoder_channels": [1]}, "unet cannot be built over resnet18 with .*: .*depth"),
        ("fpn", "resnet18", {"decoder_pyramid_channels": "many"}, "fpn cannot be built over resnet18 with .*many"),
        ("compact_fpn", "convnext_atto", {}, "'convnext_atto' has no features at stride 2, .* or another decoder"),
        (
            "compact_fpn",
            "resnet18",
            {"widths": [1]},
            "model 'compact_fpn' has no argument widths; it has: pyramid_width",
        ),
        ("compact_fpn", "resnet18", {"pyramid_widths": [1]}, r"pyramid_widths is \[1\]; expected 5 whole numbers"),
    ],
)
def test_what_cannot_be_built_is_refused(name, encoder, arguments, message):
    with pytest.raises(FiguregroundError, match=message):
        create_model(name, arguments, encoder=encoder)


def test_an_encoder_that_begins_at_stride_4():
    network = create_model("fpn", ARGUMENTS["fpn"], encoder="convnext_atto").eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 40, 64))["figure"].shape == (1, 1, 40, 64)


ALL_KINDS = [
    ("unet", {"base_width": 4}, None),
    ("resnet34_unet", {}, None),
    ("compact_fpn", {}, None),
    ("compact_fpn", {}, "mobilenetv3_small_050"),
    ("fpn", {}, "mobilenetv3_small_050"),
]


@pytest.mark.parametrize(("name", "arguments", "encoder"), ALL_KINDS)
def test_a_head_starts_at_the_share_of_figure(name, arguments, encoder):
    network = create_model(name, arguments, encoder=encoder)
    last = next(m for m in reversed(list(network.head.modules())) if isinstance(m, torch.nn.Conv2d))
    torch.nn.init.zeros_(last.weight)  # so that the bias alone speaks
    start_head(network, 0.2)
    with torch.inference_mode():
        logits = network.eval()(torch.randn(1, 3, 64, 64))["figure"]
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.2))


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(FiguregroundError, match="the share of figure is"):
        start_head(create_model("unet", {"base_width": 4}), share)


@pytest.mark.parametrize(("name", "arguments", "encoder"), ALL_KINDS)
@pytest.mark.parametrize("encoder_rate", [1.0, 0.1, 0.0])
def test_parameter_groups(name, arguments, encoder, encoder_rate):
    network = create_model(name, arguments, encoder=encoder)
    has_encoder = encoder is not None or name == "resnet34_unet"
    groups = parameter_groups(network, 0.01, encoder_rate, 0.5)
    assert len(groups) == (4 if has_encoder and encoder_rate == 0.1 else 2)
    found = {p: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    for parameter_name, parameter in network.named_parameters():
        inner = has_encoder and parameter_name.startswith("encoder.")
        rate = 0.01 * (encoder_rate if inner else 1)
        assert parameter.requires_grad == (rate > 0)
        assert found.get(parameter) == ((rate, 0.5 if parameter.ndim > 1 else 0.0) if rate else None)
    assert sum(len(group["params"]) for group in groups) == len(found)
