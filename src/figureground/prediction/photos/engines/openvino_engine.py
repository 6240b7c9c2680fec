"""The OpenVINO engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from figureground.cores import library_threads
from figureground.errors import BadBundleError
from figureground.prediction.photos.engines import by_name, output_names
from figureground.prediction.photos.engines.private import privately

with privately():
    import openvino

SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",  # all cores work on one batch
    "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bfloat16 where the processor has it: other probabilities
}
MANY = {**SETTINGS, "PERFORMANCE_HINT": "THROUGHPUT"}
"""Each core works on a batch of its own: none waits for another that has been given something else to do meanwhile."""


@cache
def _core() -> openvino.Core:
    """One for the whole process, never let go.

    The CPU plugin gives the thread that loads it a stack for signals and takes it away with the last core, in whichever
    thread that happens; the next Ctrl-C in the first thread would then be a segmentation fault.
    """
    return openvino.Core()


class OpenVinoEngine:
    """An exported network on the CPU.

    One image alone is shown to a network whose batch axis is fixed, which takes a twentieth off its time; the one for
    any batch is made when a larger one comes.

    Args:
        bundle: an ``.onnx`` file.
        size: height and width of its input.
        many: work on as many batches at once as there are cores, rather than on one with all of them.

    Raises:
        FiguregroundError: not a network that this version of OpenVINO reads, or one of other shapes.
    """

    name = "openvino"

    def __init__(self, bundle: Path, size: tuple[int, int], *, many: bool = False) -> None:
        self._bundle = bundle
        with _refused(bundle):
            self._network = _core().read_model(bundle)
        named = [(port.get_any_name(), _shape(port)) for port in self._network.outputs]
        self._names = output_names(bundle, size, [_shape(port) for port in self._network.inputs], named)
        self._alone = _shape(self._network.inputs[0])[0] == 1
        # Its first call anywhere loads NumPy behind a lock and waits for Python's own meanwhile: two threads that make
        # it at once, as those of ``many`` do, wait for each other for ever.
        self._network.inputs[0].get_element_type().to_dtype()
        self._for_one: _Compiled | None = None
        if many:
            self.lanes = self._for_any.lanes
            return
        with _refused(bundle):
            network = self._network.clone()
            network.reshape([1, 3, *size])
            self._for_one = _Compiled(network, SETTINGS)
        self.lanes = self._for_one.lanes

    @cached_property
    def _for_any(self) -> _Compiled:
        with _refused(self._bundle):
            return _Compiled(self._network, SETTINGS if self._for_one else MANY)

    def run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Normalised images (N, 3, H, W) to outputs by name."""
        compiled = self._for_one if self._for_one and (self._alone or len(batch) == 1) else self._for_any
        return by_name(self._names, compiled.outputs, batch, self._alone)


class _Compiled:
    """A network that is ready for its batches, of one size or of any."""

    def __init__(self, network: openvino.Model, settings: dict[str, str]) -> None:
        compiled = _core().compile_model(network, "CPU", {**settings, "INFERENCE_NUM_THREADS": library_threads()})
        self.lanes: int = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(self.lanes):
            self._free.put(compiled.create_infer_request())

    def outputs(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        request = self._free.get()
        try:
            request.infer([batch], share_inputs=True)
            return [
                np.array(tensor.data) for tensor in request.output_tensors
            ]  # copies: the next batch overwrites them
        finally:
            self._free.put(request)


@contextmanager
def _refused(bundle: Path) -> Iterator[None]:
    """Errors of OpenVINO as ours."""
    try:
        yield
    except (RuntimeError, UnicodeDecodeError) as error:  # the latter of a message that quotes a damaged name
        reason = str(error).strip().splitlines()[-1]
        raise BadBundleError(f"{bundle} cannot be run by OpenVINO ({reason}); export it again") from None


def _shape(port: openvino.ConstOutput) -> list[object]:
    """Its sides; None where one is open."""
    return [None if side.is_dynamic else side.get_length() for side in port.get_partial_shape()]
