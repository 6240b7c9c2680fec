"""Mask files to targets. What their values mean is decided once, for all masks of a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.config import DataConfig
from figureground.data.dataset import Targets, list_briefly, targets_of
from figureground.errors import BadDataError, FiguregroundError, UsageError
from figureground.images import read_image, read_indices, read_levels

LOOKED_AT = 1000
"""Masks that decide; of more, so many evenly spaced ones. Each mask is held against the decision when it is read."""
COLOUR = re.compile("#[0-9a-fA-F]{6}")
READERS = 4  # threads


@dataclass(frozen=True)
class MaskSettings:
    """What the user says of the masks' values."""

    threshold: int | None = None
    """This value and above is figure."""
    figure_values: tuple[str, ...] = ()
    """These values, or colours such as ``#ff0000``, are figure; everything else is background."""
    ignore_value: int | None = None
    """Pixels of this value are left out of loss and score."""

    def __post_init__(self) -> None:
        if self.threshold is not None and self.figure_values:
            raise UsageError("mask_threshold and figure_values both say what is figure; leave out one of them")
        for value in self.figure_values:
            if not (value.isdecimal() or COLOUR.fullmatch(value)):
                raise UsageError(f"figure value {value!r}; expected a whole number, or a colour such as #ff0000")
        if self.colours and self.ignore_value is not None:
            raise UsageError("ignore_value is a number and figure values are colours; expected numbers for both")
        if len({value.isdecimal() for value in self.figure_values}) > 1:
            raise UsageError("figure values are numbers and colours; expected all of one kind")

    @classmethod
    def of(cls, config: DataConfig) -> MaskSettings:
        """From the settings of data."""
        values = tuple(value.strip() for given in config.figure_values for value in given.split(","))
        return cls(config.mask_threshold, values, config.ignore_value)

    @property
    def colours(self) -> bool:
        """Whether the figure is told by colours."""
        return any(not value.isdecimal() for value in self.figure_values)


class MaskReader:
    """Mask file to targets.

    Unless the settings say more, the masks of a folder have two values, the higher of which is the figure. A mask with
    a single one of the two is empty or full; if the whole folder has only one, other than 0, all its masks are full.

    Args:
        masks: all mask files of the dataset.
        settings: what the user says of their values.
    """

    def __init__(self, masks: Sequence[Path], settings: MaskSettings = MaskSettings()) -> None:
        self.settings = settings
        self._masks = masks

    def __call__(self, path: Path) -> Targets:
        """The targets of a mask file.

        Raises:
            FiguregroundError: values that are neither figure nor background in this folder.
        """
        settings = self.settings
        values = _read_values(path, settings)
        kept = None if settings.ignore_value is None else values != settings.ignore_value
        if settings.threshold is not None:
            return targets_of(values >= settings.threshold, kept)
        if settings.figure_values:
            return targets_of(np.isin(values, self.figure_values), kept)
        low, high = self.values or (0, 0)
        figure = values == high if high != low else np.zeros(values.shape, bool)
        known = figure | (values == low)
        if not np.all(known if kept is None else known | ~kept):
            raise BadDataError(self._unknown_values(path, values))
        return targets_of(figure, kept)

    @cached_property
    def values(self) -> tuple[int, int] | None:
        """The values that are background and figure in this folder; the same twice where all masks are empty.

        None where there is no readable mask, or one holds more than two values: it will be named when it is read.
        """
        stamps = tuple((path, *_times(path)) for path in _evenly(self._masks))
        return _two_values(stamps, self.settings)

    @cached_property
    def figure_values(self) -> list[int]:
        """The settings' as numbers.

        Raises:
            BadDataError: no mask that was looked at holds one.
        """
        values = [_as_number(value) for value in self.settings.figure_values]
        looked_at = _evenly(self._masks)
        found: set[int] = set()
        for path in looked_at:
            with suppress(FiguregroundError):  # of a damaged one, which is named in its turn
                found |= _values_in(_read_values(path, self.settings))
            if found.intersection(values):
                return values
        shown = [_shown(value, self.settings.colours) for value in sorted(found)]
        raise BadDataError(
            f"no mask holds {' or '.join(self.settings.figure_values)}; the first {len(looked_at)} hold "
            f"{list_briefly(shown, 12)}. Give one of these as --figure-value"
        )

    def _unknown_values(self, path: Path, values: NDArray[Any]) -> str:
        """The message for a mask that does not have the folder's two values, with the likely cause and what to do."""
        own, areas = np.unique(values, return_counts=True)
        shown = ", ".join(map(str, own[:6])) + (", ..." if len(own) > 6 else "")
        if len(own) <= 2 and self.values is not None:
            low, high = self.values
            pair = f"{low} and {high}" if low != high else str(low)
            what = f"only the value {shown}" if len(own) == 1 else f"the values {shown}"
            return f"mask '{path}' has {what}, other masks have {pair}; re-save it with the others' values"
        between = areas[1:-1]
        share = between.sum() / values.size
        count = f"{own[1]} covers" if len(between) == 1 else f"The {len(between)} values between cover"
        half = (int(own[0]) + int(own[-1]) + 1) // 2
        guess, remedy = (
            ("an anti-aliased edge?", "Re-save it without smoothing")
            if share < 0.1
            else ("more than one class?", f"Say which are figure with --figure-value {own[-1]}")
        )
        return (
            f"mask '{path}' has values {{{shown}}}; expected two. {count} {share:.1%} of it: {guess} "
            f"{remedy} or pass --mask-threshold {half}."
        )


@lru_cache(maxsize=64)
def _two_values(stamps: tuple[tuple[Path, int, int], ...], settings: MaskSettings) -> tuple[int, int] | None:
    """The two values of some mask files, by their names and times, so that an unchanged folder is looked at once."""

    def look(path: Path) -> set[int]:
        with suppress(FiguregroundError):
            return _values_in(_read_values(path, settings))
        return set()

    with ThreadPoolExecutor(READERS) as pool:
        by_mask = list(pool.map(look, [path for path, *_ in stamps]))
    pairs = [found - {settings.ignore_value} for found in by_mask]
    two = [found for found in pairs if len(found) == 2]
    if two:
        return min(two[0]), max(two[0])
    single = sorted(set().union(*(found for found in pairs if len(found) == 1)))
    if not single:
        return None
    return (single[0], single[-1]) if len(single) > 1 else (0, single[0])


def _read_values(path: Path, settings: MaskSettings) -> NDArray[Any]:
    """What the settings speak of, (H, W): stored values of a palette, levels, or colours as whole numbers."""
    if settings.colours:
        red, green, blue = np.moveaxis(read_image(path).astype(np.int32), -1, 0)
        return np.asarray((red << 16) | (green << 8) | blue)
    if settings.figure_values or settings.ignore_value is not None:
        return read_indices(path)
    return read_levels(path)


def _values_in(values: NDArray[Any]) -> set[int]:
    if values.dtype == np.uint8:  # three times as fast
        return set(np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist())
    return set(np.unique(values).tolist())


def _as_number(value: str) -> int:
    return int(value) if value.isdecimal() else int(value[1:], 16)


def _shown(value: int, colour: bool) -> str:
    return f"#{value:06x}" if colour else str(value)


def _evenly(masks: Sequence[Path]) -> list[Path]:
    """All of some masks, or ``LOOKED_AT`` evenly spaced ones."""
    step = max(1, -(-len(masks) // LOOKED_AT))
    return list(masks[::step])


def _times(path: Path) -> tuple[int, int]:
    with suppress(OSError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return 0, 0
