"""Which network for plain processors: valid Dice after equal training time, against the time for one image in int8.

    python benchmarks/architecture_study.py --data DIR --minutes 4 --output runs/architectures \
        --json benchmarks/results/architecture_study.json

Every network is trained with the recipe ``pets``, without its phases, at ``--size``, for as many steps as fit into the
minutes at the speed that is measured first, so the schedule of each ends when its time does. Dice is that of the
averaged weights on valid at the same size; the time is the network's alone at 256×256, batch 1, int8 in OpenVINO.
Networks that are done are kept: the same command again goes on where it was stopped.

The encoders of segmentation_models.pytorch start from scratch like the others.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bundles import exported
from machine import print_table, write_results
from torch import nn
from train_pets import kept, milliseconds

from figureground.bundle import BundleInfo, read_info, read_tensors, write_bundle
from figureground.config import ModelConfig, TrainConfig, merge, parse, read_settings
from figureground.data import open_dataset
from figureground.evaluation import evaluate
from figureground.models import MODELS, create_model
from figureground.models.compact_fpn import CompactFPN
from figureground.prediction import load
from figureground.preprocessing import Preprocessing
from figureground.training import loaders as batches_of
from figureground.training.callbacks import averaging
from figureground.training.loaders import loaders
from figureground.training.supervised import SegmentationModule
from figureground.training.trainer import make_trainer, without_advice

WARM_UP = 6  # steps that are timed, behind two that are not


class DepthwiseFPN(CompactFPN):
    """The compact FPN with every 3×3 convolution of its residual blocks split into a depthwise and a pointwise one."""

    def __init__(self) -> None:
        super().__init__(widths=(32, 64, 128, 224, 384))
        for block in list(self.stages.modules()):
            for name, layer in list(block.named_children()):
                if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                    setattr(block, name, separable(layer))


def separable(layer: nn.Conv2d) -> nn.Sequential:
    """Depthwise 3×3, batch norm, ReLU, pointwise 1×1, in the place of ``layer``."""
    channels = layer.in_channels
    depthwise = nn.Conv2d(channels, channels, 3, layer.stride, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, layer.out_channels, 1, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(channels), nn.ReLU(inplace=True), pointwise)


CANDIDATES: dict[str, Callable[[], nn.Module]] = {
    "U-Net": lambda: create_model("unet"),
    "U-Net, width 16": lambda: create_model("unet", {"base_width": 16}),
    "ResNet34-U-Net": lambda: create_model("resnet34_unet"),
    "compact FPN, head at stride 2": CompactFPN,
    "compact FPN, head at stride 4": lambda: CompactFPN(head_stride=4),
    "compact FPN, 2/3 of the width": lambda: CompactFPN((16, 32, 64, 104, 168), (88, 64, 40, 32, 24)),
    "compact FPN, depthwise separable": DepthwiseFPN,
    "MobileNetV2, FPN (smp)": lambda: create_model("fpn", encoder="mobilenetv2_100"),
    "MobileNetV2, U-Net (smp)": lambda: create_model("unet", encoder="mobilenetv2_100"),
}


def settings_of(given: argparse.Namespace, name: str) -> TrainConfig:
    changes: dict[str, Any] = {
        "data": {"source": str(given.data)},
        "model": {"name": name},
        "preprocessing": {"size": [given.size, given.size]},
        "phases": [],
        "seed": given.seed,
    }
    return parse(TrainConfig, merge(read_settings("pets"), changes))


def fitted(config: TrainConfig, seconds: float) -> tuple[SegmentationModule, dict[str, Any]]:
    """A network that was trained for ``seconds``, and what they were enough for."""
    dataset = batches_of.kept(open_dataset(config.data, "train"), config.data, config.preprocessing, progress=False)
    batches = loaders(config, dataset, dataset, on_gpu=False)[0]

    def train(steps: int) -> tuple[SegmentationModule, float]:
        torch.manual_seed(config.seed)
        module = SegmentationModule(config, steps)
        trainer = make_trainer(config, False, [averaging(config.ema_decay or 0.999)], epochs=-1, steps=steps)
        start = time.perf_counter()
        with without_advice():
            trainer.fit(module, batches)
        return module, time.perf_counter() - start

    train(2)
    start_up = train(2)[1]
    step = (train(2 + WARM_UP)[1] - start_up) / WARM_UP
    steps = max(4, round(seconds / step))
    module, took = train(steps)
    return module, {"steps": steps, "epochs": steps * config.batch_size / len(dataset), "seconds": took}


def study(given: argparse.Namespace, name: str, folder: Path) -> dict[str, Any]:
    """Train, score and time one candidate."""
    config = settings_of(given, name)
    module, found = fitted(config, 60 * given.minutes)
    network = {key: tensor.numpy() for key, tensor in module.network.state_dict().items()}
    bundle = folder / "model.safetensors"
    write_bundle(bundle, network, BundleInfo(ModelConfig(name), config.preprocessing))
    evaluation = evaluate(load(bundle), open_dataset(given.data, "valid"), native=False)
    found |= {"dice": {"mean": evaluation.dice.mean, "ci95": evaluation.dice.ci95}, "n": len(evaluation.names)}
    return found | {"parameters": sum(tensor.size for key, tensor in network.items() if "running" not in key)}


def latency(bundle: Path) -> float:
    """Milliseconds for one image of 256×256, int8 in OpenVINO."""
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "full.safetensors"
        write_bundle(full, read_tensors(bundle), replace(read_info(bundle), preprocessing=Preprocessing()))
        return milliseconds(exported(full, Path(folder), "int8")[0], "openvino")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an unpacked Oxford-IIIT Pet folder")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES), help="some of the candidates")
    parser.add_argument("--output", type=Path, default=Path("runs/architectures"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results: dict[str, Any] = {}
    for name in given.only:
        MODELS[name] = CANDIDATES[name]  # type: ignore[assignment]  # a function makes one as well as its class
        folder = given.output / "".join(c if c.isalnum() else "-" for c in name)
        folder.mkdir(parents=True, exist_ok=True)
        results[name] = kept(folder / "study.json", lambda name=name, folder=folder: study(given, name, folder))
        results[name] |= kept(
            folder / "latency.json", lambda folder=folder: {"milliseconds": latency(folder / "model.safetensors")}
        )
        print(name, json.dumps(results[name]), flush=True)
    rows = [
        (
            name,
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['epochs']:.1f}",
            "{:.4f} [{:.4f}, {:.4f}]".format(row["dice"]["mean"], *row["dice"]["ci95"]),
            f"{row['milliseconds']:.1f}",
        )
        for name, row in sorted(results.items(), key=lambda item: -item[1]["dice"]["mean"])
    ]
    print_table(("network", "parameters", "epochs", "valid Dice", "ms"), rows)
    settings = {name: getattr(given, name) for name in ("minutes", "size", "seed")}
    write_results(given.json, "architecture_study", settings, results)


if __name__ == "__main__":
    main()
