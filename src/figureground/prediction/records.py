"""Files of records that only grow: what a batch has done outlives its interruption."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from figureground.errors import CannotWriteError


class Records:
    """A file of records, a line of JSON each: an interrupted batch keeps what it has.

    Each has a ``file_name``, and the latest of a name counts. One record may hold the outlines of millions of pixels,
    so no more than one is in memory at a time. Threads and processes may share it.

    Args:
        path: of the file, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        self._end = self._seen = 0  # of the lines that were read, and of the file as it was then
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Of the file in bytes; 0: it is not there."""
        return self._path.stat().st_size if self._path.exists() else 0

    def places(self) -> dict[str, int]:
        """Where the latest record of each name begins, in bytes; only what was added since the last call is read."""
        with self._lock:
            if self._seen != (size := self.size):
                self._seen = size
                if size < self._end:  # another process has cut it short, or removed it
                    self._places, self._end = {}, 0
                if size:
                    self._read_on()
        return self._places

    def _read_on(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._end)
            while line := file.readline():
                name = _name(line)
                if name is not None:
                    self._places[name] = self._end
                elif not line.endswith(b"\n"):  # another process is writing it, or was killed
                    return
                self._end += len(line)

    def at(self, places: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The records that begin at some places."""
        with self._path.open("rb") as file:
            for place in places:
                file.seek(place)
                yield json.loads(file.readline())

    def latest(self, name: str) -> dict[str, Any]:
        """The latest record of a name, empty if there is none."""
        place = self.places().get(name)
        return {} if place is None else next(self.at([place]))

    def add(self, record: Mapping[str, Any]) -> int:
        """Add a record at once, so that processes do not mix theirs; the place where it begins.

        Its line begins with the break: the one before may have been cut short with a killed process.

        Raises:
            FiguregroundError: the file could not be written to.
        """
        content = f"\n{json.dumps(record)}".encode()
        try:
            with self._path.open("ab", buffering=0) as file:
                if file.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return file.tell() - len(content) + 1
        except OSError as error:
            raise CannotWriteError(
                f"{self._path} could not be written ({error.strerror}); free some space or choose another folder"
            ) from error


def _name(line: bytes) -> str | None:
    with suppress(ValueError, RecursionError):  # cut short by a killed process, or empty
        record = json.loads(line)
        if isinstance(record, dict) and isinstance(record.get("file_name"), str):
            return str(record["file_name"])
    return None
