"""U-Net (Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015) with padded convolutions and batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from figureground.errors import UsageError
from figureground.models.blocks import DoubleConvolution, is_count, pad_to_multiple, spatial_size


class UNet(nn.Module):
    """U-Net: four stages down, a bottleneck, four stages up, each joined to the stage of its size.

    Args:
        base_width: channels of the first stage; they double with every stage (64 gives 31,043,521 parameters).

    Input (B, 3, H, W) float with H, W >= 32; output ``{"figure": (B, 1, H, W)}`` logits.
    """

    def __init__(self, base_width: int = 64) -> None:
        super().__init__()
        if not is_count(base_width):
            raise UsageError(f"base_width is {base_width!r}; expected channels, 1 to 4096, such as 64")
        w1, w2, w3, w4, w5 = (base_width * 2**stage for stage in range(5))
        self.down1 = DoubleConvolution(3, w1, w1)
        self.down2 = DoubleConvolution(w1, w2, w2)
        self.down3 = DoubleConvolution(w2, w3, w3)
        self.down4 = DoubleConvolution(w3, w4, w4)
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.bottleneck = DoubleConvolution(w4, w5, w5)
        self.up4 = UpBlock(w5)
        self.up3 = UpBlock(w4)
        self.up2 = UpBlock(w3)
        self.up1 = UpBlock(w2)
        self.head = nn.Conv2d(w1, 1, kernel_size=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        height, width = spatial_size(images)
        x = pad_to_multiple(images, 16)  # (B, 3, H, W), H and W now divide by 16
        stage1 = self.down1(x)  # (B, 64, H, W)
        stage2 = self.down2(self.pool(stage1))  # (B, 128, H/2, W/2)
        stage3 = self.down3(self.pool(stage2))  # (B, 256, H/4, W/4)
        stage4 = self.down4(self.pool(stage3))  # (B, 512, H/8, W/8)
        x = self.bottleneck(self.pool(stage4))  # (B, 1024, H/16, W/16)
        x = self.up4(x, stage4)  # (B, 512, H/8, W/8)
        x = self.up3(x, stage3)  # (B, 256, H/4, W/4)
        x = self.up2(x, stage2)  # (B, 128, H/2, W/2)
        x = self.up1(x, stage1)  # (B, 64, H, W)
        x = self.head(x)  # (B, 1, H, W)
        return {"figure": x[..., :height, :width]}


class UpBlock(nn.Module):
    """Halve the channels and double the size, join the skip connection, convolve twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2)
        self.convolve = DoubleConvolution(channels, channels // 2, channels // 2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.convolve(torch.cat([skip, self.up(x)], dim=1))
        return joined
