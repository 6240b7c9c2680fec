"""Several looks of a network at one photo, averaged: mirrored, and enlarged in overlapping tiles.

Averages are taken of logits, as nnU-Net does for its mirrored passes and its folds (Isensee et al. 2021).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from figureground.errors import UsageError
from figureground.prediction.photos.member import Member
from figureground.preprocessing import Preprocessing, blended, resized_strips

BATCH_SIZE = 8
KEPT = 2  # times what a network sees in either direction
Images = Sequence[NDArray[np.uint8]]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Views:
    """How a network looks at a photo."""

    flip: bool = False
    """Also mirrored left to right."""
    scales: tuple[float, ...] = (1.0,)
    """Multiples of the size at which the network sees the photo; above 1 in overlapping windows of its own."""

    def __post_init__(self) -> None:
        if not self.scales or not all(1 <= scale < math.inf for scale in self.scales):
            raise UsageError(f"scales are {self.scales}; expected numbers from 1, such as 1 and 2")

    def expect(self, preprocessing: Preprocessing) -> None:
        """Hold them against a network.

        Raises:
            UsageError: they ask for more of a photo than there is: crops at its own size have nothing to enlarge.
        """
        largest = 1 / preprocessing.scale
        if preprocessing.resize == "crops" and max(self.scales) > largest:
            raise UsageError(
                f"scales are {self.scales}, but the model takes crops at {preprocessing.scale:g} times a photo's size; "
                f"expected scales up to {largest:g}: there is no more to see"
            )


def least_size(members: Iterable[Preprocessing], views: Views) -> tuple[int, int]:
    """Height and width of a photo that show networks all that they can see of a larger one.

    Twice what they see it at: how the photo was reduced to that does not matter then, or next to nothing. Where one
    of them takes crops, which grow with the photo, no photo is larger than needed.
    """
    heights, widths = zip(*((sys.maxsize,) * 2 if m.resize == "crops" else m.size for m in members), strict=True)
    most = KEPT * max(views.scales)
    return math.ceil(most * max(heights)), math.ceil(most * max(widths))


def logit_maps(member: Member, images: Images, views: Views) -> list[Logits]:
    """What a model sees in photos (H, W, 3) uint8: a map of logits (h, w) for each, the larger the finer its views."""
    preprocessing = member.preprocessing
    by_scale = [
        seen_logits(member, (preprocessing.scale_image(image, scale) for image in images), views.flip, len(images))
        for scale in views.scales
    ]
    return [mean_map(maps) for maps in zip(*by_scale, strict=True)]


def seen_logits(
    member: Member, scaled: Iterable[NDArray[np.uint8]], flip: bool = False, photos: int = 1
) -> list[Logits]:
    """A map of logits (h, w) of each photo (h, w, 3) uint8 that has been scaled to what the model sees.

    Args:
        member: the model.
        scaled: see ``Preprocessing.scale_image``.
        flip: also mirrored left to right.
        photos: how many there are: so many windows go together, or ``BATCH_SIZE``.
    """

    def look(batch: Images) -> Logits:
        logits = member.logits(batch)
        if not flip:
            return logits
        mirrored = member.logits([image[:, ::-1] for image in batch])[:, :, ::-1]
        return np.asarray((logits + mirrored) / 2, np.float32)

    return blended(look, map(member.preprocessing.windows, scaled), max(BATCH_SIZE, photos))


def mean_map(maps: Sequence[Logits]) -> Logits:
    """The mean of maps (h, w) of any sizes, at the size of the largest."""
    if len(maps) == 1:
        return maps[0]
    height, width = max(logits.shape[0] for logits in maps), max(logits.shape[1] for logits in maps)
    total = np.zeros((height, width), np.float32)
    for logits in maps:
        for rows, strip in resized_strips(logits, height, width):
            total[rows] += strip
    total /= len(maps)
    return total
