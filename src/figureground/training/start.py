"""The weights that a training starts from: of a run, of a bundle, or of an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from figureground.bundle import read_info, read_tensors
from figureground.config import ModelConfig, TrainConfig
from figureground.data import Dataset
from figureground.errors import FiguregroundError
from figureground.models import create_model
from figureground.models.rewriting import transposed
from figureground.models.weights import misfit
from figureground.preprocessing import Preprocessing
from figureground.runs import bundle_path

SEEN = 32
"""Images of the training data that the batch norms of an exported file are rebuilt with, all at once."""


class Layer(NamedTuple):
    """A convolution of an exported file, which has taken in the batch norm behind it."""

    weight: Tensor
    bias: Tensor = torch.zeros(())  # the exporter leaves out zeros


def starting_bundle(config: TrainConfig) -> Path | None:
    """The bundle that ``start_from`` names; none if it names none.

    Raises:
        FiguregroundError: there is none of that name, or it is of another network.
    """
    if config.start_from is None:
        return None
    bundle = bundle_path(config.start_from)
    found = read_info(bundle).model
    if found != without_download(config.model):
        raise FiguregroundError(
            f"{bundle} is of {found.name} {found.arguments}, the network to train is {config.model.name} "
            f"{config.model.arguments}; expected the same to start from"
        )
    return bundle


def without_download(model: ModelConfig) -> ModelConfig:
    """A bundle brings its own weights: rebuilding its network must not download any."""
    return replace(model, arguments={name: value for name, value in model.arguments.items() if name != "pretrained"})


def starting_weights(bundle: Path, dataset: Dataset) -> dict[str, Tensor]:
    """The state of the bundle's network.

    Args:
        bundle: ``.safetensors``, or ``.onnx`` in any precision.
        dataset: the images to train on.

    Raises:
        FiguregroundError: a file of another network than its metadata name.
    """
    info = read_info(bundle)
    network = create_model(info.model.name, info.model.arguments)
    if bundle.suffix != ".onnx":
        weights = {name: torch.from_numpy(tensor) for name, tensor in read_tensors(bundle).items()}
        _refuse_others(bundle, network.state_dict(), weights)
        return weights
    preprocessing = Preprocessing.of(info.preprocessing)
    chosen = np.linspace(0, len(dataset) - 1, min(SEEN, len(dataset))).round().astype(int)
    images = np.stack([preprocessing.resize_image(dataset[int(index)].image) for index in chosen])
    layers = exported_layers(bundle)
    _transpose_again(network, layers)
    _refuse_others(
        bundle,
        {name: module.weight for name, module in convolutions(network).items()},
        {name: layer.weight for name, layer in layers.items()},
    )
    unfold(network, layers, torch.from_numpy(preprocessing.normalise(images)))
    return network.state_dict()


def _refuse_others(bundle: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    problem = misfit(expected, found)
    if problem:
        raise FiguregroundError(
            f"{bundle} does not hold the network that its metadata name: {problem}; make it again from its run"
        )


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d | nn.ConvTranspose2d]:
    """All of a network, by name."""
    kinds = nn.Conv2d | nn.ConvTranspose2d
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


def exported_layers(path: Path) -> dict[str, Layer]:
    """The convolutions of an exported file by their names in the network, in float32."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph = onnx.load(path).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}

    def value(name: str) -> NDArray[Any]:
        """Of a constant, or of what is made of constants: dequantized, or cast from float16."""
        if name in constants:
            return constants[name]
        node = made_by[name]
        (made,) = ReferenceEvaluator(node).run(None, {each: constants[each] for each in node.input})
        return np.asarray(made)

    layers = {}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            stored = node.input[1] if node.input[1] in constants else made_by[node.input[1]].input[0]
            weight, *bias = (torch.from_numpy(value(each).copy()) for each in node.input[1:])
            name = stored.partition(".weight")[0]  # what follows says how it is stored
            layers[name] = Layer(weight, *bias)
    return layers


def _transpose_again(network: nn.Module, layers: dict[str, Layer]) -> None:
    """Give what an int8 file holds of transposed convolutions its shape in the network."""
    for name, convolution in convolutions(network).items():
        if isinstance(convolution, nn.ConvTranspose2d) and f"{name}.0" in layers:
            weight, bias = layers[f"{name}.0"]
            side = convolution.stride[0]
            if weight.shape == (convolution.out_channels * side**2, convolution.in_channels, 1, 1):
                del layers[f"{name}.0"]
                layers[name] = Layer(*transposed(weight, bias.expand(len(weight)), side))


def unfold(network: nn.Module, layers: Mapping[str, Layer], images: Tensor) -> None:
    """Give a network the weights of an exported one, and its batch norms the task they had before.

    A batch norm that was taken into the convolution before it is rebuilt from images: mean and variance are those of
    the convolution's output, scale and shift undo them and add the exported bias. So the network answers as the file
    does, and trains on from there as if it had never been exported.

    For that the kernel gets back its size too, that of a new network's. The batch norm behind it undoes any factor, but
    an optimizer's steps do not shrink with the kernel: in what a batch norm was taken into, often a tenth as large,
    they would be ten times as long (van Laarhoven, "L2 Regularization versus Batch and Weight Normalization", 2017).

    Args:
        network: a new one of the same kind, as it was initialised.
        layers: as ``exported_layers`` gives them for this network.
        images: a batch (N, 3, H, W), normalised.
    """
    normalised = _before_batch_norms(network, images[:1])
    folded: dict[int, tuple[float, Tensor]] = {}  # by a convolution's output: what it was enlarged by, and the bias

    def remember(factor: float, bias: Tensor) -> Any:
        return lambda module, given, output: folded.__setitem__(id(output), (factor, bias))

    def rebuild(norm: nn.Module, given: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(given[0], (0, 2, 3), correction=0)
        assert isinstance(norm, nn.BatchNorm2d)
        factor, bias = folded.pop(id(given[0]), (1.0, torch.zeros(())))
        state = {
            "running_mean": mean,
            "running_var": variance,
            "weight": (variance + norm.eps).sqrt() / factor,
            "bias": mean / factor + bias,
            "num_batches_tracked": norm.num_batches_tracked,
        }
        norm.load_state_dict(state)

    hooks = [norm.register_forward_pre_hook(rebuild) for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)]
    for name, convolution in convolutions(network).items():
        weight, bias = layers[name]
        if name in normalised:
            factor = float(convolution.weight.data.std() / weight.std().clamp_min(1e-12))  # zeros stay zeros
            hooks.append(convolution.register_forward_hook(remember(factor, bias)))
            weight, bias = weight * factor, torch.zeros_like(bias)  # the batch norm takes it
        convolution.weight.data.copy_(weight)
        if convolution.bias is not None:
            convolution.bias.data.copy_(bias)
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()


def _before_batch_norms(network: nn.Module, images: Tensor) -> set[str]:
    """The names of the convolutions whose output goes to a batch norm."""
    made: dict[str, Tensor] = {}  # kept, so that no later one has the identity of one before
    found: set[str] = set()

    def meet(norm: nn.Module, given: tuple[Tensor]) -> None:
        found.update(name for name, output in made.items() if output is given[0])

    def keep(name: str) -> Any:
        return lambda module, given, output: made.__setitem__(name, output)

    hooks = [norm.register_forward_pre_hook(meet) for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)]
    hooks += [each.register_forward_hook(keep(name)) for name, each in convolutions(network).items()]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return found
