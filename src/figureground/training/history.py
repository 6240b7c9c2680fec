"""What each epoch gave: ``metrics.csv``, ``history.png`` and one line to read."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from figureground.drawing import draw_training, write_png
from figureground.files import replacing

Row = Mapping[str, float]
"""One row of ``metrics.csv``: ``epoch`` (from 1), the figures of the training (``train_...``), those of the validation
(``valid_...``), ``learning_rate`` (at the end of the epoch) and ``seconds``."""


class Monitored(NamedTuple):
    """The figure that decides which epoch's model is kept, and when training stops early."""

    name: str = "valid_dice"
    direction: Literal["max", "min"] = "max"
    """Which values are better."""


def best_of(rows: Sequence[Row], monitored: Monitored) -> Row | None:
    """The first row with the best value; none of none."""
    sign = 1 if monitored.direction == "max" else -1
    return max(rows, key=lambda row: sign * row[monitored.name], default=None)


def is_silent(row: Row) -> bool:
    """Whether all valid masks of a segmentation are empty, or all full, where they should not be."""
    return row.get("valid_figure") in (0, 1) and row.get("valid_dice", 1) < 1


def line_of(row: Row, epochs: int, monitored: Monitored, is_best: bool) -> str:
    """One line for people."""
    shown = {name: value for name, value in row.items() if name.endswith("_loss") or name == monitored.name}
    figures = "".join(f"  {_words(name)} {value:.4f}" for name, value in shown.items())
    best = "  best so far" if is_best else ""
    return f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}{figures}  {row['seconds']:.1f} s{best}"


def _words(name: str) -> str:
    return name.replace("_", " ").replace("dice", "Dice")


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """All rows, each epoch once; what an earlier version did not write yet is empty."""
    columns = list(rows[-1]) if rows else []
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({**row, "seconds": round(row["seconds"], 3)} for row in rows)


def draw_history(path: Path, rows: Sequence[Row], monitored: Monitored, title: str) -> None:
    """The curves of the losses and of the monitored figure, as PNG."""
    write_png(path, draw_training(rows, monitored.name, best_of(rows, monitored) or rows[-1], title))
