"""Samples decoded and resized once, kept in a memory-mapped file, so that training touches no photo file.

An entry is a folder named by a hash of the files (names, sizes, times) and the preprocessing. It is written beside its
place and renamed into it under a lock, so several processes can share a cache; the least recently used entries go when
the whole would outgrow its bound.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.cores import READERS, usable_cores
from figureground.data.dataset import Dataset, Derived, Sample, as_cached, list_briefly
from figureground.errors import CannotWriteError, FiguregroundError
from figureground.files import CACHE_FOLDER
from figureground.preprocessing import Preprocessing

VERSION = 2  # part of every key: raise it when entries are laid out differently
DEFAULT_LIMIT = 20 * 2**30  # bytes
PIXELS = "pixels"
AT_ONCE = 64  # samples that are held while an entry is written
ENTRY = "entry.json"
NAME = re.compile(r"[0-9a-f]{24}(\.partial)?")  # of an entry's folder; the latter until it is whole
FREE_SHARE = 0.9  # of the disk's free space that an entry may take
log = logging.getLogger(__name__)


class CachedDataset(Derived):
    """The samples of a cache entry; opened when first read, in every process anew.

    A sample whose bytes are not those that were written is read from its source instead, and the entry is given up.
    """

    def __init__(self, entry: Path, source: Dataset, preprocessing: Preprocessing) -> None:
        super().__init__(source)
        self._entry = entry
        self._preprocessing = preprocessing
        self._records: list[Record] = [Record(*record) for record in json.loads((entry / ENTRY).read_text())["samples"]]
        self._pixels: NDArray[np.uint8] | None = None
        self._checked = np.zeros(len(source), bool)
        self._open()  # before another process can evict the entry

    def _open(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            self._pixels = np.memmap(self._entry / PIXELS, np.uint8, "r")
        return self._pixels

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_pixels": None}  # a worker process maps the file itself instead of copying it

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        held = self._open()[record.start : record.start + record.length]
        if not self._checked[index]:
            if zlib.crc32(held.data) != record.checksum:
                log.warning("the cache entry %s is damaged; %s is read anew", self._entry, self.names[index])
                with suppress(OSError):
                    (self._entry / ENTRY).write_text("{}")  # the next training makes the entry again
                return as_cached(self._preprocessing, self._source[index])
            self._checked[index] = True
        image, *maps = record.split(np.asarray(held))
        return Sample(self.names[index], image, dict(zip(record.names, maps, strict=True)))

    def fingerprint(self) -> str:
        """The key of the entry."""
        return self._entry.name


class Uncached(Derived):
    """The samples of a dataset as the cache would hold them, decoded and resized anew each time."""

    def __init__(self, source: Dataset, preprocessing: Preprocessing) -> None:
        super().__init__(source)
        self._preprocessing = preprocessing

    def __getitem__(self, index: int) -> Sample:
        return as_cached(self._preprocessing, self._source[index])


class Record(NamedTuple):
    """Where a sample lies in the pixels of an entry: its image, then its targets."""

    start: int
    checksum: int
    """CRC-32 of its bytes."""
    size: tuple[int, int]
    """Height and width."""
    names: tuple[str, ...]
    """Of the targets."""

    @property
    def length(self) -> int:
        """Bytes."""
        return math.prod(self.size) * (3 + len(self.names))

    def split(self, held: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The image (H, W, 3) and the targets (H, W) in the bytes of the sample."""
        pixels = math.prod(self.size)
        maps = [held[start : start + pixels].reshape(self.size) for start in range(3 * pixels, len(held), pixels)]
        return [held[: 3 * pixels].reshape(*self.size, 3), *maps]


def cached(
    dataset: Dataset,
    preprocessing: Preprocessing,
    folder: Path = CACHE_FOLDER,
    *,
    limit: int = DEFAULT_LIMIT,
    progress: bool = False,
) -> Dataset:
    """``dataset`` at the network's size from the cache in ``folder``, filled first where it has to be.

    Where the entry would not fit (into ``limit`` bytes, or the disk) the dataset itself comes back, with a warning.

    Raises:
        FiguregroundError: samples that cannot be read; the first of them are named.
    """
    whole = preprocessing.resize != "crops"  # whose sizes are known when they have been read
    need = len(dataset) * math.prod(preprocessing.size) * 4 if whole else 0
    try:
        entry = folder / _key(dataset, preprocessing)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not _is_whole(entry):
                _remove(entry)
                held = sum(map(_size, _entries(folder)))
                allowed = int(min(limit, held + FREE_SHARE * shutil.disk_usage(folder).free))
                if need > allowed or not _fill(entry, dataset, preprocessing, allowed, progress):
                    log.warning(
                        "%s (%s) needs more cache (%.1f GB or more) than fits in %s; its files are read each time",
                        *(dataset.name, dataset.split, need / 1e9, folder),
                    )
                    return dataset
            os.utime(entry)
            return CachedDataset(entry, dataset, preprocessing)
    except OSError as error:
        log.warning("no cache in %s (%s); files are read each time", folder, error.strerror or error)
        return dataset


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        log.info("waiting for another process that fills the cache in %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _key(dataset: Dataset, preprocessing: Preprocessing) -> str:
    extent = preprocessing.scale if preprocessing.resize == "crops" else preprocessing.size
    settings = f"{VERSION} {dataset.fingerprint()} {preprocessing.resize} {extent}"
    return hashlib.sha256(settings.encode()).hexdigest()[:24]


def _is_whole(entry: Path) -> bool:
    """Whether an entry is there with all its bytes; what they are is checked when they are used."""
    try:
        *_, (start, _, size, names) = json.loads((entry / ENTRY).read_text())["samples"]
        return (entry / PIXELS).stat().st_size == int(start) + Record(0, 0, size, names).length
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fill(entry: Path, dataset: Dataset, preprocessing: Preprocessing, allowed: int, progress: bool) -> bool:
    """Decode and resize every sample into a new entry; False where that would take more than ``allowed`` bytes."""
    partial = entry.with_name(f"{entry.name}.partial")
    _remove(partial)  # of a process that was killed
    partial.mkdir()

    def read(index: int) -> Sample | str:
        try:
            return as_cached(preprocessing, dataset[index])
        except FiguregroundError as error:
            return str(error)

    records: list[Record] = []
    problems: list[str] = []
    bar = tqdm(total=len(dataset), desc=f"caching {dataset.split}", unit="image", leave=False, disable=not progress)
    try:
        with bar, ThreadPoolExecutor(min(READERS, usable_cores())) as pool, (partial / PIXELS).open("wb") as file:
            for start in range(0, len(dataset), AT_ONCE):
                for found in pool.map(read, range(start, min(start + AT_ONCE, len(dataset)))):
                    if isinstance(found, str):
                        problems.append(found)
                    else:
                        records.append(_write(file, found))
                    bar.update()
                if file.tell() > allowed:
                    return False
        if problems:
            summary = "" if len(problems) == 1 else f"{len(problems)} of {len(dataset)} samples cannot be read: "
            raise FiguregroundError(summary + list_briefly(problems, separator="; "))
        about = {"data": dataset.name, "split": dataset.split, "samples": records}
        (partial / ENTRY).write_text(json.dumps(about))
        _make_room(entry.parent, allowed - _size(partial))
        partial.rename(entry)
        return True
    finally:
        _remove(partial)


def _write(file: IO[bytes], sample: Sample) -> Record:
    """Append a sample's pixels to a file."""
    start, checksum = file.tell(), 0
    for pixels in (sample.image, *sample.targets.values()):
        held = np.ascontiguousarray(pixels).data
        checksum = zlib.crc32(held, checksum)
        file.write(held)
    height, width = sample.image.shape[:2]
    return Record(start, checksum, (height, width), tuple(sample.targets))


def _make_room(folder: Path, limit: int) -> None:
    """Remove the least recently used entries until the rest takes no more than ``limit`` bytes."""
    entries = sorted(_entries(folder), key=lambda entry: entry.stat().st_mtime)
    sizes = {entry: _size(entry) for entry in entries}
    total = sum(sizes.values())
    for entry in entries:
        if total <= limit:
            break
        log.info("the cache is full: removing %s", entry)
        if _remove(entry):
            total -= sizes[entry]


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in _ours(folder) if not entry.suffix and (entry / ENTRY).is_file() and not _foreign(entry)]


def _ours(folder: Path) -> list[Path]:
    """Folders that are called as entries are, whole or not."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir())


def _foreign(entry: Path) -> list[Path]:
    """What is in an entry's folder that no entry holds."""
    return sorted(path for path in entry.iterdir() if path.name not in (ENTRY, PIXELS))


def _remove(entry: Path) -> bool:
    """An entry, and nothing that somebody else has put there; whether it is gone."""
    with suppress(OSError):
        for name in (ENTRY, PIXELS):
            (entry / name).unlink(missing_ok=True)
        entry.rmdir()
    return not entry.exists()


def _size(entry: Path) -> int:
    return sum(path.stat().st_size for path in entry.iterdir())


def clear_cache(folder: Path = CACHE_FOLDER) -> tuple[int, int]:
    """Remove all entries; returns how many are gone and their bytes.

    Raises:
        CannotWriteError: in one of them is a file that is not its own; nothing is removed.
    """
    if not folder.is_dir():
        return 0, 0
    with _locked(folder):
        entries = _ours(folder)
        if foreign := [path for entry in entries for path in _foreign(entry)]:
            raise CannotWriteError(f"{foreign[0]} is not of the cache, of which nothing was removed; move it away")
        sizes = {entry: _size(entry) for entry in entries}
        gone = [entry for entry in entries if _remove(entry)]
    return len(gone), sum(sizes[entry] for entry in gone)
