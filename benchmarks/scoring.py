"""What the figures of an image cost: milliseconds for reading it, for the network, and for scoring at both sizes.

python benchmarks/scoring.py --model RUN --data DIR --images 64 --json benchmarks/results/scoring.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import print_table, write_results

from figureground.data import open_dataset
from figureground.data.dataset import as_seen
from figureground.evaluation.scoring.scores import score_image
from figureground.evaluation.statistics import bootstrap_means
from figureground.prediction import load


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - start) * 1e3


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    dataset, segmenter = open_dataset(given.data, "test"), load(given.model)
    preprocessing = segmenter.preprocessing
    times: dict[str, list[float]] = {}

    def clock(what: str, work: Callable[[], Any]) -> Any:
        result, milliseconds = timed(work)
        times.setdefault(what, []).append(milliseconds)
        return result

    for index in range(min(given.images, len(dataset))):
        sample = clock("read", lambda index=index: dataset[index])
        logits = clock("network", lambda image=sample.image: segmenter.logit_maps([image])[0])
        small = as_seen(preprocessing, sample).truth
        for what, truth in (("score at the network's size", small), ("score at the photo's own size", sample.truth)):
            probability = preprocessing.restore(logits, *truth[0].shape)
            clock(what, lambda p=probability, t=truth: score_image(p > 0.5, p, t))
    results = [
        {"what": what, "images": len(each), "median_ms": float(np.median(each)), "highest_ms": max(each)}
        for what, each in times.items()
    ]
    figures = np.random.default_rng(0).beta(9, 1.2, (3669, 11))
    once = timed(lambda: bootstrap_means(figures))[1]
    return [*results, {"what": "intervals of 11 means, n = 3669", "images": 1, "median_ms": once, "highest_ms": once}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a run folder or a bundle")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    results = measure(given)
    rows = [(r["what"], r["images"], f"{r['median_ms']:.2f}", f"{r['highest_ms']:.2f}") for r in results]
    print_table(("what", "images", "median ms", "highest ms"), rows)
    write_results(given.json, "scoring", {"images": given.images, "data": Path(given.data).name}, results)


if __name__ == "__main__":
    main()
