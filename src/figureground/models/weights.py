"""A network's weights: whether some fit, and a network that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from figureground.config import ModelConfig
from figureground.errors import BadBundleError
from figureground.models import build

Shapes = Mapping[str, Sequence[int]]
"""Of weights, by name."""


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """By name."""
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def misfit(network: nn.Module, found: Shapes) -> str:
    """How weights differ from a network's in names and shapes; empty if they fit."""
    expected = shapes_of(network.state_dict())
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    differing = sorted(name for name in set(expected) & set(found) if expected[name] != tuple(found[name]))
    if not (missing or extra or differing):
        return ""
    return (
        f"{len(missing)} weights are missing, {len(extra)} are unknown and {len(differing)} have another shape "
        f"(such as {next(iter(differing or missing or extra))})"
    )


def rebuild(model: ModelConfig, found: Shapes, read: Callable[[], Mapping[str, Tensor]], source: str) -> nn.Module:
    """The network of a file, in float32 on the CPU.

    Somebody else may have written the file: nothing is allocated or read before the shapes that its metadata ask for
    are those that it holds.

    Args:
        model: what its metadata say.
        found: the shapes of its weights.
        read: gives the weights.
        source: names it in errors.

    Raises:
        BadBundleError: no such network, or the weights are not those of this network.
    """
    with torch.device("meta"):
        network = build(model)
    problem = misfit(network, found)
    if problem:
        raise BadBundleError(
            f"{source} does not fit the model {model.name!r}: {problem}. Is it of another model, or another width?"
        )
    expected = network.state_dict()
    weights = {name: tensor.to(expected[name].dtype) for name, tensor in read().items()}
    if any(buffer.is_meta for name, buffer in network.named_buffers() if name not in expected):
        network = build(model)  # tables that it computes from its arguments
    network.load_state_dict(weights, assign=True)
    return network
