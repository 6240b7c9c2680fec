"""A lighter compact FPN out of a trained one, to train on from: what adds least to its answers is left out.

Blocks: of those at stride 16 the one that is missed least. Channels at stride 2: those without which valid keeps the
highest Dice, between layers and within the block. The pathway ends at stride 4 instead of 2, with a head that gives
each place 4 × 4 logits; it begins with what fits the logits of the trained network best (least squares), enlarged
bilinearly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles import plain_network
from torch import Tensor, nn
from torch.nn import functional

from figureground.bundle import read_info, write_bundle
from figureground.data import Dataset, open_dataset
from figureground.data.dataset import as_shown
from figureground.metrics import dice_score
from figureground.models import create_model
from figureground.preprocessing import Preprocessing

WIDTHS, FEWER = (24, 48, 96, 160, 256), 16  # of the trained network, and of the lighter one's first stage
BLOCKS = ((0,), (0, 1), (0, 1, 2), (0, 1, 3), (0, 1))  # of the trained network, which stay
STRIDE = 4  # of the new head
SHALLOWER = {"blocks": [len(kept) for kept in BLOCKS], "head_stride": STRIDE, "subpixel": True}
LIGHTER = {**SHALLOWER, "widths": [FEWER, *WIDTHS[1:]]}
FITTED_TO, RANKED_BY = 8, 3  # every so many train images, and valid ones
FITTED = 400
FLAT, NEAR, FAR = 4.0, 1.5, 0.05  # logits count up to that; how soon they count less with it, and what they count then
BATCH = 10


def write_lighter(trained: Path, path: Path, data: str) -> None:
    """A bundle of the lighter network at ``path``, from that of a compact FPN of the usual widths.

    Args:
        trained: the other bundle.
        path: the file.
        data: a dataset with a train and a valid split.
    """
    info = read_info(trained)
    preprocessing = info.preprocessing
    network = plain_network(trained).to(memory_format=torch.channels_last)
    images, _ = read(open_dataset(data, "train"), preprocessing, FITTED_TO, FITTED)
    shallower = ready(SHALLOWER, without_blocks(network.state_dict()))
    fit_head(shallower, network, images)
    kept = most_missed(shallower, *read(open_dataset(data, "valid"), preprocessing, RANKED_BY))
    lighter = ready(LIGHTER, without_channels(shallower.state_dict(), *kept))
    fit_head(lighter, network, images)
    weights = {name: tensor.contiguous().numpy() for name, tensor in lighter.state_dict().items()}
    write_bundle(path, weights, replace(info, model=replace(info.model, arguments=LIGHTER)))


def ready(arguments: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """A compact FPN with those of its weights that are given."""
    network = create_model("compact_fpn", arguments)
    network.load_state_dict({**network.state_dict(), **weights})
    return network.eval().to(memory_format=torch.channels_last)


def read(dataset: Dataset, preprocessing: Preprocessing, every: int, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Some images of a dataset (N, 3, H, W), normalised, and their masks (N, H, W)."""
    samples = [as_shown(preprocessing, dataset[place]) for place in range(0, len(dataset), every)[:most]]
    images = np.stack([sample.image for sample in samples])
    masks = np.stack([sample.mask for sample in samples])
    return torch.from_numpy(preprocessing.normalise(images)), torch.from_numpy(masks)


def without_blocks(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the shallower network but for its head, by their names there."""
    names: dict[str, str] = {}
    for stage, blocks in enumerate(BLOCKS):
        names |= {f"stages.{stage}.{old}.": f"stages.{stage}.{new}." for new, old in enumerate(blocks)}
    names |= {start: start for start in ("stem.", "top.", "pathway.0.", "pathway.1.", "pathway.2.")}
    return {
        names[start] + name.removeprefix(start): tensor
        for name, tensor in weights.items()
        for start in names
        if name.startswith(start)
    }


def without_channels(weights: dict[str, Tensor], between: Tensor, within: Tensor) -> dict[str, Tensor]:
    """The weights with some channels of the first stage alone, those between its layers and within its block."""
    cut = dict(weights)
    outputs = {"stem.0": between, "stem.1": between, "stages.0.0.conv2": between, "stages.0.0.bn2": between}
    outputs |= {"stages.0.0.conv1": within, "stages.0.0.bn1": within}
    inputs = {"stages.0.0.conv1": between, "stages.1.0.conv1": between, "stages.1.0.downsample.0": between}
    inputs["stages.0.0.conv2"] = within
    for name, tensor in weights.items():
        layer = name.rpartition(".")[0]
        if tensor.dim() and layer in outputs:
            cut[name] = cut[name][outputs[layer]]
        if layer in inputs:
            cut[name] = cut[name][:, inputs[layer]]
    return cut


def most_missed(network: nn.Module, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The channels of the first stage that stay, between its layers and within its block, by the Dice without each."""
    found = []
    for names in (("stem", "stages.0"), ("stages.0.0.bn1",)):
        layers = [network.get_submodule(name) for name in names]
        scores = []
        for channel in range(WIDTHS[0]):
            with silenced(layers, channel):
                scores.append(dice_score(logits_of(network, images), masks[:, None]))
        found.append(torch.tensor(scores).argsort()[:FEWER].sort().values)
    return found[0], found[1]


@contextmanager
def silenced(layers: Sequence[nn.Module], channel: int) -> Iterator[None]:
    """While one channel of what layers give is nothing."""

    def silence(layer: nn.Module, given: Any, output: Tensor) -> Tensor:
        return output.index_fill(1, torch.tensor([channel]), 0.0)

    hooks = [layer.register_forward_hook(silence) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Of all images (N, 1, H, W)."""
    return torch.cat([network(images[start : start + BATCH])["figure"] for start in range(0, len(images), BATCH)])


@torch.inference_mode()
def fit_head(lighter: nn.Module, network: nn.Module, images: Tensor) -> None:
    """Give the head of ``lighter`` what fits the logits of ``network`` best, those near the outline above all."""
    head: Any = lighter.head
    shown: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda layer, given: shown.append(given[0]))
    channels = head.in_channels
    left, right = torch.zeros(channels + 1, channels + 1).double(), torch.zeros(channels + 1).double()
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        wanted = functional.avg_pool2d(network(batch)["figure"].clamp(-FLAT, FLAT), STRIDE).flatten()
        lighter(batch)
        features = functional.pad(shown.pop().permute(0, 2, 3, 1).flatten(0, 2), (0, 1), value=1.0)
        weighted = features * (torch.exp(-wanted.abs() / NEAR) + FAR)[:, None]
        left, right = left + weighted.T @ features, right + weighted.T @ wanted
    hook.remove()
    *weights, bias = torch.linalg.solve(left + 1e-3 * torch.eye(len(left)), right).float()
    along = torch.zeros(STRIDE, 3)  # the shares of a place before, of the place itself and of one after
    for pixel in range(STRIDE):
        shift = (pixel + 0.5) / STRIDE - 0.5
        along[pixel] = torch.tensor([max(-shift, 0), 1 - abs(shift), max(shift, 0)])
    head.weight.copy_(torch.einsum("iy,jx,c->ijcyx", along, along, torch.stack(weights)).flatten(0, 1))
    head.bias.fill_(bias)
