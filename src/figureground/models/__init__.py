"""Networks: (B, 3, H, W) normalised images in, ``{"figure": (B, 1, H, W)}`` logits out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import nn

from figureground.config import ModelConfig
from figureground.errors import FiguregroundError, UsageError
from figureground.models.compact_fpn import CompactFPN, EncoderFPN
from figureground.models.encoder_decoder import DECODERS, EncoderDecoder, decoder_arguments
from figureground.models.resnet34_unet import ResNet34UNet
from figureground.models.unet import UNet

MODELS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "resnet34_unet": ResNet34UNet,
    "compact_fpn": CompactFPN,
}
"""With encoders of their own. Over one of timm there are ``DECODERS``, and ``compact_fpn`` too."""


def create_model(name: str, arguments: Mapping[str, object] | None = None, *, encoder: str | None = None) -> nn.Module:
    """The network ``name``, built with ``arguments`` and random weights.

    Args:
        name: one of ``MODELS``, or with an encoder one of ``DECODERS`` or ``compact_fpn``.
        arguments: of that network.
        encoder: a network of timm, such as ``efficientnet_lite0``.

    Raises:
        FiguregroundError: no such network or encoder, or an argument that it does not have or cannot take.
    """
    arguments = arguments or {}
    known = _arguments_of(name, encoder)
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise FiguregroundError(
            f"model {name!r} has no argument {', '.join(unknown)}; it has: {', '.join(known) or 'none'}"
        )
    if encoder is None:
        return MODELS[name](**arguments)
    if name == "compact_fpn":
        return EncoderFPN(encoder, **arguments)  # type: ignore[arg-type]  # it checks them itself
    return EncoderDecoder(name, encoder, arguments)


def build(config: ModelConfig) -> nn.Module:
    """The network of these settings, with random weights."""
    return create_model(config.name, config.arguments, encoder=config.encoder)


def _arguments_of(name: str, encoder: str | None) -> list[str]:
    """The names of what a network is built with.

    Raises:
        UsageError: there is no such network, or none with, or without, an encoder.
    """
    if encoder is None and name in MODELS:
        return list(inspect.signature(MODELS[name]).parameters)
    if encoder is not None and name == "compact_fpn":
        return ["pyramid_widths"]
    if encoder is not None and name in DECODERS:
        return decoder_arguments(name)
    if name in MODELS:
        raise UsageError(f"model {name!r} has an encoder of its own; leave out --encoder {encoder}")
    if name in DECODERS:
        raise UsageError(
            f"model {name!r} decodes what an encoder finds; name one, such as --encoder efficientnet_lite0"
        )
    decoders = ", ".join(each for each in DECODERS if each not in MODELS)
    raise UsageError(f"there is no model {name!r}; expected one of: {', '.join(MODELS)}, or with --encoder: {decoders}")
