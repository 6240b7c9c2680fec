"""Logits back to the photo's own size, and other resizing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP = 2**22  # pixels that are restored at once: bounds what large photos need besides the result


@dataclass(frozen=True)
class Restored:
    """Probabilities at a photo's own size that are made when they are asked for: large photos need no room for all.

    Rows are taken as from an array, ``restored[10:20]``, and ``restored > 0.5`` is the mask.
    """

    logits: NDArray[np.float32]
    """(h, w), of any size."""
    shape: tuple[int, int]
    """Height and width of the photo."""

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """The probabilities of some rows, (n, W)."""
        start, stop, _ = rows.indices(self.shape[0])
        probability = np.empty((stop - start, self.shape[1]), np.float32)
        for part, strip in resized_strips(self.logits, *self.shape, start, stop):
            probability[part.start - start : part.stop - start] = sigmoid(strip)
        return probability

    def __gt__(self, threshold: float) -> NDArray[np.bool_]:
        """Where the probability is above a threshold between 0 and 1, (H, W)."""
        return resized_above(self.logits, *self.shape, math.log(threshold / (1 - threshold)))


def resized(
    pixels: NDArray[Any], height: int, width: int, how: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[Any]:
    """Pixels (h, w) or (h, w, 3) at another size; bilinear is over the area that is shrunk."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def resized_strips(
    logits: NDArray[np.float32], height: int, width: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """A map (h, w) at another size, bilinear, in strips of rows: which rows they are, and the rows.

    The strips together equal the map resized at once, with a fraction of the memory.

    Args:
        logits: the map.
        height: of the other size.
        width: of the other size.
        start: the first row that is wanted.
        stop: the row behind the last; none: up to the end.
    """
    h, w = logits.shape
    stop = height if stop is None else stop
    step = max(1, STRIP // width)
    if (h, w) == (height, width) or (step >= height and (start, stop) == (0, height)):
        yield slice(start, stop), resized(logits, height, width)[start:stop]
        return
    picture = Image.fromarray(logits)
    margin = math.ceil(max(1, height / h))  # rows of the result within reach of one row of the map
    for top in range(start, stop, step):
        bottom = min(stop, top + step)
        low, high = max(0, top - margin), min(height, bottom + margin)
        box = (0.0, low * h / height, float(w), high * h / height)
        rows = np.asarray(picture.resize((width, high - low), Image.Resampling.BILINEAR, box=box))
        yield slice(top, bottom), rows[top - low : bottom - low]


def resized_above(logits: NDArray[np.float32], height: int, width: int, threshold: float) -> NDArray[np.bool_]:
    """Where a map (h, w), resized to (height, width), is above a threshold.

    Where all four values around a place are on one side so is what is between them: only along the edge is anything
    computed, which takes a sixth of the time. Rounding may place a pixel otherwise that is within
    1e-5 of the threshold.
    """
    h, w = logits.shape
    if (height, width) == (h, w):
        return np.asarray(logits > threshold)
    mask = np.empty((height, width), bool)
    if height < h or width < w:  # more than four values count where the map is shrunk
        for rows, strip in resized_strips(logits, height, width):
            mask[rows] = strip > threshold
        return mask
    padded = np.pad(logits, (0, 1), "edge")
    above = (padded > threshold).view(np.uint8)
    among_four = above[:-1, :-1] + above[:-1, 1:] + above[1:, :-1] + above[1:, 1:]
    (down, y), (right, x) = _places(height, h), _places(width, w)
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        found = among_four[down[top : top + step]].take(right, axis=1)
        strip = found == 4
        row, column = np.divmod(np.flatnonzero(strip != (found > 0)), width)  # np.nonzero takes ten times as long
        strip[row, column] = _between(padded, down[top + row], y[top + row], right[column], x[column]) > threshold
        mask[top : top + step] = strip
    return mask


def _places(length: int, of: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Where the middles of ``length`` pixels lie in a row of ``of`` values: the one before each, and how far behind."""
    place = np.clip((np.arange(length) + 0.5) * (of / length) - 0.5, 0, of - 1)
    before = place.astype(np.intp)
    return before, (place - before).astype(np.float32)


def _between(
    values: NDArray[np.float32],
    row: NDArray[np.intp], y: NDArray[np.float32], column: NDArray[np.intp], x: NDArray[np.float32],
) -> NDArray[np.float32]:  # fmt: skip
    """Bilinear interpolation behind rows and columns, at the shares y and x of the way to the next ones."""
    upper = values[row, column] * (1 - x) + values[row, column + 1] * x
    lower = values[row + 1, column] * (1 - x) + values[row + 1, column + 1] * x
    return np.asarray(upper * (1 - y) + lower * y)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)) in float32; far logits saturate instead of overflowing."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), dtype=np.float32)
