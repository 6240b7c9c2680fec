"""What the JSON files of annotation programs have in common: they come from outside, and name files and classes."""

from __future__ import annotations

import difflib
import json
import math
from array import array
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeAlias

from figureground.data.dataset import list_briefly
from figureground.errors import BadDataError, UsageError
from figureground.files import read_text
from figureground.image_files import DEFAULT_LIMITS
from figureground.settings import shown

Outline: TypeAlias = "array[float]"
"""``x1, y1, x2, y2, ...``: 8 bytes a number, and its text holds all of them, which tells changed ones."""
LISTED = 20  # names of classes in a message


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: the file.
        expected: what it should be, for messages.

    Raises:
        FiguregroundError: it cannot be read, is no JSON, or holds something else.
    """
    text = read_text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"{path} is no JSON ({error}); expected {expected}. Export it again") from None
    if not isinstance(found, dict):
        raise BadDataError(f"{path} holds a {type(found).__name__}; expected {expected}")
    return found


def require_known(wanted: Sequence[str], known: Collection[str], path: Path) -> None:
    """
    Raises:
        UsageError: a class that is not there, with the one that is likely meant and all that are.
    """
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]!r}? " if close else ""
            there = list_briefly(sorted(known), LISTED) or "none"
            raise UsageError(f"{path} has no category {name!r}; {guess}Its categories are: {there}")


def size_of(record: dict[str, Any], height: str, width: str, where: str) -> tuple[int, int]:
    """Height and width that a record says its image has.

    Raises:
        BadDataError: no whole numbers from 1, or more pixels than an image file may have.
    """
    found = record.get(height), record.get(width)
    sides = [side for side in found if type(side) is int and side > 0]
    if len(sides) < 2:
        raise BadDataError(
            f"{where} has {height} {shown(found[0])} and {width} {shown(found[1])}; "
            "expected the image's size in whole pixels"
        )
    if math.prod(sides) > DEFAULT_LIMITS.pixels:
        raise BadDataError(
            f"{where} is {shown(sides[1])}×{shown(sides[0])}; expected at most {DEFAULT_LIMITS.pixels:.0f} pixels"
        )
    return sides[0], sides[1]


def outline_of(numbers: object, size: tuple[int, int], where: str) -> Outline:
    """``x1, y1, x2, y2, ...`` of an outline on an image of that height and width.

    Raises:
        BadDataError: no numbers in pairs, or a point that lies farther outside than the image is long: drawing it would
            take memory without end.
    """
    outline: Outline = array("d")
    with suppress(TypeError, ValueError, OverflowError):
        outline = array("d", numbers)  # type: ignore[call-overload]
    if len(outline) % 2 or not outline:
        raise BadDataError(f"{where} is {shown(numbers)}; expected an outline as numbers in pairs: x1, y1, x2, y2, ...")
    for place, number in enumerate(outline):
        side = size[1 - place % 2]
        if not -side <= number <= 2 * side:  # also what is no number
            raise BadDataError(
                f"{where} has a point at {'xy'[place % 2]}={number:g} on an image of {size[1]}×{size[0]} pixels; "
                "expected points on the image. Export it again in pixels, or take it out"
            )
    return outline


def require_below(name: str, where: str) -> None:
    """
    Raises:
        BadDataError: a file's name that leads out of the folder that it is looked for in.
    """
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    if ".." in windows.parts or windows.anchor or posix.is_absolute() or not posix.parts:
        raise BadDataError(f"{where} is {shown(name)}; expected a name below the folder of the images, without '..'")


def short_names(files: Sequence[str]) -> list[str]:
    """Names of samples: those of their files without the suffix, or with it where two differ in nothing else."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in files]
    return stems if len(set(stems)) == len(stems) else list(files)
