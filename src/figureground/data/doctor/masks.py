"""How a mask file is coded, and the figure that it means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.data.dataset import FIGURE, FULL, WEIGHT
from figureground.data.masks import MaskReader
from figureground.data.sources.oxford_pet import BEYOND, BORDER, PET
from figureground.images import read_indices, read_levels

Coding = Literal[
    "plain", "0/1", "1/2/3", "two values", "palette", "colours", "rgba", "alpha", "anti-aliased", "jpeg", "classes",
    "no trimap",
]  # fmt: skip
FLAT_SHARE = 0.6  # of the pixels between the extremes that are like all their neighbours: areas, not edges
RINGING_SHARE = 0.5  # measured: JPEG of qualities 30 to 95 0.68 to 0.84, smoothed and resized masks 0 to 0.29
LOSSY_FORMATS = {"JPEG", "MPO", "WEBP"}  # lossless WebP keeps two values, so more of them mean that it was lossy
THIN_SHARE = 0.01


@dataclass(frozen=True)
class Reading:
    """What decides which pixels of a mask file are figure."""

    layout: str
    """A key of ``SOURCES``."""
    foreground: str = "foreground"
    reader: MaskReader = MaskReader(())
    """Of all masks of the dataset: what it decides of the folder holds for each file, as in training."""

    @property
    def threshold(self) -> int | None:
        """This value and above is figure."""
        return self.reader.settings.threshold

    @property
    def is_settled(self) -> bool:
        """Whether the user has said what single values are, so that training's reader knows and nothing is guessed."""
        return bool(self.reader.settings.figure_values) or self.reader.settings.ignore_value is not None

    @property
    def leaves_out(self) -> bool:
        """Whether pixels may be neither figure nor background."""
        return self.foreground == "ignore" or self.reader.settings.ignore_value is not None


@dataclass(frozen=True)
class Mask:
    """The content of a mask file."""

    size: tuple[int, int]
    """Width and height."""
    coding: Coding
    values: str
    """The values found, briefly."""
    figure: NDArray[np.bool_] | None
    """(H, W), the best guess where the file is ambiguous; None where the values do not tell."""
    kept: NDArray[np.bool_] | None = None
    """(H, W), False where the user's ignore value is; None: nowhere."""


def read_mask(path: Path, reading: Reading) -> Mask:
    """Read a mask in whichever coding it has.

    Raises:
        FiguregroundError: it cannot be decoded.
    """
    if reading.layout == "oxford-pet":
        return _read_trimap(path, reading)
    levels = read_levels(path)
    values = np.unique(levels)
    if reading.is_settled:
        targets = reading.reader(path)
        kept = targets[WEIGHT] > 0 if WEIGHT in targets else None
        return Mask(levels.shape[1::-1], "plain", _briefly(values), targets[FIGURE] > FULL // 2, kept)
    with Image.open(path) as picture:
        alpha = _alpha(picture)
        coding = "alpha" if alpha is not None else _coding(levels, values, picture)
    figure = alpha if alpha is not None else _figure(levels, values, coding, reading)
    return Mask((levels.shape[1], levels.shape[0]), coding, _briefly(values), figure)


def _read_trimap(path: Path, reading: Reading) -> Mask:
    indices = read_indices(path)
    values = np.unique(indices)
    is_trimap = values[0] >= PET and values[-1] <= BORDER
    figure = _trimap_figure(indices, reading.foreground) if is_trimap else None
    return Mask((indices.shape[1], indices.shape[0]), "plain" if is_trimap else "no trimap", _briefly(values), figure)


def _trimap_figure(trimap: NDArray[Any], foreground: str) -> NDArray[np.bool_]:
    """The pet, and its border unless that counts as background."""
    return np.asarray(trimap == PET if foreground == "background" else trimap != BEYOND)


def _alpha(picture: Image.Image) -> NDArray[np.bool_] | None:
    """Where a picture is opaque, if it is not so everywhere."""
    if "A" not in picture.getbands():
        return None
    alpha = np.asarray(picture.getchannel("A"))
    return np.asarray(alpha >= 128) if alpha.min() < alpha.max() else None


def _coding(levels: NDArray[Any], values: NDArray[Any], picture: Image.Image) -> Coding:
    if set(values) == {PET, BEYOND, BORDER} or set(values) == {PET, BEYOND}:
        return "1/2/3"
    if len(values) > 2:
        return _many_values(levels, values, lossy=picture.format in LOSSY_FORMATS)
    if picture.mode == "P":
        return "palette"
    if picture.mode in ("RGBA", "LA"):
        return "rgba"
    if picture.mode == "RGB" and _is_coloured(picture):
        return "colours"
    if set(values) <= {0, 255}:
        return "plain"
    return "0/1" if set(values) <= {0, 1} else "two values"


def _many_values(levels: NDArray[Any], values: NDArray[Any], *, lossy: bool) -> Coding:
    """What gave a mask more than two values: a codec, smoothing, or several classes."""
    between = (levels > values[0]) & (levels < values[-1])
    if len(values) <= 4 and between.mean() >= THIN_SHARE:
        return "classes"
    if lossy:
        return "jpeg"
    above, below, left, right = _neighbours(levels)
    flat = (above == levels) & (below == levels) & (left == levels) & (right == levels)
    if flat[between].mean() > FLAT_SHARE:
        return "classes"
    ringing = _is_extreme(levels, above, below) | _is_extreme(levels, left, right)
    return "jpeg" if ringing[between].mean() > RINGING_SHARE else "anti-aliased"


def _neighbours(levels: NDArray[Any]) -> list[NDArray[Any]]:
    """For each pixel (H, W) the one above, below, left and right."""
    padded = np.pad(levels, 1, mode="edge")
    return [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]


def _is_extreme(levels: NDArray[Any], before: NDArray[Any], behind: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels above both neighbours or below both: noise has them, the ramp of an edge has not."""
    peak, dip = (levels > before) & (levels > behind), (levels < before) & (levels < behind)
    return np.asarray(peak | dip)


def _is_coloured(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(channel) for channel in picture.split())
    return not (np.array_equal(red, green) and np.array_equal(green, blue))


def _figure(levels: NDArray[Any], values: NDArray[Any], coding: Coding, reading: Reading) -> NDArray[np.bool_] | None:
    if reading.threshold is not None:
        return np.asarray(levels >= reading.threshold)
    if coding == "1/2/3":
        return _trimap_figure(levels, reading.foreground)
    if coding == "classes":
        return None
    if reading.reader.values and set(values.tolist()) <= set(reading.reader.values):
        low, high = reading.reader.values
        return np.asarray((levels == high) & (high > low))
    if len(values) == 1:  # another than the folder has: a guess
        return np.full(levels.shape, values[0] == 1 or values[0] >= 128)
    return np.asarray(levels >= (int(values[0]) + int(values[-1]) + 1) // 2)


def _briefly(values: NDArray[Any]) -> str:
    return ", ".join(map(str, values[:5])) + (f", ... ({len(values)} values)" if len(values) > 5 else "")
