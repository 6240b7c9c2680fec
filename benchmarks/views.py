"""What looking again is worth: Dice at the photos' own size and time an image, for mirrored and tiled views.

    python benchmarks/views.py --model runs/latest/model-int8.onnx --data DIR --json benchmarks/results/views.json

DIR should hold original photographs: tiles can only show detail that is there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from machine import print_table, write_results

from figureground import Views, load, open_dataset
from figureground.evaluation.statistics import bootstrap_mean
from figureground.metrics import counts, dice

VIEWS = {
    "plain": Views(),
    "--tta": Views(flip=True),
    "--tile 1.5": Views(scales=(1.0, 1.5)),
    "--tile 2": Views(scales=(1.0, 2.0)),
    "--tta --tile 1.5": Views(flip=True, scales=(1.0, 1.5)),
    "tiles of 2 alone": Views(scales=(2.0,)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, help="only the first so many")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    dataset = open_dataset(given.data, given.split)
    samples = [dataset[index] for index in range(min(len(dataset), given.images or len(dataset)))]
    scores, times = {}, {}
    for name, views in VIEWS.items():
        segmenter = load(given.model, views=views)
        start = time.perf_counter()
        masks = [prediction.mask for prediction in segmenter.predict(sample.image for sample in samples)]
        times[name] = 1000 * (time.perf_counter() - start) / len(samples)
        pairs = zip(masks, samples, strict=True)
        scores[name] = np.array([float(dice(*counts(mask, *sample.truth))) for mask, sample in pairs])
    results, rows = {}, []
    for name, values in scores.items():
        mean, change = bootstrap_mean(values), bootstrap_mean(values - scores["plain"])
        results[name] = {
            "dice": {"mean": mean.mean, "ci95": mean.ci95},
            "change": {"mean": change.mean, "ci95": change.ci95},
            "milliseconds": times[name],
        }
        interval = "[{:+.4f}, {:+.4f}]".format(*change.ci95)
        rows.append((name, f"{mean.mean:.4f}", f"{change.mean:+.4f}", interval, f"{times[name]:.0f}"))
    print_table(("views", f"Dice (n = {len(samples)})", "change", "95% interval", "ms/image"), rows)
    settings = {"data": dataset.name, "split": given.split, "n": len(samples)}
    write_results(given.json, "views", settings, results)


if __name__ == "__main__":
    main()
