"""Scores of a mask's boundary: how far it is from the truth's, and how much of it is near enough.

The boundary of a mask are its own pixels that touch the background or the edge of the image; a boundary pixel's
distance is the Euclidean one, in pixels, to the nearest boundary pixel of the other mask.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Distances(NamedTuple):
    """Distances in pixels, one a boundary pixel."""

    predicted: NDArray[np.float64]
    """From the prediction's boundary to the truth's."""
    true: NDArray[np.float64]
    """From the truth's boundary to the prediction's."""


class Matches(NamedTuple):
    """Boundary pixels, and those of them that are within a tolerance of the other boundary; they add up over images."""

    predicted: int
    predicted_near: int
    true: int
    true_near: int


def complete_truth(prediction: Mask, truth: Mask, kept: Mask | None = None) -> Mask:
    """The true mask (H, W) for comparing boundaries: on a pixel that is left out, what was predicted is right.

    A boundary that runs inside the left-out border therefore costs nothing, and one that leaves it is measured from the
    border's edge.
    """
    return truth if kept is None else np.where(kept, truth, prediction)


def boundary(mask: Mask) -> Mask:
    """The pixels of a mask (H, W) that have background, or the outside of the image, among their four neighbours."""
    inside = np.zeros_like(mask)
    vertical = mask[:-2, 1:-1] & mask[2:, 1:-1]
    horizontal = mask[1:-1, :-2] & mask[1:-1, 2:]
    inside[1:-1, 1:-1] = vertical & horizontal
    return mask & ~inside


def boundary_distances(prediction: Mask, truth: Mask) -> Distances:
    """The distances between the boundaries of two masks (H, W).

    Where one of the masks is empty, all of them are the image's diagonal, which no distance can exceed (Maier-Hein et
    al. 2024, "Metrics reloaded": a missing value counts as the worst).
    """
    from scipy.spatial import KDTree  # on a boundary's few thousand pixels three times as fast as distance transforms

    points = [np.argwhere(boundary(mask)) for mask in (prediction, truth)]
    if not all(len(of_mask) for of_mask in points):
        return Distances(*(np.full(len(of_mask), np.hypot(*truth.shape)) for of_mask in points))
    trees = [KDTree(of_mask, balanced_tree=False, compact_nodes=False) for of_mask in points]
    return Distances(trees[1].query(points[0])[0], trees[0].query(points[1])[0])


def matches(distances: Distances, tolerance: float) -> Matches:
    """Count the boundary pixels that are at most ``tolerance`` pixels from the other boundary."""
    predicted, true = distances
    near = (int(np.count_nonzero(pixels <= tolerance)) for pixels in distances)
    return Matches(len(predicted), next(near), len(true), next(near))


def boundary_f1(predicted: int, predicted_near: int, true: int, true_near: int) -> float:
    """The harmonic mean of the shares of both boundaries that are near the other (Csurka et al. 2013).

    1 where both masks are empty, 0 where one is.
    """
    if predicted == true == 0:
        return 1.0
    precision, recall = predicted_near / max(predicted, 1), true_near / max(true, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def hausdorff95(distances: Distances) -> float:
    """The larger of the two directions' 95th percentiles, in pixels; 0 where both masks are empty."""
    return max((float(np.percentile(pixels, 95)) for pixels in distances if len(pixels)), default=0.0)


def average_surface_distance(total: float, pixels: int) -> float:
    """The mean over the pixels of both boundaries, in pixels (symmetric: Heimann et al. 2009); 0 where there are none.

    Args:
        total: the sum of all distances, of both directions.
        pixels: their number.
    """
    return float(total / max(pixels, 1))


def band_counts(prediction: Mask, truth: Mask, width: int) -> tuple[int, int]:
    """The pixels that are in the bands of both masks, and in the band of either.

    A mask's band are its pixels at most ``width`` rows and columns from its background (Cheng et al. 2021, "Boundary
    IoU", with the square neighbourhood of their code); beyond the image is background.
    """
    predicted, true = _band(prediction, width), _band(truth, width)
    return int(np.count_nonzero(predicted & true)), int(np.count_nonzero(predicted | true))


def _band(mask: Mask, width: int) -> Mask:
    from scipy.ndimage import minimum_filter

    eroded = minimum_filter(mask.view(np.uint8), size=2 * width + 1, mode="constant", cval=0)
    return np.asarray(mask & (eroded == 0))


def boundary_iou(both: int, either: int) -> float:
    """Intersection over union of the masks' bands; 1 where both masks are empty."""
    return float(both / either) if either else 1.0
