"""The model in the box, from its data to its file: ``src/figureground/pretrained/pets.onnx``.

    python benchmarks/train_pets.py --data DIR --native NATIVE --output runs/pets --results benchmarks/results --install

Stages, each left out where its result is there, so the same command again goes on where it was stopped:

1. train the recipe ``pets`` with ``--seed``, then ``pets_finish`` three times, each from the weights before and with
   the next seed: as it is, gentler, and with a deeper network, whose new blocks do nothing at first; four runs, as
   ``figureground train`` makes them. From the mean of the weights of the last two, train six branches at full size,
   which differ by their seeds alone, and take the mean of that start and the best of them: as many as help on valid
   and leave the sofa behind the cat of the package's example alone;
2. fit threshold, temperature and the estimate of the Dice on valid, and score the float32 network on test;
3. export it in int8, through the gate on valid;
4. score the exported file on test, and on the original photographs of ``--native`` at their own size;
5. time the network alone, one image at a time, and look at pictures without a pet.

``--parts`` stops after so many of the runs; the branches are the fifth part. On a GPU, which one of them does not fill,
as many processes with ``--branch`` train them at once, after ``--parts 4``; the command without it goes on from there.
``--install`` puts the file into the package, unless the Dice of its network on valid is below that of the file that is
there, or that on test below what may be shipped. Choices are made on valid and on that picture; test is scored at the
end.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import print_table, write_results
from skimage import data as pictures

from figureground.bundle import read_info, read_tensors, write_bundle
from figureground.config import DataConfig, ModelConfig, TrainConfig, merge, parse, read_settings
from figureground.data import open_dataset
from figureground.evaluation import evaluate, score_run, write_average, write_json
from figureground.export import export
from figureground.export.onnx import write_info
from figureground.models import create_model
from figureground.prediction import load
from figureground.prediction.engines import ENGINES
from figureground.pretrained import EXAMPLE, pretrained_bundle
from figureground.runs import BUNDLE_IN_RUN, bundle_path
from figureground.training import resume, train

LICENCE = "Apache-2.0; trained on the Oxford-IIIT Pet dataset (Parkhi et al., CVPR 2012, CC BY-SA 4.0)"
TIMED = 100
CAT_ENDS, MOST_BEYOND = 400, 0.03  # the column of the example, and the share of the mask right of it
LOWEST_DICE, MOST_MEGABYTES = 0.920, 8  # of what may go into the package
NAME = {"model": "pets"}  # in the figures, in the place of a path
THIRD = {"epochs": 18, "learning_rate": 6e-4, "warmup": 0.05, "phases": [{"until": 0.78, "size": 192}]}
DEEPER = {"arguments": {"blocks": [1, 2, 3, 6, 3]}}
FOURTH = {
    "model": DEEPER, "epochs": 28, "learning_rate": 8e-4, "warmup": 0.08, "copy_paste": 0.25,
    "phases": [{"until": 0.79, "size": 192}],
}  # fmt: skip
FIFTH = {"model": DEEPER, "epochs": 29, "batch_size": 32, "learning_rate": 1e-3, "copy_paste": 0.2, "phases": []}
BRANCHES, FIRST_SEED = 6, 11  # of the branches, counted from ``--seed``
RUNS: tuple[tuple[str, str, dict[str, Any]], ...] = (  # each from the weights of the one before
    ("", "pets", {}),
    ("-finish", "pets_finish", {}),
    ("-third", "pets_finish", THIRD),
    ("-deeper", "pets_finish", FOURTH),
)
log = logging.getLogger("train_pets")


def settings_of(given: argparse.Namespace, recipe: str, changes: dict[str, Any]) -> TrainConfig:
    """A recipe with what the command line changes."""
    if given.epochs:
        changes = {**changes, "epochs": given.epochs}
    return parse(TrainConfig, merge(read_settings(recipe), {"data": {"source": str(given.data)}, **changes}))


def trained(given: argparse.Namespace) -> tuple[list[Path], Path]:
    """Stage 1: the runs' folders, and the one that holds the model."""
    folders: list[Path] = []
    for place, (suffix, recipe, changes) in enumerate(RUNS[: given.parts]):
        start = folders[-1] if folders else None
        folders.append(run(given, suffix, recipe, {**changes, "seed": given.seed + place}, start))
    final = folders[-1]
    if given.parts > len(RUNS):
        mean, *branches = branched(given, folders[-2], folders[-1])
        if given.branch:
            return branches, branches[0]
        final = folder_of(given, "-soup")
        mix(given, mean, branches, final)
        folders += branches
    return folders, final


def scored(folder: Path) -> dict[str, Any]:
    """The figures of a run on test, which is scored first where it has not been."""
    if not (folder / "test.json").is_file():
        log.info(score_run(folder).summary())
    figures: dict[str, Any] = json.loads((folder / "test.json").read_text())
    return figures


def folder_of(given: argparse.Namespace, suffix: str) -> Path:
    output: Path = given.output
    return output.with_name(f"{output.name}{given.seed}{suffix}")


def run(given: argparse.Namespace, suffix: str, recipe: str, changes: dict[str, Any], start: Path | None) -> Path:
    """Train, go on, or leave what is done; the folder."""
    config, folder = settings_of(given, recipe, changes), folder_of(given, suffix)
    if len(rows_of(folder / "metrics.csv")) < config.epochs:
        if start:
            config = replace(config, start_from=str(starting(start, config.model, folder, given.seed)))
        resumable = (folder / "last.ckpt").is_file()
        if (resume(folder) if resumable else train(config, folder, overwrite=True)).interrupted:
            raise SystemExit("interrupted; the same command again goes on")
    return folder


def branched(given: argparse.Namespace, before: Path, last: Path) -> list[Path]:
    """The mean of the third run and the fourth, whose network is deeper, and the branches that start from it."""
    mean = folder_of(given, "-mean")
    if not (mean / BUNDLE_IN_RUN).is_file():
        deeper = starting(before, read_info(bundle_path(last)).model, last, given.seed)
        write_average([bundle_path(last), bundle_path(deeper)], mean, DataConfig(str(given.data)))
    branches = [
        run(given, f"-branch{number}", "pets_finish", {**FIFTH, "seed": given.seed + FIRST_SEED + number - 1}, mean)
        for number in ([given.branch] if given.branch else range(1, BRANCHES + 1))
    ]
    return [mean, *branches]


def mix(given: argparse.Namespace, start: Path, branches: Sequence[Path], folder: Path) -> None:
    """In ``folder`` a model of the mean of weights (Wortsman et al., "Model soups", ICML 2022).

    That works where all were trained on from the same weights: their errors differ, and between them the loss stays
    low. The branches are added to the start in the order of the valid Dice of their last epochs (that of the best ones,
    which are kept, is luck as well), and as many of them as give the highest, of the mixtures that leave the sofa
    behind the example's cat alone.
    """
    if (folder / BUNDLE_IN_RUN).is_file():
        return
    data, valid = DataConfig(str(given.data)), open_dataset(str(given.data), "valid")
    ranked = sorted(branches, key=lambda branch: valid_dice(branch)[-1], reverse=True)
    bundles = [bundle_path(model) for model in (start, *ranked)]
    trial = folder_of(given, "-trial")  # an interruption must not leave one in the place of the chosen
    mixtures = []
    for count in range(1, len(ranked) + 1):
        write_average(bundles[: count + 1], trial, data)
        model = load(trial / BUNDLE_IN_RUN)
        mask = model.predict(EXAMPLE).mask
        beyond = mask[:, CAT_ENDS:].sum() / mask.sum()
        dice = evaluate(model, valid).to_json()["dice"]["mean"]
        mixtures.append((beyond < MOST_BEYOND, dice, count))
        log.info("start and the best %d: valid Dice %.5f, %.1f%% beyond the cat", count, dice, 100 * beyond)
    *_, count = max(mixtures)
    write_average(bundles[: count + 1], folder, data)


def starting(before: Path, model: ModelConfig, folder: Path, seed: int) -> Path:
    """What a run starts from: the run before, or, where its network is deeper, a bundle beside ``folder``.

    It answers as the run before does: the last batch norm of each new residual block begins with scale 0, so that it
    adds nothing at first (Goyal et al., "Accurate, Large Minibatch SGD", 2017; Chen et al., "Net2Net", ICLR 2016).
    """
    info = read_info(bundle_path(before))
    if info.model == model:
        return before
    torch.manual_seed(seed)
    known, weights = read_tensors(bundle_path(before)), create_model(model.name, model.arguments).state_dict()
    for name, tensor in weights.items():
        if name in known:
            weights[name] = torch.from_numpy(known[name])
        elif name.endswith("bn2.weight"):
            weights[name] = torch.zeros_like(tensor)
    path = folder.with_name(f"{folder.name}-start.safetensors")
    write_bundle(path, {name: tensor.numpy() for name, tensor in weights.items()}, replace(info, model=model))
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def valid_dice(folder: Path) -> list[float]:
    """Of a run's epochs."""
    return [float(row["valid_dice"]) for row in rows_of(folder / "metrics.csv")]


def exported(folder: Path, data: DataConfig) -> Path:
    """Stage 3, and the scores of the file itself in its metadata."""
    path = folder / "model-int8.onnx"
    if not path.is_file() or read_info(path).licence != LICENCE:  # scoring may have been interrupted
        export(folder, path, data, precision="int8", say=log.info)
        figures = evaluate(load(path), open_dataset(data.source, "test")).to_json() | NAME
        info = read_info(path)
        write_info(path, replace(info, licence=LICENCE, scores={**info.scores, "test": figures}))
    return path


def milliseconds(path: Path, engine: str) -> float:
    """Of the network alone, batch 1: the median."""
    member = load(path, engine=engine).members[0]
    batch = member.preprocessing.normalise(
        np.random.default_rng(0).integers(0, 256, (1, *member.preprocessing.size, 3), np.uint8)
    )
    times = []
    for _ in range(TIMED + 10):
        start = time.perf_counter()
        member.engine.logits(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[10:])


def without_pets() -> dict[str, np.ndarray]:
    """Pictures (H, W, 3) uint8 that show no cat and no dog."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    shown = {name: getattr(pictures, name)() for name in ("astronaut", "coffee", "rocket", "hubble_deep_field")}
    return {**shown, "noise": noise, "black": np.zeros((300, 400, 3), np.uint8)}


def looked_at(path: Path) -> dict[str, Any]:
    """What the model makes of pictures without a pet."""
    found = {}
    for name, image in without_pets().items():
        prediction = load(path).predict(image)
        found[name] = {
            "figure": float(prediction.mask.mean()),
            "estimated_dice": prediction.estimated_dice,
            "needs_review": prediction.needs_review,
        }
    return found


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """The figures in a JSON file, which is made first where it has to be."""
    if not path.is_file():
        write_json(path, make())
    return json.loads(path.read_text())


def measured(given: argparse.Namespace, runs: list[Path], model: Path) -> dict[str, Any]:
    """Stages 4 and 5."""
    info, folder = read_info(model), model.parent
    rows = [row for run in runs for row in rows_of(run / "metrics.csv")]
    results = {
        "epochs": len(rows),
        "hours": sum(float(row["seconds"]) for row in rows) / 3600,
        "valid_dice": [max(valid_dice(run)) for run in runs],
        "float32": scored(folder) | NAME,
        "int8": info.scores["test"],
        "gate": info.export["gate"],
        "megabytes": model.stat().st_size / 1e6,
        "milliseconds": {engine: milliseconds(model, engine) for engine in ENGINES[".onnx"]},
        "without_pets": looked_at(model),
    }
    if given.spread:
        results["branches"] = [
            {"valid_dice": valid_dice(run), **{key: scored(run)[key] for key in ("n", "dice")}}
            for run in runs[len(RUNS) :]
        ]
    if given.native:
        dataset = open_dataset(given.native, "test")
        results["native"] = kept(folder / "native.json", lambda: evaluate(load(model), dataset).to_json()) | NAME
    return results


def print_results(results: dict[str, Any]) -> None:
    def dice(figures: dict[str, Any]) -> str:
        return "{:.4f} [{:.4f}, {:.4f}]".format(figures["dice"]["mean"], *figures["dice"]["ci95"])

    rows = [(name, results[name]["n"], dice(results[name])) for name in ("float32", "int8")]
    rows += [(f"{name}, fitted", results[name]["n"], dice(results[name]["fitted"])) for name in ("float32", "int8")]
    if "native" in results:
        rows.append(("int8, photos' own size", results["native"]["n"], dice(results["native"]["native"])))
    print_table(("test", "n", "Dice"), rows)
    print(
        f"{results['megabytes']:.1f} MB, {results['epochs']} epochs in {results['hours']:.2f} hours; one image alone:"
    )
    print(", ".join(f"{engine} {value:.1f} ms" for engine, value in results["milliseconds"].items()))
    seen = [
        (name, f"{row['figure']:.1%}", f"{row['estimated_dice']:.2f}", "yes" if row["needs_review"] else "no")
        for name, row in results["without_pets"].items()
    ]
    print_table(("no pet", "figure", "estimated Dice", "review"), seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an unpacked Oxford-IIIT Pet folder")
    parser.add_argument("--native", type=Path, help="one with photographs at their own size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--parts", type=int, choices=range(1, len(RUNS) + 2), default=len(RUNS) + 1, help="how many of the parts"
    )
    parser.add_argument(
        "--branch", type=int, choices=range(1, BRANCHES + 1), help="train this one and end: several at once on a GPU"
    )
    parser.add_argument("--spread", action="store_true", help="score the branches on test as well")
    parser.add_argument("--epochs", type=int, help="fewer, for a quick look")
    parser.add_argument("--output", type=Path, default=Path("runs/pets"), help="of the run; the seed follows")
    parser.add_argument("--results", type=Path, help="a folder for figures and curves")
    parser.add_argument("--install", action="store_true", help="put the file into the package")
    given = parser.parse_args()
    if given.branch and given.parts <= len(RUNS):
        parser.error("--branch is one of the last part; leave out --parts")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("figureground").setLevel(logging.INFO)  # not what the exporter says of every node
    log.setLevel(logging.INFO)
    if given.results:
        given.results.mkdir(parents=True, exist_ok=True)
        own = f"-branch{given.branch}" if given.branch else ""  # several at once write
        logging.getLogger().addHandler(logging.FileHandler(given.results / f"pets-seed{given.seed}{own}.log"))
    runs, final = trained(given)
    if given.branch:
        log.info("%s is done; the command without --branch trains those that are left, and goes on", final)
        return
    scored(final)
    model = exported(final, DataConfig(str(given.data)))
    results = measured(given, runs, model)
    print_results(results)
    if given.results:
        name, settings = f"pets-seed{given.seed}", {"seed": given.seed, "parts": given.parts}
        write_results(given.results / f"{name}-parts{given.parts}.json", "train_pets", settings, results)
        for place, folder in enumerate(runs, start=1):
            branch = place - len(RUNS)
            part = f"part{place}" if branch <= 0 else f"part{len(RUNS) + 1}-branch{branch}"
            shutil.copy(folder / "history.png", given.results / f"{name}-{part}-history.png")
            shutil.copy(folder / "metrics.csv", given.results / f"{name}-{part}-metrics.csv")
    if given.install:
        install(model, results)


def install(model: Path, results: dict[str, Any]) -> None:
    """Put a file into the package."""
    there = pretrained_bundle("pets")
    before = read_info(there).export["gate"]["engines"][0]["dice"] if there.is_file() else 0.0
    dice, valid = results["int8"]["dice"]["mean"], results["gate"]["engines"][0]["dice"]
    if dice < LOWEST_DICE or results["megabytes"] > MOST_MEGABYTES or valid < before:
        raise SystemExit(
            f"not installed: test Dice {dice:.4f}, {results['megabytes']:.1f} MB, valid Dice {valid:.4f} ({before:.4f})"
        )
    shutil.copy(model, there)


if __name__ == "__main__":
    main()
