"""The same networks from other operations, those that engines have fast int8 kernels for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from figureground.models.blocks import BilinearEnlargement, spatial_size


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
