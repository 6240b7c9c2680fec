"""What a prediction is, and the pictures that are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from figureground.config import PostProcessingConfig, QualityConfig
from figureground.errors import FiguregroundError, UsageError
from figureground.images import encode_image, read_image, strips, to_srgb, write_grey, write_image
from figureground.png import encode_grey
from figureground.prediction.photos.cleanup import post_process
from figureground.prediction.photos.quality import estimate_dice, expected_dice, features
from figureground.prediction.pictures.cutout import (
    Background,
    backdrop,
    blended,
    cutout_bands,
    parse_background,
    read_background,
)
from figureground.prediction.pictures.matting import Rows
from figureground.prediction.pictures.polygons import Polygon, find_polygons
from figureground.preprocessing import Restored

RED_SHARE = 115  # of 256, in an overlay
PICTURES = {"mask": ".png", "overlay": ".jpg", "cutout": ".png", "probability": ".png"}
"""What can be made of a prediction, and the kind of file that it goes to."""
COLOURED = ("overlay", "cutout")
"""Those with the photo's own colours, which look right with its colour profile only."""
GREY = ("mask", "probability")
"""Those of one channel."""
STRIP_PIXELS = 2**21
"""Of a picture that is made or written: in fewer, the rows that a strip shares with its neighbours count."""


@dataclass(frozen=True)
class Cleaned:
    """Probabilities (H, W), some rows at a time, and 0 or 1 where the clean-up of the mask has overruled them."""

    source: Rows
    mask: NDArray[np.bool_]
    """(H, W), cleaned up."""
    overruled: NDArray[np.bool_]
    """(H, W), where it differs from what the probabilities said."""

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Some rows, (n, W)."""
        return np.where(self.overruled[rows], self.mask[rows], self.source[rows]).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Prediction:
    """The figure in one photo, at the photo's own size."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""
    source: NDArray[np.float32] | Restored
    """The probability, (H, W), 0 to 1, or what makes rows of it."""
    threshold: float = 0.5
    """A pixel is figure above this probability."""
    post_processing: PostProcessingConfig = PostProcessingConfig()
    """How the mask is cleaned up."""
    quality: QualityConfig = QualityConfig()
    """How its Dice is estimated."""

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W), 0 to 1."""
        return self.source[:]

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W), True where the figure is."""
        return post_process(self.source > self.threshold, self.post_processing)

    def polygons(self, tolerance: float = 0.0) -> list[Polygon]:
        """The outlines of the mask's parts, with their holes: exact, or simplified to ``tolerance`` pixels."""
        return find_polygons(self.mask, tolerance)

    def overlay(self) -> Image.Image:
        """The photo with the figure in transparent red."""
        self._refuse_reduced()
        height, width = self.mask.shape
        picture = Image.new("RGB", (width, height))
        for rows in strips(height, width, STRIP_PIXELS):
            picture.paste(Image.fromarray(lay_over(self.image[rows], self.mask[rows])), (0, rows.start))
        return picture

    def cutout(
        self, background: Background | str | Path | Image.Image | None = None, profile: bytes | None = None
    ) -> Image.Image:
        """The figure with a soft edge, RGBA, or RGB on a background.

        Args:
            background: a colour triple, an image (H, W, 3) uint8 or of PIL, a picture file, or text: ``white``,
                ``#rrggbb`` or a picture file. A picture's own colour profile counts; without one it is in sRGB.
            profile: the ICC profile of the photo's colours, which the background's become; none: sRGB.

        Raises:
            FiguregroundError: a background that is none of these.
        """
        if isinstance(background, str):
            background = parse_background(background)
        elif isinstance(background, Path):
            background = read_background(background)
        elif isinstance(background, Image.Image):
            theirs = background.info.get("icc_profile") if background.mode == "RGB" else None
            background = to_srgb(read_image(background), theirs)
        self._refuse_reduced()
        height, width, _ = self.image.shape
        behind = None if background is None else backdrop(background, height, width, profile)
        picture = Image.new("RGBA" if behind is None else "RGB", (width, height))
        for band, rgba in cutout_bands(self.image, self._cleaned(), self.threshold):
            rows = rgba if behind is None else blended(rgba, behind[band])
            picture.paste(Image.fromarray(rows), (0, band.start))
        return picture

    def _refuse_reduced(self) -> None:
        if self.image.shape[:2] != self.mask.shape:
            height, width = self.mask.shape
            raise FiguregroundError(
                f"of a photo of {width}×{height} only {self.image.shape[1]}×{self.image.shape[0]} pixels were read, "
                "enough for the mask; predict it whole for its colours"
            )

    def _cleaned(self) -> Rows:
        """The probability, but certain where post-processing has overruled it."""
        if self.post_processing == PostProcessingConfig():
            return self.source
        return Cleaned(self.source, self.mask, self.mask != (self.source > self.threshold))

    @property
    def expected_dice(self) -> float:
        """The Dice of the mask that the probabilities themselves lead to expect, 0 to 1: no truth is needed.

        See ``prediction.quality.expected_dice``.
        """
        return expected_dice(self.mask, self.probability)

    @cached_property
    def estimated_dice(self) -> float:
        """The Dice that the mask is likely to have, 0 to 1, as was fitted on the split ``valid``.

        0 for an empty mask: whether there was a figure to find, nothing can tell.
        """
        return estimate_dice(features(self.mask, self.probability), self.quality) if self.mask.any() else 0.0

    @property
    def needs_review(self) -> bool:
        """Whether somebody should look at the mask: it is empty, or its estimated Dice is low."""
        return not (self.mask.any() and self.estimated_dice >= self.quality.review_below)

    def picture(
        self, kind: str, background: Background | None = None, profile: bytes | None = None
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """One of ``PICTURES``: mask (H, W) uint8 of 0 and 255, overlay (H, W, 3), cutout (H, W, 4) or, on a background,
        (H, W, 3), probability (H, W) uint16, where 65,535 is 1. ``background`` and ``profile``: see ``cutout``.
        """
        if kind in GREY:
            return np.concatenate(list(self._grey(kind)))
        return np.asarray(self._coloured(kind, background, profile))

    def _coloured(self, kind: str, background: Background | None, profile: bytes | None) -> Image.Image:
        """A picture of several channels.

        Raises:
            UsageError: there is none of that kind.
        """
        if kind not in COLOURED:
            raise UsageError(f"there is no picture {kind!r}; expected one of: {', '.join(PICTURES)}")
        return self.overlay() if kind == "overlay" else self.cutout(background, profile)

    def _grey(self, kind: str) -> Iterator[NDArray[np.uint8] | NDArray[np.uint16]]:
        """A picture of one channel, some rows at a time."""
        height, width = self.mask.shape
        for rows in strips(height, width, STRIP_PIXELS):
            if kind == "mask":
                yield self.mask[rows] * np.uint8(255)
            else:
                yield np.round(self.source[rows] * 65535).astype(np.uint16)

    def write(self, kind: str, path: Path, background: Background | None = None, profile: bytes | None = None) -> None:
        """Write one of ``PICTURES`` with the suffix it has there; large ones are never in memory as a whole.

        Args:
            kind: which.
            path: the file.
            background: behind a cut-out.
            profile: the ICC profile of the photo's colours.

        Raises:
            FiguregroundError: a kind that there is not, or the file cannot be written.
        """
        if kind in GREY:
            write_grey(path, self._grey(kind), *self.mask.shape)
        else:
            write_image(path, self._coloured(kind, background, profile), profile)

    def encode(self, kind: str, background: Background | None = None, profile: bytes | None = None) -> bytes:
        """One of ``PICTURES`` as the bytes of a PNG file; ``background`` and ``profile`` as of ``write``.

        Raises:
            FiguregroundError: a kind that there is not.
        """
        if kind in GREY:
            return b"".join(encode_grey(self._grey(kind), *self.mask.shape))
        return encode_image(self._coloured(kind, background, profile), profile)

    def save(self, path: str | Path) -> None:
        """Write the mask, 0 and 255, as the format that the suffix names (PNG keeps it exactly).

        Raises:
            FiguregroundError: the folder cannot be written to.
        """
        write_image(path, self.picture("mask"))


def lay_over(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An image (H, W, 3) with transparent red over the pixels of a mask (H, W)."""
    # By a table of what becomes of each level, which Pillow applies and pastes several times as fast as NumPy picks
    # and mixes the pixels of a mask: films need this for every frame.
    levels = np.arange(256) * (256 - RED_SHARE) + np.array([[255], [0], [0]]) * RED_SHARE + 128
    table = (levels >> 8).ravel().tolist()
    picture = Image.fromarray(image)
    picture.paste(picture.point(table), (0, 0), Image.fromarray(mask * np.uint8(255)))
    return np.asarray(picture)
