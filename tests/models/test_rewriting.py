import pytest
import torch

from figureground.models import create_model
from figureground.models.blocks import BilinearEnlargement
from figureground.models.rewriting import enlarge_by_products, untranspose, without_batch_norms


@pytest.mark.parametrize(("name", "arguments"), [("unet", {"base_width": 4}), ("resnet34_unet", {})])
def test_without_transposed_convolutions_the_answer_is_the_same(name, arguments):
    torch.manual_seed(0)
    network, images = create_model(name, arguments).eval(), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        before = network(images)["figure"]
        untranspose(network)
        after = network(images)["figure"]
    assert not any(isinstance(layer, torch.nn.ConvTranspose2d) for layer in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5 * max(1.0, before.std().item()))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": (2, 3), "stride": (2, 3)},
        {"kernel_size": 2, "stride": 2, "groups": 2},
        {"kernel_size": 2, "stride": 2, "output_padding": 1},
    ],
)
def test_other_transposed_convolutions_stay(settings):
    layer = torch.nn.ConvTranspose2d(4, 6, **settings)
    network = torch.nn.Sequential(layer)
    untranspose(network)
    assert network[0] is layer


@pytest.mark.parametrize(
    ("name", "arguments", "size"),
    [
        ("resnet34_unet", {}, (64, 96)),
        ("resnet34_unet", {}, (50, 35)),  # no multiple of the quarter
        ("compact_fpn", {}, (64, 96)),
        ("compact_fpn", {}, (50, 35)),
        ("compact_fpn", {"head_stride": 4}, (64, 96)),
    ],
)
def test_enlarged_by_products_the_answer_is_the_same(name, arguments, size):
    torch.manual_seed(0)
    network, images = create_model(name, arguments).eval(), torch.randn(2, 3, *size)
    with torch.inference_mode():
        before = network(images)["figure"]
        enlarge_by_products(network)
        after = network(images)["figure"]
    assert not any(isinstance(layer, BilinearEnlargement) for layer in network.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5 * max(1.0, before.std().item()))


@pytest.mark.parametrize(("name", "arguments"), [("compact_fpn", {"subpixel": True}), ("unet", {"base_width": 4})])
def test_what_enlarges_nothing_stays(name, arguments):
    network = create_model(name, arguments).eval()
    before = dict(network.named_modules())
    enlarge_by_products(network)
    assert dict(network.named_modules()) == before


def moved(network):
    """A network whose batch norms do something."""
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
            torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("unet", None),
        ("resnet34_unet", None),
        ("compact_fpn", None),
        ("compact_fpn", "efficientnet_lite0"),
        ("fpn", "mobilenetv3_small_050"),
    ],
)
def test_without_batch_norms_the_answer_is_the_same(name, encoder):
    torch.manual_seed(0)
    arguments = {"base_width": 4} if name == "unet" else {}
    network, images = moved(create_model(name, arguments, encoder=encoder)), torch.randn(2, 3, 64, 96)
    folded = without_batch_norms(network)
    assert folded is not network
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(images)["figure"], network(images)["figure"], rtol=1e-3, atol=1e-3)


class Twice(torch.nn.Module):
    """Uses a convolution's output before and behind the norm."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = torch.nn.Conv2d(3, 1, 1), torch.nn.BatchNorm2d(1)

    def forward(self, images):
        found = self.convolution(images)
        return {"figure": found + self.norm(found)}


def test_a_network_that_would_say_something_else_stays():
    torch.manual_seed(0)
    network = moved(Twice())
    assert without_batch_norms(network) is network
