"""The weights that a training starts from."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import nn

from figureground.bundle import read_info, read_shapes, read_tensors
from figureground.config import InitialWeights, ModelConfig, TrainConfig
from figureground.errors import FiguregroundError
from figureground.models import build
from figureground.models.encoder_weights import Normalisation, encoder_state, wanted_by_encoder
from figureground.models.weights import misfit
from figureground.runs import followed, trainable_bundle

log = logging.getLogger(__name__)


def settled_weights(config: TrainConfig) -> TrainConfig:
    """With the run that a link such as ``latest`` points to now, and with the normalisation that the weights want.

    Raises:
        FiguregroundError: the weights that the network shall start from are missing.
    """
    weights = config.initial_weights
    if weights.network is not None:
        weights = replace(weights, network=str(followed(weights.network)))
    preprocessing = config.preprocessing.settled(wanted_normalisation(config.model, weights))
    return replace(config, initial_weights=weights, preprocessing=preprocessing)


def wanted_normalisation(model: ModelConfig, weights: InitialWeights) -> Normalisation | None:
    """The mean and the deviation of pixels, 0 to 1, that weights were trained with; random ones want none.

    Raises:
        FiguregroundError: the weights that the network shall start from are missing.
    """
    if weights.network is not None:
        seen = read_info(trainable_bundle(weights.network)).preprocessing.settled()
        return seen.normalisation
    return wanted_by_encoder(model) if weights.encoder is not None else None


def refuse_other_weights(config: TrainConfig) -> None:
    """Before the data are read, which takes long.

    Raises:
        FiguregroundError: the weights that the network shall start from are missing or another's.
    """
    with torch.device("meta"):
        network = build(config.model)
    source = config.initial_weights.network
    if source is None:
        if config.initial_weights.encoder is not None:
            _encoder_state(network, config)
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
    """Give a new network the weights that ``config`` names, if it names any.

    Raises:
        FiguregroundError: they are missing, or another network's.
    """
    source = config.initial_weights.network
    if source is not None:
        tensors = read_tensors(trainable_bundle(source))
        network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    elif config.initial_weights.encoder is not None:
        network.get_submodule("encoder").load_state_dict(_encoder_state(network, config))
        log.info("the encoder starts from %s weights", config.initial_weights.encoder)


def _encoder_state(network: nn.Module, config: TrainConfig) -> dict[str, torch.Tensor]:
    source = config.initial_weights.encoder
    assert source is not None
    return encoder_state(getattr(network, "encoder", network), config.model, source)


def described(model: ModelConfig) -> str:
    """For messages."""
    return f"{model.name} {model.arguments}" + (f" with encoder {model.encoder}" if model.encoder else "")
