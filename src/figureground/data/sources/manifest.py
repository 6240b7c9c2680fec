"""A table of images and masks: a CSV file with the columns ``image`` and ``mask``.

``split`` and ``group`` may stand beside them; every other column is what is known of an image (its metadata). Files are
named from the table's folder on. Columns are told by their names, in any case, and separated by comma, semicolon, tab
or bar.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from figureground.config import DataConfig
from figureground.data.dataset import Entry, FileSource, Split, list_briefly, say
from figureground.data.masks import MaskReader, MaskSettings
from figureground.data.sources.annotations import short_names
from figureground.data.sources.folder import SPLIT_NAMES, grouping
from figureground.errors import BadDataError
from figureground.files import read_text
from figureground.settings import shown

SUFFIXES = (".csv", ".tsv")
SEPARATORS = (",", ";", "\t", "|")
COLUMNS = ("image", "mask", "split", "group")
"""Those that mean something; of these the first two must be there."""


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    line: int
    image: Path
    mask: Path
    split: Split | None = None
    group: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def find_file(path: Path) -> Path | None:
    """The file itself, if its name is that of a table."""
    return path if path.suffix.lower() in SUFFIXES and path.is_file() else None


def open_manifest(path: Path, config: DataConfig) -> FileSource:
    """The images and masks that a table names.

    Raises:
        FiguregroundError: no such columns, files that are missing, an image in two rows, or a split of another name.
    """
    entries = list_entries(path, config)
    for kind, files in (("images", [entry.image for entry in entries]), ("masks", [entry.truth for entry in entries])):
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise BadDataError(
                f"{path} names {len(missing)} {kind} that are missing: {list_briefly(missing)}. Names count from the "
                "table's folder on: correct them, or take the rows out"
            )
    reader = MaskReader([entry.truth for entry in entries], MaskSettings.of(config))
    return FileSource("manifest", path.stem, entries, reader, settings=repr(reader.settings))


def list_entries(path: Path, config: DataConfig) -> list[Entry]:
    """All samples of a table, whether their files are there or not."""
    rows = read_rows(path)
    names = short_names([_below(row.image, path.parent) for row in rows])
    group_of = grouping(config.group)
    entries = [
        Entry(name, row.image, row.mask, row.split, group_of(name) if config.group else row.group, row.metadata)
        for name, row in zip(names, rows, strict=True)
    ]
    alone = sum(entry.group is None for entry in entries)
    if 0 < alone < len(entries):
        say(f"{path}: {alone} of {len(entries)} images have no group; each of them is one of its own")
    return entries


def read_rows(path: Path) -> list[Row]:
    """The rows of a table.

    Raises:
        FiguregroundError: no text, no such columns, a row of another length, an image in two rows, an unknown split.
    """
    lines = list(io.StringIO(read_text(path), newline=""))
    heading = next((line for line in lines if line.strip()), "")
    separator = max(SEPARATORS, key=lambda each: len(set(COLUMNS).intersection(_columns(heading, each))))
    columns = _columns(heading, separator)
    _require_columns(path, columns)
    table = csv.reader(lines, delimiter=separator, strict=True)
    try:
        records = [(table.line_num, cells) for cells in table if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise BadDataError(
            f"{path}, line {table.line_num}: {error}; expected a table as CSV. Export it again"
        ) from None
    rows = [_row(path, line, columns, cells) for line, cells in records[1:]]
    if not rows:
        raise BadDataError(f"{path} has no row below its heading; expected one for each image")
    first: dict[Path, Row] = {}
    for row in rows:
        other = first.setdefault(row.image, row)
        if other is not row:
            raise BadDataError(
                f"{path} has the image {row.image} in the lines {other.line} and {row.line}; expected one row for an "
                "image. Unite its masks"
            )
    return rows


def _columns(heading: str, separator: str) -> list[str]:
    return [cell.strip().lower() for cell in next(csv.reader([heading], delimiter=separator), [])]


def _require_columns(path: Path, columns: list[str]) -> None:
    for name in COLUMNS[:2]:
        if name not in columns:
            found = list_briefly([shown(column) for column in columns], 8)
            raise BadDataError(f"{path} has no column {name!r}; expected image and mask, found {found}. Add a heading")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise BadDataError(f"{path} has two columns {twice[0]!r}; rename one of them")


def _row(path: Path, line: int, columns: list[str], cells: list[str]) -> Row:
    where = f"{path}, line {line}"
    if len(cells) != len(columns):
        raise BadDataError(f"{where}, has {len(cells)} cells; expected {len(columns)}, as the heading has")
    found = {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}
    for name in COLUMNS[:2]:
        if not found[name]:
            raise BadDataError(
                f"{where}, has no {name}; expected the name of its file. Fill it in, or take the row out"
            )
    image, mask = (Path(os.path.normpath(path.parent / found[name])) for name in COLUMNS[:2])
    split = found.get("split", "")
    if split and split.lower() not in SPLIT_NAMES:
        raise BadDataError(f"{where}: unknown split {shown(split)}; expected one of: {', '.join(SPLIT_NAMES)}")
    metadata = {name: cell for name, cell in found.items() if name not in COLUMNS}
    return Row(line, image, mask, SPLIT_NAMES.get(split.lower()), found.get("group") or None, metadata)


def _below(file: Path, folder: Path) -> str:
    """Where a file lies from a folder on, without what leads out of it: names of samples become names of files."""
    way = PurePath(os.path.relpath(file, folder)) if file.is_absolute() == folder.is_absolute() else file
    return "/".join(part for part in way.parts if part not in ("..", way.anchor))
