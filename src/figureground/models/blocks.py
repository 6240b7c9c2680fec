"""Blocks that more than one network is made of."""

from __future__ import annotations

from torch import Tensor, nn


class DoubleConvolution(nn.Sequential):
    """Two times (3×3 convolution, batch norm, ReLU), as in the U-Net of Ronneberger et al. (2015) with padding.

    The convolutions keep their bias although batch norm makes it redundant: the published parameter counts
    (31,043,521 and 33,867,649) include it.
    """

    def __init__(self, channels_in: int, channels_middle: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_middle, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels_middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_middle, channels_out, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


def initialise(module: nn.Module) -> None:
    """He initialisation (He et al. 2015) of every convolution below ``module``; batch norms start as the identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def spatial_size(images: Tensor) -> tuple[int, int]:
    """The (height, width) of a batch (B, C, H, W)."""
    return images.shape[-2], images.shape[-1]
