"""COCO's JSON: images, and what is on them as polygons or run lengths (https://cocodataset.org/#format-data).

The images lie beside the file, in ``images/``, or in a folder of the file's name. All annotations of an image together
are its figure, or those of the categories that are chosen; regions of a crowd (``iscrowd``) are left out.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from figureground.config import DataConfig
from figureground.data.dataset import Entry, FileSource, Targets, list_briefly, say, targets_of
from figureground.data.sources.annotations import (
    Outline,
    outline_of,
    read_json,
    require_below,
    require_known,
    short_names,
    size_of,
)
from figureground.data.sources.folder import grouping
from figureground.errors import BadDataError, MissingPackageError
from figureground.settings import shown

EXPECTED = "a COCO file: an object with the lists images, annotations and categories"
LISTS = ("images", "annotations", "categories")
PACKED = re.compile("(?:[P-o]{0,6}[0-O])+")  # numbers of up to 35 bits; all characters but a number's last have bit 5
Runs: TypeAlias = "array[int]"
"""Lengths of the runs of background and figure by turns, column by column."""
Segmentation: TypeAlias = "tuple[Outline, ...] | Runs"


@dataclass(frozen=True)
class Regions:
    """What a COCO file says of one image."""

    where: str
    """The image's record in the file."""
    file_name: str
    size: tuple[int, int]
    """Height and width."""
    figure: tuple[Segmentation, ...]
    crowd: tuple[Segmentation, ...]

    def __str__(self) -> str:
        return self.where


def find_file(path: Path) -> Path | None:
    """The file itself, if it is a JSON file."""
    return path if path.suffix.lower() == ".json" and path.is_file() else None


def open_coco(path: Path, config: DataConfig) -> FileSource:
    """The images that a COCO file lists.

    Raises:
        FiguregroundError: another kind of file, a category that is not there, annotations without an outline or of an
            image that is not there, images that are missing.
    """
    entries = list_entries(path, config)
    missing = [str(entry.image) for entry in entries if not entry.image.is_file()]
    if missing:
        raise BadDataError(
            f"{path} lists {len(missing)} images that are missing: {list_briefly(missing)}. Put them beside it, into "
            f"{path.parent / 'images'} or into {path.with_suffix('')}, or take them out of the file"
        )
    empty = sum(not entry.truth.figure for entry in entries)
    if empty:
        what = " or ".join(config.category) or "any category"
        say(f"{path}: {empty} of {len(entries)} images have no annotation of {what}; their masks are empty")
    return FileSource("coco", path.stem, entries, read_regions)


def list_entries(path: Path, config: DataConfig) -> list[Entry]:
    """All images of a COCO file, whether they are there or not."""
    status = path.stat()
    regions = _regions(path, (status.st_size, status.st_mtime_ns), config.category)
    folder = image_folder(path, [region.file_name for region in regions])
    group_of = grouping(config.group)
    names = short_names([region.file_name for region in regions])
    return [
        Entry(name, folder / region.file_name, region, group=group_of(name))
        for name, region in zip(names, regions, strict=True)
    ]


def image_folder(path: Path, names: Sequence[str]) -> Path:
    """Of the places where the images of a file may lie the first one that has most of them."""
    places = (path.parent, path.parent / "images", path.with_suffix(""))
    return max(places, key=lambda place: sum((place / name).is_file() for name in names))


@lru_cache(maxsize=2)
def _regions(path: Path, stamp: tuple[int, int], categories: tuple[str, ...]) -> tuple[Regions, ...]:
    """Of all images in a file; read once for all splits."""
    document = read_json(path, EXPECTED)
    _require_coco(path, document)
    images, annotations = (_by_id(path, document, kind) for kind in ("images", "annotations"))
    chosen = _chosen(path, document, categories)
    by_image: dict[int | str, list[Mapping[str, Any]]] = {key: [] for key in images}
    for key, annotation in annotations.items():
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not isinstance(image, int | str) or image not in images:
            raise BadDataError(f"{path}: annotation {key} is of image {shown(image)}, which the file does not list")
        if not isinstance(category, int | str) or category not in chosen:
            raise BadDataError(
                f"{path}: annotation {key} is of category {shown(category)}, which the file does not list"
            )
        if chosen[category]:
            by_image[image].append(annotation)
    _require_outlines(path, [annotation for found in by_image.values() for annotation in found])
    regions = [_of_image(path, record, by_image[key]) for key, record in images.items()]
    names = [region.file_name for region in regions]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise BadDataError(f"{path} lists two images with the file name {twice!r}; make one of them")
    return tuple(regions)


def _require_coco(path: Path, document: Mapping[str, Any]) -> None:
    if "shapes" in document:
        raise BadDataError(f"{path} is a labelme file; give the folder that it is in")
    lacking = [name for name in LISTS if not isinstance(document.get(name), list)]
    if lacking:
        raise BadDataError(f"{path} has no list {lacking[0]!r}; expected {EXPECTED}")
    if not document["images"]:
        raise BadDataError(f"{path} lists no image; expected at least one. Export it again")


def _by_id(path: Path, document: Mapping[str, Any], kind: str) -> dict[int | str, Mapping[str, Any]]:
    found: dict[int | str, Mapping[str, Any]] = {}
    for record in document[kind]:
        key = record.get("id") if isinstance(record, dict) else None
        if not isinstance(key, int | str):
            raise BadDataError(f"{path}: {shown(record)} among the {kind} has no id; expected an object with its own")
        if key in found:
            raise BadDataError(f"{path}: two {kind} have the id {key}; give each its own")
        found[key] = record
    return found


def _chosen(path: Path, document: Mapping[str, Any], wanted: tuple[str, ...]) -> dict[int | str, bool]:
    """Whether a category is figure, by its id."""
    names = {key: str(record.get("name")) for key, record in _by_id(path, document, "categories").items()}
    require_known(wanted, set(names.values()), path)
    return {key: not wanted or name in wanted for key, name in names.items()}


def _require_outlines(path: Path, annotations: Sequence[Mapping[str, Any]]) -> None:
    without = [str(annotation["id"]) for annotation in annotations if not annotation.get("segmentation")]
    if without:
        what = "segments of a panoptic file" if "segments_info" in annotations[0] else "boxes or key points alone"
        raise BadDataError(
            f"{path}: {len(without)} of {len(annotations)} annotations have no outline, but {what}: "
            f"{list_briefly(without)}. Expected polygons or run lengths: draw them, or take these annotations out"
        )


def _of_image(path: Path, record: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]) -> Regions:
    where, name = f"image {record['id']} of {path}", record.get("file_name")
    if not isinstance(name, str):
        raise BadDataError(f"{where} has the file_name {shown(name)}; expected the name of its file")
    require_below(name, f"{where}: its file_name")
    size = size_of(dict(record), "height", "width", where)
    parts: dict[bool, list[Segmentation]] = {False: [], True: []}
    for annotation in annotations:
        told = f"{path}: annotation {annotation['id']}"
        parts[bool(annotation.get("iscrowd"))].append(_segmentation(annotation["segmentation"], size, told))
    return Regions(where, name, size, tuple(parts[False]), tuple(parts[True]))


def _segmentation(found: object, size: tuple[int, int], where: str) -> Segmentation:
    """Checked, and in little memory: a file may hold millions of points."""
    if isinstance(found, dict):
        return _runs(found, size, where)
    if not isinstance(found, list):
        raise BadDataError(f"{where} has the segmentation {shown(found)}; expected polygons or run lengths")
    polygons = tuple(outline_of(polygon, size, f"{where}, a polygon,") for polygon in found)
    fewest = min(map(len, polygons)) // 2
    if fewest < 3:
        raise BadDataError(
            f"{where} has a polygon of {fewest} points; expected three or more. Draw it again, or take it out"
        )
    return polygons


def _runs(found: Mapping[str, Any], size: tuple[int, int], where: str) -> Runs:
    """Of either form, as numbers or as COCO's compressed text."""
    if found.get("size") != list(size):
        raise BadDataError(
            f"{where} has run lengths of the size {shown(found.get('size'))}; expected that of its image, {list(size)}"
        )
    counts = found.get("counts")
    try:
        lengths = _unpack(counts) if isinstance(counts, str) else array("q", counts)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        lengths = array("q")
    if not lengths or min(lengths) < 0:
        raise BadDataError(f"{where} has the run lengths {shown(counts)}; expected numbers, or COCO's compressed text")
    if sum(lengths) != size[0] * size[1]:
        raise BadDataError(
            f"{where} has run lengths of {sum(lengths)} pixels; expected {size[0]} × {size[1]}. Export it again"
        )
    return lengths


def _unpack(text: str) -> Runs:
    """Run lengths from their compressed text.

    Five bits a character, lowest first, moved to ``0`` and up; a bit more says that the number goes on, the highest of
    its last character is its sign. From the fourth on a number is the difference from the last but one.

    Raises:
        ValueError: another text.
    """
    if not PACKED.fullmatch(text):
        raise ValueError
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - ord("0")
    (ends,) = np.nonzero(codes < 32)
    starts = np.append(0, ends[:-1] + 1)
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, 32 << shifts[ends], 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return array("q", numbers.tobytes())


def read_regions(regions: Regions) -> Targets:
    """The targets of an image: what is an object's is figure, what is a crowd's alone is left out.

    Raises:
        MissingPackageError: pycocotools, which draws polygons as everybody else's masks of COCO are drawn.
    """
    figure = _union(regions.figure, regions.size)
    return targets_of(figure, figure | ~_union(regions.crowd, regions.size) if regions.crowd else None)


def _union(segmentations: Sequence[Segmentation], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W), where one of them is."""
    mask = np.zeros(size, bool)
    polygons: list[Outline] = []
    for segmentation in segmentations:
        if isinstance(segmentation, tuple):
            polygons += segmentation
        else:
            mask |= _decoded(segmentation, size)
    return mask | _decoded(_drawn(polygons, size), size) if polygons else mask


def _decoded(runs: Runs, size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[::-1]).T


def _drawn(polygons: list[Outline], size: tuple[int, int]) -> Runs:
    try:
        from pycocotools import mask as coco
    except ModuleNotFoundError:
        raise MissingPackageError(
            "polygons of COCO files need one more package: pip install 'figureground[train]'"
        ) from None
    # four numbers in the first polygon would be a box: there are six or more
    return _unpack(coco.merge(coco.frPyObjects(polygons, *size))["counts"].decode())
