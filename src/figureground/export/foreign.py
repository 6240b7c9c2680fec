"""Other people's ONNX networks as bundles: their graph gets our inputs and outputs, and nothing in it is trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference, version_converter

from figureground.bundle import BundleInfo
from figureground.config import ImportConfig, ModelConfig, merge, parse
from figureground.errors import BadBundleError, UsageError
from figureground.export.onnx import INPUT, OUTPUT, strip, write_info
from figureground.export.untrusted import PREFIX, one_line, opset_of, read_untrusted
from figureground.files import digest_of, replacing
from figureground.prediction.photos.engines import FIGURE, Engine, open_engine
from figureground.prediction.photos.engines.onnxruntime_engine import REFUSALS
from figureground.prediction.photos.engines.private import privately
from figureground.prediction.photos.verify import vector_inputs, vector_logits, verify
from figureground.version import __version__

with privately():
    import onnxruntime

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
PRESETS: dict[str, dict[str, Any]] = {
    "u2net": {
        "preprocessing": {"size": [320, 320], "resample": "lanczos", **IMAGENET},
        "activation": "minmax",
        "brightest": True,
    },
    "isnet": {
        "preprocessing": {"size": [1024, 1024], "resample": "lanczos", "mean": [0.5] * 3, "std": [1.0] * 3},
        "activation": "minmax",
        "brightest": True,
    },
    "birefnet": {
        "preprocessing": {"size": [1024, 1024], "resample": "lanczos", **IMAGENET},
        "activation": "sigmoid-minmax",
        "brightest": True,
    },
    "smp": {"preprocessing": IMAGENET},
}
"""Settings of ``ImportConfig`` by kind of network: the first three as rembg 2.0 runs them, the last as
segmentation_models_pytorch leaves torch."""
QUANTIZED_OPSET = 13
"""The first whose weights can be quantized by channels."""
CERTAIN = 1e-6
"""Probabilities are kept so far from 0 and 1: their logits are finite then."""
MOST_NUMBERS = 2**31
"""Of one tensor within a network."""
EVEN = 1e-3
"""How far the answers to images together and alone may lie apart, as a share of the largest."""


def import_onnx(
    source: Path,
    target: Path,
    changes: Mapping[str, Any],
    preset: str | None = None,
    *,
    say: Callable[[str], object] = lambda line: None,
) -> BundleInfo:
    """Write somebody else's ``.onnx`` network as a bundle, which gives the figure's logits (N, 1, H, W) as ours do.

    Args:
        source: the network, (N or 1, 3, H, W) float32 to maps (N, 1, h, w) or (N, h, w); H and W are multiples.
        target: the bundle, an ``.onnx`` file.
        changes: settings of ``ImportConfig``, nested, as they go before those of the preset.
        preset: one of ``PRESETS``.
        say: receives what the user should know of the network.

    Raises:
        FiguregroundError: a file that is damaged, reaches outside of itself or for too much memory, has other inputs or
            outputs, or cannot be run; or a setting that is missing or wrong.
    """
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: expected a name that ends in .onnx")
    model = read_untrusted(source)
    taken = _taken(model, source)
    settings = _settled(changes, preset, taken.size, source)
    outputs = [port.name for port in model.graph.output]
    if settings.output_index >= len(outputs):
        raise UsageError(f"{source} has {len(outputs)} outputs; --output-index is {settings.output_index}, from 0")
    chosen = outputs[settings.output_index]
    _put_before(model.graph, taken.name, settings)
    maps = _seen(model, chosen, settings.preprocessing.size, source)
    if doubt := _doubt(maps, settings.activation, source):
        say(doubt)
    _put_behind(model.graph, chosen, maps.shape, settings)
    imported = {
        "file": source.name,
        "sha256": digest_of(source),
        "output": chosen.removeprefix(PREFIX),
        "activation": settings.activation,
        "brightest": settings.brightest,
    }
    info = BundleInfo(
        ModelConfig(preset or "imported"),
        settings.preprocessing,
        licence=settings.licence,
        export={"precision": "float32", "imported": imported},
        figureground=__version__,
    )
    with replacing(target) as partial:
        engine = _saved(model, partial, info, taken.batch or "batch")
        write_info(partial, info, vector_logits(engine, info.preprocessing.size))
        for each in verify(partial).engines:
            if each.result == "wrong":
                say(f"it does not run in {each.engine} ({each.said}); predict with --engine {engine.name}")
    return info


def write_graph(bundle: Path, target: Path, precision: str) -> None:
    """Write the graph of an imported bundle, without metadata, so that it can be brought to a precision.

    Raises:
        BadBundleError: for int8 it needs later operators of ONNX, and some of its own have no equivalent there.
    """
    model = onnx.load(bundle)
    del model.metadata_props[:]
    if precision == "int8" and opset_of(model) < QUANTIZED_OPSET:
        try:
            model = version_converter.convert_version(model, QUANTIZED_OPSET)
        except RuntimeError as error:
            raise BadBundleError(
                f"{bundle} has ONNX opset {opset_of(model)}, int8 needs {QUANTIZED_OPSET}, and it cannot be converted "
                f"({one_line(error)}); export it anew from where it was trained, and import that"
            ) from None
    onnx.save(model, target)


class _Taken(NamedTuple):
    """The one input of a network."""

    name: str
    batch: int | None
    """None: any."""
    size: tuple[int, int] | None
    """Height and width, if they are fixed."""


def _taken(model: onnx.ModelProto, path: Path) -> _Taken:
    """
    Raises:
        BadBundleError: it has others than (N, 3, H, W) float32, where N is 1 or any.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in held]
    kinds = [port.type.tensor_type for port in ports]
    shapes = [[side.dim_value if side.dim_value > 0 else None for side in kind.shape.dim] for kind in kinds]
    one = [kind.elem_type for kind in kinds] == [TensorProto.FLOAT]
    if not one or len(shapes[0]) != 4 or shapes[0][1] not in (None, 3):
        said = ", ".join(f"{TensorProto.DataType.Name(k.elem_type)} {s}" for k, s in zip(kinds, shapes, strict=True))
        raise BadBundleError(f"{path} takes {said or 'nothing'}; expected one input (N, 3, H, W) of float32")
    batch, _, height, width = shapes[0]
    if batch not in (None, 1):
        raise BadBundleError(f"{path} takes {batch} images at a time; expected one, or any number. Export it anew")
    return _Taken(ports[0].name, batch, (height, width) if height and width else None)


def _settled(changes: Mapping[str, Any], preset: str | None, size: tuple[int, int] | None, path: Path) -> ImportConfig:
    """All settings: those that were given, the file's own size, those of the preset."""
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"preset {preset!r}; expected one of: {', '.join(PRESETS)}")
    given = dict(changes.get("preprocessing", {}))
    if size is not None and tuple(given.setdefault("size", size)) != size:
        raise UsageError(f"{path} takes {size[0]}×{size[1]} pixels only (height×width); --size is {given['size']}")
    settings = merge(merge(PRESETS.get(preset or "", {}), changes), {"preprocessing": given})
    unsaid = [name for name in ("size", "mean", "std") if name not in settings["preprocessing"]]
    if unsaid:
        flags = ", ".join(f"--{name}" for name in unsaid)
        raise UsageError(f"{path} does not say how it sees photos; expected {flags}, or --preset {'|'.join(PRESETS)}")
    return parse(ImportConfig, settings, str(path))


class _Steps:
    """Nodes of ours in a row, and their constants."""

    def __init__(self, graph: onnx.GraphProto, place: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._place = graph, place

    def add(self, operator: str, *inputs: str | NDArray[Any] | np.float32, output: str = "", **attributes: Any) -> str:
        """The name of what comes out."""
        name = f"{self._place}/{operator}_{len(self.nodes)}"
        taken = []
        for number, given in enumerate(inputs):
            constant = f"{name}/{number}"
            if not isinstance(given, str):
                self._graph.initializer.append(numpy_helper.from_array(np.asarray(given), constant))
            taken.append(given if isinstance(given, str) else constant)
        self.nodes.append(helper.make_node(operator, taken, [output or name], name, **attributes))
        return output or name


def _put_before(graph: onnx.GraphProto, inner: str, settings: ImportConfig) -> None:
    """Lead our input to where the network has its own, ``inner``."""
    steps, last = _Steps(graph, "before"), INPUT
    if settings.brightest:
        mean, std = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in settings.preprocessing.normalisation)
        pixels = steps.add("Add", steps.add("Mul", last, std), mean)
        height, width = settings.preprocessing.size
        rows = steps.add("Reshape", pixels, np.array([0, 1, 3 * height, width]))  # the largest of all channels
        largest = steps.add("Max", steps.add("GlobalMaxPool", rows), np.float32(1e-6 / 255))
        last = steps.add("Div", steps.add("Sub", steps.add("Div", pixels, largest), mean), std)
    steps.add("Identity", last, output=inner)
    nodes = [*steps.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _put_behind(graph: onnx.GraphProto, last: str, shape: Sequence[int], settings: ImportConfig) -> None:
    """Make our output, logits (N, 1, H, W), of what the network gives as ``last``: maps of a shape (..., h, w)."""
    steps = _Steps(graph, "behind")
    height, width = shape[-2:]
    last = steps.add("Reshape", last, np.array([0, 1, height, width]))
    if settings.activation == "sigmoid-minmax":
        last = steps.add("Sigmoid", last)
    if settings.activation.endswith("minmax"):
        greatest = steps.add("GlobalMaxPool", last)
        least = steps.add("Neg", steps.add("GlobalMaxPool", steps.add("Neg", last)))
        span = steps.add("Max", steps.add("Sub", greatest, least), np.float32(CERTAIN))
        last = steps.add("Div", steps.add("Sub", last, least), span)
    if settings.activation != "none":
        last = steps.add("Min", steps.add("Max", last, np.float32(CERTAIN)), np.float32(1 - CERTAIN))
        last = steps.add("Log", steps.add("Div", last, steps.add("Sub", np.float32(1), last)))
    factors = [side / small for side, small in zip(settings.preprocessing.size, (height, width), strict=True)]
    if factors != [1, 1]:
        last = steps.add("Resize", last, "", np.array([1, 1, *factors], np.float32), mode="linear")
    steps.add("Identity", last, output=OUTPUT)
    graph.node.extend(steps.nodes)


def _port(name: str, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _set_ports(graph: onnx.GraphProto, taken: onnx.ValueInfoProto, given: onnx.ValueInfoProto) -> None:
    """Its one input and output."""
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(taken)
    graph.output.append(given)


def _seen(model: onnx.ModelProto, output: str, size: tuple[int, int], path: Path) -> NDArray[np.float32]:
    """What the network makes of two inputs, (2, 1, h, w) or (2, h, w), as it is.

    Raises:
        BadBundleError: it cannot be run, asks for too much memory, or gives something else.
    """
    _set_ports(model.graph, _port(INPUT, [1, 3, *size]), _port(output, None))
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except (ValueError, RuntimeError) as error:
        raise _not_run(path, error) from None
    for port in inferred.graph.value_info:
        numbers = math.prod(max(side.dim_value, 1) for side in port.type.tensor_type.shape.dim)
        if numbers > MOST_NUMBERS:
            raise BadBundleError(f"{path} makes a tensor of {numbers} numbers; expected at most {MOST_NUMBERS}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        maps = [session.run([output], {INPUT: each[None]})[0] for each in vector_inputs(size)]
    except (*REFUSALS, ValueError) as error:  # the latter of more than 2 GB
        raise _not_run(path, error) from None
    shape = maps[0].shape
    whole = len(shape) in (3, 4) and all(s > 0 and not full % s for full, s in zip(size, shape[-2:], strict=True))
    if not whole or set(shape[:-2]) != {1} or maps[0].dtype != np.float32:
        raise BadBundleError(
            f"{path} gives {maps[0].dtype} {shape} for an image of {(1, 3, *size)}; expected one map, as large or a "
            "whole part of it. Name another output with --output-index"
        )
    if not all(np.isfinite(each).all() for each in maps):
        raise BadBundleError(f"{path} gives values that are not finite; are --mean and --std right?")
    return np.concatenate(maps)


def _doubt(maps: NDArray[np.float32], activation: str, path: Path) -> str | None:
    """What may be wrong with the activation that was said, in view of what the network gives.

    Raises:
        UsageError: it cannot be right.
    """
    low, high = float(maps.min()), float(maps.max())
    within = low >= -CERTAIN and high <= 1 + CERTAIN
    if activation == "sigmoid" and not within:
        raise UsageError(
            f"{path} gives {low:.3g} to {high:.3g}, which are no probabilities; expected --activation none "
            "(logits), or minmax"
        )
    if "minmax" in activation or activation == "sigmoid" or not within:
        return None
    return f"it gives {low:.3g} to {high:.3g} for two test images: if these are probabilities, say --activation sigmoid"


def _saved(model: onnx.ModelProto, path: Path, info: BundleInfo, batch: int | str) -> Engine:
    """Write the network, and open it; one that says it takes any number of images and does not, takes one."""
    size = info.preprocessing.size
    _set_ports(model.graph, _port(INPUT, [batch, 3, *size]), _port(OUTPUT, [batch, 1, *size]))
    strip(model)
    onnx.save(model, path)
    engine = open_engine(path, info, "onnxruntime")
    if batch == 1 or _takes_several(engine, vector_inputs(size)):
        return engine
    return _saved(model, path, info, 1)


def _takes_several(engine: Engine, images: NDArray[np.float32]) -> bool:
    alone = np.concatenate([engine.run(each[None])[FIGURE] for each in images])
    try:
        together = engine.run(images)[FIGURE]
    except REFUSALS:
        return False
    return together.shape == alone.shape and bool(np.abs(together - alone).max() <= EVEN * np.abs(alone).max())


def _not_run(path: Path, error: Exception) -> BadBundleError:
    return BadBundleError(f"{path} cannot be run by ONNX Runtime ({one_line(error)}); export it anew")
