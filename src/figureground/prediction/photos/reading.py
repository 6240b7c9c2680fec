"""A photo as it is, and as networks are shown it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from figureground.errors import UnreadableImageError
from figureground.image_files import DEFAULT_LIMITS, ReadLimits
from figureground.images import ImageSource, read_image, read_reduced


class Photo(NamedTuple):
    """A photo that has been read."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, upright; where nothing needs it, the same as ``seen``."""
    seen: NDArray[np.uint8]
    """It, or a reduced version (h, w, 3) for the networks, which is read faster than the image is resized."""
    size: tuple[int, int]
    """Height and width of the photo."""


def pixels_of(photo: Photo) -> int:
    """Of the whole, whether or not it was read."""
    return photo.size[0] * photo.size[1]


def read_photo(
    source: ImageSource, least: tuple[int, int], limits: ReadLimits = DEFAULT_LIMITS, *, whole: bool = True
) -> Photo:
    """Read a photo; what networks are shown of a file does not depend on ``whole``.

    Args:
        source: a file, its bytes, a PIL image, or an array (H, W, 3) uint8, of which a copy is made.
        least: see ``views.least_size``.
        limits: what a file, or its bytes, may be.
        whole: the image is needed as well.

    Raises:
        UnreadableImageError: it cannot be read, or was replaced meanwhile.
    """
    if isinstance(source, bytes) or (isinstance(source, str | Path) and os.path.isfile(source)):
        seen, size = read_reduced(source, least, limits)
        image = read_image(source, limits) if whole and seen.shape[:2] != size else seen
        if whole and image.shape[:2] != size:
            raise UnreadableImageError(f"{source!s} was replaced by a picture of another size meanwhile; give it again")
    else:  # also a pipe, which can be read only once
        image = read_image(source, limits)
        seen = image = image.copy() if image is source else image
        size = image.shape[0], image.shape[1]
    return Photo(image, seen, size)
