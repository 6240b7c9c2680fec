"""Any decoder of segmentation-models-pytorch over any encoder of timm."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from figureground.errors import UsageError
from figureground.models.blocks import pad_to_multiple, spatial_size
from figureground.models.encoders import drop_unused_stages, smp_name

DECODERS = {
    "unet": "Unet",
    "unetplusplus": "UnetPlusPlus",
    "manet": "MAnet",
    "linknet": "Linknet",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3Plus",
    "pan": "PAN",
    "upernet": "UPerNet",
    "segformer": "Segformer",
}
"""By name, what segmentation-models-pytorch calls them."""
LEAST = {"pan": 128}
"""Of a decoder whose pooling needs so many pixels, their number; smaller images are padded to it."""


class EncoderDecoder(nn.Module):
    """A decoder over an encoder, with random weights.

    Args:
        decoder: one of ``DECODERS``.
        encoder: a network of timm.
        arguments: of the decoder, as ``decoder_arguments`` lists them.

    Input (B, 3, H, W) float with H, W >= 32; output ``{"figure": (B, 1, H, W)}`` logits.

    Raises:
        UsageError: there is no such encoder, or the decoder cannot stand on it or be built like that.
    """

    def __init__(self, decoder: str, encoder: str, arguments: Mapping[str, object]) -> None:
        super().__init__()
        self.least = LEAST.get(decoder, 32)
        name = smp_name(encoder)
        try:
            network = _class_of(decoder)(name, encoder_weights=None, **arguments)
        except (AssertionError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            given = f" with {dict(arguments)}" if arguments else ""
            raise UsageError(f"{decoder} cannot be built over {encoder}{given}: {reason}") from error
        self.encoder = network.encoder
        drop_unused_stages(self.encoder)
        self.decoder = network.decoder
        self.head = network.segmentation_head

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        height, width = spatial_size(images)
        images = pad_to_multiple(images, 32, self.least)
        features = self.encoder(images)  # (B, 3, H, W), (B, C, H/2, W/2) and so on
        x = self.head(self.decoder(features))  # (B, 1, H, W)
        return {"figure": x[..., :height, :width]}


def decoder_arguments(decoder: str) -> list[str]:
    """The names of what a decoder can be built with."""
    names = inspect.signature(_class_of(decoder)).parameters
    return [name for name in names if name.startswith(("decoder_", "psp_")) or name == "encoder_output_stride"]


def _class_of(decoder: str) -> Any:
    import segmentation_models_pytorch

    return getattr(segmentation_models_pytorch, DECODERS[decoder])
