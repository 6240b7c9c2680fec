"""The torch engine: the only part of prediction that imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from figureground.bundle import read_shapes, read_tensors
from figureground.config import ModelConfig
from figureground.cores import usable_cores
from figureground.models.blocks import channels_last
from figureground.models.rewriting import without_batch_norms
from figureground.models.weights import rebuild, shapes_of


class TorchEngine:
    """A network in float32, on the GPU where there is one."""

    name = "torch"
    lanes = 1

    def __init__(self, network: nn.Module) -> None:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = channels_last(without_batch_norms(network.eval())).to(self._device)

    @classmethod
    def of_bundle(cls, path: Path, model: ModelConfig) -> TorchEngine:
        """
        Raises:
            FiguregroundError: there is no such model, or the file's weights are not those of one.
        """
        return cls(rebuild(model, read_shapes(path), lambda: as_tensors(read_tensors(path)), str(path)))

    @classmethod
    def of_weights(cls, weights: Mapping[str, torch.Tensor], model: ModelConfig, source: str) -> TorchEngine:
        """
        Raises:
            FiguregroundError: the weights are not those of this model.
        """
        return cls(rebuild(model, shapes_of(weights), lambda: weights, source))

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Normalised images (N, C, *spatial) to outputs by name."""
        with torch.inference_mode():
            outputs = self.network(torch.from_numpy(batch).to(self._device))
        return {name: tensor.float().cpu().numpy() for name, tensor in outputs.items()}


def as_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Weights by name, without a copy."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
