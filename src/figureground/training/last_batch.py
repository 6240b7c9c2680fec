"""A last batch of a single image, which not every network can be trained on."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from figureground.config import TrainConfig
from figureground.errors import UsageError
from figureground.models import build

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
log = logging.getLogger(__name__)


def leaves_out_last(config: TrainConfig, images: int) -> bool:
    """Whether an epoch's last batch is left out: it holds one image, of which a batch norm would see one value.

    The images are shuffled, so that it is another one in each epoch.

    Raises:
        UsageError: all batches are like that.
    """
    size = config.batch_size
    if images % size != 1 % size or not _normalises_one_value(config):
        return False
    if size == 1 or images == 1:
        raise UsageError(
            f"batches hold a single image (--batch-size {size}, {images} training images), of which batch norm sees "
            "one value in the network's deepest stage and needs two; choose --batch-size 2 or above, or a larger --size"
        )
    log.info("each epoch leaves out one of the %d images: a last batch of one is too few for batch norm", images)
    return True


def _normalises_one_value(config: TrainConfig) -> bool:
    """Whether a batch norm of the network sees one value an image and channel, at one of the sizes of the training."""
    found: list[bool] = []

    def look(norm: nn.Module, given: tuple[Any, ...]) -> None:
        found.append(given[0][0, 0].numel() == 1)

    with torch.device("meta"), torch.no_grad():  # neither memory nor arithmetic
        network = build(config.model)
        for norm in (module for module in network.modules() if isinstance(module, BATCH_NORMS)):
            norm.register_forward_pre_hook(look)
        for height, width in {config.preprocessing.size, *((phase.size, phase.size) for phase in config.phases)}:
            network(torch.empty(2, 3, height, width))
    return any(found)
