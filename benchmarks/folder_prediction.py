"""Images a second of a folder of photographs to masks: the network alone, ours around it, and a plain loop beside them.

The network alone is the engine on batches that are in memory already, as many at once as it has lanes: no pipeline can
be faster. Ours reads, resizes, predicts, enlarges, encodes and writes, once as a call in this process
(``predict_files``) and once as the command from its start to its end, in a process whose compiled modules are kept, as
they are where the package was installed. The plain loop is what a user of segmentation_models.pytorch would write: the
same network in torch, float32, one image at a time. They take turns, round after round, and the medians count; the
first round, which also brings the photographs into memory, does not. The target is 85% of the network
alone for the command.

    python benchmarks/folder_prediction.py --model model-int8.onnx --safetensors RUN/model.safetensors \
        --photos DIR/images --json benchmarks/results/folder_prediction.json

Some rounds of the plain loop take long: ``--plain-photos`` is how many of the photographs it does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles import plain_network
from machine import print_table, write_results
from PIL import Image
from torchvision.transforms import functional

from figureground.bundle import read_info
from figureground.images import read_image
from figureground.prediction import Segmenter, load
from figureground.prediction.batch.jobs import find_jobs
from figureground.prediction.batch.predict import predict_files
from figureground.prediction.batch.shelf import Shelf

BATCH_SIZE = 4
TARGET = 0.85
NETWORK, CALL, COMMAND, PLAIN = "network alone", "predict_files", "figureground predict", "plain loop"


def network_alone(segmenter: Segmenter, photos: list[Path]) -> Callable[[Path], int]:
    """The engine on the photographs' network input, prepared here."""
    member = segmenter.members[0]
    small = np.stack([member.preprocessing.resize_image(read_image(photo)) for photo in photos])

    def run(folder: Path) -> int:
        with ThreadPoolExecutor(member.engine.lanes) as lanes:
            list(lanes.map(member.engine.run, batches))
        return len(photos)

    batches = [member.preprocessing.normalise(small[i : i + BATCH_SIZE]) for i in range(0, len(small), BATCH_SIZE)]
    return run


def our_call(segmenter: Segmenter, photos: list[Path]) -> Callable[[Path], int]:
    def run(folder: Path) -> int:
        outcomes = predict_files(segmenter, find_jobs(photos), Shelf(folder), judge=False)
        return sum(outcome.status == "done" for outcome in outcomes)

    return run


def our_command(model: Path, engine: str | None, photos: list[Path]) -> Callable[[Path], int]:
    """In a process of its own, with its start and its imports."""
    chosen = [] if engine is None else ["--engine", engine]
    caching = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run(folder: Path) -> int:
        listed = folder.with_suffix(".txt")
        listed.write_text("\n".join(map(str, photos)))
        command = [sys.executable, "-m", "figureground", "predict", str(model), *chosen]
        command += ["--list", str(listed), "--output", str(folder)]
        subprocess.run(command, check=True, capture_output=True, env=caching)
        return len(photos)

    return run


def plain_loop(bundle: Path, photos: list[Path]) -> Callable[[Path], int]:
    """As a user would write it."""
    network, settings = plain_network(bundle), read_info(bundle).preprocessing

    def run(folder: Path) -> int:
        folder.mkdir()
        with torch.no_grad():
            for path in photos:
                image = Image.open(path).convert("RGB")
                tensor = functional.to_tensor(functional.resize(image, list(settings.size)))
                tensor = functional.normalize(tensor, settings.mean, settings.std)
                probability = torch.sigmoid(network(tensor[None])["figure"])[0, 0]
                mask = Image.fromarray((probability > 0.5).numpy().astype(np.uint8) * 255)
                mask.resize(image.size, Image.Resampling.NEAREST).save(folder / f"{path.stem}.png")
        return len(photos)

    return run


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Images a second, by what was measured, one a round."""
    photos = [job.source for job in find_jobs([given.photos])][: given.limit]
    segmenter = load(given.model, engine=given.engine, photos=len(photos))
    ways = {
        NETWORK: network_alone(segmenter, photos),
        CALL: our_call(segmenter, photos),
        COMMAND: our_command(given.model, given.engine, photos),
        PLAIN: plain_loop(given.safetensors, photos[: given.plain_photos]),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds + 1):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                images = way(Path(folder) / "masks")
                speed = images / (time.perf_counter() - start)
            if number:
                speeds[name].append(speed)
    pixels = [image.size[0] * image.size[1] for image in map(Image.open, photos)]
    return {
        "photos": len(photos),
        "plain_photos": len(photos[: given.plain_photos]),
        "median_megapixels": statistics.median(pixels) / 1e6,
        "engine": segmenter.engine,
        "images_per_second": {name: statistics.median(values) for name, values in speeds.items()},
        "rounds": speeds,
    }


def print_results(results: dict[str, Any]) -> None:
    speeds = results["images_per_second"]
    rows = [
        (
            name,
            f"{speed:.1f}",
            *(f"{find(results['rounds'][name]):.1f}" for find in (min, max)),
            f"{speed / speeds[NETWORK]:.0%}",
            f"{speed / speeds[PLAIN]:.2f}×",
        )
        for name, speed in speeds.items()
    ]
    print(f"{results['photos']} photographs of {results['median_megapixels']:.2f} megapixels, {results['engine']}")
    print_table(("", "images/s", "min", "max", "of the network", "of the plain loop"), rows)
    share = speeds[COMMAND] / speeds[NETWORK]
    print(f"target {TARGET:.0%} of the network: {'met' if share >= TARGET else 'missed'} with {share:.1%}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="what ours predicts with, such as an int8 .onnx")
    parser.add_argument("--safetensors", type=Path, required=True, help="what it was made from, for the plain loop")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--engine", help="openvino or onnxruntime (default: the fastest)")
    parser.add_argument("--limit", type=int, help="only so many photographs")
    parser.add_argument("--plain-photos", type=int, help="only so many in the plain loop (default: as many)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results here")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    results = measure(given)
    print_results(results)
    write_results(given.json, "folder_prediction", {"rounds": given.rounds}, results)


if __name__ == "__main__":
    main()
