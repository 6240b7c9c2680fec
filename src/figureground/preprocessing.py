"""Photo to network input, and logits back to the photo's own size. The only place that knows how."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP = 2**22  # pixels that are restored at once: bounds what large photos need besides the result


class Settings(Protocol):
    """What a ``Preprocessing`` can be made of; this module knows no configuration."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""

    @property
    def resize(self) -> str:
        """The policy."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel."""

    @property
    def std(self) -> tuple[float, ...]:
        """Of each channel."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input. Training, evaluation, prediction and export share one of these.

    Args:
        size: height and width that the network sees, in pixels.
        resize: ``stretch``, which does not keep the aspect.
        mean, std: of each channel, on the scale 0 to 1.
    """

    size: tuple[int, int] = (256, 256)
    resize: str = "stretch"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if self.resize != "stretch":
            raise ValueError(f"resize policy is {self.resize!r}; this version knows 'stretch'")

    @classmethod
    def of(cls, settings: Settings) -> Preprocessing:
        """From settings of these names, such as a ``PreprocessingConfig``."""
        return cls(settings.size, settings.resize, settings.mean, settings.std)

    def resize_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image (H, W, 3) uint8 at the network's size: bilinear, over the area that is shrunk."""
        return resized(image, *self.size)

    def resize_labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A label map (H, W) uint8 at the network's size, by nearest pixel: no value is invented."""
        return resized(labels, *self.size, Image.Resampling.NEAREST)

    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What normalising multiplies the values 0 to 255 of each channel by, and then adds: (3,) each."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def normalise(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images (N, H, W, 3) uint8 as (N, 3, H, W) float32, (x / 255 - mean) / std, channels last in memory."""
        scale, shift = self.scale_and_shift()
        n, height, width, _ = images.shape
        # Whole rows at once: numpy is six times slower where its innermost loop has the length of three channels.
        rows = images.reshape(n, height, width * 3).astype(np.float32)
        rows *= np.tile(scale, width)
        rows += np.tile(shift, width)
        return rows.reshape(images.shape).transpose(0, 3, 1, 2)

    def denormalise(self, batch: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The inverse of ``normalise``, rounded: (N, 3, H, W) float32 to (N, H, W, 3) uint8."""
        images = batch.transpose(0, 2, 3, 1) * np.asarray(self.std) + np.asarray(self.mean)
        return np.asarray(np.clip(np.round(images * 255), 0, 255), np.uint8)

    def restore(self, logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Logits (h, w) of any size as probabilities (height, width) float32 at the photo's own."""
        return Restored(logits, (height, width))[:]


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


def tensor_to_image(
    tensor: Any, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3
) -> NDArray[np.uint8]:
    """The image (H, W, 3) uint8 behind a normalised one (3, H, W), a torch tensor or an array."""
    pixels = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)
    image: NDArray[np.uint8] = Preprocessing(mean=tuple(mean), std=tuple(std)).denormalise(pixels[None])[0]
    return image
