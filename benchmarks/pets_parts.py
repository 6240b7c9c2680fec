"""How the model in the box is trained: the parts that ``train_pets.py`` runs, each a run or several."""

from __future__ import annotations

import argparse
import csv
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lighter import LIGHTER, write_lighter

from figureground.config import DataConfig, InitialWeights, TrainConfig, merge, parse, read_settings
from figureground.data import open_dataset
from figureground.evaluation import evaluate, write_average, write_json
from figureground.prediction import Segmenter, load
from figureground.pretrained import EXAMPLE
from figureground.runs import BUNDLE_IN_RUN, bundle_path
from figureground.training import resume, train

THIRD = {"epochs": 18, "learning_rate": 6e-4, "warmup": 0.05, "phases": [{"until": 0.78, "size": 192}]}
FOURTH = {
    "epochs": 28, "learning_rate": 8e-4, "warmup": 0.08, "copy_paste": 0.25, "phases": [{"until": 0.79, "size": 192}],
}  # fmt: skip
FIFTH = {"epochs": 29, "batch_size": 32, "learning_rate": 1e-3, "copy_paste": 0.2, "phases": []}
SIXTH = {
    "model": {"arguments": LIGHTER}, "epochs": 9, "learning_rate": 1.5e-4, "copy_paste": 0.2, "phases": [],
}  # fmt: skip
BRANCHES, FIRST_SEED, LIGHTER_SEED = 6, 11, 22  # the seeds counted from ``--seed``
CAT_ENDS, MOST_BEYOND = 400, 0.03  # the column of the example, and the share of the mask right of it
RUNS: tuple[tuple[str, str, dict[str, Any]], ...] = (  # each from the weights of the one before
    ("", "pets", {}),
    ("-finish", "pets_finish", {}),
    ("-third", "pets_finish", THIRD),
    ("-fourth", "pets_finish", FOURTH),
)
BRANCHED, LIGHTENED = len(RUNS) + 1, len(RUNS) + 2  # the parts that follow
log = logging.getLogger("train_pets")


def settings_of(given: argparse.Namespace, recipe: str, changes: dict[str, Any]) -> TrainConfig:
    """A recipe with what the command line changes."""
    if given.epochs:
        changes = {**changes, "epochs": given.epochs}
    return parse(TrainConfig, merge(read_settings(recipe), {"data": {"source": str(given.data)}, **changes}))


def trained(given: argparse.Namespace) -> tuple[dict[str, Path], Path]:
    """Stage 1: the runs' folders by the names of the parts, and the folder that holds the model."""
    runs: dict[str, Path] = {}
    before: Path | None = None
    for part, (suffix, recipe, changes) in enumerate(RUNS[: given.parts], start=1):
        before = final = run(given, suffix, recipe, {**changes, "seed": given.seed + part - 1}, before)
        runs[f"part{part}"] = final
    if given.parts >= BRANCHED:
        mean, branches = branched(given, *list(runs.values())[-2:])
        runs |= {f"part{BRANCHED}-{name}": folder for name, folder in branches.items()}
        if given.branch:
            return runs, mean
        found = mixtures(given, mean, list(branches.values()))
        final = max(found, key=lambda mixture: (mixture.tidy, mixture.dice)).folder
    if given.parts > BRANCHED:
        start = folder_of(given, "-lighter-start.safetensors")
        if not start.is_file():
            highest = max(found, key=lambda mixture: mixture.dice)
            write_lighter(bundle_path(highest.folder), start, str(given.data))
        final = run(given, "-lighter", "pets_finish", {**SIXTH, "seed": given.seed + LIGHTER_SEED}, start)
        runs[f"part{LIGHTENED}"] = final
    return runs, final


def folder_of(given: argparse.Namespace, suffix: str) -> Path:
    output: Path = given.output
    return output.with_name(f"{output.name}{given.seed}{suffix}")


def run(given: argparse.Namespace, suffix: str, recipe: str, changes: dict[str, Any], start: Path | None) -> Path:
    """Train, go on, or leave what is done; the folder."""
    config, folder = settings_of(given, recipe, changes), folder_of(given, suffix)
    if len(rows_of(folder / "metrics.csv")) < config.epochs:
        if start:
            config = replace(config, initial_weights=InitialWeights(str(start)))
        resumable = (folder / "last.ckpt").is_file()
        if (resume(folder) if resumable else train(config, folder, overwrite=True)).interrupted:
            raise SystemExit("interrupted; the same command again goes on")
    return folder


def branched(given: argparse.Namespace, before: Path, last: Path) -> tuple[Path, dict[str, Path]]:
    """The mean of the third run and the fourth, and the branches that start from it."""
    mean = folder_of(given, "-mean")
    if not (mean / BUNDLE_IN_RUN).is_file():
        write_average([bundle_path(last), bundle_path(before)], mean, DataConfig(str(given.data)))
    return mean, {
        f"branch{number}": run(
            given, f"-branch{number}", "pets_finish", {**FIFTH, "seed": given.seed + FIRST_SEED + number - 1}, mean
        )
        for number in ([given.branch] if given.branch else range(1, given.branches + 1))
    }


class Mixture(NamedTuple):
    """The mean of some weights."""

    folder: Path
    dice: float
    """On valid."""
    tidy: bool
    """Whether it leaves the sofa behind the example's cat alone."""


def mixtures(given: argparse.Namespace, start: Path, branches: Sequence[Path]) -> list[Mixture]:
    """Means of the weights of the start and one to all of the branches (Wortsman et al., "Model soups", ICML 2022).

    That works where all were trained on from the same weights: their errors differ, and between them the loss stays
    low. The branches are added to the start in the order of the valid Dice of their last epochs (that of the best ones,
    which are kept, is partly luck).
    """
    ranked = sorted(branches, key=lambda branch: valid_dice(branch)[-1], reverse=True)
    numbers = [branch.name.rpartition("branch")[2] for branch in ranked]
    bundles, counts = [bundle_path(model) for model in (start, *ranked)], range(1, len(branches) + 1)
    return [mixed(given, bundles[: count + 1], "-start-and-" + "-".join(numbers[:count])) for count in counts]


def mixed(given: argparse.Namespace, bundles: Sequence[Path], suffix: str) -> Mixture:
    """The mean of the weights of some bundles, and what is known of it."""
    data, folder = DataConfig(str(given.data)), folder_of(given, suffix)
    if not (folder / BUNDLE_IN_RUN).is_file():
        write_average(bundles, folder, data)
    model = load(folder / BUNDLE_IN_RUN)
    figures = kept(folder / "valid.json", lambda: evaluate(model, open_dataset(data.source, "valid")).to_json())
    dice, beyond = figures["dice"]["mean"], beyond_the_cat(model)
    log.info("%s: valid Dice %.5f, %.1f%% beyond the cat", folder.name, dice, 100 * beyond)
    return Mixture(folder, dice, beyond < MOST_BEYOND)


def beyond_the_cat(model: Segmenter) -> float:
    """The share of the mask of the package's example that lies right of the cat, on the sofa."""
    mask = model.predict(EXAMPLE).mask
    return float(mask[:, CAT_ENDS:].sum() / mask.sum())


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """The figures in a JSON file, which is made first where it has to be."""
    if not path.is_file():
        write_json(path, make())
    return json.loads(path.read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def valid_dice(folder: Path) -> list[float]:
    """Of a run's epochs."""
    return [float(row["valid_dice"]) for row in rows_of(folder / "metrics.csv")]
