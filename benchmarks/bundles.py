"""Models to measure: those of trained runs, and untrained networks where the weights do not matter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from figureground.bundle import BundleInfo, read_info, read_tensors, write_bundle
from figureground.config import DataConfig, ModelConfig
from figureground.data import Dataset, open_dataset
from figureground.export import Precision, export
from figureground.images import write_image
from figureground.models import build
from figureground.prediction.photos.engines.torch_engine import as_tensors
from figureground.preprocessing import Preprocessing
from figureground.runs import BUNDLE_IN_RUN

NETWORKS = {
    "unet": ModelConfig("unet"),
    "resnet34_unet": ModelConfig("resnet34_unet"),
    "unet-16": ModelConfig("unet", {"base_width": 16}),
    "compact_fpn": ModelConfig("compact_fpn"),
}
DRAWN = DataConfig("synthetic:n=40,size=256")
"""What untrained networks are exported on: it only has to fill their ranges."""


def parse_runs(texts: Sequence[str]) -> dict[str, Path]:
    """``NAME=FOLDER`` of the command line: by network, the bundle of a trained run."""
    runs = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if name not in NETWORKS or not (Path(folder) / BUNDLE_IN_RUN).is_file():
            raise SystemExit(f"--run {text}: expected one of {', '.join(NETWORKS)}, =, and the folder of a run")
        runs[name] = Path(folder) / BUNDLE_IN_RUN
    return runs


def untrained_bundle(name: str, folder: Path) -> Path:
    """A bundle of random weights whose batch norm has seen images, so that activations have an ordinary range."""
    torch.manual_seed(0)
    settings = NETWORKS[name]
    network = build(settings).train()
    preprocessing = Preprocessing()
    samples = islice(iter_samples(open_dataset(DRAWN.source, "train")), 8)
    batch = preprocessing.normalise(np.stack([preprocessing.resize_image(image) for image, _ in samples]))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics become those of this batch
    with torch.no_grad():
        network(torch.from_numpy(batch))
    path = folder / f"{name}.safetensors"
    write_bundle(path, {key: value.numpy() for key, value in network.state_dict().items()}, BundleInfo(settings))
    return path


def plain_session(model: Path) -> Callable[[Image.Image], NDArray[np.bool_]]:
    """From a photograph to its mask (h, w) at the network's size, as a user of ONNX Runtime would write it."""
    import onnxruntime

    session, preprocessing = onnxruntime.InferenceSession(model), read_info(model).preprocessing

    def predict(photo: Image.Image) -> NDArray[np.bool_]:
        small = photo.resize(preprocessing.size[::-1], Image.Resampling.BILINEAR)
        (logits,) = session.run(None, {"images": preprocessing.normalise(np.asarray(small)[None])})
        mask: NDArray[np.bool_] = logits[0, 0] > 0
        return mask

    return predict


def plain_network(bundle: Path) -> torch.nn.Module:
    """The network of a ``.safetensors`` bundle as it is built: float32, contiguous memory."""
    model = read_info(bundle).model
    network = build(model)
    network.load_state_dict(as_tensors(read_tensors(bundle)))
    return network.eval()


def exported(bundle: Path, folder: Path, precision: Precision, data: DataConfig = DRAWN) -> tuple[Path, BundleInfo]:
    """The bundle as ``.onnx``, whatever its loss; the gate's comparison on ``data`` is in its metadata."""
    path = folder / f"{bundle.parent.name}-{bundle.stem}-{precision}.onnx"
    return path, export(bundle, path, data, precision=precision, accept_loss=True, progress=sys.stderr.isatty())


def first_images(source: str, n: int, folder: Path) -> DataConfig:
    """The first ``n`` images of the train and the valid split, copied: for a quick look."""
    for split in ("train", "valid"):
        for number, (image, mask) in enumerate(islice(iter_samples(open_dataset(source, split)), n)):
            write_image(folder / "images" / split / f"{number}.png", image)
            write_image(folder / "masks" / split / f"{number}.png", mask.astype(np.uint8) * np.uint8(255))
    return DataConfig(str(folder))


def iter_samples(dataset: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images (H, W, 3) and their masks (H, W)."""
    for index in range(len(dataset)):
        sample = dataset[index]
        yield sample.image, sample.mask
