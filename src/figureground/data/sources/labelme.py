"""A folder of images with labelme's JSON beside each: outlines by label (https://github.com/wkentaro/labelme).

Shapes are drawn as labelme draws its own label maps: one after the other, so that a later one covers those before it,
polygons and circles with their outline. Of its two labels that are no object, ``__ignore__`` is left out and
``_background_`` is background.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from figureground.config import DataConfig
from figureground.data.dataset import Entry, FileSource, Targets, list_briefly, say, targets_of
from figureground.data.sources.annotations import Outline, outline_of, read_json, require_known, size_of
from figureground.data.sources.folder import SPLIT_NAMES, files_by_stem, grouping
from figureground.errors import BadDataError, FiguregroundError, TooLargeError
from figureground.files import files_below, is_hidden
from figureground.images import read_image
from figureground.settings import shown

EXPECTED = "a labelme file: an object with the list shapes"
POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
"""Shapes with an area, and how many points they have; a polygon: at least."""
WITHOUT_AREA = ("line", "linestrip", "point", "points")
LEFT_OUT, BACKGROUND = "__ignore__", "_background_"
MOST_BYTES = 2**28  # of a file, with the picture that it may hold
LOOKED_AT = 5  # files that show whether a folder is one of labelme


@dataclass(frozen=True)
class Shape:
    """Something that was drawn."""

    label: str
    kind: str
    """A key of ``POINTS``."""
    points: Outline
    pixels: str = ""
    """Of a ``mask`` the PNG file in base64."""


@dataclass(frozen=True)
class Drawing:
    """What a labelme file says of its image."""

    path: Path
    image: str
    """The file that was drawn on, as it was called then."""
    holds_image: bool
    size: tuple[int, int] | None
    """Height and width; old files do not tell."""
    shapes: tuple[Shape, ...]
    without_area: int
    """Lines and points."""
    categories: tuple[str, ...] = ()
    """Which labels are figure; none: all."""

    def __str__(self) -> str:
        return str(self.path)


def find_root(path: Path) -> Path | None:
    """The folder itself, if it or a folder in it holds labelme's files."""
    if not path.is_dir():
        return None
    for pattern in ("*.json", "*/*.json"):
        for file in itertools.islice(sorted(path.glob(pattern)), LOOKED_AT):
            with suppress(FiguregroundError):
                if not is_hidden(file, path) and _drawing(file, _stamp(file)) is not None:
                    return path
    return None


def open_labelme(root: Path, config: DataConfig) -> FileSource:
    """The images in a folder that have a file of labelme.

    Raises:
        FiguregroundError: a broken file, an image that is missing or has two, a label that is not there.
    """
    entries = list_entries(root, config)
    missing = [str(entry.truth) for entry in entries if not entry.image.is_file()]
    if missing:
        raise BadDataError(
            f"{root}: the images of {len(missing)} files are missing: {list_briefly(missing)}. Put each beside its "
            "file, or remove these files"
        )
    drawings: list[Drawing] = [entry.truth for entry in entries]
    labels = {shape.label for drawing in drawings for shape in drawing.shapes} - {LEFT_OUT, BACKGROUND}
    require_known(config.category, labels, root)
    wanted = set(config.category) or labels
    empty = sum(not any(shape.label in wanted for shape in drawing.shapes) for drawing in drawings)
    if empty:
        say(f"{root}: {empty} of {len(entries)} images have no shape that is figure; their masks are empty")
    unused = sum(drawing.without_area for drawing in drawings)
    if unused:
        say(f"{root}: {unused} lines and points have no area and are not used; draw polygons in their place")
    return FileSource("labelme", root.resolve().name, entries, read_drawing)


def list_entries(root: Path, config: DataConfig) -> list[Entry]:
    """All samples of a folder, whether their images are there or not."""
    files = [path for path in files_below(root) if path.suffix.lower() == ".json" and not is_hidden(path, root)]
    drawings = [drawing for path in files if (drawing := _drawing(path, _stamp(path)))]
    if len(drawings) < len(files):
        say(f"{root}: {len(files) - len(drawings)} of {len(files)} .json files are not labelme's and are not used")
    images = files_by_stem(root)
    entries = [_entry(root, replace(drawing, categories=config.category), images) for drawing in drawings]
    group_of = grouping(config.group)
    entries = [replace(entry, group=group_of(entry.name)) for entry in entries]
    owner: dict[Path, Entry] = {}
    for entry in entries:
        other = owner.setdefault(entry.image, entry)
        if other is not entry:
            raise BadDataError(
                f"{other.truth} and {entry.truth} are both of the image {entry.image}; remove one of them"
            )
    alone = [str(path) for found in images.values() for path in found if path not in owner]
    if alone:
        say(f"{root}: {len(alone)} images have no .json beside them and are not used: {list_briefly(alone)}")
    return entries


def _entry(root: Path, drawing: Drawing, images: Mapping[str, Sequence[Path]]) -> Entry:
    name = drawing.path.relative_to(root).with_suffix("").as_posix()
    told = (
        drawing.path.parent / PureWindowsPath(drawing.image).name
    )  # of its path the folder is that of another machine
    namesakes = images.get(name, [])
    if not told.is_file() and len(namesakes) > 1:
        raise BadDataError(f"{namesakes[0]} and {namesakes[1]} have the same name; rename or remove one of them")
    image = told if told.is_file() else next(iter(namesakes), told)
    embedded = drawing.holds_image and not image.is_file()
    entry = Entry(
        name,
        drawing.path if embedded else image,
        drawing,
        SPLIT_NAMES.get(name.partition("/")[0].lower()) if "/" in name else None,
        unpack=embedded_image if embedded else None,
    )
    if drawing.size is None and entry.image.is_file():
        return replace(entry, truth=replace(entry.truth, size=entry.read_image().shape[:2]))
    return entry


def embedded_image(path: Path) -> bytes:
    """The picture file that a labelme file holds.

    Raises:
        FiguregroundError: it holds none, or it is damaged.
    """
    return _decoded(_read(path).get("imageData"), f"{path}, its imageData,")


def _decoded(text: object, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise BadDataError(f"{where} is no base64 ({error}); save it with labelme again") from None


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_BYTES:
        raise TooLargeError(f"{path} has more than {MOST_BYTES} bytes; save it without imageData, beside its image")
    return read_json(path, EXPECTED)


@lru_cache(maxsize=2**16)
def _drawing(path: Path, stamp: tuple[int, int]) -> Drawing | None:
    """What a file says, read once for all splits; none where it is another program's."""
    document = _read(path)
    shapes = document.get("shapes")
    if not isinstance(shapes, list):
        return None
    sides = document.get("imageHeight"), document.get("imageWidth")
    size = None if sides == (None, None) else size_of(document, "imageHeight", "imageWidth", str(path))
    found = [_shape(shape, f"{path}: shape {number}", size) for number, shape in enumerate(shapes, start=1)]
    return Drawing(
        path,
        image=str(document.get("imagePath") or ""),
        holds_image=bool(document.get("imageData")),
        size=size,
        shapes=tuple(shape for shape in found if shape),
        without_area=sum(shape is None for shape in found),
    )


def _shape(record: object, where: str, size: tuple[int, int] | None) -> Shape | None:
    """None: it has no area."""
    found = record if isinstance(record, dict) else {}
    label, kind = found.get("label"), found.get("shape_type") or "polygon"
    if not isinstance(label, str):
        raise BadDataError(f"{where} has the label {shown(label)}; expected a text")
    if kind in WITHOUT_AREA:
        return None
    if kind not in POINTS:
        raise BadDataError(f"{where} is of the type {shown(kind)}; expected one of: {', '.join(POINTS)}. Draw it anew")
    numbers: object = found.get("points")
    with suppress(TypeError, ValueError):
        numbers = [number for x, y in found["points"] for number in (x, y)] if "points" in found else None
    points = outline_of(numbers, size or (2**16, 2**16), f"{where}, its points,")
    count = len(points) // 2
    if count < POINTS[kind] or (kind != "polygon" and count > POINTS[kind]):
        more = " or more" if kind == "polygon" else ""
        raise BadDataError(f"{where}, a {kind}, has {count} points; expected {POINTS[kind]}{more}. Draw it anew")
    return Shape(label, kind, points, str(found.get("mask", "")) if kind == "mask" else "")


def read_drawing(drawing: Drawing) -> Targets:
    """The targets of an image.

    Raises:
        FiguregroundError: a mask among the shapes that is damaged, or not of its box's size.
    """
    assert drawing.size is not None  # otherwise the image is missing, which is refused before
    figure, kept = np.zeros(drawing.size, bool), np.ones(drawing.size, bool)
    for shape in drawing.shapes:
        drawn = _pasted(shape, drawing) if shape.kind == "mask" else _drawn(shape, drawing.size)
        kept[drawn] = shape.label != LEFT_OUT
        wanted = shape.label in drawing.categories or not drawing.categories
        figure[drawn] = wanted and shape.label not in (LEFT_OUT, BACKGROUND)
    return targets_of(figure, kept)


def _drawn(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W), as labelme's ``shape_to_mask``."""
    canvas = Image.new("1", size[::-1])
    draw = ImageDraw.Draw(canvas)
    x0, y0, x1, y1 = shape.points[:4]
    if shape.kind == "circle":  # its centre, and a point on it
        radius = math.hypot(x1 - x0, y1 - y0)
        draw.ellipse((x0 - radius, y0 - radius, x0 + radius, y0 + radius), outline=1, fill=1)
    elif shape.kind == "rectangle":
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=1, fill=1)
    else:
        draw.polygon(list(shape.points), outline=1, fill=1)
    return np.array(canvas)


def _pasted(shape: Shape, drawing: Drawing) -> NDArray[np.bool_]:
    """(H, W) of a shape that holds its pixels, within the corners that it lies in."""
    assert drawing.size is not None
    pixels = read_image(_decoded(shape.pixels, f"{drawing.path}: a mask of {shape.label}"))[..., 0] > 0
    left, top, right, bottom = map(int, shape.points)
    mask = np.zeros(drawing.size, bool)
    place = mask[max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    if place.shape != pixels.shape:
        raise BadDataError(
            f"{drawing.path}: a mask of {shape.label} is {pixels.shape[1]}×{pixels.shape[0]} pixels; expected "
            f"{place.shape[1]}×{place.shape[0]}, as its corners are. Draw it anew"
        )
    place[:] = pixels
    return mask
