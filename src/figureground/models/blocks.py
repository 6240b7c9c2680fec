"""Blocks that more than one network is made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
"""By dimensions."""
NORMS: dict[str, dict[int, Any]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: partial(nn.InstanceNorm2d, affine=True), 3: partial(nn.InstanceNorm3d, affine=True)},
}
"""By name and dimensions."""


class DoubleConvolution(nn.Sequential):
    """Two times (convolution, norm, ReLU), as in the U-Net of Ronneberger et al. (2015) with padding.

    The convolutions keep their bias although norms make it redundant: the published parameter counts
    (31,043,521 and 33,867,649) include it. The kernel says how many dimensions there are.
    """

    def __init__(
        self,
        channels_in: int,
        channels_middle: int,
        channels_out: int,
        kernel: tuple[int, ...] = (3, 3),
        norm: str = "batch",
    ) -> None:
        convolution, normalise = CONVOLUTIONS[len(kernel)], NORMS[norm][len(kernel)]
        padding = tuple(side // 2 for side in kernel)
        super().__init__(
            convolution(channels_in, channels_middle, kernel, padding=padding),
            normalise(channels_middle),
            nn.ReLU(inplace=True),
            convolution(channels_middle, channels_out, kernel, padding=padding),
            normalise(channels_out),
            nn.ReLU(inplace=True),
        )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut, which is a 1×1 convolution with batch norm where shapes change."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        summed: Tensor = self.relu(residual + self.downsample(x))
        return summed


class BilinearEnlargement(nn.Module):
    """Logits (B, C, h, w) enlarged to the size (H, W) of the images. A module, so that an export can replace it."""

    def forward(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return functional.interpolate(logits, size=size, mode="bilinear")


def residual_stage(channels_in: int, channels_out: int, blocks: int, stride: int) -> nn.Sequential:
    """``blocks`` basic blocks, of which the first changes channels and size."""
    first = BasicBlock(channels_in, channels_out, stride)
    return nn.Sequential(first, *(BasicBlock(channels_out, channels_out, 1) for _ in range(blocks - 1)))


def initialise(module: nn.Module) -> None:
    """He initialisation (He et al. 2015) of every convolution below ``module``; batch norms start as the identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def is_count(value: object, most: int = 4096) -> bool:
    """Whether it is a whole number above 0 and up to ``most``: more channels than that are a mistake, or an attack."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def spatial_size(images: Tensor) -> tuple[int, int]:
    """The (height, width) of a batch (B, C, H, W)."""
    return images.shape[-2], images.shape[-1]


def pad_to_multiple(images: Tensor, multiple: int | Sequence[int], least: int = 0) -> Tensor:
    """Repeat the last row and column of (B, C, *spatial) until each side divides by ``multiple`` (one for all, or one
    each) and is ``least``.
    """
    sides = images.shape[2:]
    multiples = [multiple] * len(sides) if isinstance(multiple, int) else multiple
    missing = [max(-side % each, least - side) for side, each in zip(sides, multiples, strict=True)]
    if any(missing):
        images = functional.pad(images, [n for each in reversed(missing) for n in (0, each)], mode="replicate")
    return images


def channels_last(network: nn.Module) -> nn.Module:
    """The network with its weights as processors read them fast, by its dimensions."""
    flat = all(parameter.ndim < 5 for parameter in network.parameters())
    return network.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)
