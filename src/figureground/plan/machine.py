"""What a machine can do, in the figures that decide how to train on it."""

from __future__ import annotations

from dataclasses import dataclass

from figureground.cores import usable_cores
from figureground.precision import multiplies_bfloat16


@dataclass(frozen=True)
class Machine:
    """What there is to compute with, and to start from."""

    cores: int
    gpu: bool
    bfloat16: bool
    """Whether it multiplies it faster than float32."""
    pretrained: bool
    """Whether ImageNet's weights of the encoder are at hand."""

    def __str__(self) -> str:
        kind = "a GPU" if self.gpu else f"{self.cores} core{'s' if self.cores != 1 else ''}, no GPU"
        return f"machine: {kind}; trains in {'bfloat16' if self.bfloat16 else 'float32, which is faster here'}"


def this_machine(encoder: str, device: str = "auto") -> Machine:
    """The one that this runs on.

    Args:
        encoder: whose weights are looked for.
        device: ``cpu`` where a GPU shall not be used.
    """
    import torch

    from figureground.models.encoder_weights import packaged
    from figureground.models.encoders import timm_name

    gpu = device != "cpu" and torch.cuda.is_available()
    return Machine(usable_cores(), gpu, multiplies_bfloat16(gpu), packaged(timm_name(encoder)) is not None)
