import pytest
import torch

from figureground.errors import FiguregroundError
from figureground.models import MODELS, create_model
from figureground.models.resnet34_unet import ResNet34Encoder

# (name, arguments, parameters); the small ones keep the other tests fast
FULL = [
    ("unet", {}, 31_043_521),
    ("resnet34_unet", {}, 33_867_649),
    ("compact_fpn", {}, 4_729_817),
    ("compact_fpn", {"blocks": [1, 2, 3, 6, 3]}, 6_833_369),
    ("compact_fpn", {"head_stride": 4, "subpixel": True}, 4_725_064),
]
CASES = [
    ("unet", {"base_width": 8}),
    ("resnet34_unet", {}),
    ("compact_fpn", {}),
    ("compact_fpn", {"widths": [8, 16, 24, 32, 40], "pyramid_widths": [24, 16, 12, 8, 8], "head_stride": 4}),
    ("compact_fpn", {"widths": [8, 16, 24, 32, 40], "head_stride": 4, "subpixel": True}),
]
SIZES = [(33, 47), (250, 333), (256, 256), (32, 32)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_every_model_is_tested():
    assert {name for name, _ in CASES} == set(MODELS) == {name for name, _, _ in FULL}


@pytest.mark.parametrize(("name", "arguments", "parameters"), FULL)
def test_parameter_count(name, arguments, parameters):
    assert sum(p.numel() for p in create_model(name, arguments).parameters()) == parameters


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_output_has_the_size_of_the_input_and_is_finite(name, arguments, size):
    model = create_model(name, arguments).eval()
    with torch.inference_mode():
        logits = model(torch.randn(1, 3, *size))["figure"]
    assert logits.shape == (1, 1, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_every_parameter_receives_a_gradient(name, arguments):
    model = create_model(name, arguments)
    model(torch.randn(2, 3, 64, 64))["figure"].square().mean().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_state_dict_round_trip(name, arguments):
    model, other = create_model(name, arguments).eval(), create_model(name, arguments).eval()
    images = torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        assert not torch.equal(model(images)["figure"], other(images)["figure"])
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(images)["figure"], other(images)["figure"])


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_an_image_alone_equals_itself_in_a_batch(name, arguments):
    model = create_model(name, arguments).eval()
    images = torch.randn(3, 3, 40, 56)
    with torch.inference_mode():
        alone, among = model(images[1:2])["figure"], model(images)["figure"][1:2]
    # Without training nothing holds logits near 1: what rounding may do grows with them.
    torch.testing.assert_close(alone, among, rtol=1e-4, atol=1e-5 * max(1.0, among.std().item()))


def test_resnet_encoder_is_torchvisions():
    from torchvision.models import resnet34

    theirs = resnet34().eval()
    ours = ResNet34Encoder().eval()
    ours.load_state_dict({name: t for name, t in theirs.state_dict().items() if not name.startswith("fc.")})
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        x = theirs.layer1(theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images)))))
        expected = theirs.layer4(theirs.layer3(theirs.layer2(x)))
        torch.testing.assert_close(ours(images)[3], expected)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("compact_fpn", {"widths": [24, 48, 96, 160]}, r"widths is \[24, .*; expected 5 whole numbers"),
        ("compact_fpn", {"blocks": [1] * 6}, "blocks is .* expected 5 whole numbers"),
        ("compact_fpn", {"blocks": 3}, "blocks is 3; expected 5 whole numbers"),
        ("compact_fpn", {"blocks": [1, 2, 3, 0, 2]}, "blocks is .* expected 5 whole numbers above 0"),
        ("compact_fpn", {"pyramid_widths": [128, 96, 64.0, 48, 32]}, "pyramid_widths is .* expected 5 whole numbers"),
        ("compact_fpn", {"head_stride": 8}, r"head_stride is 8; expected one of: \(2, 4\)"),
        ("compact_fpn", {"subpixel": "no"}, "subpixel is 'no'; expected true or false"),
        ("vnet", {}, "no model 'vnet'; expected one of: unet, resnet34_unet, compact_fpn"),
        (
            "unet",
            {"base_width": 5000},
            "base_width is 5000; expected channels, 1 to 4096, such as 64",
        ),
        ("compact_fpn", {"blocks": [1, 2, 3, 4, 65]}, "blocks is .* expected 5 whole numbers above 0, up to 64"),
        ("resnet34_unet", {"pretrained": True}, "model 'resnet34_unet' has no argument pretrained"),
        ("unet", {"width": 3}, "model 'unet' has no argument width; it has: base_width"),
    ],
)
def test_unknown_models_and_arguments_are_refused(name, arguments, message):
    with pytest.raises(FiguregroundError, match=message):
        create_model(name, arguments)
