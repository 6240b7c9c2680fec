"""Images a second and peak memory of training: the plain loop against ours, each in a process of its own.

Ours is the real thing: Lightning on figureground's module and loaders, with the precision that ``auto`` chooses,
channels-last memory, fused Adam and cached images. A step counts from the end of the last one, so it includes loading
its batch; the median of the steps behind the warm-up counts. Targets: 2.2 times for U-Net, 1.8 for ResNet34-U-Net.

    python benchmarks/training_step.py --data DIR --models unet resnet34_unet --batch-size 8 --steps 6 \
        --json benchmarks/results/training_step.json

``--curve-steps 100`` also trains both on the very same batches from the same initial weights, compares the losses step
by step and draws the two curves beside the JSON. ``--spread`` adds the plain loop from other initial weights, which
shows how far two curves may lie apart by chance. What is measured before an interruption is kept.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import print_table, write_results

if TYPE_CHECKING:  # the parent process stays small: a child's peak memory would start from its own
    from torch import Tensor

    from figureground.config import TrainConfig
    from figureground.data import Dataset

TARGETS = {"unet": 2.2, "resnet34_unet": 1.8}
WARM_UP = 1
VARIANTS = ("plain", "ours", "other-seed", "fill")


def run_variant(given: argparse.Namespace) -> dict[str, Any]:
    """In the child process: measure one model in one variant."""
    (model,) = given.models
    if given.variant == "fill":
        training_data(given, model)
        return {}
    result: dict[str, Any] = {"model": model, "variant": given.variant}
    if given.variant != "other-seed":
        stamps = timed_ours(given, model) if given.variant == "ours" else timed_plain(given, model)
        seconds = [end - start for start, end in pairwise(stamps)][WARM_UP - 1 :]
        per_image = statistics.median(seconds) / given.batch_size
        result |= {"step_seconds": seconds, "seconds_per_image": per_image, "images_per_second": 1 / per_image}
        result |= peak_memory()
    if given.curve_steps:
        losses = {"plain": plain_curve, "ours": our_curve, "other-seed": plain_curve}[given.variant]
        seed = given.seed + (given.variant == "other-seed")
        result["losses"] = losses(*training_data(given, model), given.curve_steps, seed)
    return result


def training_data(given: argparse.Namespace, model: str) -> tuple[TrainConfig, Dataset]:
    """The report's recipe for one model, and its training images from the cache."""
    from figureground.config import TrainConfig, merge, parse, read_settings
    from figureground.data import open_dataset
    from figureground.preprocessing import Preprocessing
    from figureground.training.loaders import kept

    changes = {
        "data": {"source": str(given.data), "cache": str(given.cache)},
        "model": {"name": model, "arguments": model_arguments(given, model)},
        "preprocessing": {"size": [given.size, given.size]},
        "batch_size": given.batch_size,
        "seed": given.seed,
    }
    config = parse(TrainConfig, merge(read_settings("report"), changes))
    return config, kept(
        open_dataset(config.data, "train"), config.data, Preprocessing(config.preprocessing.size), progress=False
    )


def model_arguments(given: argparse.Namespace, model: str) -> dict[str, object]:
    return {"base_width": given.base_width} if given.base_width and model == "unet" else {}


def timed_plain(given: argparse.Namespace, model: str) -> list[float]:
    """When each step of the plain loop ended. Nothing of ours but the network is imported before."""
    import plain_loop

    from figureground.data.sources.oxford_pet import find_root, split_names

    root = find_root(given.data)
    if root is None:
        raise SystemExit(f"{given.data} is not in the Oxford-IIIT Pet layout (images/, annotations/trimaps/)")
    dataset = plain_loop.PlainPets(root, split_names(root, "train"), given.size)
    losses = plain_loop.steps(model, dataset, given.batch_size, given.seed, model_arguments(given, model))
    return [time.perf_counter() for _ in islice(losses, WARM_UP + given.steps)]


def timed_ours(given: argparse.Namespace, model: str) -> list[float]:
    """When each step of ours ended."""
    return [stamp for stamp, _ in our_steps(*training_data(given, model), WARM_UP + given.steps, given.seed)]


def our_curve(config: TrainConfig, dataset: Dataset, steps: int, seed: int) -> list[float]:
    return [loss for _, loss in our_steps(config, dataset, steps, seed)]


def our_steps(config: TrainConfig, dataset: Dataset, steps: int, seed: int) -> list[tuple[float, float]]:
    """Train as ``figureground train`` does, without its files; when each step ended, and its loss."""
    import lightning
    import torch

    from figureground.training.supervised import SegmentationModule
    from figureground.training.trainer import make_trainer, without_advice

    ended: list[tuple[float, float]] = []

    class Stopwatch(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            ended.append((time.perf_counter(), float(outputs["loss"])))

    torch.manual_seed(seed)
    module = SegmentationModule(config, steps)
    trainer = make_trainer(config, torch.cuda.is_available(), [Stopwatch()], epochs=-1, steps=steps)
    with without_advice():
        trainer.fit(module, our_loaders(config, dataset)[0])
    return ended


def our_loaders(config: TrainConfig, dataset: Dataset) -> Any:
    """For training, where the batches are the same for the same configuration, in every process, and for validation."""
    import torch

    from figureground.training.loaders import loaders

    return loaders(config, dataset, dataset, on_gpu=torch.cuda.is_available())


def plain_curve(config: TrainConfig, dataset: Dataset, steps: int, seed: int) -> list[float]:
    """The plain loop's losses on our batches."""
    import plain_loop
    import torch

    from figureground.data.dataset import FIGURE, FULL

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        loader, epoch = our_loaders(config, dataset)[0], 0
        while True:
            loader.sampler.set_epoch(epoch)
            for batch in loader:
                yield batch["image"].contiguous(), batch[FIGURE].unsqueeze(1).float() / FULL
            epoch += 1

    torch.manual_seed(seed)
    network = plain_loop.create_model(config.model.name, config.model.arguments)
    return list(islice(plain_loop.train_on(network, batches()), steps))


def peak_memory() -> dict[str, float | None]:
    """In MB, of the process and, with a GPU, of what torch has allocated there."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    gpu = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, "gpu_peak_mb": gpu}


def measure(given: argparse.Namespace, model: str, variant: str, cache: str) -> dict[str, Any]:
    """In the parent process: run one variant in a child and read the last line it prints."""
    command = [sys.executable, __file__, "--data", str(given.data), "--models", model, "--variant", variant]
    command += ["--cache", cache]
    for name in ("batch_size", "steps", "curve_steps", "size", "base_width", "seed"):
        command += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def compare(plain: dict[str, Any], ours: dict[str, Any], other: dict[str, Any] | None) -> dict[str, Any]:
    """The ratios of a model, and how far its loss curves lie apart."""
    figures: dict[str, Any] = {
        "speed_ratio": ours["images_per_second"] / plain["images_per_second"],
        "memory_ratio": ours["peak_mb"] / plain["peak_mb"],
        "target": TARGETS.get(ours["model"]),
    }
    if "losses" in plain:
        figures["curve_mean_abs_difference"] = mean_abs_difference(plain["losses"], ours["losses"])
        figures["first_loss"] = [plain["losses"][0], ours["losses"][0]]
    if other is not None:
        figures["curve_spread_of_two_seeds"] = mean_abs_difference(plain["losses"], other["losses"])
    return figures


def mean_abs_difference(first: list[float], second: list[float]) -> float:
    return statistics.fmean(abs(a - b) for a, b in zip(first, second, strict=True))


def draw_curves(path: Path, variants: dict[str, dict[str, Any]], title: str) -> None:
    """The losses of all variants over the steps, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, result in variants.items():
        axes.plot(range(1, len(result["losses"]) + 1), result["losses"], label=name, lw=1)
    axes.set(title=title, xlabel="step", ylabel="loss")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def print_results(model: str, variants: dict[str, dict[str, Any]], figures: dict[str, Any]) -> None:
    rows = []
    for name in ("plain", "ours"):
        result = variants[name]
        speed, memory = result["images_per_second"], f"{result['peak_mb']:.0f}"
        gpu = "–" if result["gpu_peak_mb"] is None else f"{result['gpu_peak_mb']:.0f}"
        ratio = f"{speed / variants['plain']['images_per_second']:.2f}×"
        rows.append((f"{model} {name}", f"{result['seconds_per_image']:.4f}", f"{speed:.2f}", memory, gpu, ratio))
    print_table(("variant", "s/image", "images/s", "peak MB", "GPU MB", "ratio"), rows)
    if figures["target"] is not None:
        verdict = "met" if figures["speed_ratio"] >= figures["target"] else "missed"
        print(f"target {figures['target']}×: {verdict} with {figures['speed_ratio']:.2f}×")
    for key, what in (
        ("curve_mean_abs_difference", "plain and ours, same batches"),
        ("curve_spread_of_two_seeds", "plain, two seeds"),
    ):
        if key in figures:
            print(f"mean absolute difference of the loss curves, {what}: {figures[key]:.4f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an unpacked Oxford-IIIT Pet folder")
    parser.add_argument("--models", nargs="+", default=list(TARGETS))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6, help="timed, behind one of warm-up")
    parser.add_argument("--curve-steps", type=int, default=0, help="compare the losses of so many steps")
    parser.add_argument("--spread", action="store_true", help="with --curve-steps: also the plain loop's second seed")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--base-width", type=int, default=0, help="of unet, for a quick look; 0: its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results here, the curves beside it")
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.steps < 1:
        parser.error("--steps: expected at least 1")
    return given


def measure_all(given: argparse.Namespace, cache: str) -> None:
    """Every model in every variant; the file is written anew after each model."""
    wanted = ["plain", "ours"] + ["other-seed"] * bool(given.spread and given.curve_steps)
    names = ("batch_size", "steps", "curve_steps", "size", "base_width", "seed")
    settings = {name: getattr(given, name) for name in names}
    measured = {}
    measure(given, given.models[0], "fill", cache)  # outside the processes whose memory is measured
    for model in given.models:
        variants = {variant: measure(given, model, variant, cache) for variant in wanted}
        figures = compare(variants["plain"], variants["ours"], variants.get("other-seed"))
        measured[model] = {**figures, "variants": variants}
        print_results(model, variants, figures)
        if given.json is not None:
            write_in_child(given.json, settings, measured)
            if given.curve_steps:
                picture = given.json.with_name(f"{given.json.stem}-{model}.png")
                draw_curves(picture, variants, f"{model}, same batches, same initial weights")


def write_in_child(path: Path, settings: dict[str, Any], measured: dict[str, Any]) -> None:
    """Write the results from another process: naming the machine imports torch, which would make this one large."""
    from multiprocessing import get_context

    process = get_context("spawn").Process(target=write_results, args=(path, "training_step", settings, measured))
    process.start()
    process.join()


def main() -> None:
    given = arguments()
    if given.variant is not None:
        print(json.dumps(run_variant(given)))
        return
    with tempfile.TemporaryDirectory() as cache:
        try:
            measure_all(given, cache)
        except KeyboardInterrupt:
            sys.exit("interrupted; the models that were done are kept")


if __name__ == "__main__":
    main()
