"""The training of any Lightning module, from its batches to a folder with its history and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from figureground.config import TrainConfig
from figureground.runs import BUNDLE_IN_RUN
from figureground.training.callbacks import Finite, Interrupted, Interruption, NewSchedule, RunKeeper, averaging
from figureground.training.carrying import noticing_dead_workers
from figureground.training.history import Monitored, Row, best_of, is_silent
from figureground.training.trainer import make_trainer, uses_gpu, without_advice

Batches = tuple[DataLoader[Any], DataLoader[Any]]
"""The loaders of training and validation."""

STEPS_BETWEEN_LOOKS = 50
"""On a GPU, at whether the loss is a number."""


@dataclass(frozen=True)
class Run:
    """What a training run has left behind."""

    folder: Path
    rows: tuple[Row, ...]
    """One an epoch, as in ``metrics.csv``."""
    interrupted: bool
    """It was asked to stop; ``resume`` continues it."""
    monitored: Monitored = Monitored()
    gave_up: bool = False
    """It was stopped since nothing was learned."""

    @property
    def model(self) -> Path:
        """The bundle of the best epoch."""
        return self.folder / BUNDLE_IN_RUN

    @property
    def best(self) -> Row | None:
        """The epoch whose model is kept."""
        return best_of(self.rows, self.monitored)

    @property
    def silent(self) -> bool:
        """The masks of all valid images are empty, or all full, in the last epoch: nothing was learned."""
        return bool(self.rows) and is_silent(self.rows[-1])


def fit(
    module: lightning.LightningModule,
    batches: Batches,
    folder: Path,
    config: TrainConfig,
    *,
    monitored: Monitored,
    keep: Callable[[Row], None],
    facts: Mapping[str, Any],
    title: str = "",
    checkpoint: Path | None = None,
    new_schedule: bool = False,
    deadline: lightning.Callback | None = None,
    progress: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
) -> Run:
    """Train from the start or from a checkpoint.

    Args:
        module: what is trained. Its steps return the loss and add to the torchmetrics in its ``figures``, an
            ``nn.ModuleDict`` by columns of ``metrics.csv``: ``train_...`` and ``valid_...``.
        batches: of training and validation. To resume within an epoch the former keeps its place in ``state_dict``.
        folder: of the run, which is there.
        config: how long, how exactly and where it is trained.
        monitored: the figure by which epochs are compared.
        keep: writes the model when an epoch is the best so far, given its row.
        facts: what the checkpoint shall say of the run, of plain types and tensors.
        title: of the curves.
        checkpoint: to go on from.
        new_schedule: the checkpoint's was laid over another number of steps.
        deadline: stops the training where it takes longer or shorter than it should.
        progress: show bars.
        devices: processors that share the batches, on each machine; the first process writes.
        num_nodes: machines.

    Raises:
        FiguregroundError: the loss diverges, the disk is full, data cannot be read.
    """
    for loader in batches:  # each draws a number when it begins, which shall not come from those of the network
        loader.generator = loader.generator or torch.Generator()
    on_gpu = uses_gpu(config)
    keeper = RunKeeper(folder, monitored, keep, patience=config.early_stopping, title=title, facts=facts)
    finite = Finite(STEPS_BETWEEN_LOOKS if on_gpu else 1)
    # The order counts: the keeper saves while the averaged weights are lent to the network, a loss is looked at before
    # anything is made of it, and an interruption comes when the average has this batch's step.
    callbacks: list[lightning.Callback] = [keeper, finite]
    callbacks += [averaging(config.ema_decay)] if config.ema_decay is not None else []
    callbacks += [NewSchedule()] if new_schedule else []
    callbacks += [deadline] if deadline else []
    callbacks += [Interruption(folder, finite)]
    callbacks += [TQDMProgressBar(refresh_rate=10 if on_gpu else 1, leave=False)] if progress else []
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
    trainer = make_trainer(
        config, on_gpu, callbacks, epochs=config.epochs, logger=logger, devices=devices, num_nodes=num_nodes
    )
    interrupted = False
    try:
        with without_advice(), noticing_dead_workers(f"What was saved continues with --resume {folder}"):
            trainer.fit(module, *batches, ckpt_path=checkpoint, weights_only=True)
    except Interrupted:
        interrupted = True
    if trainer.is_global_zero:
        keeper.draw()  # the last epochs too
    return Run(folder, tuple(keeper.rows), interrupted, monitored, bool(getattr(module, "gave_up", False)))
