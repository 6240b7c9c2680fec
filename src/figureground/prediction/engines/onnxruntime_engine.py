"""The ONNX Runtime engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from figureground.errors import FiguregroundError
from figureground.prediction.engines import expect_shapes


class OnnxRuntimeEngine:
    """An exported network on the CPU.

    Args:
        bundle: an ``.onnx`` file.
        size: height and width of its input.

    Raises:
        FiguregroundError: not a network that this version of ONNX Runtime reads, or one of other shapes.
    """

    name = "onnxruntime"

    def __init__(self, bundle: Path, size: tuple[int, int]) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors come as exceptions
        try:
            self._session = onnxruntime.InferenceSession(bundle, options, providers=["CPUExecutionProvider"])
        except (state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.NotImplemented) as error:
            raise FiguregroundError(f"{bundle} cannot be run by ONNX Runtime ({error}); export it again") from None
        (taken,), (given,) = self._session.get_inputs(), self._session.get_outputs()
        expect_shapes(bundle, size, taken.shape, given.shape)
        self._input = taken.name

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) to logits (N, H, W)."""
        (logits,) = self._session.run(None, {self._input: np.ascontiguousarray(batch)})
        return np.asarray(logits[:, 0])
