"""The ONNX Runtime engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figureground.cores import library_threads
from figureground.errors import BadBundleError
from figureground.prediction.photos.engines import by_name, output_names
from figureground.prediction.photos.engines.private import privately

with privately():
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

onnxruntime.disable_telemetry_events()  # on Windows, where the variable that `privately` sets is not read

REFUSALS = (
    state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented,
    state.RuntimeException, UnicodeDecodeError,  # the last of a message that quotes a damaged name
)  # fmt: skip
"""What ONNX Runtime raises for a file that is damaged or beyond it; they have no class in common."""


class OnnxRuntimeEngine:
    """An exported network on the CPU.

    Args:
        bundle: an ``.onnx`` file.
        size: height and width of its input.

    Raises:
        FiguregroundError: not a network that this version of ONNX Runtime reads, or one of other shapes.
    """

    name = "onnxruntime"
    lanes = 1

    def __init__(self, bundle: Path, size: tuple[int, int]) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors come as exceptions
        options.intra_op_num_threads = library_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                bundle,
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # a second try prints to stdout
            )
        except REFUSALS as error:
            reason = " ".join(str(error).split())
            raise BadBundleError(f"{bundle} cannot be run by ONNX Runtime ({reason}); export it again") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [port.shape for port in inputs]
        self._names = output_names(bundle, size, shapes, [(port.name, port.shape) for port in outputs])
        if inputs[0].type != "tensor(float)":
            raise BadBundleError(f"{bundle}: its network takes {inputs[0].type}, expected float; export it again")
        self._input = inputs[0].name
        self._alone = shapes[0][0] == 1

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Normalised images (N, 3, H, W) to outputs by name."""
        return by_name(self._names, lambda part: self._session.run(None, {self._input: part}), batch, self._alone)
