"""The model in the box, from its data to its file: ``src/figureground/pretrained/pets.onnx``.

    python benchmarks/train_pets.py --data DIR --native NATIVE --output runs/pets --results benchmarks/results --install

Stages, each left out where its result is there, so the same command again goes on where it was stopped:

1. train (``pets_parts.py``) the recipe ``pets`` with ``--seed``, then three times ``pets_finish``, from the weights
   before and with the next seed: as it is, gentler, and with a higher learning rate than that; four runs, as
   ``figureground train`` makes them. From the mean of the weights of the last two, train six branches at full size,
   which differ by their seeds alone. Take the mean of that start and the best of the branches: as many as help on valid
   and leave the sofa behind the cat of the package's example alone;
2. fit threshold, temperature and the estimate of the Dice on valid, and score the float32 network on test;
3. export it in int8, through the gate on valid;
4. score the exported file on test, and on the original photographs of ``--native`` at their own size;
5. time the network alone, one image at a time, and look at pictures without a pet.

``--parts`` stops after so many of the runs; the branches, six or ``--branches`` of them, are the fifth part. On a GPU,
which one of them does not fill, as many processes with ``--branch`` train them at once, after ``--parts 4``; the
command without it goes on from there. ``--parts 6`` cuts a lighter network out of the highest of the means
(``lighter.py``) and trains it; it is not in the box. ``--install`` puts the file into the package, unless the Dice of
its network on valid is below that of the file that is there, or that on test below what may be shipped. Choices are
made on valid and on that picture; test is scored at the end.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import print_table, write_results
from pets_parts import BRANCHED, BRANCHES, LIGHTENED, kept, rows_of, trained, valid_dice
from skimage import data as pictures

from figureground.bundle import read_info
from figureground.config import DataConfig
from figureground.data import open_dataset
from figureground.evaluation import evaluate, score_run
from figureground.export import export
from figureground.export.onnx import write_info
from figureground.prediction import load
from figureground.prediction.photos.engines import ENGINES
from figureground.pretrained import pretrained_bundle

LICENCE = "Apache-2.0; trained on the Oxford-IIIT Pet dataset (Parkhi et al., CVPR 2012, CC BY-SA 4.0)"
TIMED = 100
LOWEST_DICE, MOST_MEGABYTES = 0.920, 8  # of what may go into the package
NAME = {"model": "pets"}  # in the figures, in the place of a path
log = logging.getLogger("train_pets")


def scored(folder: Path) -> dict[str, Any]:
    """The figures of a run on test, which is scored first where it has not been."""
    if not (folder / "test.json").is_file():
        log.info(score_run(folder).summary())
    figures: dict[str, Any] = json.loads((folder / "test.json").read_text())
    return figures


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
        member.engine.run(batch)
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


def measured(given: argparse.Namespace, runs: dict[str, Path], model: Path) -> dict[str, Any]:
    """Stages 4 and 5."""
    info, folder = read_info(model), model.parent
    rows = [row for run in runs.values() for row in rows_of(run / "metrics.csv")]
    results = {
        "epochs": len(rows),
        "hours": sum(float(row["seconds"]) for row in rows) / 3600,
        "valid_dice": {part: max(valid_dice(run)) for part, run in runs.items()},
        "float32": scored(folder) | NAME,
        "int8": info.scores["test"],
        "gate": info.export["gate"],
        "megabytes": model.stat().st_size / 1e6,
        "milliseconds": {engine: milliseconds(model, engine) for engine in ENGINES[".onnx"]},
        "without_pets": looked_at(model),
    }
    if given.spread:
        results["branches"] = {
            part: {"valid_dice": valid_dice(run), **{key: scored(run)[key] for key in ("n", "dice")}}
            for part, run in runs.items()
            if "-" in part
        }
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
        "--parts", type=int, choices=range(1, LIGHTENED + 1), default=BRANCHED, help="how many of the parts"
    )
    parser.add_argument(
        "--branch", type=int, choices=range(1, BRANCHES + 1), help="train this one and end: several at once on a GPU"
    )
    parser.add_argument("--branches", type=int, choices=range(1, BRANCHES + 1), default=BRANCHES, help="fewer of them")
    parser.add_argument("--spread", action="store_true", help="score the branches on test as well")
    parser.add_argument("--epochs", type=int, help="fewer, for a quick look")
    parser.add_argument("--output", type=Path, default=Path("runs/pets"), help="of the run; the seed follows")
    parser.add_argument("--results", type=Path, help="a folder for figures and curves")
    parser.add_argument("--install", action="store_true", help="put the file into the package")
    given = parser.parse_args()
    if given.branch and given.parts < BRANCHED:
        parser.error(f"--branch is one of the fifth part; leave out --parts {given.parts}")
    if given.branch and given.branch > given.branches:
        parser.error(f"--branch {given.branch} is not one of {given.branches}")
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
        name, settings = f"pets-seed{given.seed}", {key: getattr(given, key) for key in ("seed", "parts", "branches")}
        fewer = f"-branches{given.branches}" if given.parts >= BRANCHED and given.branches < BRANCHES else ""
        write_results(given.results / f"{name}-parts{given.parts}{fewer}.json", "train_pets", settings, results)
        for part, folder in runs.items():
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
