"""What each epoch gave: ``metrics.csv``, ``history.png`` and one line to read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from figureground.files import replacing


@dataclass(frozen=True)
class EpochRow:
    """One row of ``metrics.csv``."""

    epoch: int
    """From 1."""
    train_loss: float
    valid_loss: float
    valid_dice: float
    """Mean of the images' Dice at the network's size, threshold 0.5."""
    learning_rate: float
    """At the end of the epoch."""
    seconds: float

    def line(self, epochs: int, is_best: bool) -> str:
        """One line for people."""
        return (
            f"epoch {self.epoch:>{len(str(epochs))}}/{epochs}  train loss {self.train_loss:.4f}  "
            f"valid loss {self.valid_loss:.4f}  valid Dice {self.valid_dice:.4f}  {self.seconds:.1f} s"
            f"{'  best so far' if is_best else ''}"
        )


def best_of(rows: Sequence[EpochRow]) -> EpochRow | None:
    """The first row with the highest valid Dice; none of none."""
    return max(rows, key=lambda row: row.valid_dice, default=None)


def write_csv(path: Path, rows: Sequence[EpochRow]) -> None:
    """All rows, each epoch once."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(EpochRow)])
        writer.writeheader()
        writer.writerows({**asdict(row), "seconds": round(row.seconds, 3)} for row in rows)


def draw_history(path: Path, rows: Sequence[EpochRow], title: str) -> None:
    """The curves of both losses and of the valid Dice, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    epochs = [row.epoch for row in rows]
    marker = "o" if len(rows) <= 30 else ""
    losses.plot(epochs, [row.train_loss for row in rows], label="train", color="#1f77b4", marker=marker, ms=3)
    losses.plot(epochs, [row.valid_loss for row in rows], label="valid", color="#d95f02", marker=marker, ms=3)
    losses.set(title="loss", xlabel="epoch")
    losses.legend(frameon=False)
    best = max(rows, key=lambda row: row.valid_dice)
    scores.plot(epochs, [row.valid_dice for row in rows], color="#d95f02", marker=marker, ms=3)
    scores.axhline(best.valid_dice, color="0.7", lw=0.8, zorder=0)
    scores.set(title=f"valid Dice, best {best.valid_dice:.4f} in epoch {best.epoch}", xlabel="epoch")
    for axes in (losses, scores):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
