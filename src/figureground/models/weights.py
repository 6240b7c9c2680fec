"""A network's weights: those that others have published, for encoders that start from them, and whether some fit."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.error import URLError

from torch import Tensor

from figureground.errors import FiguregroundError


def imagenet_weights(architecture: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet weights of ``architecture`` without the classifier (downloaded once into torch's cache).

    Raises:
        FiguregroundError: the weights are not in the cache and cannot be downloaded.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(architecture).DEFAULT
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, TimeoutError, ConnectionError, RuntimeError) as error:
        raise FiguregroundError(
            f"the ImageNet weights of {architecture} could not be downloaded ({error}). "
            f"Train from scratch (leave out --pretrained), or fetch {weights.url} on a machine with a network "
            "and put it into torch's cache, ~/.cache/torch/hub/checkpoints/"
        ) from error
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """How the weights that were found differ from a network's in names and shapes; empty if they fit."""
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    differing = sorted(name for name in set(expected) & set(found) if expected[name].shape != found[name].shape)
    if not (missing or extra or differing):
        return ""
    return (
        f"{len(missing)} weights are missing, {len(extra)} are unknown and {len(differing)} have another shape "
        f"(such as {next(iter(differing or missing or extra))})"
    )
