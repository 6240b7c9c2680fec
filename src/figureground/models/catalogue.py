"""What can be built: how large each network is, and which encoders' weights are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from figureground.config import ModelConfig
from figureground.models import MODELS, build
from figureground.models.encoder_decoder import DECODERS
from figureground.models.encoder_weights import PACKAGES, packaged
from figureground.models.encoders import LITE

SIZE = 256
"""Height and width of the image that operations are counted for."""
SHOWN_ENCODER = "efficientnet_lite0"
"""Below each decoder."""
SHOWN_DECODER = "compact_fpn"
"""Above each encoder."""


@dataclass(frozen=True)
class Buildable:
    """A network that can be built, and what it costs."""

    model: ModelConfig
    parameters: int
    multiply_adds: int
    """For an image of 256 × 256 pixels."""
    weights: str = ""
    """Of an encoder: where its ImageNet weights are at hand."""


def own_networks() -> Iterator[Buildable]:
    """Those with encoders of their own."""
    for name in MODELS:
        yield measured(ModelConfig(name))


def decoders() -> Iterator[Buildable]:
    """All, over one encoder."""
    for name in [*DECODERS, SHOWN_DECODER]:
        yield measured(ModelConfig(name, encoder=SHOWN_ENCODER))


def encoders() -> Iterator[Buildable]:
    """Those whose weights are at hand, below ``compact_fpn``, or ``fpn``, which needs no features at stride 2."""
    ours = {name: encoder for encoder, name in LITE.items()}
    found = {ours[name]: "installed" for name in PACKAGES if packaged(name)}
    for name, where in (found | dict.fromkeys(sorted(_cached()), "in timm's cache")).items():
        yield measured(ModelConfig(SHOWN_DECODER if name in LITE else "fpn", encoder=name), where)


def measured(model: ModelConfig, weights: str = "") -> Buildable:
    """A network with its size, without memory for it."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        network = build(model).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, SIZE, SIZE))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Buildable(model, parameters, counter.get_total_flops() // 2, weights)


def _cached() -> set[str]:
    """The networks of timm whose weights have been fetched before."""
    import timm
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = [path.name.removeprefix("models--timm--") for path in Path(HF_HUB_CACHE).glob("models--timm--*")]
    return {name.partition(".")[0] for name in folders} & set(timm.list_models())
