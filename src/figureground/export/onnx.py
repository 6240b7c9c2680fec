"""A network as an ONNX graph, in float32 or with its weights stored in float16."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from figureground.bundle import BundleInfo, Proof, as_metadata, known_logits
from figureground.models.encoder_weights import quietly
from figureground.onnx_metadata import sum_of_onnx

INPUT, OUTPUT = "images", "figure"
OPSET = 18
FLOAT16_FROM = 1024  # smaller weights, such as biases, are not worth a cast


def to_onnx(network: torch.nn.Module, size: tuple[int, int], path: Path) -> None:
    """Write a network as ONNX: ``images`` (N, 3, H, W) float32, normalised, to ``figure`` (N, 1, H, W) logits, any N.

    Args:
        network: in eval mode, on the CPU.
        size: H and W, which are fixed.
        path: the file.
    """
    example = torch.zeros(2, 3, *size)  # a batch of 1 would be taken for a constant
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), quietly("torch.onnx"):
        warnings.simplefilter("ignore")  # of torch about its own exporter
        program = torch.onnx.export(
            network.to(memory_format=torch.contiguous_format), (example,), dynamo=True, opset_version=OPSET,
            input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes=({0: batch},), verbose=False,
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    strip(model)
    onnx.save(model, path)


def strip(model: onnx.ModelProto) -> None:
    """Take out what an exporter notes of its own work, which includes paths of its machine."""
    graph = model.graph
    graph.doc_string = ""
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]


def store_in_float16(path: Path) -> None:
    """Store the large weights of an ONNX file in float16; the network still computes in float32.

    Engines fold the casts when they load the file, so it is half as large and as fast as before.
    """
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < FLOAT16_FROM:
            continue
        name = tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]  # in the order in which they are computed
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def write_info(path: Path, info: BundleInfo, logits: Sequence[float] | None = None) -> None:
    """Make an ONNX file a bundle: its metadata becomes ``info``; its test vectors stay unless ``logits`` are given."""
    logits = known_logits(path) if logits is None else logits
    model = onnx.load(path)
    model.producer_name, model.producer_version = "figureground", info.figureground
    onnx.save(model, path)  # what its sum is made of
    helper.set_model_props(model, as_metadata(info, Proof(sum_of_onnx(path), tuple(logits))))
    onnx.save(model, path)
