"""Many photos to files: read, predicted and written side by side, each reported, and none done twice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from figureground.errors import FiguregroundError
from figureground.images import pixel_count, read_image
from figureground.prediction.jobs import Job
from figureground.prediction.segmenter import Segmenter
from figureground.prediction.shelf import Shelf
from figureground.prediction.views import BATCH_SIZE

READERS = 2
PIXELS_AT_ONCE = 2**26  # of photos that are read and not yet written: bounds the memory
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome:
    """What became of a photo."""

    job: Job
    status: Literal["done", "there", "failed"]
    """``there``: its files existed and were left alone."""
    message: str = ""
    files: tuple[Path, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    """Of ``read``, ``predict`` (its share of the batch) and ``write``; they overlap with other photos'."""
    size: tuple[int, int] | None = None
    """Height and width of the photo."""
    figure: float | None = None
    """The mask's share of the photo."""
    expected_dice: float | None = None
    """See ``Prediction.expected_dice``."""
    estimated_dice: float | None = None
    """See ``Prediction.estimated_dice``."""
    needs_review: bool | None = None
    """See ``Prediction.needs_review``."""

    def to_json(self) -> dict[str, Any]:
        """One entry of ``predict --json``."""
        entry: dict[str, Any] = {"file": str(self.job.source), "status": self.status}
        if self.message:
            entry["message"] = self.message
        if self.size is not None:
            entry |= {"height": self.size[0], "width": self.size[1], "figure": self.figure}
            entry |= {"expected_dice": self.expected_dice, "estimated_dice": self.estimated_dice}
            entry |= {"needs_review": self.needs_review, "seconds": self.seconds}
        return {**entry, "files": [str(path) for path in self.files]}


def predict_files(
    segmenter: Segmenter, jobs: Sequence[Job], shelf: Shelf, *, overwrite: bool = False
) -> Generator[Outcome, None, None]:
    """Put the results of each photo on the shelf; a broken one is reported and the others are done.

    Photos are read and results written by threads while the network works on others. What is there already is left
    alone, so the same call continues a batch that was interrupted, and two processes may share a folder.

    Args:
        segmenter: the models.
        jobs: the photos.
        shelf: where the results go; it is closed at the end, also of an interruption.
        overwrite: also do photos whose results are there.

    Yields:
        The outcome of each job, in order.

    Raises:
        FiguregroundError: a result would replace a photo, or the shelf's folder cannot be made.
    """
    shelf.open(jobs)
    readers, writers = ThreadPoolExecutor(READERS), ThreadPoolExecutor(1)
    try:
        read = _ahead(readers, lambda job: _read(job, shelf, overwrite), jobs, lambda job: pixel_count(job.source))
        pending: deque[tuple[Outcome | Future[Outcome], int]] = deque()
        for batch in _batches(read):
            pending.extend(_predicted(segmenter, batch, shelf, writers))
            while len(pending) > BATCH_SIZE or sum(pixels for _, pixels in pending) > PIXELS_AT_ONCE:
                yield _settled(pending.popleft()[0])
        while pending:
            yield _settled(pending.popleft()[0])
    finally:
        for pool in (readers, writers):
            pool.shutdown(cancel_futures=True)
        shelf.close()


@dataclass(frozen=True)
class _Photo:
    """A photo that has been read."""

    job: Job
    image: NDArray[np.uint8]
    seconds: float

    @property
    def pixels(self) -> int:
        return self.image.size // 3


def _read(job: Job, shelf: Shelf, overwrite: bool) -> _Photo | Outcome:
    if not overwrite and shelf.has(job):
        return Outcome(job, "there", files=shelf.files(job))
    start = time.perf_counter()
    try:
        return _Photo(job, read_image(job.source), time.perf_counter() - start)
    except FiguregroundError as error:
        return Outcome(job, "failed", str(error))


def _predicted(
    segmenter: Segmenter, batch: list[_Photo | Outcome], shelf: Shelf, writers: ThreadPoolExecutor
) -> Iterator[tuple[Outcome | Future[Outcome], int]]:
    """The outcomes of a batch in order, with the pixels of photos that are still being written. It empties the batch.

    Here and below nothing keeps a photo that has been passed on: a single one can have a gigabyte behind it.
    """
    photos = [entry for entry in batch if isinstance(entry, _Photo)]
    start = time.perf_counter()
    maps = segmenter.logit_maps([photo.image for photo in photos]) if photos else []
    share = (time.perf_counter() - start) / max(1, len(photos))
    while batch:
        entry = batch.pop(0)
        if isinstance(entry, Outcome):
            yield entry, 0
        else:
            yield writers.submit(_write, segmenter, entry, maps.pop(0), share, shelf), entry.pixels


def _write(segmenter: Segmenter, photo: _Photo, logits: NDArray[np.float32], share: float, shelf: Shelf) -> Outcome:
    start = time.perf_counter()
    prediction = segmenter.prediction(photo.image, logits)
    try:
        shelf.put(photo.job, prediction)
    except FiguregroundError as error:
        return Outcome(photo.job, "failed", str(error))
    height, width = photo.image.shape[:2]
    return Outcome(
        photo.job,
        "done",
        files=shelf.files(photo.job),
        seconds={"read": photo.seconds, "predict": share, "write": time.perf_counter() - start},
        size=(height, width),
        figure=np.count_nonzero(prediction.mask) / (height * width),
        expected_dice=prediction.expected_dice,
        estimated_dice=prediction.estimated_dice,
        needs_review=prediction.needs_review,
    )


def _settled(outcome: Outcome | Future[Outcome]) -> Outcome:
    return outcome if isinstance(outcome, Outcome) else outcome.result()


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], weigh: Callable[[T], int]
) -> Iterator[R]:
    """What a function makes of items, in order, made ahead by a pool as long as their weights are within bounds."""
    waiting: deque[tuple[Future[R], int]] = deque()
    weight = 0
    for item in items:
        added = weigh(item)
        while waiting and (weight + added > PIXELS_AT_ONCE or len(waiting) >= 2 * BATCH_SIZE):
            weight -= waiting[0][1]
            yield waiting.popleft()[0].result()
        waiting.append((pool.submit(function, item), added))
        weight += added
    while waiting:
        yield waiting.popleft()[0].result()


def _batches(entries: Iterable[_Photo | Outcome]) -> Iterator[list[_Photo | Outcome]]:
    """As many photos at once as make a batch for the network, fewer where they are large."""
    batch: list[_Photo | Outcome] = []
    pixels = 0
    for entry in entries:
        batch.append(entry)
        pixels += entry.pixels if isinstance(entry, _Photo) else 0
        del entry
        if len(batch) == BATCH_SIZE or pixels >= PIXELS_AT_ONCE // 2:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch
