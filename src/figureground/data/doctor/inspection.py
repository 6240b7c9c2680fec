"""One look at each file: what the checks need to know about it, and no more, so that thousands fit into memory."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tqdm import tqdm

from figureground.cores import READERS, usable_cores
from figureground.data.dataset import FIGURE, FULL
from figureground.data.doctor.masks import Coding, Reading, read_mask
from figureground.data.doctor.survey import Item
from figureground.data.duplicates import thumbnail
from figureground.errors import FiguregroundError
from figureground.images import LYING, read_image

SPECK_SHARE = 1e-4  # of an image's pixels: 7 of 256 × 256
SPECK_OF_FIGURE = 0.01  # a small figure is no speck


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be decoded."""

    path: Path
    kind: str
    """``empty_file``, ``truncated`` or ``unreadable``."""
    message: str


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image."""

    path: Path
    format: str
    mode: str
    stored: tuple[int, int]
    """Width and height in the file, before EXIF turns it."""
    size: tuple[int, int]
    """Width and height, upright."""
    orientation: int
    """EXIF's tag, 1 to 8."""
    digest: str
    """Of the upright RGB pixels."""
    thumbnail: NDArray[np.uint8]
    """(32, 32), luminance."""


@dataclass(frozen=True)
class MaskFacts:
    """What is known of a mask; the figures are None where its values do not tell what is figure."""

    path: Path
    """Its file, or its image's where it is drawn from outlines."""
    format: str
    """Empty where it is drawn."""
    size: tuple[int, int]
    coding: Coding
    values: str
    shape: FigureFacts | None


@dataclass(frozen=True)
class FigureFacts:
    """The figure in a mask."""

    share: float
    """Of all pixels."""
    border_share: float
    """Of the outermost pixels."""
    centre_share: float
    """Of the middle half of rows and columns."""
    specks: int
    pinholes: int


@dataclass(frozen=True)
class Inspected:
    """An item with what was found in its files; None where there is no file."""

    item: Item
    image: ImageFacts | Unreadable | None
    mask: MaskFacts | Unreadable | None


def inspect(items: Sequence[Item], reading: Reading, progress: bool = False) -> list[Inspected]:
    """Read every file of the items once."""

    def look(item: Item) -> Inspected:
        image = inspect_image(item.image, item.picture) if item.image else None
        if item.targets and item.image:
            return Inspected(item, image, _inspect_drawn(item, item.image))
        return Inspected(item, image, inspect_mask(item.mask, reading) if item.mask else None)

    with ThreadPoolExecutor(min(READERS, usable_cores())) as pool:
        looked = pool.map(look, items)
        return list(tqdm(looked, total=len(items), desc="reading", unit="image", leave=False, disable=not progress))


def inspect_image(path: Path, picture: Path | bytes | None = None) -> ImageFacts | Unreadable:
    """Decode an image, whatever state it is in; ``picture``: what to decode, if the file holds more than that."""
    try:
        pixels = read_image(picture or path)
    except FiguregroundError as error:
        return _unreadable(path, str(error))
    height, width = pixels.shape[:2]
    with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else path) as header:
        orientation = _orientation(header)
        return ImageFacts(
            path=path,
            format=header.format or "",
            mode=header.mode,
            stored=(height, width) if orientation in LYING else (width, height),  # Pillow tells it upright, of TIFF
            size=(width, height),
            orientation=orientation,
            digest=hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode(), digest_size=16).hexdigest(),
            thumbnail=thumbnail(pixels),
        )


def _orientation(picture: Image.Image) -> int:
    """EXIF's tag; 1, upright, also where it is none of those that are defined."""
    tag = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return tag if tag in range(1, 9) else 1


def inspect_mask(path: Path, reading: Reading) -> MaskFacts | Unreadable:
    """Decode a mask, whatever state it is in."""
    try:
        mask = read_mask(path, reading)
    except FiguregroundError as error:
        return _unreadable(path, str(error))
    with Image.open(path) as header:
        file_format = header.format or ""
    shape = None if mask.figure is None else measure_figure(mask.figure)
    return MaskFacts(path, file_format, mask.size, mask.coding, mask.values, shape)


def _inspect_drawn(item: Item, image: Path) -> MaskFacts | Unreadable:
    try:
        figure, _ = truth_of(item, Reading("folder"))
    except FiguregroundError as error:
        return Unreadable(image, "unreadable", str(error))
    assert figure is not None
    assert item.entry is not None
    size = figure.shape[1], figure.shape[0]
    return MaskFacts(image, "", size, "plain", f"of {item.entry.truth}", measure_figure(figure))


def truth_of(item: Item, reading: Reading) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """The figure (H, W) of an item that has a truth, the best guess where a mask file is ambiguous, and what of it is
    not left out (H, W); none: all.

    Raises:
        FiguregroundError: it cannot be read.
    """
    if item.targets:
        return np.asarray(item.targets()[FIGURE] > FULL // 2), None
    assert item.mask is not None
    mask = read_mask(item.mask, reading)
    return mask.figure, mask.kept


def measure_figure(figure: NDArray[np.bool_]) -> FigureFacts:
    """The figure (H, W) in numbers."""
    height, width = figure.shape
    border = np.concatenate([figure[0], figure[-1], figure[:, 0], figure[:, -1]])
    return FigureFacts(
        share=float(figure.mean()),
        border_share=float(border.mean()),
        centre_share=float(figure[height // 4 : -(-3 * height // 4), width // 4 : -(-3 * width // 4)].mean()),
        specks=_count(find_specks(figure)),
        pinholes=_count(find_pinholes(figure)),
    )


def find_specks(figure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pieces (8-connected) of at most 0.01% of the image, and less than 1% of the figure."""
    most = min(_speck_area(figure), SPECK_OF_FIGURE * np.count_nonzero(figure))
    return _small_pieces(figure, most, np.ones((3, 3)))


def find_pinholes(figure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Holes (4-connected) in the figure of at most 0.01% of the image."""
    background = np.pad(~figure, 1, constant_values=True)  # what touches the border is one piece, and no hole
    return _small_pieces(background, _speck_area(figure), None)[1:-1, 1:-1]


def _speck_area(figure: NDArray[np.bool_]) -> float:
    return max(1, SPECK_SHARE * figure.size)


def _small_pieces(
    region: NDArray[np.bool_], most: float, connectivity: NDArray[np.float64] | None
) -> NDArray[np.bool_]:
    """The connected pieces of a region (H, W) that have at most ``most`` pixels."""
    from scipy import ndimage

    pieces, _ = ndimage.label(region, connectivity)
    small = np.bincount(pieces.ravel()) <= most
    small[0] = False
    return np.asarray(small[pieces])


def _count(pieces: NDArray[np.bool_]) -> int:
    from scipy import ndimage

    return int(ndimage.label(pieces, np.ones((3, 3)))[1]) if pieces.any() else 0


def _unreadable(path: Path, message: str) -> Unreadable:
    """Why a file cannot be decoded."""
    try:
        size = path.stat().st_size
    except OSError:  # a link to nothing
        return Unreadable(path, "unreadable", message)
    if size == 0:
        return Unreadable(path, "empty_file", message)
    cut = "truncated" in message.lower() or _declared_size(path) > size
    return Unreadable(path, "truncated" if cut else "unreadable", message)


def _declared_size(path: Path) -> int:
    """The bytes that a WebP file says it has, of which Pillow does not speak; 0 for other files."""
    if not os.access(path, os.R_OK):
        return 0
    with path.open("rb") as file:
        head = file.read(8)
    return int.from_bytes(head[4:], "little") + 8 if head[:4] == b"RIFF" else 0
