"""A small residual encoder with a feature pyramid: for plain processors, in int8 and in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from figureground.errors import UsageError
from figureground.models.blocks import (
    BilinearEnlargement,
    initialise,
    is_count,
    pad_to_multiple,
    residual_stage,
    spatial_size,
)
from figureground.models.encoders import pyramid_encoder

STRIDES = (2, 4, 8, 16, 32)
HEAD_STRIDES = (2, 4)
PYRAMID_WIDTHS = (128, 96, 64, 48, 32)


class CompactFPN(nn.Module):
    """Residual stages at strides 2, 4, 8, 16 and 32 (He et al., "Deep Residual Learning", CVPR 2016) and a top-down
    pathway with lateral connections (Lin et al., "Feature Pyramid Networks", CVPR 2017) back to ``head_stride``.

    It has what int8 kernels are fast at and no more: 3×3 and 1×1 convolutions, ReLU, additions, nearest enlargement.

    Args:
        widths: channels of the five stages.
        pyramid_widths: channels of the pathway at strides 32, 16, 8, 4 and 2.
        head_stride: where the pathway ends, 2 or 4.
        blocks: residual blocks of the five stages.
        subpixel: whether the head gives a logit for each of the ``head_stride`` × ``head_stride`` pixels of a place
            (Shi et al., "Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016), or one for all of them, and
            these are enlarged bilinearly.

    Input (B, 3, H, W) float with H, W >= 32; output ``{"figure": (B, 1, H, W)}`` logits.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (24, 48, 96, 160, 256),
        pyramid_widths: tuple[int, ...] = PYRAMID_WIDTHS,
        head_stride: int = 2,
        blocks: tuple[int, ...] = (1, 2, 3, 4, 2),
        subpixel: bool = False,
    ) -> None:
        super().__init__()
        for name, each in {"widths": widths, "pyramid_widths": pyramid_widths, "blocks": blocks}.items():
            _require_counts(name, each, most=64 if name == "blocks" else 4096)
        if head_stride not in HEAD_STRIDES:
            raise UsageError(f"head_stride is {head_stride!r}; expected one of: {HEAD_STRIDES}")
        if not isinstance(subpixel, bool):
            raise UsageError(f"subpixel is {subpixel!r}; expected true or false")
        ends = len(widths) if head_stride == 2 else len(widths) - 1
        self.stem = ConvolutionBN(3, widths[0], kernel_size=3, stride=2)
        self.stages = nn.ModuleList(
            [
                residual_stage(*channels, depth, stride=1 if index == 0 else 2)
                for index, (channels, depth) in enumerate(zip(pairwise((widths[0], *widths)), blocks, strict=True))
            ]
        )
        self.top = ConvolutionBN(widths[-1], pyramid_widths[0], kernel_size=1)
        self.pathway = _pathway(pyramid_widths[:ends], widths)
        last = pyramid_widths[ends - 1]
        self.head = nn.Conv2d(last, 1, kernel_size=1)
        self.enlarge = None if subpixel else BilinearEnlargement()
        self.shuffle = nn.PixelShuffle(head_stride)
        if subpixel:
            self.head = nn.Conv2d(last, head_stride**2, kernel_size=3, padding=1)
        initialise(self)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        height, width = spatial_size(images)
        images = pad_to_multiple(images, 32)
        x = self.stem(images)  # (B, 24, H/2, W/2)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)  # (B, 24, H/2, W/2) to (B, 256, H/32, W/32)
        x = self.top(features.pop())  # (B, 128, H/32, W/32)
        for block in self.pathway:
            x = block(x, features.pop())  # up to (B, 32, H/2, W/2)
        x = self.head(x)
        x = self.enlarge(x, spatial_size(images)) if self.enlarge else self.shuffle(x)  # (B, 1, H, W)
        return {"figure": x[..., :height, :width]}


class EncoderFPN(nn.Module):
    """The same pathway, to stride 2 and with four logits a place, over an encoder of timm.

    Args:
        encoder: a network of timm that has features at strides 2 to 32; random weights.
        pyramid_widths: channels of the pathway at strides 32, 16, 8, 4 and 2.

    Input (B, 3, H, W) float with H, W >= 32; output ``{"figure": (B, 1, H, W)}`` logits. 3,189,956 parameters over
    ``efficientnet_lite0``.
    """

    def __init__(self, encoder: str, pyramid_widths: tuple[int, ...] = PYRAMID_WIDTHS) -> None:
        super().__init__()
        _require_counts("pyramid_widths", pyramid_widths, most=4096)
        self.encoder, widths = pyramid_encoder(encoder)
        self.top = ConvolutionBN(widths[-1], pyramid_widths[0], kernel_size=1)
        self.pathway = _pathway(pyramid_widths, widths)
        self.head = nn.Conv2d(pyramid_widths[-1], 4, kernel_size=3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        for new in (self.top, self.pathway, self.head):
            initialise(new)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        height, width = spatial_size(images)
        features = self.encoder(pad_to_multiple(images, 32))  # (B, 3, H, W), then strides 2 to 32
        x = self.top(features.pop())  # (B, 128, H/32, W/32)
        for block in self.pathway:
            x = block(x, features.pop())  # up to (B, 32, H/2, W/2)
        x = self.shuffle(self.head(x))  # (B, 1, H, W)
        return {"figure": x[..., :height, :width]}


def _pathway(pyramid_widths: Sequence[int], widths: Sequence[int]) -> nn.ModuleList:
    """From the second of ``pyramid_widths`` to the last; ``widths`` are the encoder's, at strides 2 to 32."""
    return nn.ModuleList(
        [
            TopDownBlock(*channels, skip)
            for channels, skip in zip(pairwise(pyramid_widths), widths[-2::-1], strict=False)
        ]
    )


def _require_counts(name: str, values: object, most: int) -> None:
    given = values if isinstance(values, list | tuple) else ()
    if len(given) != len(STRIDES) or not all(is_count(each, most) for each in given):
        expected = f"{len(STRIDES)} whole numbers above 0, up to {most}, one for each of the strides"
        raise UsageError(f"{name} is {values!r}; expected {expected}")


class ConvolutionBN(nn.Sequential):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel_size, stride, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class TopDownBlock(nn.Module):
    """Fewer channels, twice the size, the lateral connection added, one 3×3 convolution."""

    def __init__(self, channels_in: int, channels_out: int, skip_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels_in, channels_out, kernel_size=1)
        self.lateral = nn.Conv2d(skip_channels, channels_out, kernel_size=1)
        self.smooth = ConvolutionBN(channels_out, channels_out, kernel_size=3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        enlarged = functional.interpolate(self.reduce(x), scale_factor=2.0, mode="nearest")
        merged: Tensor = self.smooth(enlarged + self.lateral(skip))
        return merged
