"""Lightning callbacks: what a run leaves on disk, when it stops, and the averaged weights."""

from __future__ import annotations

import logging
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torchmetrics import Metric

from figureground.errors import DivergedError
from figureground.files import replacing
from figureground.runs import CHECKPOINT, HISTORY_PICTURE, HISTORY_TABLE
from figureground.training.history import Monitored, Row, best_of, draw_history, line_of, write_csv

REDRAWN_AFTER = 5.0
"""Seconds: on a GPU an epoch can be as short as drawing the curves takes."""
FACTS = "figureground"
"""What a checkpoint says of the run, under this key: ``resumption`` reads it."""
Tensors = tuple[Tensor, ...] | list[Tensor]
log = logging.getLogger(__name__)


class Interrupted(Exception):
    """Training was asked to stop and has saved; the run can be resumed."""


class RunKeeper(lightning.Callback):
    """Writes a run's files: after every epoch the metrics and the checkpoint, the best model, and, unless they were
    drawn seconds ago, the curves.

    The module has its figures in ``figures``: torchmetrics by their columns, ``train_...`` and ``valid_...``, which
    its steps add to. They begin anew with each epoch. Only the first process writes.

    Args:
        folder: of the run.
        monitored: what decides.
        keep: writes the model of the best epoch so far, whose row (without what follows the validation) it gets. Where
            weights are averaged, the network has the averaged ones meanwhile.
        patience: epochs without a better value after which training stops; none: never.
        title: of the curves.
        facts: what a checkpoint shall say of the run.
    """

    def __init__(
        self,
        folder: Path,
        monitored: Monitored,
        keep: Callable[[Row], None],
        *,
        patience: int | None,
        title: str,
        facts: Mapping[str, Any],
    ) -> None:
        self.rows: list[Row] = []
        self._folder = folder
        self._monitored = monitored
        self._keep = keep
        self._patience = patience
        self._title = title
        self._facts = facts
        self._valid: dict[str, float] = {}
        self._is_best = False
        self._generators: dict[str, Any] | None = None
        self._seconds_before = 0.0
        self._started = time.monotonic()
        self._drawn, self._drawn_at = 0, -REDRAWN_AFTER

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock; a run that had stopped early when it was saved stops again."""
        self._started = time.monotonic()
        self._stop_if_impatient(trainer)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Behind a resumption, draw the random numbers that would have come next."""
        if self._generators is not None:
            set_generators(self._generators)
            self._generators = None

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget the last validation."""
        for metric in _figures(pl_module, "valid_").values():
            metric.reset()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the model if it is the best. This callback comes before the averaging one, which then still lends the
        averaged weights to the network.
        """
        self._valid = {name: float(metric.compute()) for name, metric in _figures(pl_module, "valid_").items()}
        row = {"epoch": trainer.current_epoch + 1, **self._valid}
        self._is_best = best_of([*self.rows, row], self._monitored) is row
        if self._is_best and trainer.is_global_zero:
            self._keep(row)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write metrics, curves and the checkpoint from which the next epoch can start."""
        trained = {name: float(metric.compute()) for name, metric in _figures(pl_module, "train_").items()}
        for metric in _figures(pl_module, "train_").values():
            metric.reset()
        last = {"learning_rate": highest_rate(trainer), "seconds": self._seconds}
        row = {"epoch": trainer.current_epoch + 1, **trained, **self._valid, **last}
        self.rows.append(row)
        self._seconds_before, self._started = 0.0, time.monotonic()
        if trainer.is_global_zero:
            log.info(line_of(row, trainer.max_epochs or 0, self._monitored, self._is_best))
            write_csv(self._folder / HISTORY_TABLE, self.rows)
            if time.monotonic() - self._drawn_at >= REDRAWN_AFTER:
                self.draw()
            for logger in trainer.loggers:
                logger.log_metrics({name: value for name, value in row.items() if name != "epoch"}, step=len(self.rows))
        save_checkpoint(trainer, self._folder)
        self._stop_if_impatient(trainer)

    def draw(self) -> None:
        """The curves of all epochs so far, unless they are drawn already."""
        if len(self.rows) > self._drawn:
            draw_history(self._folder / HISTORY_PICTURE, self.rows, self._monitored, self._title)
            self._drawn, self._drawn_at = len(self.rows), time.monotonic()

    @property
    def _seconds(self) -> float:
        """That the epoch has taken so far."""
        return self._seconds_before + time.monotonic() - self._started

    def _stop_if_impatient(self, trainer: lightning.Trainer) -> None:
        """If the last better value is too many epochs ago."""
        best = best_of(self.rows, self._monitored)
        waited = self.rows[-1]["epoch"] - best["epoch"] if best is not None else 0
        if self._patience is not None and waited >= self._patience:
            trainer.should_stop = True
            if trainer.is_global_zero:
                log.info("no better %s for %d epochs: stopping early", self._monitored.name, waited)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what the run is made of and how far it has come."""
        checkpoint[FACTS] = {**self._facts, "epochs_done": len(self.rows)}

    def state_dict(self) -> dict[str, Any]:
        """The history, the time an unfinished epoch has taken so far, and where the random numbers are."""
        return {"rows": [dict(row) for row in self.rows], "seconds": self._seconds, "generators": generators()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue all of them."""
        self.rows = state_dict["rows"]
        self._seconds_before = state_dict["seconds"]
        self._generators = state_dict["generators"]


def _figures(module: lightning.LightningModule, prefix: str) -> dict[str, Metric]:
    return {name: metric for name, metric in module.figures.items() if name.startswith(prefix)}  # type: ignore[union-attr, operator]


def generators() -> dict[str, Any]:
    """The states of this process's random numbers, of types that a checkpoint may hold."""
    version, state, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    key = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": key}},
        "python": (version, state, gauss),
    }


def set_generators(states: dict[str, Any]) -> None:
    """Continue where ``generators`` was called; of GPUs if there are as many."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    key = states["numpy"]["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**states["numpy"], "state": {**states["numpy"]["state"], "key": key}})
    random.setstate(states["python"])


class Finite(lightning.Callback):
    """Ends a training whose loss is not a number any more, before anything of it is saved.

    Args:
        steps: after so many it looks, and before each validation; a look waits for a GPU.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._losses: list[tuple[int, Tensor]] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look, if it is time."""
        self._losses.append((batch_idx + 1, outputs["loss"].detach()))
        if len(self._losses) >= self._steps:
            self.look(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look before the epoch is scored."""
        self.look(trainer)

    def look(self, trainer: lightning.Trainer) -> None:
        """At the losses since the last look.

        Raises:
            DivergedError: one of them is not a number.
        """
        looked_at, self._losses = self._losses, []
        values = torch.stack([loss for _, loss in looked_at]).tolist() if looked_at else []
        for (number, _), value in zip(looked_at, values, strict=True):
            if not math.isfinite(value):
                raise DivergedError(
                    f"the loss is {value} in epoch {trainer.current_epoch + 1}, batch {number}: training has diverged "
                    f"and stops. Lower --learning-rate (now {highest_rate(trainer):g}), set --clip 1, or use "
                    "--precision float32; the best model so far is kept"
                )


class Interruption(lightning.Callback):
    """Ctrl-C and SIGTERM end a run behind the current batch, with everything saved; a second signal ends it at once."""

    def __init__(self, folder: Path, finite: Finite) -> None:
        self._folder = folder
        self._finite = finite
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
            self._finite.look(trainer)
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


class NewSchedule(lightning.Callback):
    """Lays the schedule of a resumed run over another number of steps and goes on from the step that was reached."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """What an optimizer of the new schedule would have in this step becomes the restored one's."""
        made: Any = pl_module.configure_optimizers()
        if not isinstance(made, dict):  # a constant rate has no schedule
            return
        optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
        optimizer.step()  # without gradients: torch warns of schedules that step first
        for _ in range(trainer.global_step):
            schedule.step()
        for group, new in zip(trainer.optimizers[0].param_groups, optimizer.param_groups, strict=True):
            group.update({name: value for name, value in new.items() if name != "params"})
        trainer.lr_scheduler_configs[0].scheduler.load_state_dict(schedule.state_dict())


def highest_rate(trainer: lightning.Trainer) -> float:
    """The learning rate now; an encoder may have a share of it."""
    return float(max(group["lr"] for group in trainer.optimizers[0].param_groups))


def save_checkpoint(trainer: lightning.Trainer, folder: Path) -> None:
    """Everything a resumption needs, as ``last.ckpt``; in all processes, of which the first writes."""
    if not trainer.is_global_zero:
        trainer.save_checkpoint(folder / CHECKPOINT)
        return
    with replacing(folder / CHECKPOINT) as partial:
        trainer.save_checkpoint(partial)


def averaging(decay: float) -> WeightAveraging:
    """Exponential moving average of the weights, scored and kept in their place."""
    return WeightAveraging(multi_avg_fn=moving_average(decay))


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """What changes the averages of some tensors, by these as they are now and how often they have been averaged.

    The decay rises towards ``decay`` with the steps, (1 + n) / (10 + n), so that short runs are not averaged with
    their random start.
    """

    def average(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            n = float(updates)  # on a GPU this waits for it, so it is asked once for all tensors
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(averaged, current)

    return average
