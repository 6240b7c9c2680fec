"""The figure without its background, and on another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from figureground.errors import UsageError
from figureground.image_files import DEFAULT_LIMITS, ReadLimits
from figureground.images import from_srgb, read_image, read_profile, to_srgb
from figureground.prediction.pictures.matting import (
    Grid,
    Rows,
    alpha_model,
    alpha_of,
    foreground_of,
    local_colours,
    tile_alpha,
)

Background = tuple[int, int, int] | NDArray[np.uint8]
"""A colour, RGB 0 to 255, or an image (H, W, 3) of any size, both in sRGB."""


def cutout_bands(
    image: NDArray[np.uint8], probability: Rows, threshold: float
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """The figure with a soft edge (``matting.alpha_model``) and its own colours (``matting.foreground_of``).

    Args:
        image: (H, W, 3) uint8.
        probability: (H, W), 0 to 1, of which a few hundred rows are taken at a time.
        threshold: the probability of the edge.

    Yields:
        Some rows at a time: which they are, and (n, W, 4) uint8 RGBA, alpha not multiplied in. Pieces without any of
        the figure are (0, 0, 0, 0).
    """
    grid = Grid.over(image)
    colours, prior = grid.sample(image), grid.sample(probability)
    model = alpha_model(grid, colours, prior, threshold)
    means = local_colours(grid, colours, alpha_of(model, colours, prior, threshold))
    for band in grid.bands():
        pixels, nearby = image[band], probability[band]
        rgba = np.zeros((*pixels.shape[:2], 4), np.uint8)
        for tile in grid.tiles_of(band):
            columns = tile[1]
            alpha = tile_alpha(grid, model, tile, pixels[:, columns], nearby[:, columns], threshold)
            rgba[:, columns, 3] = np.round(alpha * 255)
            if alpha.min() == 1:
                rgba[:, columns, :3] = pixels[:, columns]
            elif alpha.max() > 0:
                rgba[:, columns, :3] = foreground_of(grid.enlarge(means, tile), pixels[:, columns], alpha)
        yield band, rgba


def backdrop(background: Background, height: int, width: int, profile: bytes | None = None) -> NDArray[np.uint8]:
    """A background (H, W, 3) of a photo's size: an image is scaled until it covers, and its middle is taken.

    Args:
        background: a colour or an image.
        height: of the photo.
        width: of the photo.
        profile: the ICC profile of the photo's colours, which the background's become.

    Raises:
        FiguregroundError: a colour that is not three numbers from 0 to 255, an array that is no image.
    """
    if isinstance(background, np.ndarray):
        picture = ImageOps.fit(Image.fromarray(read_image(background)), (width, height), Image.Resampling.BICUBIC)
        return from_srgb(np.asarray(picture), profile)
    if len(background) != 3 or not all(0 <= value <= 255 for value in background):
        raise UsageError(f"background colour {background}; expected three numbers from 0 to 255")
    colour = from_srgb(np.asarray([[background]], np.uint8), profile)
    return np.broadcast_to(colour, (height, width, 3))


def blended(rgba: NDArray[np.uint8], behind: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Some rows (n, W, 4) of a cut-out over those of a background, (n, W, 3)."""
    rows, figure = Image.fromarray(behind), Image.fromarray(rgba)
    rows.paste(figure, (0, 0), figure)
    return np.asarray(rows)


def parse_background(text: str) -> Background:
    """What a user writes for a background: a colour (``parse_colour``) or the path of a picture.

    Raises:
        FiguregroundError: none of these, a colour with transparency, or a picture that cannot be read.
    """
    try:
        ImageColor.getrgb(text)  # a colour's name wins over a file of that name
    except ValueError:
        if Path(text).exists():
            return read_background(text)
    return parse_colour(text, "neither a colour nor a file; expected a name such as white, #rrggbb or a picture")


def parse_colour(text: str, otherwise: str = "no colour; expected a name such as white, or #rrggbb") -> Background:
    """A colour by its CSS name or as ``#rrggbb``; no file is looked at.

    Args:
        text: what a user wrote.
        otherwise: what is said of one that is none.

    Raises:
        UsageError: it is none, or one with transparency.
    """
    try:
        red, green, blue, *transparency = ImageColor.getrgb(text)
    except ValueError:
        raise UsageError(f"background {text!r} is {otherwise}") from None
    if transparency:
        raise UsageError(f"background {text!r} has transparency; expected an opaque colour such as #rrggbb")
    return red, green, blue


def read_background(source: str | Path | bytes, limits: ReadLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """A picture file, or its bytes, as a background (H, W, 3), in sRGB.

    Raises:
        FiguregroundError: it cannot be read.
    """
    return to_srgb(read_image(source, limits), read_profile(source, limits))
