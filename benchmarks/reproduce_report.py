"""The lab report's two long runs, again: test Dice of each model and recipe against the report's figures.

    python benchmarks/reproduce_report.py --data DIR --epochs 30 --batch-size 8 --models unet resnet34_unet \
        --recipes report strong --output runs/reproduce --json benchmarks/results/reproduce_report.json

The same command again goes on where it was stopped: runs that are finished are kept, an interrupted one is resumed.
``--limit-minutes`` bounds a call, by saving the run and stopping, for machines that are lent for minutes.
``--archive FILE.tar.gz`` takes the data from an archive instead of a folder. On a machine without a network that has
PyTorch, Lightning and the like, the few packages that are missing come from a folder of wheels (8 MB), filled in an
environment that works; ``--python-version`` and ``--platform`` are those of that machine:

    python -m pip freeze | grep -iE '^(albu|stringz|simsimd|pydantic|annotated-t|typing-insp)' > missing.txt
    python -m pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
        --platform manylinux2014_x86_64 --dest WHEELS --requirement missing.txt

and there, beside a copy of this repository:

    python -m pip install --no-index --no-deps WHEELS/*.whl && export PYTHONPATH=src

A quick look without data: ``--data synthetic:n=60,size=64 --size 64 --base-width 8 --epochs 2``.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import signal
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from machine import print_table, write_results

from figureground.bundle import read_info
from figureground.config import TrainConfig, merge, parse, read_settings
from figureground.evaluation import score_run, write_json
from figureground.training import resume, train

REPORTED = {"unet": 0.9202, "resnet34_unet": 0.9133}
MEMORY = "gpu_memory.json"


def unpacked(archive: Path) -> Path:
    """The archive's content below the system's folder for temporary files: always at the same place, so that a run
    can be resumed, and only once.
    """
    folder = Path(tempfile.gettempdir()) / f"figureground-{archive.name.split('.')[0]}-{archive.stat().st_size}"
    if not folder.is_dir():
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="figureground-"))
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        partial.rename(folder)
    layouts = [path.parent for path in sorted(folder.rglob("annotations")) if (path.parent / "images").is_dir()]
    if not layouts:
        raise SystemExit(f"{archive} does not hold the Oxford-IIIT Pet layout (images/, annotations/)")
    return layouts[0]


def settings_of(given: argparse.Namespace, source: str, model: str, recipe: str) -> TrainConfig:
    """The recipe for a model, with what the command line changes."""
    changes: dict[str, Any] = {
        "data": {"source": source},
        "model": {"name": model},
        "epochs": given.epochs,
        "batch_size": given.batch_size,
        "seed": given.seed,
    }
    if given.base_width is not None and model == "unet":
        changes["model"]["arguments"] = {"base_width": given.base_width}
    if given.size is not None:
        changes["preprocessing"] = {"size": [given.size, given.size]}
    return parse(TrainConfig, merge(read_settings(recipe), changes))


def epochs_done(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's ``metrics.csv``, none if it has not come that far."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Interrupt the training below once that many seconds are over, as SIGTERM does: it saves and stops."""

    def stop(number: int, frame: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def complete(config: TrainConfig, folder: Path, seconds: float) -> bool:
    """Train, or go on where the run stopped, for so long at most (0: as long as it takes); whether it is at its end."""
    if len(epochs_done(folder)) < config.epochs:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        resumable = (folder / "last.ckpt").is_file()
        with interrupted_after(seconds):
            run = resume(folder, progress=False) if resumable else train(config, folder, overwrite=True)
        if torch.cuda.is_available():
            write_json(folder / MEMORY, {"gpu_peak_mb": torch.cuda.max_memory_allocated() / 1e6})
        if run.interrupted:
            return False
    if not (folder / "test.json").is_file():
        score_run(folder)
    return True


def figures_of(folder: Path, model: str, recipe: str) -> dict[str, Any]:
    """What is known of a run that is complete."""
    rows = epochs_done(folder)
    seconds = sum(float(row["seconds"]) for row in rows)
    images = read_info(folder / "model.safetensors").data.splits["train"]
    memory = folder / MEMORY
    return {
        "model": model,
        "recipe": recipe,
        "epochs": len(rows),
        "test": json.loads((folder / "test.json").read_text()),
        "reported_dice": REPORTED.get(model),
        "valid_dice": max(float(row["valid_dice"]) for row in rows),
        "seconds": seconds,
        "images_per_second": images * len(rows) / seconds,
        "gpu_peak_mb": json.loads(memory.read_text())["gpu_peak_mb"] if memory.is_file() else None,
    }


def print_results(results: list[dict[str, Any]]) -> None:
    header = ("model, recipe", "epochs", "test Dice", "95% interval", "n", "report", "gain", "images/s", "GPU MB")
    rows = []
    for result in results:
        dice, reported = result["test"]["dice"], result["reported_dice"]
        low, high = dice["ci95"]
        against = ("–", "–") if reported is None else (f"{reported:.4f}", f"{dice['mean'] - reported:+.4f}")
        gpu = "–" if result["gpu_peak_mb"] is None else f"{result['gpu_peak_mb']:.0f}"
        name, speed = f"{result['model']}, {result['recipe']}", f"{result['images_per_second']:.1f}"
        score = (f"{dice['mean']:.4f}", f"[{low:.4f}, {high:.4f}]", result["test"]["n"])
        rows.append((name, result["epochs"], *score, *against, speed, gpu))
    print_table(header, rows)
    print("images/s: training images over the whole time of the epochs, validation included")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="a folder in the Oxford-IIIT Pet layout, or synthetic[:n=...,size=...]")
    source.add_argument("--archive", type=Path, help="the same as .tar.gz")
    parser.add_argument("--models", nargs="+", default=list(REPORTED))
    parser.add_argument("--recipes", nargs="+", default=["report", "strong"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, help="of the network's input; none: the recipe's")
    parser.add_argument("--base-width", type=int, help="of unet; none: its own")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the runs")
    parser.add_argument("--limit-minutes", type=float, help="stop training after so many minutes; scoring follows")
    parser.add_argument("--json", type=Path, help="write the results here; none: results.json in the output folder")
    return parser.parse_args()


def run_all(given: argparse.Namespace, source: str) -> list[dict[str, Any]]:
    """Every model with every recipe, until one is interrupted or the time is up; what is complete."""
    started, results = time.monotonic(), []
    for recipe in given.recipes:
        for model in given.models:
            seconds = started + 60 * given.limit_minutes - time.monotonic() if given.limit_minutes else 0.0
            folder = given.output / f"{model}-{recipe}"
            config = settings_of(given, source, model, recipe)
            new_work = len(epochs_done(folder)) < config.epochs
            if new_work and seconds < 0:
                print(f"{folder.name}: not started, the time is up; the same command again goes on")
                continue
            print(f"{folder.name}:", flush=True)
            if not complete(config, folder, seconds):
                print("interrupted; the same command again goes on from here")
                return results
            results.append(figures_of(folder, model, recipe))
    return results


def main() -> None:
    given = arguments()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("figureground").setLevel(logging.INFO)
    if given.archive is not None:
        source = str(unpacked(given.archive))
    else:
        source = given.data if given.data.startswith("synthetic") else str(Path(given.data).resolve())
    results = run_all(given, source)
    print_results(results)
    names = ("models", "recipes", "epochs", "batch_size", "seed", "size", "base_width")
    settings = {name: getattr(given, name) for name in names}
    write_results(given.json or given.output / "results.json", "reproduce_report", settings, results)


if __name__ == "__main__":
    main()
