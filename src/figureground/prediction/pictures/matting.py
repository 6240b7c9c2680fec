"""How much of each pixel is figure, and of which colour: matting of the edge that a network drew.

A network answers at a few hundred pixels, so enlarged to the photo its edge is a blur that cuts through fur and takes
background along. Both are mended from the photo's own colours. What the colours of a neighbourhood are changes slowly:
it is learnt on a grid of about 256 of the photo's pixels each way, enlarged, and applied to every pixel, tile by tile.
A large photo costs time, not memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

GRID = 256
"""About how many samples the longer side has; the radii below are in samples of such a grid."""
TILE = 256

INSIDE, OUTSIDE = 4, 2
"""How far from the network's edge the true one may lie; more inside, as figures are drawn too large, not too small."""
COLOUR_RADIUS = 12
"""Window from which the colours of figure and background are learnt; reaches beyond the uncertain band."""
FUSION_RADII = (10, 2)
PURITY = 4
"""Power of alpha that weighs a pixel in the mean colour of the figure: what is nearly opaque counts most."""

NOISE = 0.03
"""Standard deviation of a channel (0 to 1) that is expected even where the colours are uniform."""
FEW_SAMPLES = 0.02
"""Share of a window's pixels at which samples of one side weigh half."""
CONTRAST = 1.25
"""Stretches alpha about 0.5: what is nearly opaque or nearly transparent becomes so, noise of the fur with it."""


class Rows(Protocol):
    """An array (H, W, ...), or what makes rows of one as they are asked for."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Some rows."""


@dataclass(frozen=True)
class Grid:
    """Every ``step``-th pixel of a photo. Sampled, not averaged, so that the colours keep their spread."""

    height: int
    width: int
    step: int

    @classmethod
    def over(cls, image: Pixels) -> Grid:
        """The grid for an image (H, W, 3)."""
        height, width = image.shape[:2]
        return cls(height, width, max(1, round(max(height, width) / GRID)))

    def sample(self, pixels: Rows) -> NDArray[Any]:
        """(H, W, ...) to (h, w, ...): of each ``step`` by ``step`` block the middle."""
        rows, columns = (
            np.minimum(np.arange(0, size, self.step) + self.step // 2, size - 1) for size in (self.height, self.width)
        )
        return np.concatenate(
            [
                pixels[band][rows[(band.start <= rows) & (rows < band.stop)][:, None] - band.start, columns]
                for band in self.bands()
            ]
        )

    def radius(self, samples: float) -> int:
        """A radius, given for a grid of 256, on this one."""
        return max(1, round(samples * max(self.height, self.width) / self.step / GRID))

    def bands(self) -> Iterator[slice]:
        """Rows of the photo, some at a time."""
        for top in range(0, self.height, TILE):
            yield slice(top, min(top + TILE, self.height))

    def tiles_of(self, band: slice) -> Iterator[tuple[slice, slice]]:
        """The pieces of a band."""
        for left in range(0, self.width, TILE):
            yield band, slice(left, min(left + TILE, self.width))

    def enlarge(self, samples: Floats, tile: tuple[slice, slice]) -> list[Floats]:
        """Each channel of (c, h, w), bilinear, in a tile of the photo."""
        rows, columns = tile
        box = tuple(edge / self.step for edge in (columns.start, rows.start, columns.stop, rows.stop))
        size = (columns.stop - columns.start, rows.stop - rows.start)
        return [
            np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR, box=box)) for channel in samples
        ]


def alpha_model(grid: Grid, image: Pixels, probability: Floats, threshold: float) -> Floats:
    """What ``alpha_of`` needs, at the samples of a grid, to lay the edge where the photo's colours change, not where
    the enlarged network output happens to be.

    Near the network's edge, and nowhere else, each pixel's colour is compared with the colours of certain figure and
    certain background around it: Fisher's linear discriminant (Bishop, Pattern Recognition and Machine Learning, 2006,
    section 4.1.4) measures alpha along the line between the two mean colours. Measurement and probability are weighed
    by their variances, so that the probability decides where the two sides look alike.

    Args:
        grid: see ``Grid``.
        image: (h, w, 3) uint8, sampled.
        probability: (h, w), sampled.
        threshold: the probability of the edge, which counts as alpha 0.5.

    Returns:
        (7, h, w): lower and upper bound of alpha; precision of the measurement; and what gives measurement times
        precision: a weight for each channel and a constant.
    """
    bounds = alpha_bounds(grid, probability > threshold)
    colours = unit(image)
    figure, background = (bounds[..., 0] > 0.99).astype(np.float32), (bounds[..., 1] < 0.01).astype(np.float32)
    radius = grid.radius(COLOUR_RADIUS)
    figure_mean, figure_share = weighted_mean(colours, figure, radius)
    background_mean, background_share = weighted_mean(colours, background, radius)
    spread = _spread(colours, figure + background, radius)
    spread -= _outer(figure_mean) * figure_share[..., None, None]
    spread -= _outer(background_mean) * background_share[..., None, None]
    spread /= (figure_share + background_share + 1e-6)[..., None, None]

    measurement = np.zeros((*probability.shape, 5), np.float32)
    near = (bounds[..., 0] < 1) & (bounds[..., 1] > 0)
    difference = (figure_mean - background_mean)[near]
    within = spread[near] + NOISE**2 * np.eye(3, dtype=np.float32)
    direction = np.linalg.solve(within, difference[..., None])[..., 0]
    fewer = np.minimum(figure_share, background_share)[near]
    direction *= (fewer / (fewer + FEW_SAMPLES))[..., None]
    measurement[near, 0] = np.sum(direction * difference, axis=-1)
    measurement[near, 1:4] = direction
    measurement[near, 4] = -np.sum(direction * background_mean[near], axis=-1)
    return channels_first(bounds, measurement)


def alpha_bounds(grid: Grid, mask: NDArray[np.bool_]) -> Floats:
    """(h, w, 2): the least and the greatest alpha, 1 far inside a mask (h, w), 0 far outside, with a slope between."""
    from scipy import ndimage

    bounds = np.empty((*mask.shape, 2), np.float32)
    for side, (samples, nearest) in enumerate(((INSIDE, ndimage.minimum_filter), (OUTSIDE, ndimage.maximum_filter))):
        slope = grid.radius(samples / 4)
        free = grid.radius(samples)
        moved = nearest(mask.astype(np.uint8), 2 * free + 1, mode="nearest")
        bounds[..., side] = box_mean(moved.astype(np.float32), slope)
    return bounds


def tile_alpha(
    grid: Grid, model: Floats, tile: tuple[slice, slice], image: Pixels, probability: Floats, threshold: float
) -> Floats:
    """Alpha of a tile (n, m) from an ``alpha_model``; most tiles of a photo are certain, which is quickly seen."""
    lowest, highest = grid.enlarge(model[:2], tile)
    if lowest.min() == 1 or highest.max() == 0:
        return lowest
    return alpha_of([lowest, highest, *grid.enlarge(model[2:], tile)], image, probability, threshold)


def alpha_of(model: Floats | Sequence[Floats], image: Pixels, probability: Floats, threshold: float) -> Floats:
    """Alpha (n, m) of pixels, 0 to 1 in steps of 1/255, from the channels of ``alpha_model`` there, each (n, m)."""
    lowest, highest, precision, red, green, blue, constant = model
    prior = np.interp(probability, (0, threshold, 1), (0, 0.5, 1)).astype(np.float32)
    variance = 4 * prior * (1 - prior)
    measured = (image[..., 0] * red + image[..., 1] * green + image[..., 2] * blue) / np.float32(255) + constant
    alpha = (variance * measured + prior) / (variance * precision + 1)
    alpha = np.clip((alpha - 0.5) * CONTRAST + 0.5, 0, 1)
    return np.asarray(np.round(np.clip(alpha, lowest, highest) * 255) / 255, np.float32)


def local_colours(grid: Grid, image: Pixels, alpha: Floats) -> Floats:
    """Mean colours of the figure and of the background around each sample, (6, h, w), 0 to 1.

    Blur fusion (Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021) in two passes, a wide and a narrow
    one, with the local means gathered on the grid and weighed by a power of alpha.
    """
    colours = unit(image)
    figure_weight, background_weight = alpha**PURITY, (1 - alpha) ** PURITY
    foreground = background = colours
    for samples in FUSION_RADII:
        radius = grid.radius(samples)
        figure_mean, _ = weighted_mean(foreground, figure_weight, radius)
        background_mean, _ = weighted_mean(background, background_weight, radius)
        foreground = _fused(figure_mean, background_mean, colours, alpha[..., None])
        background = background_mean
    return channels_first(figure_mean, background_mean)


def foreground_of(means: Sequence[Floats], image: Pixels, alpha: Floats) -> Pixels:
    """Colours (n, m, 3) of the figure in pixels, freed of the background that shines through where alpha is below 1,
    from the channels of ``local_colours`` there, each (n, m).
    """
    foreground = np.empty_like(image)
    for channel in range(3):  # numpy is slow along an axis of three
        fused = _fused(means[channel], means[channel + 3], unit(image[..., channel]), alpha)
        foreground[..., channel] = np.round(fused * 255)
    return foreground


def _fused(figure_mean: Floats, background_mean: Floats, colours: Floats, alpha: Floats) -> Floats:
    """The mean colour of the figure, moved by what the blend of the two means does not explain."""
    fused = figure_mean + alpha * (colours - alpha * figure_mean - (1 - alpha) * background_mean)
    return np.asarray(np.clip(fused, 0, 1), np.float32)


def channels_first(*parts: Floats) -> Floats:
    """Parts (h, w, c) as one (c, h, w), each channel contiguous, to be enlarged."""
    return np.ascontiguousarray(np.moveaxis(np.concatenate(parts, axis=-1), -1, 0))


def unit(pixels: Pixels) -> Floats:
    """0 to 255 as 0 to 1."""
    return np.asarray(pixels / np.float32(255), np.float32)


def box_mean(values: Floats, radius: int) -> Floats:
    """Mean of a square window of 2 * radius + 1, over the first two axes."""
    from scipy import ndimage

    return np.asarray(ndimage.uniform_filter(values, 2 * radius + 1, mode="nearest", axes=(0, 1)))


def weighted_mean(values: Floats, weights: Floats, radius: int) -> tuple[Floats, Floats]:
    """Mean (h, w, c) of a window's values with weights (h, w), and the window's mean weight (h, w)."""
    weight = box_mean(weights, radius)
    total = box_mean(values * weights[..., None], radius)
    return total / (weight + np.float32(1e-9))[..., None], weight


def _spread(colours: Floats, weights: Floats, radius: int) -> Floats:
    """Weighted second moments of a window's colours, (h, w, 3, 3)."""
    upper = np.triu_indices(3)
    moments = box_mean(colours[..., upper[0]] * colours[..., upper[1]] * weights[..., None], radius)
    spread = np.empty((*weights.shape, 3, 3), np.float32)
    spread[..., upper[0], upper[1]] = moments
    spread[..., upper[1], upper[0]] = moments
    return spread


def _outer(colours: Floats) -> Floats:
    return colours[..., :, None] * colours[..., None, :]
