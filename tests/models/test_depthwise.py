"""Gradients of depthwise convolutions under autocast, against those that torch takes in float32."""

import pytest
import torch
from torch.nn import functional

from figureground.models import create_model
from figureground.models import depthwise as depthwise_module
from figureground.models.depthwise import QuickDepthwise


def gradients(stride, padding, size, kernel, bias, *, quick):
    torch.manual_seed(0)
    images = torch.randn(2, 6, *size).bfloat16().float().requires_grad_()
    weight = torch.randn(6, 1, kernel, kernel).bfloat16().float().requires_grad_()
    offset = torch.randn(6, requires_grad=True) if bias else None
    given = (images, weight, offset, (stride,) * 2, (padding,) * 2, (1, 1), 6)
    if quick:
        with torch.autocast("cpu", torch.bfloat16), QuickDepthwise():
            found = functional.conv2d(*given)
    else:
        found = functional.conv2d(*given)
    wanted = torch.linspace(-1, 1, found.numel()).reshape(found.shape).bfloat16().float()
    (found.float() * wanted).sum().backward()
    return found, [tensor.grad for tensor in (images, weight, offset) if tensor is not None]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (17, 12), (7, 9)])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (3, 0), (5, 2), (5, 0), (7, 3)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_values_and_gradients_are_those_of_torch(stride, kernel, padding, size, bias):
    found, ours = gradients(stride, padding, size, kernel, bias, quick=True)
    expected, theirs = gradients(stride, padding, size, kernel, bias, quick=False)
    assert type(found.grad_fn).__name__ == ("AddBackward0" if bias else "_DepthwiseBackward")
    for mine, true in zip([found.float(), *ours], [expected, *theirs], strict=True):
        assert (mine - true).norm() < 0.01 * true.norm()  # bfloat16 has 8 bits


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_other_convolutions_are_left_alone(groups, autocast):
    images, weight = torch.randn(1, 6, 8, 8), torch.randn(6, 6 // groups, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), QuickDepthwise():
        found = functional.conv2d(images, weight, None, (1, 1), (1, 1), (1, 1), groups)
    assert type(found.grad_fn).__name__ == "ConvolutionBackward0"


def test_without_autocast_nothing_is_rounded():
    images, weight = torch.randn(1, 6, 8, 8), torch.randn(6, 1, 3, 3, requires_grad=True)
    given = (images, weight, None, (1, 1), (1, 1), (1, 1), 6)
    with QuickDepthwise():
        found = functional.conv2d(*given)
    assert torch.equal(found, functional.conv2d(*given))


def test_the_convolutions_of_an_encoder_are_meant(monkeypatch):
    network = create_model("compact_fpn", encoder="efficientnet_lite0").train()
    depthwise = [layer for layer in network.modules() if getattr(layer, "groups", 1) > 1]
    taken = []
    apply = depthwise_module._Depthwise.apply
    monkeypatch.setattr(depthwise_module._Depthwise, "apply", lambda *given: taken.append(given) or apply(*given))
    with torch.autocast("cpu", torch.bfloat16), QuickDepthwise():
        network(torch.randn(2, 3, 64, 64))
    assert len(taken) == len(depthwise) == 16
