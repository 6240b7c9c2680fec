"""U-Net with padded convolutions, of images (Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015) and of volumes (Çiçek et
al., "3D U-Net", MICCAI 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from figureground.errors import UsageError
from figureground.models.blocks import CONVOLUTIONS, NORMS, DoubleConvolution, is_count, pad_to_multiple

POOLS: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
"""By dimensions."""
STAGES = 4
"""That halve the size."""
ALIKE = 2.0
"""Spacings up to this ratio are treated alike."""


class UNet(nn.Module):
    """U-Net: four stages down, a bottleneck, four stages up, each joined to the stage of its size.

    Args:
        base_width: channels of the first stage; they double with every stage (64 gives 31,043,521 parameters).
        dimensions: 2 of images, 3 of volumes.
        channels: of the input.
        norm: ``batch``, or ``instance``, which small batches want.
        spacing: of the input's voxels by axis, in mm; none: equal. Along an axis where it is more than twice the
            finest one there is neither pooling nor a convolution until the others have caught up (nnU-Net's rule:
            Isensee et al., Nature Methods 2021).

    Input (B, channels, *spatial) float with every side >= 32; output ``{"figure": (B, 1, *spatial)}`` logits.
    """

    def __init__(
        self,
        base_width: int = 64,
        dimensions: int = 2,
        channels: int = 3,
        norm: str = "batch",
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        _check(base_width, dimensions, channels, norm)
        w1, w2, w3, w4, w5 = (base_width * 2**stage for stage in range(STAGES + 1))
        kernels, strides = _shapes([1.0] * dimensions if spacing is None else spacing, dimensions)
        k1, k2, k3, k4, k5 = kernels
        self._multiple = [2 ** sum(stride[axis] > 1 for stride in strides) for axis in range(dimensions)]
        self.down1 = DoubleConvolution(channels, w1, w1, k1, norm)
        self.down2 = DoubleConvolution(w1, w2, w2, k2, norm)
        self.down3 = DoubleConvolution(w2, w3, w3, k3, norm)
        self.down4 = DoubleConvolution(w3, w4, w4, k4, norm)
        self.pool1, self.pool2, self.pool3, self.pool4 = (POOLS[dimensions](stride) for stride in strides)
        self.bottleneck = DoubleConvolution(w4, w5, w5, k5, norm)
        self.up4 = UpBlock(w5, strides[3], k4, norm)
        self.up3 = UpBlock(w4, strides[2], k3, norm)
        self.up2 = UpBlock(w3, strides[1], k2, norm)
        self.up1 = UpBlock(w2, strides[0], k1, norm)
        self.head = CONVOLUTIONS[dimensions](w1, 1, kernel_size=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        # Shapes are those of images; volumes have a third side.
        inside = tuple(slice(side) for side in images.shape[2:])
        x = pad_to_multiple(images, self._multiple)  # (B, 3, H, W), H and W now divide by 16
        stage1 = self.down1(x)  # (B, 64, H, W)
        stage2 = self.down2(self.pool1(stage1))  # (B, 128, H/2, W/2)
        stage3 = self.down3(self.pool2(stage2))  # (B, 256, H/4, W/4)
        stage4 = self.down4(self.pool3(stage3))  # (B, 512, H/8, W/8)
        x = self.bottleneck(self.pool4(stage4))  # (B, 1024, H/16, W/16)
        x = self.up4(x, stage4)  # (B, 512, H/8, W/8)
        x = self.up3(x, stage3)  # (B, 256, H/4, W/4)
        x = self.up2(x, stage2)  # (B, 128, H/2, W/2)
        x = self.up1(x, stage1)  # (B, 64, H, W)
        x = self.head(x)  # (B, 1, H, W)
        return {"figure": x[(..., *inside)]}


class UpBlock(nn.Module):
    """Halve the channels and enlarge by the stride, join the skip connection, convolve twice."""

    def __init__(self, channels: int, stride: tuple[int, ...], kernel: tuple[int, ...], norm: str) -> None:
        super().__init__()
        self.up = TRANSPOSED[len(stride)](channels, channels // 2, kernel_size=stride, stride=stride)
        self.convolve = DoubleConvolution(channels, channels // 2, channels // 2, kernel, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.convolve(torch.cat([skip, self.up(x)], dim=1))
        return joined


def _check(base_width: object, dimensions: object, channels: object, norm: object) -> None:
    """
    Raises:
        UsageError: an argument that no network can be built with.
    """
    for name, value, example in (("base_width", base_width, 64), ("channels", channels, 3)):
        if not is_count(value):
            raise UsageError(f"{name} is {value!r}; expected channels, 1 to 4096, such as {example}")
    if dimensions not in list(CONVOLUTIONS) or dimensions is True:
        raise UsageError(f"dimensions is {dimensions!r}; expected 2 (images) or 3 (volumes)")
    if norm not in list(NORMS):
        raise UsageError(f"norm is {norm!r}; expected one of: {', '.join(NORMS)}")


def _shapes(spacing: object, dimensions: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The kernels of all stages and the bottleneck, and the strides between them."""
    lengths = list(spacing) if isinstance(spacing, Sequence) else []
    if len(lengths) != dimensions or not all(isinstance(each, (int, float)) and 0 < each < 1e6 for each in lengths):
        raise UsageError(f"spacing is {spacing!r}; expected {dimensions} lengths in mm above 0, such as [1, 1, 3]")
    kernels, strides = [], []
    for _ in range(STAGES + 1):
        fine = [length <= ALIKE * min(lengths) for length in lengths]
        kernels.append(tuple(3 if each else 1 for each in fine))
        strides.append(tuple(2 if each else 1 for each in fine))
        lengths = [length * stride for length, stride in zip(lengths, strides[-1], strict=True)]
    return kernels, strides[:-1]
