"""Whether a bundle is still what was written: its sum, and two test vectors in every engine that is installed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from figureground.bundle import BundleInfo, read_info, read_proof, require_intact
from figureground.errors import FiguregroundError
from figureground.prediction.photos.engines import FIGURE, Engine, engines_of, open_engine
from figureground.runs import bundle_path

Finding = Literal["right", "wrong", "none"]
PLACES = 4
"""The logits of an input are compared at so many rows and columns, evenly spread."""
TOLERANCE, TOLERANCE_INT8 = 0.01, 0.15
"""How far a logit may lie from the one that was written, as a share of the largest of these: engines and processors
round differently, and in int8 by whole steps, which add up over the layers: OpenVINO and ONNX Runtime lie 0.08 apart
in the model in the box, whose Dice is the same in both. What was changed in the file, its sum tells."""


@dataclass(frozen=True)
class EngineResult:
    """What an engine makes of the test vectors."""

    engine: str
    result: Finding
    """``none``: it was not run."""
    said: str
    """By how much it differs, or why it was not run."""
    difference: float | None = None
    """The largest of a logit."""


@dataclass(frozen=True)
class Verification:
    """What was found of a bundle."""

    file: str
    sum: Finding
    """``none``: it carries none, as files of earlier versions."""
    said: str
    """Of the sum."""
    engines: tuple[EngineResult, ...] = ()

    @property
    def well(self) -> bool:
        """Whether nothing differs; what could not be compared does not."""
        return "wrong" not in (self.sum, *(each.result for each in self.engines))

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"well": self.well, **asdict(self)}

    def lines(self) -> list[str]:
        """For people."""
        rows = [("sum", self.sum, self.said), *((each.engine, each.result, each.said) for each in self.engines)]
        return [self.file, *(f"  {what:<13}{result}: {said}" for what, result, said in rows)]


def verify(source: str | Path) -> Verification:
    """Compare a bundle with its sum, and its test vectors in every engine that runs such a file.

    Raises:
        FiguregroundError: there is no such model, or it is damaged so that it cannot be read.
    """
    path = bundle_path(source)
    names = engines_of(path)
    proof = read_proof(path)
    if proof is None:
        read_info(path)  # or is it no bundle at all?
        return Verification(str(path), "none", "the file carries no sum and no test vectors, as of earlier versions")
    try:
        info = read_info(path)
        require_intact(path)
    except FiguregroundError as error:
        return Verification(str(path), "wrong", str(error))
    engines = tuple(_run(path, info, proof.logits, engine) for engine in names)
    return Verification(str(path), "right", f"SHA-256 {proof.sha256}", engines)


def vector_logits(engine: Engine, size: tuple[int, int]) -> tuple[float, ...]:
    """What a network gives for the two inputs of ``vector_inputs`` (raw logits, at 4 × 4 places of each)."""
    rows, columns = ((2 * np.arange(PLACES) + 1) * side // (2 * PLACES) for side in size)
    found = [engine.run(each[None])[FIGURE][0, 0][np.ix_(rows, columns)] for each in vector_inputs(size)]
    return tuple(round(float(logit), 5) for logit in np.ravel(found))


def vector_inputs(size: tuple[int, int]) -> NDArray[np.float32]:
    """Two inputs of a network (2, 3, H, W), made of whole numbers so that they are the same everywhere.

    A slope with a bright ellipse in its middle, and a texture; -2 to 2, as normalised photos are.
    """
    height, width = size
    channel, row, column = np.ogrid[:3, :height, :width]
    inside = ((2 * row - height) * width) ** 2 + ((2 * column - width) * height) ** 2 < (height * width) ** 2 // 4
    slope = np.where(inside, 230 - 40 * channel, 20 + 60 * column // width + 40 * row // height)
    texture = (3 * row + 5 * column + 60 * channel + row * column % 31) % 256
    return (np.stack([slope, texture]) / 64 - 2).astype(np.float32)


def _run(path: Path, info: BundleInfo, expected: tuple[float, ...], engine: str) -> EngineResult:
    if not expected:
        return EngineResult(engine, "none", "the file carries no test vectors; a run has them once it is scored")
    if find_spec(engine) is None:
        return EngineResult(engine, "none", f"not installed: {engine}")
    try:
        found = vector_logits(open_engine(path, info, engine), info.preprocessing.size)
    except FiguregroundError as error:
        return EngineResult(engine, "wrong", str(error))
    share = TOLERANCE_INT8 if info.export.get("precision") == "int8" else TOLERANCE
    allowed = share * float(np.abs(expected).max())
    if len(found) != len(expected):
        return EngineResult(engine, "wrong", f"{len(expected)} logits are written, {len(found)} expected")
    difference = float(np.abs(np.subtract(found, expected)).max())
    well = difference <= allowed  # False of NaN
    return EngineResult(
        engine, "right" if well else "wrong", f"logits differ by {difference:.2g}, allowed {allowed:.2g}", difference
    )
