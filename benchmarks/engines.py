"""Milliseconds an image of every engine and precision against the report's way, and the share of the processor's peak.

The report's way is the network as it is built, in float32, contiguous memory, eager, under ``no_grad``. All variants
take turns, round after round, so that a busy moment hits them alike; each timing is of 8 images behind one call that
does not count, since the threads of the engine before may still spin. The peaks are those of large matrix products
(2 n³ operations), the best of all rounds and of two libraries. bfloat16 is not offered for prediction; it is measured
to know what it would bring, on processors that have it.

    python benchmarks/engines.py --run resnet34_unet=RUN --data DIR --json benchmarks/results/engines.json

Networks without ``--run`` have random weights: their speed counts, their Dice does not exist. Of trained ones the Dice
and the share of flipped pixels on ``valid`` are those of the export's gate. Target: int8 5 times as fast as the
report's way, with a Dice that falls by 0.005 at the most.
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
import openvino
import torch
from bundles import DRAWN, NETWORKS, exported, first_images, iter_samples, parse_runs, plain_network, untrained_bundle
from machine import print_table, write_results
from matrix_product import Peaks
from torch import nn

from figureground.config import DataConfig
from figureground.data import open_dataset
from figureground.prediction import open_member
from figureground.prediction.photos.engines.openvino_engine import SETTINGS
from figureground.prediction.photos.engines.torch_engine import TorchEngine
from figureground.preprocessing import Preprocessing
from figureground.training.trainer import cpu_multiplies_bfloat16

REPORT = "report's way"
PRECISIONS = ("float32", "float16", "int8")
COMPUTED_IN = {"float32": "float32", "float16": "float32", "bfloat16": "bfloat16", "int8": "int8"}
"""float16 is how weights are stored."""
TARGET = 5.0
IMAGES = 8  # in a timing
Run = Callable[[np.ndarray], object]


class Variant:
    """One way to run a network, and what was measured of it."""

    def __init__(self, engine: str, precision: str, run: Run, gate: dict[str, Any] | None = None) -> None:
        self.engine, self.precision, self.run, self.gate = engine, precision, run, gate
        self.seconds: dict[int, list[float]] = {}
        """By batch size, of an image, one a round."""


def report_way(bundle: Path) -> Run:
    """The network as the lab report runs it."""
    network = plain_network(bundle)

    def run(batch: np.ndarray) -> object:
        with torch.no_grad():
            return network(torch.from_numpy(batch))["figure"]

    return run


def torch_bfloat16(engine: TorchEngine) -> Run:
    def run(batch: np.ndarray) -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return engine.run(batch)

    return run


def openvino_bfloat16(path: Path) -> Run:
    network = openvino.Core().compile_model(path, "CPU", {**SETTINGS, "INFERENCE_PRECISION_HINT": "bf16"})
    return lambda batch: network([np.ascontiguousarray(batch)])


def variants_of(bundle: Path, folder: Path, data: DataConfig, precisions: list[str], trained: bool) -> list[Variant]:
    """The report's way first."""
    engine = open_member(bundle).engine
    assert isinstance(engine, TorchEngine)
    variants = [
        Variant(REPORT, "float32", report_way(bundle)),
        Variant("torch", "float32", engine.run),
    ]
    if cpu_multiplies_bfloat16():
        variants.append(Variant("torch", "bfloat16", torch_bfloat16(engine)))
    for precision in precisions:
        path, info = exported(bundle, folder, precision, data)  # type: ignore[arg-type]
        if precision == "float32" and cpu_multiplies_bfloat16():
            variants.append(Variant("openvino", "bfloat16", openvino_bfloat16(path)))
        for row in info.export["gate"]["engines"][1:]:
            name = row["engine"]
            gate = {**row, "n": info.export["gate"]["n"]} if trained else None
            variants.append(Variant(name, precision, open_member(path, name).engine.run, gate))
    return variants


def operations(network: nn.Module, size: int) -> int:
    """Of one image: two for each multiplication and addition in the convolutions."""
    products = []

    def count(module: nn.Module, given: tuple[torch.Tensor], result: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        places, channels = (
            (result, module.in_channels) if isinstance(module, nn.Conv2d) else (given[0], module.out_channels)
        )
        products.append(places.numel() * channels // module.groups * np.prod(module.kernel_size))

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return 2 * int(sum(products))


def time_variants(
    variants: list[Variant], images: np.ndarray, batch_sizes: list[int], rounds: int, peaks: Peaks
) -> None:
    """Images (IMAGES, 3, H, W), normalised; the first round is the warm-up."""
    for number in range(rounds + 1):
        peaks.measure()
        for size in batch_sizes:
            for variant in variants:
                # ours come as ``normalise`` leaves them, the report's as ToTensor does
                taken = np.ascontiguousarray(images) if variant.engine == REPORT else images
                seconds = seconds_an_image(variant.run, taken, size)
                if number:
                    variant.seconds.setdefault(size, []).append(seconds)


def seconds_an_image(run: Run, images: np.ndarray, batch_size: int) -> float:
    batches = [images[start : start + batch_size] for start in range(0, IMAGES, batch_size)]
    run(batches[0])
    start = time.perf_counter()
    for batch in batches:
        run(batch)
    return (time.perf_counter() - start) / IMAGES


def figures_of(variant: Variant, reference: Variant, flop: int, peaks: dict[str, float]) -> dict[str, Any]:
    """A variant's figures for JSON, by batch size."""
    peak = peaks[COMPUTED_IN[variant.precision]]
    timings = {}
    for size, seconds in variant.seconds.items():
        median = statistics.median(seconds)
        timings[str(size)] = {
            "ms": 1000 * median,
            "ms_min": 1000 * min(seconds),
            "ms_max": 1000 * max(seconds),
            "ratio": statistics.median(reference.seconds[size]) / median,
            "gflops": flop / median / 1e9,
            "share_of_peak": flop / median / peak,
        }
    return {"engine": variant.engine, "precision": variant.precision, "batch": timings, "gate": variant.gate}


def measure(given: argparse.Namespace, name: str, run: Path | None, folder: Path) -> dict[str, Any]:
    """All variants of a network."""
    folder.mkdir()
    bundle = run or untrained_bundle(name, folder)
    trained = run is not None and given.data is not None
    variants = variants_of(bundle, folder, gate_data(given, folder) if trained else DRAWN, given.precisions, trained)
    preprocessing = open_member(bundle).preprocessing
    images, peaks = some_images(given.data, preprocessing), Peaks(given.matrix)
    flop = operations(plain_network(bundle), preprocessing.size[0])
    time_variants(variants, images, given.batch_sizes, given.rounds, peaks)
    best = {kind: max(entry.values()) for kind, entry in peaks.best.items()}
    return {
        "trained": run is not None,
        "gflop": flop / 1e9,
        "peak_gflops": {k: {e: v / 1e9 for e, v in entry.items()} for k, entry in peaks.best.items()},
        "variants": [figures_of(variant, variants[0], flop, best) for variant in variants],
    }


def gate_data(given: argparse.Namespace, folder: Path) -> DataConfig:
    return first_images(str(given.data), given.images, folder / "few") if given.images else DataConfig(str(given.data))


def some_images(data: Path | None, preprocessing: Preprocessing) -> np.ndarray:
    """Normalised images (IMAGES, 3, H, W)."""
    samples = iter_samples(open_dataset(str(data) if data else DRAWN.source, "train"))
    images = [preprocessing.resize_image(image) for (image, _), _ in zip(samples, range(IMAGES), strict=False)]
    return preprocessing.normalise(np.stack(images))


def print_results(name: str, results: dict[str, Any]) -> None:
    print(f"\n{name}, {'trained' if results['trained'] else 'random weights'}, {results['gflop']:.1f} GFLOP an image")
    for size in results["variants"][0]["batch"]:
        header = (f"batch {size}", "ms/image", "min", "max", "ratio", "GFLOP/s", "of peak", "Dice change", "flipped")
        print_table(header, [row_of(variant, size) for variant in results["variants"]])
        int8 = [v["batch"][size]["ratio"] for v in results["variants"] if v["precision"] == "int8"]
        if int8:
            print(f"target {TARGET:g}×: {'met' if max(int8) >= TARGET else 'missed'} with {max(int8):.2f}×")
    peaks = [(k, e, f"{v:.0f}") for k, entry in results["peak_gflops"].items() for e, v in entry.items()]
    print_table(("peak", "by", "GFLOP/s"), peaks)


def row_of(variant: dict[str, Any], size: str) -> tuple[str, ...]:
    at, gate = variant["batch"][size], variant["gate"]
    return (
        f"{variant['engine']} {variant['precision']}",
        *(f"{at[key]:.1f}" for key in ("ms", "ms_min", "ms_max")),
        f"{at['ratio']:.2f}×",
        f"{at['gflops']:.0f}",
        f"{at['share_of_peak']:.0%}",
        f"{gate['dice_change']:+.5f}" if gate else "–",
        f"{gate['flipped']:.3%}" if gate else "–",
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--run", nargs="*", default=[], metavar="NAME=FOLDER", help="trained runs")
    parser.add_argument("--data", type=Path, help="what trained runs are calibrated and compared on")
    parser.add_argument("--images", type=int, default=0, help="only so many of a split, for a quick look; 0: all")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--batch-sizes", type=int, nargs="+", choices=(1, 2, 4, 8), default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--matrix", type=int, default=4096, help="rows and columns of the matrix products")
    parser.add_argument("--json", type=Path, help="write the results here")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    runs, measured = parse_runs(given.run), {}
    names = ("images", "precisions", "batch_sizes", "rounds", "matrix")
    settings = {name: getattr(given, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.networks:
            measured[name] = measure(given, name, runs.get(name), Path(folder) / name)
            print_results(name, measured[name])
            if name in runs and given.data is None:
                print("without --data: no Dice")
            if given.images:
                print(f"the Dice is of the first {given.images} images only: a quick look, no result")
            write_results(given.json, "engines", settings, measured)


if __name__ == "__main__":
    main()
