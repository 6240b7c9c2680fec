"""A network's weights: whether some fit, and a network that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from figureground.config import ModelConfig
from figureground.errors import BROKEN_FILE, BadBundleError
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


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a ``.safetensors`` file, or in one that torch saved; a file that would run code is refused.

    Raises:
        FiguregroundError: missing, damaged, not weights by name, or more than that.
    """
    if path.suffix != ".safetensors":
        return read_state_dict(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise BadBundleError(f"{path}: no such file; expected weights, .safetensors or a state dict")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise BadBundleError(f"{path} is not a readable .safetensors file ({error}); is it cut short?") from None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights in a ``.pth`` file; a file that would run code is refused.

    Raises:
        BadBundleError: missing, damaged, not a state dict, or more than one.
    """
    if not path.is_file():
        raise BadBundleError(f"{path}: no such file; expected a state dict, as torch.save writes it")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN_FILE as error:
        if any(found in str(error) for found in ("Unsupported global", "unrecognized function")):  # torch's words
            raise BadBundleError(
                f"{path} holds more than weights and could run code when read; it is refused. "
                "Save model.state_dict() instead"
            ) from None
        raise BadBundleError(
            f"{path} is not a readable state dict ({type(error).__name__}); is it cut short, or another kind of file?"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadBundleError(f"{path} is not a state dict (weights by name); save model.state_dict()")
    return state
