"""Lightning callbacks: what a run leaves on disk, how it is interrupted, and the averaged weights."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from figureground.bundle import BundleInfo, write_bundle
from figureground.files import replacing
from figureground.runs import BUNDLE_IN_RUN, CHECKPOINT, HISTORY_PICTURE, HISTORY_TABLE
from figureground.training.history import EpochRow, best_of, draw_history, write_csv
from figureground.training.supervised import SegmentationModule

REDRAWN_AFTER = 5.0
"""Seconds: on a GPU an epoch can be as short as drawing the curves takes."""
Tensors = tuple[Tensor, ...] | list[Tensor]
log = logging.getLogger(__name__)


class Interrupted(Exception):
    """Training was asked to stop and has saved; the run can be resumed."""


class RunKeeper(lightning.Callback):
    """Writes a run's files: after every epoch the metrics and the checkpoint, the best model as a bundle, and, unless
    they were drawn seconds ago, the curves.

    Args:
        folder: of the run.
        describe: the bundle's metadata for a row of the history.
        patience: epochs without a better valid Dice after which training stops; none: never.
    """

    def __init__(self, folder: Path, describe: Callable[[EpochRow], BundleInfo], patience: int | None) -> None:
        self.rows: list[EpochRow] = []
        self._folder = folder
        self._describe = describe
        self._patience = patience
        self._seconds_before = 0.0
        self._started = time.monotonic()
        self._drawn, self._drawn_at = 0, -REDRAWN_AFTER

    @property
    def best(self) -> EpochRow | None:
        """The first epoch with the highest valid Dice."""
        return best_of(self.rows)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock; a run that had stopped early when it was saved stops again."""
        self._started = time.monotonic()
        trainer.should_stop = self._impatient

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the model if it is the best. This callback comes before the averaging one, which then still lends the
        averaged weights to the network.
        """
        assert isinstance(pl_module, SegmentationModule)
        row = self._row(trainer, pl_module)
        is_best = self.best is None or row.valid_dice > self.best.valid_dice
        if is_best:
            network = {name: tensor.cpu().numpy() for name, tensor in pl_module.network.state_dict().items()}
            write_bundle(self._folder / BUNDLE_IN_RUN, network, self._describe(row))
        self.rows.append(row)
        log.info(row.line(pl_module.config.epochs, is_best))

    def _row(self, trainer: lightning.Trainer, module: SegmentationModule) -> EpochRow:
        seconds = self._seconds_before + time.monotonic() - self._started
        learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        return EpochRow(trainer.current_epoch + 1, *module.epoch_scores(), learning_rate, seconds)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write metrics, curves and the checkpoint from which the next epoch can start."""
        assert isinstance(pl_module, SegmentationModule)
        pl_module.train_sum, pl_module.train_images = 0.0, 0
        self._seconds_before, self._started = 0.0, time.monotonic()
        row = self.rows[-1]
        write_csv(self._folder / HISTORY_TABLE, self.rows)
        if time.monotonic() - self._drawn_at >= REDRAWN_AFTER:
            self.draw(pl_module)
        for logger in trainer.loggers:
            logger.log_metrics({k: v for k, v in asdict(row).items() if k != "epoch"}, step=row.epoch)
        save_checkpoint(trainer, self._folder)
        if self._impatient:
            log.info("no better valid Dice for %d epochs: stopping early", self._patience)
            trainer.should_stop = True

    def draw(self, module: SegmentationModule) -> None:
        """The curves of all epochs so far, unless they are drawn already."""
        if len(self.rows) > self._drawn:
            draw_history(self._folder / HISTORY_PICTURE, self.rows, f"{module.config.model.name}: {self._folder.name}")
            self._drawn, self._drawn_at = len(self.rows), time.monotonic()

    @property
    def _impatient(self) -> bool:
        """Whether the last better valid Dice is too many epochs ago."""
        waited = self.rows[-1].epoch - self.best.epoch if self.best is not None else 0
        return self._patience is not None and waited >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """The history, and the time an unfinished epoch has taken so far."""
        seconds = self._seconds_before + time.monotonic() - self._started
        return {"rows": [asdict(row) for row in self.rows], "seconds": seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the history."""
        self.rows = [EpochRow(**row) for row in state_dict["rows"]]
        self._seconds_before = state_dict["seconds"]


class Interruption(lightning.Callback):
    """Ctrl-C and SIGTERM end a run behind the current batch, with everything saved; a second signal ends it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signal: int | None = None
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Remember what the signals did (only the main thread may change it)."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen to both, in the place of Lightning, which SIGTERM makes end the run with status 0, unsaved."""
        for number in self._previous:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a worker that was forked: the training ends it
        self._signal = number
        self._restore()  # the next one has its usual effect
        log.warning("stopping behind this batch and saving; the same again stops at once")

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop within an epoch, when no gradients wait. Behind the last batch validation comes first."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if self._signal is not None and stepped and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            save_checkpoint(trainer, self._folder)
            raise Interrupted

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop behind an epoch: the keeper, which comes first, has just saved."""
        if self._signal is not None:
            raise Interrupted

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back; Lightning leaves out ``teardown``."""
        self._restore()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._restore()


def save_checkpoint(trainer: lightning.Trainer, folder: Path) -> None:
    """Everything a resumption needs, as ``last.ckpt``."""
    with replacing(folder / CHECKPOINT) as partial:
        trainer.save_checkpoint(partial)


def averaging(decay: float) -> WeightAveraging:
    """Exponential moving average of the weights, scored and kept in their place.

    The decay rises towards ``decay`` with the steps, (1 + n) / (10 + n), so that short runs are not averaged with
    their random start.
    """

    def average(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            n = float(updates)  # on a GPU this waits for it, so it is asked once for all tensors
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(averaged, current)

    return WeightAveraging(multi_avg_fn=average)
