"""ResNet34-U-Net: the encoder of ResNet-34 (He et al., CVPR 2016) with a U-Net decoder, as the lab report has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from figureground.models.blocks import BilinearEnlargement, DoubleConvolution, initialise, residual_stage, spatial_size


class ResNet34UNet(nn.Module):
    """ResNet-34 encoder, double-convolution bottleneck, four up blocks.

    The last two up blocks both join the first residual stage, so the decoder ends at a quarter of the input's size and
    its logits are enlarged to it.

    Input (B, 3, H, W) float with H, W >= 32; output ``{"figure": (B, 1, H, W)}`` logits. 33,867,649 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet34Encoder()
        self.bottleneck = DoubleConvolution(512, 1024, 512)
        self.up4 = UpBlock(512, 256, 256)
        self.up3 = UpBlock(256, 128, 128)
        self.up2 = UpBlock(128, 64, 64)
        self.up1 = UpBlock(64, 64, 64)
        self.head = nn.Conv2d(64, 1, kernel_size=1)
        self.enlarge = BilinearEnlargement()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        stage1, stage2, stage3, stage4 = self.encoder(images)
        x = self.bottleneck(stage4)  # (B, 512, H/32, W/32)
        x = self.up4(x, stage3)  # (B, 256, H/16, W/16)
        x = self.up3(x, stage2)  # (B, 128, H/8, W/8)
        x = self.up2(x, stage1)  # (B, 64, H/4, W/4)
        x = self.up1(x, stage1)  # (B, 64, H/4, W/4)
        x = self.enlarge(self.head(x), spatial_size(images))  # (B, 1, H/4, W/4) to (B, 1, H, W)
        return {"figure": x}


class ResNet34Encoder(nn.Module):
    """ResNet-34 without its classifier; returns the outputs of the four residual stages.

    Its parameters are named as torchvision names them, so ImageNet weights fit as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = residual_stage(64, 64, blocks=3, stride=1)
        self.layer2 = residual_stage(64, 128, blocks=4, stride=2)
        self.layer3 = residual_stage(128, 256, blocks=6, stride=2)
        self.layer4 = residual_stage(256, 512, blocks=3, stride=2)
        initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = self.relu(self.bn1(self.conv1(images)))  # (B, 64, H/2, W/2)
        stage1 = self.layer1(self.maxpool(x))  # (B, 64, H/4, W/4)
        stage2 = self.layer2(stage1)  # (B, 128, H/8, W/8)
        stage3 = self.layer3(stage2)  # (B, 256, H/16, W/16)
        stage4 = self.layer4(stage3)  # (B, 512, H/32, W/32)
        return stage1, stage2, stage3, stage4


class UpBlock(nn.Module):
    """Double the size, resize to the skip connection's size, join it, convolve twice."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_out, kernel_size=2, stride=2)
        self.convolve = DoubleConvolution(channels_out + channels_skip, channels_out, channels_out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        if spatial_size(x) != spatial_size(skip):
            x = functional.interpolate(x, size=spatial_size(skip), mode="bilinear", align_corners=True)
        joined: Tensor = self.convolve(torch.cat([x, skip], dim=1))
        return joined
