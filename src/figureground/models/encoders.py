"""Encoders: the networks of timm, as features at several strides."""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from figureground.errors import UsageError

LITE = {f"efficientnet_lite{size}": f"tf_efficientnet_lite{size}" for size in range(5)}
"""What these names stand for: timm has the same networks twice, with the padding of torch and with that of TensorFlow,
for which the weights that can be installed were trained."""


def timm_name(encoder: str) -> str:
    """The name of an encoder in timm. A name of anything else, such as a file on a server, is none.

    Raises:
        UsageError: timm has no such network.
    """
    import timm

    name, known = LITE.get(encoder, encoder), timm.list_models()
    if name not in known:
        close = difflib.get_close_matches(encoder, [*LITE, *known], n=3)
        advice = f"did you mean {' or '.join(close)}?" if close else "expected a network of timm, as efficientnet_lite0"
        raise UsageError(f"there is no encoder {encoder!r}; {advice}")
    return name


def smp_name(encoder: str) -> str:
    """The name of an encoder in segmentation-models-pytorch, for which it makes timm's network give features."""
    return f"tu-{timm_name(encoder)}"


def drop_unused_stages(encoder: nn.Module) -> None:
    """Take out what lies behind the deepest feature: timm's efficient networks keep it, compute it and never use it."""
    network: Any = encoder.get_submodule("model")
    blocks = getattr(network, "blocks", None)
    deepest = network.feature_info.module_name()[-1]  # such as blocks.2
    if isinstance(blocks, nn.Sequential) and deepest.startswith("blocks."):
        network.blocks = blocks[: int(deepest.removeprefix("blocks.")) + 1]


def pyramid_encoder(encoder: str) -> tuple[nn.Module, tuple[int, ...]]:
    """An encoder with random weights, (B, 3, H, W) to features at strides 1, 2, 4, 8, 16 and 32, and the channels of
    the last five.

    Raises:
        UsageError: timm has no such network, or it has no features at some of these strides.
    """
    from segmentation_models_pytorch.encoders import get_encoder

    network: Any = get_encoder(smp_name(encoder), weights=None)
    channels = tuple(network.out_channels[1:])
    if len(channels) != 5 or 0 in channels:
        raise UsageError(
            f"encoder {encoder!r} has no features at stride 2, where compact_fpn ends; take another encoder, such as "
            "efficientnet_lite0, or another decoder, such as fpn"
        )
    return network, channels
