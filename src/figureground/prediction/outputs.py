"""What a prediction is, and the pictures that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.config import PostProcessingConfig
from figureground.images import write_image
from figureground.prediction.cutout import Background, composite, cutout, parse_background
from figureground.prediction.polygons import Polygon, find_polygons
from figureground.prediction.postprocessing import post_process

RED = (255, 0, 0)


@dataclass(frozen=True)
class Prediction:
    """The figure in one photo, at the photo's own size."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""
    probability: NDArray[np.float32]
    """(H, W), 0 to 1."""
    threshold: float = 0.5
    """A pixel is figure above this probability."""

    post_processing: PostProcessingConfig = PostProcessingConfig()
    """How the mask is cleaned up."""

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W), True where the figure is."""
        return post_process(self.probability > self.threshold, self.post_processing)

    def polygons(self, tolerance: float = 0.0) -> list[Polygon]:
        """The outlines of the mask's parts, with their holes: exact, or simplified to ``tolerance`` pixels."""
        return find_polygons(self.mask, tolerance)

    def overlay(self) -> Image.Image:
        """The photo with the figure in transparent red."""
        return Image.fromarray(lay_over(self.image, self.mask))

    def cutout(self, background: Background | str | None = None) -> Image.Image:
        """The figure with a soft edge, RGBA, or RGB on a background.

        Args:
            background: a colour triple, an image (H, W, 3) uint8, or text: ``white``, ``#rrggbb`` or a picture file.

        Raises:
            FiguregroundError: a background that is none of these.
        """
        if isinstance(background, str):
            background = parse_background(background)
        rgba = cutout(self.image, self.probability, self.threshold)
        return Image.fromarray(rgba if background is None else composite(rgba, background))

    def save(self, path: str | Path) -> None:
        """Write the mask, 0 and 255, as the format that the suffix names (PNG keeps it exactly).

        Raises:
            FiguregroundError: the folder cannot be written to.
        """
        write_image(path, self.mask.astype(np.uint8) * 255)


def lay_over(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: tuple[int, int, int] = RED,
    opacity: float = 0.45,
) -> NDArray[np.uint8]:
    """An image (H, W, 3) with a colour over the pixels of a mask (H, W)."""
    tinted = image.astype(np.float32)
    tinted[mask] = tinted[mask] * (1 - opacity) + np.asarray(colour, np.float32) * opacity
    return np.round(tinted).astype(np.uint8)
