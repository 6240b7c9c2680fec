"""How a network begins to learn, and which of its parameters learn how fast."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from figureground.errors import UsageError


def start_head(network: nn.Module, share: float) -> None:
    """Let a new network say everywhere that a pixel is figure with probability ``share``, as often as in the data (Lin
    et al., "Focal Loss", ICCV 2017, section 4.1): the first steps then need not learn it.

    Raises:
        UsageError: a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise UsageError(f"the share of figure is {share}; expected a number between 0 and 1")
    head = network.get_submodule("head")
    last = [layer for layer in head.modules() if isinstance(layer, (nn.Conv2d, nn.Conv3d))][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, math.log(share / (1 - share)))


def parameter_groups(
    network: nn.Module, learning_rate: float, encoder_rate: float = 1.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """A network's parameters for an optimiser, each group with its own ``lr`` and ``weight_decay``.

    Biases and batch norms are not decayed: it would pull them to zero without making the network simpler. A schedule
    that takes the highest rate (``OneCycleLR``) wants that of each group.

    Args:
        network: of this package.
        learning_rate: of all but the encoder.
        encoder_rate: what that is multiplied by for the encoder; 0 takes its parameters out (``requires_grad``).
        weight_decay: of weights.
    """
    encoder = getattr(network, "encoder", None)
    inner = {id(p) for p in encoder.parameters()} if encoder is not None and encoder_rate != 1 else set()
    groups = []
    for rate, parameters in (
        (learning_rate, [p for p in network.parameters() if id(p) not in inner]),
        (learning_rate * encoder_rate, [p for p in network.parameters() if id(p) in inner]),
    ):
        for parameter in parameters:
            parameter.requires_grad_(rate > 0)
        if rate > 0:
            groups.append((rate, weight_decay, [p for p in parameters if p.ndim > 1]))
            groups.append((rate, 0.0, [p for p in parameters if p.ndim <= 1]))
    return [{"params": group, "lr": rate, "weight_decay": decay} for rate, decay, group in groups if group]
