"""What results were made from, so that none of another photo, model or option passes as this one's."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from figureground.errors import CannotWriteError
from figureground.files import digest_of, resolved
from figureground.prediction.pictures.cutout import Background
from figureground.prediction.records import Records

ORIGINS = ".made-from.jsonl"
UNKNOWN = "there is no record of what it was made from"


def stamp_of(path: Path) -> list[int] | None:
    """Size and time of a file: a change does not keep them, nor a copy that is not told to; none: it is not there."""
    status = _status(path)
    return status and [status.st_size, status.st_mtime_ns]


def _status(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        status = path.stat()
        return status if stat.S_ISREG(status.st_mode) else None
    return None


class Source:
    """A photo, film or model, by which it is known again: the same file as it was, or another with the same bytes.

    Args:
        path: of the file. It is looked at now, before it is read: what changes it meanwhile is noticed next time.
            On Windows not, if the size is the same and the time was set to what it had been.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(resolved(path))
        status = _status(path)
        # the last, of any change, cannot be set; on Windows it is that of the creation
        self.stamp = status and [status.st_size, status.st_mtime_ns, status.st_ctime_ns]

    @cached_property
    def digest(self) -> str | None:
        """Of its bytes; none: it cannot be read, or only once."""
        try:
            return digest_of(self._path) if self.stamp else None
        except OSError:
            return None


class Origins:
    """What the results in a folder were made from: a record each, in a hidden file.

    A record holds the result's size and time too. It says nothing of a file that others have put there or changed: no
    new photo, model or option makes that anew.

    Args:
        folder: of the results.
    """

    def __init__(self, folder: Path) -> None:
        self._records = Records(folder / ORIGINS)
        self._folder = folder

    def found(self, results: Sequence[tuple[str, Any, Mapping[str, Any]]], source: Source) -> tuple[list[str], str]:
        """Which results of a source are to be made, as they are missing or others now, and what is to be said of that.

        Args:
            results: of each its path in the folder, its stamp (none: it is not there), and what it would be made with,
                as plain values.
            source: what it would be made from.

        Raises:
            CannotWriteError: one was made from another file, or is of another kind: neither may replace the other.
        """
        differences = {
            name: self._differences(name, stamp, made, source) for name, stamp, made in results if stamp is not None
        }
        making = [name for name, stamp, _ in results if stamp is None or differences[name]]
        changed = dict.fromkeys(key for keys in differences.values() for key in keys or ())
        if changed:
            return making, f"made anew: {' and '.join(changed)} changed"
        return making, UNKNOWN if None in differences.values() and not making else ""

    def _differences(self, name: str, stamp: Any, made: Mapping[str, Any], source: Source) -> list[str] | None:
        """What has changed since a result was made; none: that is not known."""
        match self._records.latest(_identity(name, stamp)):
            case {"source": place, "source_stamp": source_stamp, "digest": digest, "made": dict(before)}:
                pass
            case _:  # also what others have written there
                return None
        changed = [key for key in {**before, **made} if before.get(key) != made.get(key)]
        same = place == source.name
        if not (same and source.stamp and source_stamp == source.stamp):
            if source.digest and digest == source.digest:  # it was moved, or touched
                if not changed:
                    with suppress(CannotWriteError):  # then it is read again next time
                        self.add(name, stamp, made, source)
            elif not same:
                self._refuse(name, f"was made from {place}, not from {source.name}")
            else:
                changed.insert(0, "source")
        if "kind" in changed:
            self._refuse(name, f"is of kind {before.get('kind')}, not {made.get('kind')}")
        return changed

    def _refuse(self, name: str, why: str) -> None:
        raise CannotWriteError(f"{self._folder / name} {why}; choose another folder, or replace it with --overwrite")

    def add(self, name: str, stamp: Any, made: Mapping[str, Any], source: Source) -> None:
        """Record what a result was made from.

        Raises:
            CannotWriteError: the file of records cannot be written to.
        """
        record = {"file_name": _identity(name, stamp), "source": source.name, "source_stamp": source.stamp}
        self._records.add({**record, "digest": source.digest, "made": made})


def _identity(name: str, stamp: Any) -> str:
    """Of a result as it is: what two processes write has a record each, unless both write before either looks."""
    return f"{name} {stamp}"


def plain_background(background: Background | None) -> Any:
    """A background as records have it: a colour, or the digest of a picture."""
    if background is None or isinstance(background, tuple):
        return background and list(background)
    return hashlib.sha256(background.tobytes() + str(background.shape).encode()).hexdigest()
