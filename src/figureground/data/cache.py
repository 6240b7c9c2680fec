"""Samples decoded and resized once, kept as memory-mapped arrays, so that training touches no photo file.

An entry is a folder named by a hash of the files (names, sizes, times) and the preprocessing. It is written beside its
place and renamed into it under a lock, so several processes can share a cache; the least recently used entries go when
the whole would outgrow its bound.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from figureground.data.dataset import Dataset, Sample, Split, list_briefly
from figureground.errors import FiguregroundError
from figureground.labels import LEFT_OUT
from figureground.preprocessing import Preprocessing

VERSION = 1  # part of every key: raise it when entries are laid out differently
DEFAULT_FOLDER = Path.home() / ".cache" / "figureground"
DEFAULT_LIMIT = 20 * 2**30  # bytes
ENTRY = "entry.json"  # by which a folder is known to be ours
FREE_SHARE = 0.9  # of the disk's free space that an entry may take
log = logging.getLogger(__name__)


class CachedDataset:
    """The samples of a cache entry, all at the network's size; opened when first read, in every process anew."""

    def __init__(self, entry: Path, source: Dataset) -> None:
        self.name = source.name
        self.split: Split = source.split
        self.foreground = source.foreground
        self.names: Sequence[str] = source.names
        self._fingerprint = entry.name
        self._files = entry / "images.npy", entry / "labels.npy"
        self._arrays: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._open()  # before another process can evict the entry

    def _open(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if self._arrays is None:
            images, labels = (np.asarray(np.load(path, mmap_mode="r")) for path in self._files)
            self._arrays = images, labels
        return self._arrays

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_arrays": None}  # a worker process maps the files itself instead of copying them

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        images, labels = self._open()
        return Sample(self.names[index], images[index], labels[index])

    def fingerprint(self) -> str:
        """The key of the entry."""
        return self._fingerprint


def cached(
    dataset: Dataset,
    preprocessing: Preprocessing,
    folder: Path = DEFAULT_FOLDER,
    *,
    limit: int = DEFAULT_LIMIT,
    progress: bool = False,
) -> Dataset:
    """``dataset`` at the network's size from the cache in ``folder``, filled first where it has to be.

    Where the entry would not fit (into ``limit`` bytes, or the disk) the dataset itself comes back, with a warning.

    Raises:
        FiguregroundError: samples that cannot be read; the first of them are named.
    """
    height, width = preprocessing.size
    need = len(dataset) * height * width * 4
    try:
        entry = folder / _key(dataset, preprocessing)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not entry.is_dir():
                held = sum(map(_size, _entries(folder)))
                allowed = int(min(limit, held + FREE_SHARE * shutil.disk_usage(folder).free))
                if need > allowed:
                    log.warning(
                        "%s (%s) needs %.1f GB of cache, more than fits in %s; its files are read each time",
                        *(dataset.name, dataset.split, need / 1e9, folder),
                    )
                    return dataset
                _make_room(folder, allowed - need)
                _fill(entry, dataset, preprocessing, progress)
            os.utime(entry)
            return CachedDataset(entry, dataset)
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
    settings = f"{VERSION} {dataset.fingerprint()} {preprocessing.size} {preprocessing.resize}"
    return hashlib.sha256(settings.encode()).hexdigest()[:24]


def _fill(entry: Path, dataset: Dataset, preprocessing: Preprocessing, progress: bool) -> None:
    """Decode and resize every sample into a new entry."""
    partial = entry.with_name(f"{entry.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    shape = (len(dataset), *preprocessing.size)

    def read(index: int) -> str | None:
        try:
            sample = dataset[index]
        except FiguregroundError as error:
            return str(error)
        images[index] = preprocessing.resize_image(sample.image)
        labels[index] = preprocessing.resize_target(sample.labels, LEFT_OUT)
        return None

    try:
        images = _new_array(partial / "images.npy", (*shape, 3))
        labels = _new_array(partial / "labels.npy", shape)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(read, range(len(dataset)))
            bar = tqdm(
                results, total=len(dataset), desc=f"caching {dataset.split}", unit="image", leave=False,
                disable=not progress,
            )  # fmt: skip
            problems = [problem for problem in bar if problem]
        if problems:
            summary = "" if len(problems) == 1 else f"{len(problems)} of {len(dataset)} samples cannot be read: "
            raise FiguregroundError(summary + list_briefly(problems, separator="; "))
        images.flush()
        labels.flush()
        (partial / ENTRY).write_text(json.dumps({"data": dataset.name, "split": dataset.split}))
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _new_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A mapped array whose place on the disk is taken now: a mapping that meets a full disk kills the process."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _make_room(folder: Path, limit: int) -> None:
    """Remove the least recently used entries until the rest takes no more than ``limit`` bytes."""
    entries = sorted(_entries(folder), key=lambda entry: entry.stat().st_mtime)
    sizes = {entry: _size(entry) for entry in entries}
    total = sum(sizes.values())
    for entry in entries:
        if total <= limit:
            break
        log.info("the cache is full: removing %s", entry)
        shutil.rmtree(entry, ignore_errors=True)
        total -= sizes[entry]


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if (path / ENTRY).is_file() and (path / "images.npy").is_file()]


def _size(entry: Path) -> int:
    return sum(path.stat().st_size for path in entry.iterdir())


def clear_cache(folder: Path = DEFAULT_FOLDER) -> tuple[int, int]:
    """Remove all entries; returns how many there were and their bytes."""
    if not folder.is_dir():
        return 0, 0
    with _locked(folder):
        entries = _entries(folder)
        freed = sum(_size(entry) for entry in entries)
        for entry in entries:
            shutil.rmtree(entry)
    return len(entries), freed
