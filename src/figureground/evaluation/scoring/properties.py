"""What an image is like, apart from how well its figure is found."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NONE = math.nan


class Property(NamedTuple):
    """How a property is shown and read."""

    title: str
    low: str
    """What images with a low value have."""
    high: str
    definition: str


PROPERTIES = {
    "area": Property("object size", "small", "large", "the figure's share of the pixels"),
    "border": Property(
        "contact with the border", "none or little", "much", "the figure's share of the outermost pixels"
    ),
    "aspect": Property("aspect", "tall", "wide", "width by height of the figure's bounding box"),
    "brightness": Property("brightness", "dark", "bright", "mean luma, 0 to 1"),
    "contrast": Property("contrast", "flat", "strong", "standard deviation of the luma, 0 to 1 (RMS contrast)"),
    "similarity": Property(
        "similarity of colours",
        "different",
        "similar",
        "what the colour histograms of figure and background share, 0 to 1",
    ),
    "clutter": Property(
        "clutter of the background",
        "plain",
        "cluttered",
        "mean difference in luma of neighbouring pixels of the background",
    ),
    "complexity": Property("complexity of the mask", "round", "ragged", "perimeter² / (4π area): 1 for a disc"),
}


def properties_of(
    image: NDArray[np.uint8], truth: NDArray[np.bool_], kept: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """The properties of an image (H, W, 3) with its truth (H, W), by the names of ``PROPERTIES``.

    Luma is that of ITU-R BT.601 over 255; RMS contrast as in Peli (JOSA A 1990, equation 4). Pixels that are left out
    belong to neither figure nor background. What does not exist is NaN: the shape of no figure, the clutter of no
    background, the similarity where one of both is missing.
    """
    figure, background = (truth, ~truth) if kept is None else (truth & kept, ~truth & kept)
    luma = np.asarray(Image.fromarray(image).convert("L"), np.float32) / np.float32(255)
    area = int(figure.sum())
    return {
        "area": _share(area, int(figure.sum() + background.sum())),
        "border": float(_rim(figure).mean()),
        "aspect": _aspect(figure) if area else NONE,
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "similarity": colour_similarity(image, figure, background),
        "clutter": mean_difference(luma, background),
        "complexity": perimeter(figure) ** 2 / (4 * math.pi * area) if area else NONE,
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else NONE


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The outermost pixels of (H, W), each once."""
    return np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])


def _aspect(mask: NDArray[np.bool_]) -> float:
    height, width = (int(np.ptp(np.flatnonzero(mask.any(axis=axis)))) + 1 for axis in (1, 0))
    return width / height


def colour_similarity(image: NDArray[np.uint8], figure: NDArray[np.bool_], background: NDArray[np.bool_]) -> float:
    """Histogram intersection (Swain & Ballard, IJCV 1991, section 2.2) of the colours in two regions, 0 to 1.

    The histograms have 8×8×8 bins of RGB and a sum of 1; NaN where a region is empty.
    """
    red, green, blue = np.moveaxis(image >> 5, -1, 0).astype(np.intp)
    place = (red << 6) | (green << 3) | blue
    shares = [np.bincount(place[region], minlength=512) / max(1, region.sum()) for region in (figure, background)]
    return float(np.minimum(*shares).sum()) if figure.any() and background.any() else NONE


def mean_difference(luma: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    """The mean absolute difference of neighbours in a row or a column that are both in the region.

    The region's own outline therefore adds nothing. NaN where there are no such neighbours.
    """
    total, count = 0.0, 0
    for values, inside in ((luma, region), (luma.T, region.T)):
        both = inside[1:] & inside[:-1]
        total += float(np.abs(values[1:] - values[:-1])[both].sum())
        count += int(both.sum())
    return _share(total, count)


def perimeter(mask: NDArray[np.bool_]) -> float:
    """The length of a mask's outline by Crofton's formula from lines in 4 directions; outside the image is background.

    Half the integral, over all directions, of a line's crossings with the outline (Santaló 1976, chapter 3); the lines
    along the diagonals lie √2 nearer to each other. Other than a count of edges it does not depend on a shape's turn.
    """
    padded = np.pad(mask, 1)
    straight = (padded[1:] ^ padded[:-1]).sum() + (padded[:, 1:] ^ padded[:, :-1]).sum()
    diagonal = (padded[1:, 1:] ^ padded[:-1, :-1]).sum() + (padded[1:, :-1] ^ padded[:-1, 1:]).sum()
    return float(math.pi / 8 * (straight + diagonal / math.sqrt(2)))
