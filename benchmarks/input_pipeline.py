"""Seconds that an image costs before the network sees it: the plain loop's dataset against ours from its cache.

Both give whole batches, augmented as the lab report does, collated and normalised, in one process without workers.
After a warm-up pass the two take turns; the median of the repeats counts. Filling the cache, which happens once, is
measured too (the operating system may have the files in memory already). The target is a ratio of 5.

    python benchmarks/input_pipeline.py --data DIR --images 400 --json benchmarks/results/input_pipeline.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import torch
from machine import print_table, write_results
from plain_loop import PlainPets, plain_loader

from figureground.config import TrainConfig, merge, parse, plain, read_settings
from figureground.data import Dataset, Sample, Split, open_dataset
from figureground.data.cache import CachedDataset, cached
from figureground.data.sources.oxford_pet import find_root
from figureground.preprocessing import Preprocessing
from figureground.training.loaders import loaders

TARGET = 5.0
DEFAULT_THREADS, ONE_THREAD = -1, 0  # of OpenCV: what the reader's loop gets, and what ours sets


class First:
    """The first ``n`` samples of a dataset."""

    def __init__(self, dataset: Dataset, n: int) -> None:
        self.name, self.kind, self.foreground = dataset.name, dataset.kind, dataset.foreground
        self.split: Split = dataset.split
        self.names, self.metadata = list(dataset.names)[:n], list(dataset.metadata)[:n]
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self._dataset[index]

    def fingerprint(self) -> str:
        return f"{self._dataset.fingerprint()} {len(self)}"


def seconds_of(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def consume(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def measure(root: Path, images: int, batch_size: int, size: int, repeats: int, cache: Path) -> dict[str, Any]:
    """Seconds per image of each pipeline, and of filling the cache."""
    source = First(open_dataset(root, "train"), images)
    n, preprocessing = len(source), Preprocessing((size, size))
    fill = seconds_of(lambda: cached(source, preprocessing, cache)) / n
    dataset = cached(source, preprocessing, cache)
    if not isinstance(dataset, CachedDataset):
        raise SystemExit("the cache does not fit on this disk; ask for fewer --images")
    changes = {"batch_size": batch_size, "workers": 0, "preprocessing": plain(Preprocessing((size, size)))}
    ours, _ = loaders(parse(TrainConfig, merge(read_settings("report"), changes)), dataset, dataset, on_gpu=False)
    theirs = plain_loader(PlainPets(root, source.names, size), batch_size)

    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for epoch in range(repeats + 1):  # the first is the warm-up
        cv2.setNumThreads(DEFAULT_THREADS)
        seconds["plain"].append(seconds_of(lambda: consume(theirs)) / n)
        cv2.setNumThreads(ONE_THREAD)
        ours.sampler.set_epoch(epoch)
        seconds["ours"].append(seconds_of(lambda: consume(ours)) / n)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return {
        "images": n,
        "seconds_per_image": {**medians, "cache_fill": fill},
        "repeats": {name: times[1:] for name, times in seconds.items()},
        "ratio": medians["plain"] / medians["ours"],
        "target": TARGET,
    }


def print_results(results: dict[str, Any]) -> None:
    seconds = results["seconds_per_image"]
    names = {"plain": "plain loop", "ours": "figureground, cached", "cache_fill": "filling the cache, once"}
    rows = []
    for key, name in names.items():
        ratio = f"{seconds['plain'] / seconds[key]:.2f}×"
        rows.append((name, f"{seconds[key] * 1000:.2f}", f"{1 / seconds[key]:.0f}", ratio))
    print_table(("pipeline", "ms/image", "images/s", "ratio"), rows)
    verdict = "met" if results["ratio"] >= TARGET else "missed"
    print(f"target {TARGET:g}×: {verdict} with {results['ratio']:.2f}× ({results['images']} images)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an unpacked Oxford-IIIT Pet folder")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results here")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    root = find_root(given.data)
    if root is None:
        raise SystemExit(f"{given.data} is not in the Oxford-IIIT Pet layout (images/, annotations/trimaps/)")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as cache:
        results = measure(root, given.images, given.batch_size, given.size, given.repeats, Path(cache))
    print_results(results)
    settings = {name: getattr(given, name) for name in ("images", "batch_size", "size", "repeats")}
    write_results(given.json, "input_pipeline", settings, results)


if __name__ == "__main__":
    main()
