"""What happens in a training and a validation step."""

from __future__ import annotations

from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR

from figureground.config import TrainConfig
from figureground.data.dataset import FIGURE, FULL, WEIGHT
from figureground.errors import FiguregroundError
from figureground.losses import LOSSES
from figureground.metrics import counts, dice
from figureground.models import build
from figureground.training.loaders import Batch


class EpochScores(NamedTuple):
    """Of one epoch."""

    train_loss: float
    valid_loss: float
    valid_dice: float


class SegmentationModule(lightning.LightningModule):
    """A network with its loss, optimiser and schedule. Sums over an epoch are kept here, also across a resumption.

    Args:
        config: all settings.
        steps: of the optimiser in the whole run. (Asking the trainer would set up its loaders before a checkpoint's
            place in them is restored.)
    """

    def __init__(self, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.config = config
        self.steps = steps
        self.network = build(config.model).to(memory_format=torch.channels_last)
        self.loss = LOSSES[config.loss]
        self.train_sum = 0.0
        self.train_images = 0
        self._valid_sum = 0.0
        self._valid_dice: list[Any] = []

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of one batch.

        Raises:
            FiguregroundError: the loss is not a number any more.
        """
        loss = self._loss(self.network(batch["image"])["figure"], batch)
        value = loss.item()
        if not np.isfinite(value):
            raise FiguregroundError(
                f"the loss is {value} in epoch {self.current_epoch + 1}, batch {batch_index + 1}: training has "
                f"diverged and stops. Lower --learning-rate (now {self.config.learning_rate:g}), set --clip 1, or "
                "use --precision float32; the best model so far is kept"
            )
        self.train_sum += value * len(batch[FIGURE])
        self.train_images += len(batch[FIGURE])
        self.log("loss", value, prog_bar=True, logger=False)
        return loss

    def _loss(self, logits: Tensor, batch: Batch) -> Tensor:
        weight = batch[WEIGHT].float() / FULL if WEIGHT in batch else None
        return self.loss(logits, batch[FIGURE].float() / FULL, weight)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._valid_sum = 0.0
        self._valid_dice = []

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add the loss and the per-image Dice of one batch."""
        logits = self.network(batch["image"])["figure"]
        self._valid_sum += self._loss(logits, batch).item() * len(logits)
        kept = batch[WEIGHT] > 0 if WEIGHT in batch else None
        found = counts(logits[:, 0] > 0, batch[FIGURE] > FULL // 2, kept)
        self._valid_dice.extend(dice(*(count.cpu().numpy() for count in found)))

    def epoch_scores(self) -> EpochScores:
        """Of the epoch that has just been validated."""
        images = len(self._valid_dice)
        train_loss = self.train_sum / max(self.train_images, 1)
        return EpochScores(train_loss, self._valid_sum / images, float(np.mean(self._valid_dice)))

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
        # Biases and batch norms are not decayed: it would pull them to zero without making the network simpler.
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        vectors = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer: Optimizer = kind(groups, lr=self.config.learning_rate, fused=True)
        return optimizer

    def _schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        warmup = self.config.warmup
        if self.config.schedule == "one_cycle":
            share = warmup if warmup > 0 else 0.3
            if share * steps == 1:  # torch would divide by the length of the rise, which is then 0
                share = 1.5 / steps
            return OneCycleLR(optimizer, self.config.learning_rate, total_steps=steps, pct_start=share)
        rising = max(1, round(warmup * steps))
        rise = LinearLR(optimizer, start_factor=0.01, total_iters=rising)
        fall = CosineAnnealingLR(optimizer, T_max=max(1, steps - rising))
        return SequentialLR(optimizer, [rise, fall], milestones=[rising])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of an unfinished epoch."""
        checkpoint["epoch_sums"] = (self.train_sum, self.train_images)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the sums of an unfinished epoch."""
        self.train_sum, self.train_images = checkpoint["epoch_sums"]
