"""ONNX files from anywhere, held against what they may not do before anything runs them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, compose, inliner

from figureground.bundle import METADATA_KEY
from figureground.errors import BadBundleError
from figureground.settings import shown

PREFIX = "foreign/"
"""Of all names of theirs, so that none is one of ours."""
LEAST_OPSET, LEAST_IR = 11, 8


def read_untrusted(path: Path) -> onnx.ModelProto:
    """A network that is held against what it may not do before anything runs it, under names that are not ours."""
    try:
        model = onnx.load_model(path, load_external_data=False)
        if model.functions:
            model = inliner.inline_local_functions(model)
        _refuse(model, path)
        onnx.checker.check_model(model)
        compose.add_prefix(model, PREFIX, rename_nodes=False, inplace=True)
    except FileNotFoundError:
        raise BadBundleError(f"{path}: no such file; expected an .onnx network") from None
    except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise BadBundleError(
            f"{path} is no readable .onnx network ({one_line(error)}); is it cut short, or another kind of file?"
        ) from None
    for number, node in enumerate(model.graph.node):
        node.name = f"{PREFIX}{node.op_type}_{number}"  # each needs one of its own to be quantized
    model.ir_version = max(model.ir_version, LEAST_IR)
    return model


def _refuse(model: onnx.ModelProto, path: Path) -> None:
    """
    Raises:
        BadBundleError: it is a bundle of ours, too old, reaches for other files, needs other people's operators, or
            says that it holds more than it does.
    """
    if METADATA_KEY in {entry.key for entry in model.metadata_props}:
        raise BadBundleError(f"{path} is a bundle already; give it to predict, evaluate or export as it is")
    if opset_of(model) < LEAST_OPSET:
        raise BadBundleError(
            f"{path} has ONNX opset {opset_of(model)}; expected {LEAST_OPSET} or later. Export it anew"
        )
    graphs = list(_graphs(model.graph))
    domains = {node.domain for graph in graphs for node in graph.node} - {"", "ai.onnx"}
    if domains:
        raise BadBundleError(
            f"{path} needs operators of {', '.join(sorted(domains))}; expected those of ONNX alone. Export it without"
        )
    if any(graph.sparse_initializer for graph in graphs):
        raise BadBundleError(f"{path} holds sparse weights; expected dense ones. Export it without")
    for tensor in (tensor for graph in graphs for tensor in _tensors(graph)):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise BadBundleError(
                f"{path} keeps the weights {shown(tensor.name)} in another file, which is not opened; save all in one"
            )
        fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
        held = len(tensor.raw_data) + sum(map(len, fields)) + len(tensor.string_data)
        if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > 2 * held:  # 4-bit numbers are two a byte
            raise BadBundleError(
                f"{path} is damaged: its weights {shown(tensor.name)} should be {list(tensor.dims)}, and hold {held}"
            )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """It, and those within its nodes."""
    yield graph
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from _graphs(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from ([attribute.t] if attribute.HasField("t") else []) + list(attribute.tensors)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def one_line(error: Exception) -> str:
    """What a library says, as messages name it."""
    return shown(" ".join(str(error).split()))
