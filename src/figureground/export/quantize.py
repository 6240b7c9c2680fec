"""Float32 ONNX to int8: static, weights per channel, calibrated on images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from figureground.export.onnx import INPUT
from figureground.models.encoder_weights import quietly
from figureground.prediction.photos.engines.private import privately

with privately():
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # untyped library
    """Hands batches to the calibration."""

    def __init__(self, batches: Iterator[NDArray[np.float32]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch by the name of the network's input."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: np.ascontiguousarray(batch)}


def quantize(path: Path, target: Path, batches: Iterator[NDArray[np.float32]]) -> None:
    """Write an int8 version of a float32 ONNX file (quantize and dequantize nodes, which all engines read).

    Weights have 7 bits, -64 to 64. Processors without VNNI (before AVX512-VNNI and AVX-VNNI) add two products of 8 bits
    in 16, which saturates at 32,767: with weights up to 127 bright areas would come out too low there, in every engine.
    2 × 255 × 64 stays below it, so a file gives the same answer on all processors. What follows the last convolution
    stays in float32.

    Args:
        path: the float32 file.
        target: the int8 file.
        batches: normalised images (N, 3, H, W), whose activations give the ranges (their minima and maxima).
    """
    with tempfile.TemporaryDirectory() as folder, quietly("root"):
        prepared = Path(folder) / "prepared.onnx"
        # Its optimisation finds nothing to do in our graphs, but notes all of ONNX Runtime's operator sets in the file.
        quant_pre_process(path, prepared, skip_symbolic_shape=True, skip_optimization=True)
        quantize_static(
            prepared, target, _Reader(batches), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=_behind_the_head(prepared),
        )  # fmt: skip


def _behind_the_head(path: Path) -> list[str]:
    """The names of the nodes behind the last convolution, which enlarge the logits: cheap, and better in float32."""
    graph = onnx.load(path).graph
    made_by = {name: node for node in graph.node for name in node.output}
    found: list[str] = []
    open_ends = [output.name for output in graph.output]
    while open_ends:
        node = made_by.get(open_ends.pop())
        if node is not None and node.op_type not in ("Conv", "ConvTranspose") and node.name not in found:
            found.append(node.name)
            open_ends.extend(node.input)
    return found
