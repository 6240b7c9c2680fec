"""Pages for people: each one HTML file that needs nothing from elsewhere, from the templates beside this module."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.files import UNSPEAKABLE, replacing
from figureground.version import __version__


class Picture(NamedTuple):
    """An image for a page, which lies in the page's text."""

    source: str
    width: int
    height: int
    alt: str
    """What it shows, for those who do not see it."""


def picture(pixels: NDArray[Any], alt: str, side: int) -> Picture:
    """A small picture of pixels: of a mask (H, W), bool or uint8, as PNG, of an image (H, W, 3) as JPEG.

    Args:
        pixels: of any size.
        alt: what it shows.
        side: pixels of the longer side.
    """
    levels = pixels * np.uint8(255) if pixels.dtype == bool else pixels
    scale = side / max(pixels.shape[:2])
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    kind = "png" if pixels.ndim == 2 else "jpeg"
    buffer = io.BytesIO()
    Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR).save(buffer, kind, quality=82)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/{kind};base64,{data}", width, height, alt)


def write_page(path: Path, template: str, values: Mapping[str, object]) -> None:
    """Write a page from one of the templates; what is text in ``values`` cannot break it.

    Raises:
        FiguregroundError: the folder cannot be written to.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("figureground", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["as"] = format
    text = templates.get_template(template).render({**values, "version": __version__, "titles": []})
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=UNSPEAKABLE)
