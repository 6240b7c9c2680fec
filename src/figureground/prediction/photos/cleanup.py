"""Clean-up of a mask by what is known of figures: how many parts, how small, with holes or without."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from figureground.config import PostProcessingConfig
from figureground.prediction.pictures.polygons import bounding_box


def post_process(mask: NDArray[np.bool_], settings: PostProcessingConfig) -> NDArray[np.bool_]:
    """A mask (H, W) without its small parts, then of its largest part alone, then with its holes filled, as is set.

    Parts go first, so that a thin frame around the photo does not become the largest part by being filled. A part
    holds together at corners too (8-connected), as hair is often one pixel wide and slanting; what is not connected
    to the outside by edges of pixels is a hole.

    It works on the mask, not on the probabilities: these stay what the network said, for what reads their values, and
    no made-up value has to stand for a pixel that was removed or filled.

    Returns:
        A new mask, or the one given where nothing is set or it is empty.
    """
    if settings == PostProcessingConfig() or not mask.any():
        return mask
    box = bounding_box(mask)
    inside = mask[box]
    if settings.keep_largest or settings.min_area > 0:
        inside = _without_parts(inside, settings.min_area * mask.size, settings.keep_largest)
    if settings.fill_holes:
        inside = _filled(inside)
    cleaned = np.zeros_like(mask)
    cleaned[box] = inside
    return cleaned


def _without_parts(mask: NDArray[np.bool_], pixels: float, largest_only: bool) -> NDArray[np.bool_]:
    """The parts of at least so many pixels, or the largest of them (of two as large, the upper one)."""
    from scipy.ndimage import label

    labels, count = label(mask, structure=np.ones((3, 3)))
    pieces = np.array_split(labels.ravel(), 32)  # counting makes a copy, of eight bytes a pixel
    areas = np.sum([np.bincount(piece, minlength=count + 1) for piece in pieces], axis=0)
    areas[0] = 0  # the background
    kept = areas >= max(pixels, 1)
    if largest_only:
        kept &= np.arange(len(areas)) == areas.argmax()
    return np.asarray(kept[labels])


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All but the background that reaches a margin around the mask."""
    from scipy.ndimage import label

    labels, _ = label(~np.pad(mask, 1))
    return np.asarray(labels != labels[0, 0])[1:-1, 1:-1]
