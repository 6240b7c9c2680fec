"""Photographs of 12 megapixels to masks: read whole and resized, read at a part of their size, and a plain loop.

A JPEG decoder can leave out the finest detail (``images.read_reduced``), of which a network sees nothing. What that
saves, and what it changes: test photographs are enlarged, given the noise of a sensor and stored as JPEG files of
4000×3000 pixels or about as many, and predicted in three ways, in turns, round after round. The plain loop is Pillow
and ONNX Runtime, one at a time. Medians of the rounds behind the first count.

    python benchmarks/large_photos.py --data NATIVE --images 99 --json benchmarks/results/large_photos.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bundles import plain_session
from machine import in_turns, print_table, write_results
from PIL import Image

from figureground import Segmenter, load, open_dataset
from figureground.data.dataset import Sample
from figureground.evaluation.statistics import bootstrap_mean
from figureground.metrics import counts, dice
from figureground.prediction.batch.jobs import find_jobs
from figureground.prediction.batch.predict import predict_files
from figureground.prediction.batch.shelf import Shelf
from figureground.prediction.photos.reading import read_photo
from figureground.pretrained import pretrained_bundle

LONGEST, SIDES = 4000, 16  # pixels; cameras' sides are multiples
NOISE, QUALITY = 6.0, 90  # standard deviation in levels; of the JPEG file
LARGER_THAN_ANY = (2**30, 2**30)  # pixels
WHOLE, REDUCED, PLAIN = "read whole", "read at a part of the size", "plain loop"


def enlarged(sample: Sample, seed: int) -> tuple[Image.Image, Image.Image]:
    """A photograph and its mask (0 and 255) as a camera would have given them."""
    height, width = sample.mask.shape
    factor = LONGEST / max(height, width) / SIDES
    size = (round(width * factor) * SIDES, round(height * factor) * SIDES)
    pixels = np.asarray(Image.fromarray(sample.image).resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(seed).normal(0, NOISE, (*pixels.shape[:2], 1)).astype(np.float32)
    mask = Image.fromarray(sample.mask.astype(np.uint8) * 255)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)), mask.resize(
        size, Image.Resampling.NEAREST
    )


def plain_loop(model: Path, photos: list[Path]) -> Callable[[Path], None]:
    """As a user would write it."""
    predict = plain_session(model)

    def run(folder: Path) -> None:
        folder.mkdir()
        for path in photos:
            photo = Image.open(path).convert("RGB")
            mask = Image.fromarray(predict(photo) * np.uint8(255))
            mask.resize(photo.size, Image.Resampling.NEAREST).save(folder / f"{path.stem}.png")

    return run


def ours(segmenter: Segmenter, photos: list[Path], least: tuple[int, int]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        for outcome in predict_files(segmenter, find_jobs(photos), Shelf(folder), judge=False, least=least):
            assert outcome.status == "done", outcome.message

    return run


def reading(segmenter: Segmenter, photos: list[Path], least: tuple[int, int]) -> float:
    """Milliseconds to read a photograph and resize it for the network: the median, one after another."""
    resize, times = segmenter.preprocessing.resize_image, []
    for photo in photos:
        start = time.perf_counter()
        resize(read_photo(photo, least, whole=False).seen)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    dataset = open_dataset(given.data, "test")
    chosen = np.linspace(0, len(dataset) - 1, min(given.images, len(dataset))).round().astype(int)
    photos, truths = [], []
    (folder / "photos").mkdir()
    (folder / "truths").mkdir()
    for index in map(int, chosen):
        sample = dataset[index]
        photo, truth = enlarged(sample, index)
        photos.append(folder / "photos" / f"{sample.name}.jpg")
        truths.append(folder / "truths" / f"{sample.name}.png")
        photo.save(photos[-1], quality=QUALITY)
        truth.save(truths[-1])
    segmenter = load(given.model, photos=len(photos), engine=given.engine)
    least = {WHOLE: LARGER_THAN_ANY, REDUCED: segmenter.least_size}
    ways = {PLAIN: plain_loop(given.model, photos), **{way: ours(segmenter, photos, least[way]) for way in least}}
    seconds = in_turns(ways, given.rounds, folder)
    speeds = {name: [len(photos) / each for each in rounds] for name, rounds in seconds.items()}
    figures = []
    for truth in truths:
        whole, reduced, true = (
            np.asarray(Image.open(path)) > 0
            for path in (folder / f"{WHOLE} 0" / truth.name, folder / f"{REDUCED} 0" / truth.name, truth)
        )
        scores = dice(*counts(np.stack([whole, reduced]), np.stack([true, true])))
        figures.append((*scores, float((whole != reduced).mean())))
    before, after, flipped = np.array(figures).T
    gain = bootstrap_mean(after - before)
    return {
        "photos": len(photos),
        "engine": segmenter.engine,
        "reading_milliseconds": {way: reading(segmenter, photos, least[way]) for way in least},
        "images_per_second": {name: statistics.median(values) for name, values in speeds.items()},
        "rounds": speeds,
        "dice": {WHOLE: before.mean(), REDUCED: after.mean(), "change": gain.mean, "ci95": gain.ci95},
        "flipped": {"mean": flipped.mean(), "most": flipped.max()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="photographs at their own size, with masks")
    parser.add_argument("--model", type=Path, default=pretrained_bundle("pets"), help="an .onnx file")
    parser.add_argument("--engine", default="onnxruntime", help="of ours; the plain loop's is ONNX Runtime")
    parser.add_argument("--images", type=int, default=99)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(given, Path(folder))
    speeds = results["images_per_second"]
    print_table(
        (f"{results['photos']} photographs", "images/s", "of the plain loop"),
        [(name, f"{speed:.2f}", f"{speed / speeds[PLAIN]:.2f}×") for name, speed in speeds.items()],
    )
    print_table(("", "ms to read one"), [(way, f"{ms:.0f}") for way, ms in results["reading_milliseconds"].items()])
    (low, high), flipped = results["dice"]["ci95"], results["flipped"]
    print(f"Dice of masks at that size {results['dice'][WHOLE]:.4f}, read at a part {results['dice'][REDUCED]:.4f}:")
    print(
        f"{results['dice']['change']:+.5f} [{low:+.5f}, {high:+.5f}]; of a mask's pixels {flipped['mean']:.2%} differ,"
    )
    print(f"at most {flipped['most']:.2%} ({results['engine']})")
    settings = {"data": Path(given.data).name, "images": results["photos"], "rounds": given.rounds}
    write_results(given.json, "large_photos", settings, results)


if __name__ == "__main__":
    main()
