"""What each epoch gave: ``metrics.csv``, ``history.png`` and one line to read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from figureground.drawing import draw_training, write_png
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
    best = max(rows, key=lambda row: row.valid_dice)
    write_png(path, draw_training([asdict(row) for row in rows], "valid_dice", asdict(best), title))
