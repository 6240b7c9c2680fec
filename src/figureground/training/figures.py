"""The figures of an epoch, kept as torchmetrics: which add up where the network is, and go into checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanMetric


def mean() -> MeanMetric:
    """The mean of what is added; its sum goes into the state of the module that it is an attribute of.

    In float64, and without a look at the values, for which a step would have to wait on a GPU.
    """
    metric = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)
    metric.persistent(True)
    assert isinstance(metric, MeanMetric)
    return metric


def dice_per_image(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """As ``metrics.dice`` has it, where the counts are: 1 where prediction and truth are both empty."""
    total = 2 * tp + fp + fn
    return torch.where(total == 0, 1.0, 2 * tp.double() / total.clamp(min=1))
