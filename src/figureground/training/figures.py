"""The figures of an epoch, kept as torchmetrics: which add up where the network is, and go into checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.utilities import dim_zero_cat


def mean() -> MeanMetric:
    """The mean of what is added; its sum goes into the state of the module that it is an attribute of.

    In float64, and without a look at the values, for which a step would have to wait on a GPU.
    """
    metric = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)
    metric.persistent(True)
    assert isinstance(metric, MeanMetric)
    return metric


class ImageDice(Metric):
    """The mean over images of their Dice, each from all windows that showed it; 1 where masks and truth are empty."""

    full_state_update = False
    numbers: list[Tensor]
    pixels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("numbers", [], dist_reduce_fx="cat")
        self.add_state("pixels", [], dist_reduce_fx="cat")

    def update(self, numbers: Tensor, tp: Tensor, fp: Tensor, fn: Tensor) -> None:
        """Add windows (N,): which image each is of, and its pixels."""
        self.numbers.append(numbers)
        self.pixels.append(torch.stack([tp, fp, fn], dim=1))

    def compute(self) -> Tensor:
        """The mean, in float64."""
        images, place = torch.unique(dim_zero_cat(self.numbers), return_inverse=True)
        pixels = dim_zero_cat(self.pixels)
        tp, fp, fn = pixels.new_zeros(len(images), 3).index_add_(0, place, pixels).T
        total = 2 * tp + fp + fn
        return torch.where(total == 0, 1.0, 2 * tp.double() / total.clamp(min=1)).mean()
