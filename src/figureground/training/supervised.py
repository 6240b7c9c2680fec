"""What happens in a training and a validation step."""

from __future__ import annotations

import logging
import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR

from figureground.config import TrainConfig
from figureground.data.dataset import FIGURE, FULL, WEIGHT
from figureground.errors import UsageError
from figureground.losses import LOSSES
from figureground.metrics import counts
from figureground.models import build
from figureground.models.blocks import channels_last
from figureground.models.depthwise import QuickDepthwise
from figureground.models.learning import parameter_groups
from figureground.training.figures import ImageDice, mean
from figureground.training.history import is_silent
from figureground.training.loaders import Batch

log = logging.getLogger(__name__)


class SegmentationModule(lightning.LightningModule):
    """A network with its loss, optimiser, schedule and figures.

    Args:
        config: all settings.
        steps: of the optimiser in the whole run. (Asking the trainer would set up its loaders before a checkpoint's
            place in them is restored.)
        gives_up: stop where nothing is learned by a third of the epochs; otherwise it is said, and training goes on.

    Raises:
        UsageError: there is no such network, or it has no encoder that could be treated by itself.
    """

    def __init__(self, config: TrainConfig, steps: int, gives_up: bool = False) -> None:
        super().__init__()
        self.config = config
        self.steps = steps
        self.gives_up, self.gave_up = gives_up, False
        self._looked = False
        self.network = channels_last(build(config.model))
        if (config.freeze_epochs or config.encoder_rate != 1) and not hasattr(self.network, "encoder"):
            raise UsageError(f"model {config.model.name!r} has no encoder; leave out encoder_rate and freeze_epochs")
        self.loss = LOSSES[config.loss]
        self.figures = nn.ModuleDict(
            {
                "train_loss": mean(),
                "valid_loss": mean(),
                "valid_dice": ImageDice(),  # at the size at which the network sees the images, threshold 0.5
                "valid_figure": mean(),  # the share of the pixels that is found
            }
        )

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of one batch."""
        with QuickDepthwise():
            outputs = self.network(batch["image"])
        loss = self._loss(outputs["figure"], batch)
        self._add("train_loss", loss.detach(), len(batch["image"]))
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add the loss and the per-image figures of one batch."""
        logits = self.network(batch["image"])["figure"]
        masks = logits[:, 0] > 0
        kept = batch[WEIGHT] > 0 if WEIGHT in batch else None
        self._add("valid_loss", self._loss(logits, batch), len(logits))
        compared = (masks, batch[FIGURE] > FULL // 2, kept)
        found = counts(*(None if each is None else each.flatten(1, -2) for each in compared))  # volumes as images
        self.figures["valid_dice"].update(batch["number"], *found)  # type: ignore[operator]
        self._add("valid_figure", masks.flatten(1).double().mean(1))

    def _loss(self, logits: Tensor, batch: Batch) -> Tensor:
        weight = batch[WEIGHT].float() / FULL if WEIGHT in batch else None
        return self.loss(logits, batch[FIGURE].float() / FULL, weight)

    def _add(self, name: str, value: Tensor, weight: int = 1) -> None:
        self.figures[name].update(value, weight)  # type: ignore[operator]

    def on_validation_epoch_end(self) -> None:
        """Warn, or stop, if nothing is learned when a third of the epochs is done."""
        done, epochs = self.current_epoch + 1, self.config.epochs
        if self._looked or not math.ceil(epochs / 3) <= done <= math.ceil(epochs / 2):  # epochs may become others
            return
        self._looked = True
        found = {name: float(self.figures[name].compute()) for name in ("valid_dice", "valid_figure")}  # type: ignore[operator]
        if not is_silent(found):
            return
        if self.gives_up and done < epochs:
            self.gave_up = self.trainer.should_stop = True
        elif self.trainer.is_global_zero:
            log.warning(
                "the masks of all valid images are %s after %d of %d epochs: nothing is learned yet. Look at the masks "
                "with figureground data check, or try another --learning-rate (now %g), another --loss (now %s), or "
                "weights to start from",
                "full" if found["valid_figure"] else "empty",
                self.current_epoch + 1,
                self.config.epochs,
                self.config.learning_rate,
                self.config.loss,
            )

    def on_train_start(self) -> None:
        """Hold the encoder, also where a run goes on within an epoch."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Hold the encoder still, with its batch norms, in the first epochs."""
        if self.config.freeze_epochs:
            moves = self.current_epoch >= self.config.freeze_epochs
            self.network.get_submodule("encoder").requires_grad_(moves).train(moves)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by norm. Lightning's own refuses fused optimisers in bfloat16, which has no scaler to be in the way."""
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)

    def configure_optimizers(self) -> Any:
        """The optimiser and, unless it is constant, a schedule that steps with every batch."""
        optimizer = self._optimizer()
        if self.config.schedule == "constant":
            return optimizer
        schedule = self._schedule(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _optimizer(self) -> Optimizer:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.config.optimizer]
        rate = self.config.learning_rate
        groups = parameter_groups(self.network, rate, self.config.encoder_rate, self.config.weight_decay)
        optimizer: Optimizer = kind(groups, lr=rate, fused=True)
        return optimizer

    def _schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        warmup = self.config.warmup
        if self.config.schedule == "one_cycle":
            share = warmup if warmup > 0 else 0.3
            if share * steps == 1:  # torch would divide by the length of the rise, which is then 0
                share = 1.5 / steps
            highest = [group["lr"] for group in optimizer.param_groups]
            return OneCycleLR(optimizer, highest, total_steps=steps, pct_start=share)
        rising = max(1, round(warmup * steps))
        rise = LinearLR(optimizer, start_factor=0.01, total_iters=rising)
        fall = CosineAnnealingLR(optimizer, T_max=max(1, steps - rising))
        return SequentialLR(optimizer, [rise, fall], milestones=[rising])
