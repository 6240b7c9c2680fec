"""The figure without its background, and on another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from figureground.errors import FiguregroundError
from figureground.images import read_image, strips
from figureground.prediction.matting import Grid, Rows, alpha_model, alpha_of, foreground_of, local_colours, tile_alpha

Background = tuple[int, int, int] | NDArray[np.uint8]
"""A colour, RGB 0 to 255, or an image (H, W, 3) of any size."""


def cutout(image: NDArray[np.uint8], probability: Rows, threshold: float = 0.5) -> NDArray[np.uint8]:
    """The figure with a soft edge and its own colours: ``refine_alpha`` and ``estimate_foreground`` in one pass.

    Args:
        image: (H, W, 3) uint8.
        probability: (H, W), 0 to 1, of which a few hundred rows are taken at a time.
        threshold: the probability of the edge.

    Returns:
        (H, W, 4) uint8 RGBA, alpha not multiplied in. Pieces without any of the figure are (0, 0, 0, 0).
    """
    grid = Grid.over(image)
    colours, prior = grid.sample(image), grid.sample(probability)
    model = alpha_model(grid, colours, prior, threshold)
    means = local_colours(grid, colours, alpha_of(model, colours, prior, threshold))
    rgba = np.zeros((*image.shape[:2], 4), np.uint8)
    for band in grid.bands():
        nearby = probability[band]
        for tile in grid.tiles(band):
            alpha = tile_alpha(grid, model, tile, image[tile], nearby[:, tile[1]], threshold)
            rgba[tile][..., 3] = np.round(alpha * 255)
            if alpha.min() == 1:
                rgba[tile][..., :3] = image[tile]
            elif alpha.max() > 0:
                rgba[tile][..., :3] = foreground_of(grid.enlarge(means, tile), image[tile], alpha)
    return rgba


def composite(rgba: NDArray[np.uint8], background: Background) -> NDArray[np.uint8]:
    """A cut-out over a background.

    Args:
        rgba: (H, W, 4) uint8, alpha not multiplied in.
        background: see ``Background``; an image is scaled until it covers, and its middle is taken.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FiguregroundError: a colour that is not three numbers from 0 to 255, an array that is no image.
    """
    height, width = rgba.shape[:2]
    if isinstance(background, np.ndarray):
        picture = ImageOps.fit(Image.fromarray(read_image(background)), (width, height), Image.Resampling.BICUBIC)
        behind = np.asarray(picture)
    else:
        if len(background) != 3 or not all(0 <= value <= 255 for value in background):
            raise FiguregroundError(f"background colour {background}; expected three numbers from 0 to 255")
        behind = np.broadcast_to(np.asarray(background, np.uint8), (height, width, 3))
    blended = np.empty((height, width, 3), np.uint8)
    for rows in strips(height, width):  # the products need two bytes: some rows at a time they need few
        alpha = rgba[rows][..., 3:].astype(np.uint16)
        blended[rows] = (rgba[rows][..., :3] * alpha + behind[rows] * (255 - alpha) + 127) // 255
    return blended


def parse_background(text: str) -> Background:
    """What a user writes for a background: a colour or the path of a picture.

    Args:
        text: ``white`` and other CSS names, ``#rrggbb``, or a file. A colour's name wins over a file of that name.

    Raises:
        FiguregroundError: none of these, a colour with transparency, or a picture that cannot be read.
    """
    try:
        red, green, blue, *transparency = ImageColor.getrgb(text)
    except ValueError:
        if Path(text).exists():
            return read_image(text)
        raise FiguregroundError(
            f"background {text!r} is neither a colour nor a file; expected a name such as white, #rrggbb or a picture"
        ) from None
    if transparency:
        raise FiguregroundError(f"background {text!r} has transparency; expected an opaque colour such as #rrggbb")
    return red, green, blue
