"""What runs a network. Every engine takes the same input and gives the same logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from figureground.bundle import BundleInfo, read_tensors
from figureground.errors import FiguregroundError

Shape = Sequence[object]


class Engine(Protocol):
    """A network that is ready to run."""

    name: str
    """Such as ``torch``."""

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) to logits (N, H, W)."""
        ...


def _torch(path: Path, info: BundleInfo) -> Engine:
    from figureground.prediction.engines.torch_engine import TorchEngine, as_tensors

    return TorchEngine(info.model, as_tensors(read_tensors(path)), str(path))


def _openvino(path: Path, info: BundleInfo) -> Engine:
    from figureground.prediction.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(path, info.preprocessing.size)


def _onnxruntime(path: Path, info: BundleInfo) -> Engine:
    from figureground.prediction.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, info.preprocessing.size)


ENGINES: dict[str, dict[str, Callable[[Path, BundleInfo], Engine]]] = {
    ".safetensors": {"torch": _torch},
    ".onnx": {"openvino": _openvino, "onnxruntime": _onnxruntime},
}
"""By the suffix of a bundle, the engines that run it, the fastest first (see docs/results.md)."""


def open_engine(bundle: Path, info: BundleInfo, name: str | None = None) -> Engine:
    """What runs a bundle.

    Args:
        bundle: the file.
        info: its metadata.
        name: ``torch``, ``openvino`` or ``onnxruntime``; none: the fastest that is installed.

    Raises:
        FiguregroundError: an engine that is not installed or does not run this kind of file, or a damaged file.
    """
    known = ENGINES.get(bundle.suffix)
    if known is None:
        raise FiguregroundError(f"{bundle} is no bundle; expected a file that ends in: {', '.join(ENGINES)}")
    if name is not None and name not in known:
        other = "export the model first: figureground export" if bundle.suffix == ".safetensors" else "leave it out"
        raise FiguregroundError(f"{bundle.name} runs with {' or '.join(known)}, not with {name!r}; {other}")
    for candidate in [name] if name else known:
        if find_spec(candidate) is not None:
            return known[candidate](bundle, info)
    missing = name or list(known)[-1]
    extra = {"openvino": "openvino", "torch": "train"}.get(missing)
    package = f"'figureground[{extra}]'" if extra else missing
    raise FiguregroundError(f"{bundle.name} needs {missing}, which is not installed: pip install {package}")


def expect_shapes(bundle: Path, size: tuple[int, int], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> None:
    """Hold a network's shapes against its metadata, which somebody may have edited.

    Args:
        bundle: the file, for the message.
        size: height and width that the metadata names.
        inputs: the shape of each input of the network; a side that is no number is open.
        outputs: the shape of each output.

    Raises:
        FiguregroundError: they are not one (N, 3, H, W) and one (N, 1, H, W) of that size, with any N.
    """
    for what, shapes, channels in (("takes", inputs, 3), ("gives", outputs, 1)):
        found = [tuple(side if isinstance(side, int) else "N" for side in shape) for shape in shapes]
        if found != [("N", channels, *size)]:
            raise FiguregroundError(
                f"{bundle}: its network {what} {', '.join(map(_shown, found))}, its metadata says "
                f"{_shown(('N', channels, *size))}; the file was changed after its export. Export it again"
            )


def _shown(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
