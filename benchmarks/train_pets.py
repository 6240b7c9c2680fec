"""The model in the box, from its data to its file: ``src/figureground/pretrained/pets.onnx``.

    python benchmarks/train_pets.py --data DIR --native NATIVE --output runs --seed 0 --install

Trains recipe ``pets`` (or goes on where it was stopped), exports the run in int8 through the gate on valid, scores the
file on test, and on the photographs of NATIVE at their own size, times it, and looks at what it makes of pictures
without a pet and of a cat that is hard to see. All choices are made on valid; test is scored once, by the file.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import print_table, write_results
from pets_pictures import false_alarms, hard_cats

from figureground.bundle import read_info, read_tensors, write_bundle
from figureground.config import DataConfig
from figureground.data import open_dataset
from figureground.evaluation import evaluate
from figureground.export import export
from figureground.export.onnx import write_info
from figureground.metrics import dice_score
from figureground.prediction import load
from figureground.prediction.photos.engines import ENGINES
from figureground.pretrained import pretrained_bundle
from figureground.runs import bundle_path

LICENCE = (
    "Apache-2.0; trained on the Oxford-IIIT Pet dataset (Parkhi et al., CVPR 2012, CC BY-SA 4.0), from weights of "
    "EfficientNet-Lite0 (Apache-2.0) for ImageNet"
)
TIMED = 100


def milliseconds(path: Path, engine: str) -> float:
    """Of the network alone, batch 1: the median."""
    member = load(path, engine=engine).members[0]
    size = member.preprocessing.size
    batch = member.preprocessing.normalise(np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8))
    times = []
    for _ in range(TIMED + 10):
        start = time.perf_counter()
        member.engine.run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[10:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="an unpacked Oxford-IIIT Pet folder")
    parser.add_argument("--native", help="one with photographs at their own size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs"), help="the folder of all runs")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/pets.json"))
    parser.add_argument("--install", action="store_true", help="put the file into the package")
    given = parser.parse_args()
    run = given.output / f"pets{given.seed}"
    new = ["--data", given.data, "--recipe", "pets", "--seed", str(given.seed), "--output", str(given.output),
           "--name", run.name]  # fmt: skip
    again = ["--resume", str(run)] if (run / "last.ckpt").is_file() else new
    if not (run / "valid.json").is_file():
        subprocess.run([sys.executable, "-m", "figureground", "train", *again, "--score", "valid"], check=True)
    path = run / "model-int8.onnx"
    if not path.is_file() or "test" not in read_info(path).scores:
        export(run, path, DataConfig(given.data), precision="int8", say=print)
        figures = evaluate(load(path), open_dataset(given.data, "test")).to_json() | {"model": "pets"}
        info = read_info(path)
        write_info(path, replace(info, licence=LICENCE, scores={**info.scores, "test": figures}))
    model, info = load(path), read_info(path)
    cats = hard_cats()
    cat = model.predict(cats["as it is"][0]).mask
    results = {
        "int8": info.scores["test"],
        "gate": info.export["gate"],
        "megabytes": path.stat().st_size / 1e6,
        "milliseconds": {engine: milliseconds(path, engine) for engine in ENGINES[".onnx"]},
        "without_pets": false_alarms(model, given.data),
        "hard_cats": {name: dice_score(model.predict(photo).mask, put(cat)) for name, (photo, put) in cats.items()},
    }
    if given.native:
        results["native"] = evaluate(model, open_dataset(given.native, "test")).to_json() | {"model": "pets"}
    for part in ("milliseconds", "without_pets", "hard_cats"):
        print_table((part, ""), list(results[part].items()))
    print(results["int8"]["fitted"]["dice"], results.get("native", {}).get("native", {}).get("dice"))
    write_results(given.results, "train_pets", {"seed": given.seed}, results)
    if given.install:
        target, best = pretrained_bundle("pets"), bundle_path(run)
        shutil.copy(path, target)
        halves = {name: tensor.astype(np.float16) for name, tensor in read_tensors(best).items()}  # for --start-from
        write_bundle(target.with_suffix(".safetensors"), halves, replace(read_info(best), licence=LICENCE))


if __name__ == "__main__":
    main()
