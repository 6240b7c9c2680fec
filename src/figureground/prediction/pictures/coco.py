"""Masks as COCO writes them: run lengths and a document of images and annotations.

Format: https://cocodataset.org/#format-data. A figure is one annotation, of one or several parts. Its ``segmentation``
is the compressed run-length encoding, since that alone holds every mask exactly: polygons in its place are united when
they are read, so they cannot have holes. Outlines stand beside it under a key of our own, ``polygons``, which readers
of the format pass over: a list of polygons, each a list of rings (first the outer one, then its holes), each
``[x1, y1, x2, y2, ...]``. For a program that reads polygons only, ``segmentation`` may be replaced by the outer rings;
without holes and tolerance they are read as the same mask. ``iscrowd`` is 0, although COCO's own files keep run lengths
for crowds: a figure is no crowd, readers go by the type of ``segmentation``, and crowds are scored differently.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.files import replacing
from figureground.prediction.pictures.polygons import bounding_box, find_polygons
from figureground.prediction.records import Records

CATEGORY = {"id": 1, "name": "figure", "supercategory": "figure"}


def annotation_record(name: str, mask: NDArray[np.bool_], score: float, tolerance: float = 0.0) -> dict[str, Any]:
    """What a COCO document says of one photo, ready for JSON; ``write_document`` makes one of many.

    Records do not depend on each other, so a batch that was interrupted keeps those that it has.

    Args:
        name: the photo's file name.
        mask: (H, W); where it is empty, the photo has no annotation.
        score: how sure the prediction is, 0 to 1.
        tolerance: in pixels, to simplify ``polygons`` with; ``segmentation`` stays exact.
    """
    height, width = mask.shape
    record: dict[str, Any] = {"file_name": name, "height": height, "width": width, "annotation": None}
    if mask.any():
        rows, columns = bounding_box(mask)
        polygons = find_polygons(mask, tolerance)
        record["annotation"] = {
            "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": encode_rle(mask),
            "polygons": [[ring.ravel().tolist() for ring in polygon.rings] for polygon in polygons],
            "score": float(score),
        }
    return record


def write_document(records: Records, target: Path) -> None:
    """Write the COCO document of all photos that have a record (``annotation_record``), in the order of their names.

    Raises:
        FiguregroundError: it cannot be written.
    """
    size = 0
    while size != (size := records.size):  # or another process added
        places = records.places()
        with replacing(target) as partial, partial.open("w", encoding="utf-8") as file:
            file.writelines(_document(records, [places[name] for name in sorted(places)]))


def _document(records: Records, places: Sequence[int]) -> Iterator[str]:
    yield '{"info": {"description": "figure-ground masks"}, "licenses": [], "images": ['
    for number, record in enumerate(records.at(places), start=1):
        del record["annotation"]
        yield f"{', ' if number > 1 else ''}{json.dumps({'id': number, **record})}"
    yield '], "annotations": ['
    count = 0
    for number, record in enumerate(records.at(places), start=1):
        if record["annotation"] is not None:
            identity = {"id": count + 1, "image_id": number, "category_id": CATEGORY["id"]}
            yield f"{', ' if count else ''}{json.dumps({**identity, **record['annotation']})}"
            count += 1
    yield f'], "categories": {json.dumps([CATEGORY])}}}'


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's compressed run-length encoding of a mask (H, W): ``{"size": [H, W], "counts": text}``.

    The lengths of the runs of background and figure by turns, column by column, from a run of background that may be
    empty. From the fourth on, a length is written as its difference from the last but one; numbers as by ``_pack``.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    leading = [0, 0] if flat[:1].any() else [0]
    lengths = np.diff(np.concatenate([leading, changes, [flat.size]]))
    lengths[3:] -= lengths[1:-2].copy()
    return {"size": list(mask.shape), "counts": _pack(lengths)}


def _pack(numbers: NDArray[np.int64]) -> str:
    """Numbers as text: five bits a character, lowest first, bit 6 where more follow, the whole moved to ``0`` and up.

    A number ends as soon as the bits that are left repeat the sign (bit 5), as in signed LEB128.
    """
    columns, unfinished, rest = [], [np.ones(len(numbers), bool)], numbers
    while unfinished[-1].any():
        bits, rest = rest & 31, rest >> 5
        more = rest != np.where(bits & 16, -1, 0)
        columns.append(bits + 32 * more + 48)
        unfinished.append(unfinished[-1] & more)
    written = np.stack(columns, axis=1)[np.stack(unfinished[:-1], axis=1)]
    return str(written.astype(np.uint8).tobytes(), "ascii")
