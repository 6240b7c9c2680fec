"""The same networks from other operations, those that engines have fast kernels for."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from figureground.models.blocks import BilinearEnlargement, spatial_size

TRIAL = (1, 3, 64, 64)
"""The images on which a network is seen at work."""


def without_batch_norms(network: nn.Module) -> nn.Module:
    """A copy with batch norms put into the convolutions before them: on a CPU, half the time of a small network.

    Which convolution is before which is seen on a trial run. The network itself is returned where the copy does not say
    the same, as that of one that uses a convolution's output twice, and where images are too small for it.

    Args:
        network: in eval mode, on the CPU.
    """
    images = torch.rand(TRIAL, generator=torch.Generator().manual_seed(0))
    folded = copy.deepcopy(network)
    with torch.no_grad():
        try:
            expected = network(images)
        except (RuntimeError, AssertionError, ValueError):
            return network
        for convolution, name in _before_batch_norms(folded, images):
            norm: Any = folded.get_submodule(name)
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            behind = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]  # timm's norms have both
            folded.set_submodule(name, nn.Sequential(*behind))
        found = folded(images)
    same = all(torch.allclose(expected[name], found[name], rtol=1e-3, atol=1e-3) for name in expected)
    return folded if same else network


def _before_batch_norms(network: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, str]]:
    """The convolutions whose output goes into a batch norm, each with the norm's name; both are used once."""
    names = {module: name for name, module in network.named_modules()}
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # with its output, so that no other gets its place in memory
    pairs: list[tuple[nn.Conv2d, str]] = []
    used: list[nn.Module] = []

    def after(convolution: nn.Conv2d, given: Any, output: Tensor) -> None:
        made[id(output)] = convolution, output
        used.append(convolution)

    def before(norm: nn.Module, given: tuple[Tensor]) -> None:
        used.append(norm)
        if id(given[0]) in made and norm.running_mean is not None:
            pairs.append((made[id(given[0])][0], names[norm]))

    hooks: list[Any] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before))
    network(images)
    for hook in hooks:
        hook.remove()
    once = {module for module in used if used.count(module) == 1}
    return [(convolution, name) for convolution, name in pairs if {convolution, network.get_submodule(name)} <= once]


def untranspose(network: nn.Module) -> None:
    """Make transposed convolutions whose places do not overlap 1×1 convolutions and a shuffle of pixels.

    They are the same sums (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016). Engines
    have int8 kernels for these, and for transposed convolutions often none.
    """
    for name, layer in list(network.named_modules()):
        if not isinstance(layer, nn.ConvTranspose2d) or not _apart(layer):
            continue
        side, channels, biased = layer.stride[0], layer.in_channels, layer.bias is not None
        convolution = nn.Conv2d(channels, layer.out_channels * side**2, kernel_size=1, bias=biased)
        with torch.no_grad():
            convolution.weight.copy_(layer.weight.permute(1, 2, 3, 0).reshape(-1, channels, 1, 1))
            if layer.bias is not None and convolution.bias is not None:
                convolution.bias.copy_(layer.bias.repeat_interleave(side**2))
        network.set_submodule(name, nn.Sequential(convolution, nn.PixelShuffle(side)).eval())


def _apart(layer: nn.ConvTranspose2d) -> bool:
    """Whether each pixel of its output comes from one place of its input, and both sides are enlarged alike."""
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding == layer.output_padding == (0, 0)
    return plain and layer.kernel_size == layer.stride and layer.stride[0] == layer.stride[1]


def enlarge_by_products(network: nn.Module) -> None:
    """Make bilinear enlargements products with two matrices.

    OpenVINO enlarges a single channel with one core, which takes 0.2 to 0.5 ms longer than the products.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, BilinearEnlargement):
            network.set_submodule(name, _Products().eval())


class _Products(nn.Module):
    """A bilinear enlargement whose weights an export to ONNX writes as constants."""

    def forward(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        rows, columns = (_shares(*sides) for sides in zip(spatial_size(logits), size, strict=True))
        return torch.tensor(rows) @ logits @ torch.tensor(columns.T)


def _shares(short: int, long: int) -> NDArray[np.float32]:
    """The share of each of ``short`` values in each of ``long``: (long, short), 1 where their places are the same."""
    places = np.clip((np.arange(long) + 0.5) * short / long - 0.5, 0, short - 1)
    distances = np.abs(places[:, None] - np.arange(short))
    return np.asarray(np.maximum(0, 1 - distances), np.float32)
