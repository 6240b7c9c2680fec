"""What augmentation is worth: the recipe ``strong`` with each of them, on a small network and small images.

    python benchmarks/augmentation_study.py --data DIR --epochs 10 --size 96 --output runs/augmentation \
        --json benchmarks/results/augmentation_study.json

All runs have the same network, schedule, seed and order of images; only the augmentation differs. The differences of
the valid Dice are taken image by image. The same command again goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
from machine import print_table, write_results

from figureground.config import TrainConfig, merge, parse, read_settings
from figureground.data import open_dataset
from figureground.evaluation import evaluate
from figureground.evaluation.statistics import bootstrap_mean
from figureground.prediction import load
from figureground.training import resume, train

BASELINE = "report"
AUGMENTATIONS = ("none", "report", "strong", "heavy")


def settings_of(given: argparse.Namespace, augmentation: str) -> TrainConfig:
    """The recipe ``strong`` without its phases, on a small network."""
    changes: dict[str, Any] = {
        "data": {"source": str(given.data)},
        "model": {"name": "compact_fpn"},
        "preprocessing": {"size": [given.size, given.size]},
        "phases": [],
        "epochs": given.epochs,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "augmentation": augmentation,
        "seed": given.seed,
    }
    return parse(TrainConfig, merge(read_settings("strong"), changes))


def trained(config: TrainConfig, folder: Path) -> list[float]:
    """The valid Dice of every epoch; an interrupted run is resumed."""
    path = folder / "metrics.csv"
    if not path.is_file() or len(rows_of(path)) < config.epochs:
        resumable = (folder / "last.ckpt").is_file()
        run = resume(folder) if resumable else train(config, folder, overwrite=True)
        if run.interrupted:
            raise SystemExit("interrupted; the same command again goes on")
    return [float(row["valid_dice"]) for row in rows_of(path)]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="an unpacked Oxford-IIIT Pet folder")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/augmentation"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    curves, scores = {}, {}
    for augmentation in AUGMENTATIONS:
        folder = given.output / augmentation
        curves[augmentation] = trained(settings_of(given, augmentation), folder)
        scores[augmentation] = evaluate(load(folder), open_dataset(given.data, "valid")).dice_per_image
    results, rows = {}, []
    for augmentation, dice in scores.items():
        mean, difference = bootstrap_mean(dice), bootstrap_mean(dice - scores[BASELINE])
        results[augmentation] = {
            "valid_dice": {"mean": mean.mean, "ci95": mean.ci95},
            f"difference_to_{BASELINE}": {"mean": difference.mean, "ci95": difference.ci95},
            "n": len(dice),
            "curve": curves[augmentation],
        }
        interval = "[{:.4f}, {:.4f}]".format(*mean.ci95)
        change = "{:+.4f} [{:+.4f}, {:+.4f}]".format(difference.mean, *difference.ci95)
        rows.append((augmentation, f"{mean.mean:.4f} {interval}", change, f"{np.max(curves[augmentation]):.4f}"))
    print_table(("augmentation", "valid Dice of the best epoch", f"against {BASELINE}", "best of the curve"), rows)
    settings = {name: getattr(given, name) for name in ("epochs", "size", "seed")}
    write_results(given.json, "augmentation_study", settings, results)


if __name__ == "__main__":
    main()
