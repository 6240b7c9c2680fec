"""What runs a network. Every engine takes the same input and gives the same outputs, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from figureground.bundle import BundleInfo, require_intact
from figureground.errors import BadBundleError, MissingPackageError, UsageError

Shape = Sequence[object]
FIGURE = "figure"
"""The output that every network has: the logits of being figure."""


class Engine(Protocol):
    """A network that is ready to run."""

    name: str
    """Such as ``torch``."""
    lanes: int
    """How many batches it works on at once when asked by so many threads."""

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Normalised images (N, 3, H, W) to outputs by name; ``figure`` is (N, 1, H, W) logits."""
        ...


def _torch(path: Path, info: BundleInfo, many: bool) -> Engine:
    from figureground.prediction.photos.engines.torch_engine import TorchEngine

    return TorchEngine.of_bundle(path, info.model)


def _openvino(path: Path, info: BundleInfo, many: bool) -> Engine:
    from figureground.prediction.photos.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(path, info.preprocessing.size, many=many)


def _onnxruntime(path: Path, info: BundleInfo, many: bool) -> Engine:
    from figureground.prediction.photos.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, info.preprocessing.size)


ENGINES: dict[str, dict[str, Callable[[Path, BundleInfo, bool], Engine]]] = {
    ".safetensors": {"torch": _torch},
    ".onnx": {"openvino": _openvino, "onnxruntime": _onnxruntime},
}
"""By the suffix of a bundle, the engines that run it, the fastest first (see docs/results.md)."""
STARTS_FIRST = "onnxruntime"
FEW_PHOTOS = 10
"""Up to so many photos the engine that starts first is done first: OpenVINO needs about half a second more to start,
and gains 4 ms (ResNet34-U-Net) to 50 ms (U-Net) with each photo in int8."""


def engines_of(bundle: Path) -> dict[str, Callable[[Path, BundleInfo, bool], Engine]]:
    """Those that run such a file, the fastest first.

    Raises:
        BadBundleError: its suffix is not a bundle's.
    """
    if bundle.suffix not in ENGINES:
        raise BadBundleError(f"{bundle} is no bundle; expected a file that ends in: {', '.join(ENGINES)}")
    return ENGINES[bundle.suffix]


def open_engine(bundle: Path, info: BundleInfo, name: str | None = None, photos: int | None = None) -> Engine:
    """What runs a bundle.

    Args:
        bundle: the file.
        info: its metadata.
        name: ``torch``, ``openvino`` or ``onnxruntime``; none: the one that is done first, of those installed.
        photos: how many it will be shown, if that is known. For more than a few the engine works on several batches at
            once, where it can; otherwise on one with all cores.

    Raises:
        FiguregroundError: an engine that is not installed or does not run this kind of file, or a file that is damaged
            or was changed since it was written.
    """
    known = engines_of(bundle)
    if name is not None and name not in known:
        other = "export the model first: figureground export" if bundle.suffix == ".safetensors" else "leave it out"
        raise UsageError(f"{bundle.name} runs with {' or '.join(known)}, not with {name!r}; {other}")
    few = photos is not None and photos <= FEW_PHOTOS
    for candidate in [name] if name else sorted(known, key=lambda each: few and each != STARTS_FIRST):
        if find_spec(candidate) is not None:
            if bundle.suffix == ".onnx":  # of the other kind the weights are compared as they are read
                require_intact(bundle)
            return known[candidate](bundle, info, photos is not None and not few)
    missing = name or list(known)[-1]
    extra = {"openvino": "openvino", "torch": "train"}.get(missing)
    package = f"'figureground[{extra}]'" if extra else missing
    raise MissingPackageError(f"{bundle.name} needs {missing}, which is not installed: pip install {package}")


def output_names(
    bundle: Path, size: tuple[int, int], inputs: Sequence[Shape], outputs: Sequence[tuple[str, Shape]]
) -> list[str]:
    """The names of a network's outputs, once its shapes are those of its metadata, which somebody may have edited.

    An output that is alone is ``figure``, whatever the file calls it: files of bundle format 1 call it ``logits``.

    Args:
        bundle: the file, for the message.
        size: height and width that the metadata names.
        inputs: the shape of each input of the network; a side that is no number is open.
        outputs: the name and shape of each output.

    Raises:
        FiguregroundError: there is not one input (N, 3, H, W), or no ``figure`` (N, 1, H, W), of that size, with any N
            or, as some networks of others have it, an N of 1.
    """
    names = [name for name, _ in outputs] if len(outputs) > 1 else [FIGURE]
    figure = [shape for name, (_, shape) in zip(names, outputs, strict=False) if name == FIGURE]
    for what, shapes, channels in (("takes", inputs, 3), ("gives as figure", figure, 1)):
        found = [tuple(side if isinstance(side, int) else "N" for side in shape) for shape in shapes]
        if found not in ([("N", channels, *size)], [(1, channels, *size)]):
            raise BadBundleError(
                f"{bundle}: its network {what} {', '.join(map(_shown, found)) or 'nothing'}, its metadata says "
                f"{_shown(('N', channels, *size))}; the file was changed after its export. Export it again"
            )
    return names


def by_name(
    names: Sequence[str],
    run: Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]],
    batch: NDArray[np.float32],
    alone: bool,
) -> dict[str, NDArray[np.float32]]:
    """The outputs of a batch (N, 3, H, W) by name; ``alone``: of a network that takes one image at a time."""
    parts = np.split(batch, len(batch)) if alone else [batch]
    outputs = [run(np.ascontiguousarray(part)) for part in parts]
    joined = (each[0] if len(each) == 1 else np.concatenate(each) for each in zip(*outputs, strict=True))
    return dict(zip(names, joined, strict=True))


def _shown(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
