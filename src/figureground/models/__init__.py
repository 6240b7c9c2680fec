"""Networks: (B, 3, H, W) normalised images in, ``{"figure": (B, 1, H, W)}`` logits out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import nn

from figureground.config import ModelConfig
from figureground.errors import FiguregroundError, UsageError
from figureground.models.compact_fpn import CompactFPN
from figureground.models.resnet34_unet import ResNet34UNet
from figureground.models.unet import UNet

MODELS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "resnet34_unet": ResNet34UNet,
    "compact_fpn": CompactFPN,
}


def create_model(name: str, arguments: Mapping[str, object] | None = None, *, encoder: str | None = None) -> nn.Module:
    """The network ``name`` of ``MODELS``, built with ``arguments``.

    Raises:
        FiguregroundError: no such network, or an argument that it does not have or cannot take.
    """
    arguments = arguments or {}
    check_arguments(name, arguments)
    if encoder is not None:
        raise UsageError(f"model {name!r} has an encoder of its own; leave out the encoder {encoder!r}")
    return MODELS[name](**arguments)


def build(config: ModelConfig) -> nn.Module:
    """The network of these settings, with random weights."""
    return create_model(config.name, config.arguments, encoder=config.encoder)


def check_arguments(name: str, arguments: Mapping[str, object]) -> None:
    """
    Raises:
        FiguregroundError: no such network, or an argument that it does not have.
    """
    if name not in MODELS:
        raise UsageError(f"there is no model {name!r}; expected one of: {', '.join(MODELS)}")
    known = list(inspect.signature(MODELS[name]).parameters)
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise FiguregroundError(f"model {name!r} has no argument {', '.join(unknown)}; it has: {', '.join(known)}")
