"""The weights that a training starts from."""

from __future__ import annotations

import torch
from torch import nn

from figureground.bundle import read_info, read_shapes, read_tensors
from figureground.config import ModelConfig, TrainConfig
from figureground.errors import FiguregroundError
from figureground.models import build
from figureground.models.weights import misfit
from figureground.runs import trainable_bundle


def refuse_other_weights(config: TrainConfig) -> None:
    """Before the data are read, which takes long.

    Raises:
        FiguregroundError: there is no such network, or the weights that it shall start from are missing or another's.
    """
    with torch.device("meta"):  # without memory
        network = build(config.model)
    source = config.initial_weights.network
    if source is None:
        return
    bundle = trainable_bundle(source)
    found = read_info(bundle).model
    problem = misfit(network, read_shapes(bundle))
    if problem or (found.name, found.encoder) != (config.model.name, config.model.encoder):
        raise FiguregroundError(
            f"{bundle} is of {described(found)}, the network to train is {described(config.model)}; expected the same "
            f"to start from{problem and ': ' + problem}"
        )


def load_initial_weights(network: nn.Module, config: TrainConfig) -> None:
    """Give a new network the weights that ``config`` names, if it names any."""
    source = config.initial_weights.network
    if source is not None:
        tensors = read_tensors(trainable_bundle(source))
        network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})


def described(model: ModelConfig) -> str:
    """For messages."""
    return f"{model.name} {model.arguments}" + (f" with encoder {model.encoder}" if model.encoder else "")
