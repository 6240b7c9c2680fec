"""The outlines of a mask: rings along the edges of its pixels, exact or simplified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from figureground.errors import UsageError

Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Polygon:
    """One part of a figure: a ring around it, and one around each of its holes.

    A ring is (N, 2): x and y of its corners in pixels, x to the right, y down, (0, 0) the upper left corner of the
    upper left pixel. Its last corner is joined to the first, which is not repeated.
    """

    outer: Integers
    """Clockwise as seen on the screen."""
    holes: tuple[Integers, ...] = ()
    """Counter-clockwise as seen on the screen."""

    @property
    def rings(self) -> tuple[Integers, ...]:
        """The outer ring and the holes."""
        return (self.outer, *self.holes)


def bounding_box(mask: Flags) -> tuple[slice, slice]:
    """The rows and the columns that the figure of a mask (H, W) spans; the mask must not be empty."""
    (rows,), (columns,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def find_polygons(mask: Flags, tolerance: float = 0.0) -> list[Polygon]:
    """The parts of a figure, from top to bottom.

    Without tolerance they are exact: filled, they give the mask again. Parts are 4-connected: pixels that touch at a
    corner alone are in polygons of their own. Rings may touch each other at corners but none touches itself, as GIS
    tools demand (OGC 06-103r4, 6.1.11).

    Args:
        mask: (H, W).
        tolerance: how far, in pixels, the corners that are left out may lie from the simplified ring (Douglas and
            Peucker, 1973). Rings narrower than that vanish, and simplified rings may cross.

    Raises:
        FiguregroundError: a mask that is not (H, W) bool, or a tolerance below 0.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise UsageError(f"mask of shape {mask.shape}, {mask.dtype}; expected (H, W) bool")
    if not tolerance >= 0:
        raise UsageError(f"tolerance is {tolerance}; expected a number of pixels, 0 or above")
    if not mask.any():
        return []
    padded = np.pad(mask, 1)
    corners = _without_touching(padded, _find_corners(padded))
    rings = _trace(padded, corners)
    shapes = [np.stack([corners.x[ring], corners.y[ring]], axis=1) for ring in rings]
    if tolerance > 0:
        shapes = _simplify(shapes, tolerance)
    parts: dict[int, list[Integers]] = {}
    for owner, shape in zip(_owners(padded, corners, rings), shapes, strict=True):
        parts.setdefault(owner, []).append(shape)
    return [
        Polygon(outer, tuple(hole for hole in holes if len(hole) > 2))
        for outer, *holes in parts.values()
        if len(outer) > 2
    ]


@dataclass(frozen=True)
class _Corners:
    """Where the outline turns, row by row; two in one place where two pixels of the figure touch at a corner alone."""

    x: Integers
    y: Integers
    twin: Flags
    """The second of two in one place: its horizontal edge is the one to the right."""
    lower: Flags
    """Of two in one place, the one whose vertical edge is the one below: this decides which edges they join."""

    def by_columns(self) -> Integers:
        """The order of the corners column by column, each from top to bottom."""
        return np.lexsort((self.lower, self.y, self.x))


def _find_corners(padded: Flags) -> _Corners:
    """The corners of a mask with a margin of one pixel, joined so that the parts are 4-connected."""
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    single = upper_left ^ upper_right ^ lower_left ^ lower_right  # one or three of the four pixels are figure
    double = (upper_left ^ upper_right) & (upper_left ^ lower_left) & ~single
    places = np.sort(np.concatenate([np.flatnonzero(single), np.repeat(np.flatnonzero(double), 2)]))
    y, x = np.divmod(places, single.shape[1])
    twin = np.append(False, places[1:] == places[:-1])
    return _Corners(x, y, twin, lower=twin ^ (double[y, x] & lower_left[y, x]))


def _without_touching(padded: Flags, corners: _Corners) -> _Corners:
    """The corners joined the other way where a ring touches itself, which makes two rings of it."""
    ring_of = _ring_of(_trace(padded, corners))
    (twins,) = np.nonzero(corners.twin)
    touching = twins[ring_of[twins] == ring_of[twins - 1]]
    lower = corners.lower.copy()
    lower[touching] ^= True
    lower[touching - 1] ^= True
    return replace(corners, lower=lower)


def _trace(padded: Flags, corners: _Corners) -> list[list[int]]:
    """The rings as indices of corners, each from its uppermost left corner, in the order of these."""
    steps = _followers(padded, corners).tolist()
    seen = bytearray(len(steps))
    rings = []
    for first in range(len(steps)):
        if seen[first]:
            continue
        ring, at = [first], steps[first]
        while at != first:
            ring.append(at)
            seen[at] = True
            at = steps[at]
        rings.append(ring)
    return rings


def _followers(padded: Flags, corners: _Corners) -> Integers:
    """For each corner the next one along its ring, with the figure to the right of the way.

    Between two corners of a row lies an edge, then none, then an edge, and so on; of a column likewise.
    """
    following = np.empty(len(corners.x), np.int64)
    start, end = np.arange(len(following)).reshape(-1, 2).T
    rightwards = padded[corners.y[start] + 1, corners.x[start] + 1]
    following[np.where(rightwards, start, end)] = np.where(rightwards, end, start)
    start, end = corners.by_columns().reshape(-1, 2).T
    downwards = padded[corners.y[start] + 1, corners.x[start]]
    following[np.where(downwards, start, end)] = np.where(downwards, end, start)
    return following


def _ring_of(rings: list[list[int]]) -> Integers:
    """For each corner the ring that it is on."""
    lengths = [len(ring) for ring in rings]
    ring_of = np.empty(sum(lengths), np.int64)
    ring_of[np.fromiter(chain.from_iterable(rings), np.int64)] = np.repeat(np.arange(len(rings)), lengths)
    return ring_of


def _owners(padded: Flags, corners: _Corners, rings: list[list[int]]) -> list[int]:
    """For each ring the outer ring that it belongs to: its own index, or for a hole that of the part it is in.

    To the left of a hole's first corner the figure goes on up to another ring of the same part. That is the outer one,
    or a hole that began above or to the left and whose owner is known.
    """
    ring_of, order = _ring_of(rings), corners.by_columns()
    height = len(padded)
    keys = corners.x[order] * height + corners.y[order]
    owners: list[int] = []
    for index, (first, *_) in enumerate(rings):
        x, y = int(corners.x[first]), int(corners.y[first])
        if padded[y + 1, x + 1]:  # figure below the first corner: an outer ring
            owners.append(index)
            continue
        edge = x - int(padded[y + 1, x::-1].argmin())
        above = order[np.searchsorted(keys, edge * height + y, side="right") - 1]
        owners.append(owners[ring_of[above]])
    return owners


def _simplify(rings: list[Integers], tolerance: float) -> list[Integers]:
    """Douglas and Peucker for all rings at once: each piece that does not fit its chord is cut at the farthest."""
    closed = [np.concatenate([ring, ring[:1]]) for ring in rings]
    lengths = [len(ring) for ring in closed]
    points, ring_of = np.concatenate(closed), np.repeat(np.arange(len(rings)), lengths)
    kept = np.diff(ring_of, prepend=-1, append=len(rings)).astype(bool)
    kept = kept[:-1] | kept[1:]  # the first and the last of each ring
    while not kept.all():
        (anchors,) = np.nonzero(kept)
        piece = np.cumsum(kept) - 1
        distance = _distances(points, points[anchors][piece], points[np.append(anchors[1:], -1)][piece])
        farthest = np.maximum.reduceat(distance, anchors)[piece]
        (cuts,) = np.nonzero((distance == farthest) & (distance > tolerance))
        kept[cuts[np.diff(piece[cuts], prepend=-1) > 0]] = True
        left = kept | (farthest > tolerance)
        points, ring_of, kept = points[left], ring_of[left], kept[left]
    return [ring[:-1] for ring in np.split(points, np.flatnonzero(np.diff(ring_of)) + 1)]


def _distances(points: Integers, starts: Integers, ends: Integers) -> NDArray[np.float64]:
    """Of each point to the line from its start to its end, which may be one place."""
    chord, offset = ends - starts, points - starts
    along = (offset * chord).sum(axis=1) / np.maximum((chord**2).sum(axis=1), 1)
    nearest = np.clip(along, 0, 1)[:, None] * chord
    distances: NDArray[np.float64] = np.hypot(*(offset - nearest).T)
    return distances
