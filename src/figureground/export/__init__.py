"""A model as one ``.onnx`` file that gives the same answer in every engine, or no file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from figureground.bundle import BundleInfo, read_info
from figureground.config import DataConfig
from figureground.data import Dataset, open_dataset
from figureground.errors import BadBundleError, FiguregroundError, UsageError
from figureground.export import gate
from figureground.export.foreign import import_onnx, write_graph
from figureground.export.onnx import store_in_float16, to_onnx, write_info
from figureground.export.quantize import quantize
from figureground.files import replacing
from figureground.models.rewriting import enlarge_by_products, untranspose
from figureground.prediction import Member, open_member
from figureground.prediction.photos.engines import ENGINES, open_engine
from figureground.prediction.photos.engines.torch_engine import TorchEngine
from figureground.prediction.photos.verify import vector_logits
from figureground.runs import bundle_path
from figureground.version import __version__

Precision = Literal["float32", "float16", "int8"]
CALIBRATION_IMAGES = 100

__all__ = ["Precision", "export", "import_onnx", "original_bundle"]


def export(
    source: str | Path,
    target: Path,
    data: DataConfig,
    *,
    precision: Precision = "float32",
    accept_loss: bool = False,
    progress: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> BundleInfo:
    """Write a model as ``.onnx``, once it has been compared with the original on the valid split.

    Args:
        source: a run folder, a ``.safetensors`` bundle, or an imported network in float32.
        target: the file.
        data: what the file is compared on (its valid split) and, for int8, calibrated on (its train split).
        precision: of the weights (float16), or of weights and activations (int8).
        accept_loss: write the file even if its Dice falls by more than the limit.
        progress: show a progress bar.
        say: receives the table of the comparison.

    Returns:
        The metadata of the file.

    Raises:
        FiguregroundError: the model cannot be exported, or the quality falls by more than the limit.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"precision {precision!r}; expected one of: {', '.join(get_args(Precision))}")
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: expected a name that ends in .onnx")
    bundle = original_bundle(source)
    if precision == "float32" and bundle.suffix == ".onnx":
        raise UsageError(f"{bundle} is an imported network, in float32 already; expected --precision float16 or int8")
    reference = open_member(bundle)
    valid = open_dataset(data, "valid")
    with replacing(target) as partial:
        if bundle.suffix == ".onnx":
            write_graph(bundle, partial, precision)
        else:
            _trace(reference, partial, precision)
        if precision == "float16":
            store_in_float16(partial)
        if precision == "int8":
            quantize(partial, partial, _calibration(reference, open_dataset(data, "train")))
        engines = [name for name in ENGINES[".onnx"] if find_spec(name) is not None]
        exported = [Member(reference.info, open_engine(partial, reference.info, name), name) for name in engines]
        rows = gate.compare_engines(reference, exported, valid, progress=progress)
        sizes = [bundle.stat().st_size, *[partial.stat().st_size] * len(engines)]
        say(gate.table(rows, sizes))
        for name in set(ENGINES[".onnx"]).difference(engines):
            say(f"not compared in {name}, which is not installed: pip install {name}")
        if not accept_loss:
            _refuse_loss(gate.worst_change(rows), precision, valid)
        figures = reference.info.export | {"precision": precision, "gate": gate.to_json(rows, sizes, valid, precision)}
        info = replace(reference.info, export=figures, figureground=__version__)
        logits = vector_logits(exported[0].engine, info.preprocessing.size)
        write_info(partial, info, logits)
    return info


def original_bundle(source: str | Path) -> Path:
    """The bundle that is exported: of a run folder, or the file itself.

    Raises:
        FiguregroundError: there is none, or it is exported already.
    """
    bundle = bundle_path(source)
    if bundle.suffix == ".onnx" and not is_imported(read_info(bundle)):
        raise BadBundleError(f"{bundle} is exported already; give the run or the .safetensors it was made from")
    return bundle


def is_imported(info: BundleInfo) -> bool:
    """Whether a bundle is somebody else's network as it came, in float32."""
    return "imported" in info.export and info.export.get("precision") == "float32"


def _trace(reference: Member, path: Path, precision: Precision) -> None:
    """Write the graph, in float32 and without metadata."""
    assert isinstance(reference.engine, TorchEngine)  # what runs a .safetensors bundle
    network = copy.deepcopy(reference.engine.network)  # the reference stays where it is, and in its memory format
    network.cpu()
    if precision == "int8":
        untranspose(network)
        enlarge_by_products(network)
    to_onnx(network, reference.preprocessing.size, path)


def _calibration(reference: Member, dataset: Dataset) -> Iterator[NDArray[np.float32]]:
    """Images spread evenly over a split, as the network takes them."""
    chosen = np.linspace(0, len(dataset) - 1, min(CALIBRATION_IMAGES, len(dataset))).round().astype(int)
    for number, index in enumerate(chosen):
        window = reference.preprocessing.one_window(dataset[int(index)].image, number)
        yield reference.preprocessing.normalise(window[None])


def _refuse_loss(change: float, precision: Precision, dataset: Dataset) -> None:
    limit = gate.LIMITS[precision]
    if -change > limit:
        raise FiguregroundError(
            f"the mean Dice on {dataset.split} (n = {len(dataset)}) falls by {-change:.4f}, more than the {limit} that "
            f"{precision} is allowed; no file was written. Try another --precision, or take it with --accept-loss"
        )
