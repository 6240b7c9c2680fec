"""A cross-validation summed up: every image with the scores of the one network that has not seen it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from figureground.evaluation.scoring.scores import METRICS
from figureground.evaluation.statistics import (
    FEW_IMAGES,
    FEWEST_FOR_INTERVALS,
    INTERVAL_METHOD,
    Mean,
    bootstrap_means,
)
from figureground.files import UNSPEAKABLE, replacing, write_json
from figureground.runs import FOLDS, OUT_OF_FOLD, PER_IMAGE, fold_folder, read_config


@dataclass(frozen=True)
class OutOfFold:
    """Scores at the network's size and threshold 0.5, as of ``evaluate``."""

    rows: Sequence[Mapping[str, str]]
    """An image each, as ``per_image.csv`` has it, and its ``fold``."""
    by_fold: Sequence[float]
    """The mean Dice of each fold's images."""
    means: Mapping[str, Mean]
    """Over all images, by ``METRICS``."""

    @property
    def spread(self) -> float:
        """Standard deviation of the folds' mean Dice."""
        return float(np.std(self.by_fold, ddof=1))

    def to_json(self) -> dict[str, Any]:
        """The figures of ``folds.json``."""
        return {
            "folds": len(self.by_fold),
            "n": len(self.rows),
            "interval": INTERVAL_METHOD,
            **{name: {"mean": mean.mean, "ci95": list(mean.ci95)} for name, mean in self.means.items()},
            "dice_by_fold": list(self.by_fold),
            "dice_spread": self.spread,
            "images": [
                {"name": row["name"], "fold": int(row["fold"]), "dice": float(row["dice"])} for row in self.rows
            ],
        }

    def summary(self) -> str:
        """For people."""
        worst = sorted((float(row["dice"]), row["name"], row["fold"]) for row in self.rows)[:3]
        lines = [
            f"out of fold: Dice {self.means['dice']}  IoU {self.means['iou']}  n={len(self.rows)}",
            f"by fold: {', '.join(f'{dice:.4f}' for dice in self.by_fold)}; standard deviation {self.spread:.4f}",
            f"worst: {', '.join(f'{name} {dice:.4f} (fold {fold})' for dice, name, fold in worst)}",
            f"intervals: {INTERVAL_METHOD}; they do not know how much another training would differ",
        ]
        return "\n".join([*lines, *([FEW_IMAGES] if len(self.rows) < FEWEST_FOR_INTERVALS else [])])


def sum_up_folds(folder: Path) -> OutOfFold:
    """Put together what the folds of a run were scored with, and leave it as ``folds.json`` and ``out_of_fold.csv``.

    Args:
        folder: of a cross-validation whose folds are all scored.

    Raises:
        FiguregroundError: the folder cannot be written to.
    """
    rows: list[dict[str, str]] = []
    numbers = range(1, (read_config(folder).data.folds or 0) + 1)
    for number in numbers:
        with (fold_folder(folder, number) / PER_IMAGE).open(newline="", encoding="utf-8", errors=UNSPEAKABLE) as file:
            rows += [{"name": row.pop("name"), "fold": str(number), **row} for row in csv.DictReader(file)]
    figures = np.array([[float(row[name]) for name in METRICS] for row in rows])
    dice, fold = figures[:, 0], np.array([int(row["fold"]) for row in rows])
    by_fold = [float(dice[fold == number].mean()) for number in numbers]
    found = OutOfFold(rows, by_fold, dict(zip(METRICS, bootstrap_means(figures), strict=True)))
    shared = [column for column in rows[0] if all(column in row for row in rows)]  # some folds have nothing fitted
    path = folder / OUT_OF_FOLD
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8", errors=UNSPEAKABLE) as file:
        writer = csv.DictWriter(file, shared, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / FOLDS, found.to_json())
    return found
