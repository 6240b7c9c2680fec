"""Weights that others have published, for encoders that start from them."""

from __future__ import annotations

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
