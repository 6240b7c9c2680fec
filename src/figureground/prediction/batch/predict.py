"""Many photos to files: read, predicted and written side by side, each reported, and none done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from figureground.errors import FiguregroundError
from figureground.image_files import DEFAULT_LIMITS, ReadLimits
from figureground.images import pixel_count
from figureground.prediction.ahead import Ahead, Budget, batched
from figureground.prediction.batch.jobs import Job
from figureground.prediction.batch.shelf import KINDS, Shelf
from figureground.prediction.origins import Source
from figureground.prediction.photos.reading import Photo, pixels_of, read_photo
from figureground.prediction.photos.result import Prediction
from figureground.prediction.photos.segmenter import Segmenter
from figureground.prediction.photos.views import BATCH_SIZE

READERS = 2
PIXELS_AT_ONCE = 2**26
"""Of photos that are read and not yet predicted, and again of those that are predicted and not yet written."""


@dataclass(frozen=True)
class Outcome:
    """What became of a photo."""

    job: Job
    status: Literal["done", "there", "failed"]
    """``there``: its files existed and were left alone."""
    message: str = ""
    """Why it failed, was made anew, or that it is not known what the files that are there were made from."""
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
    segmenter: Segmenter | Callable[[], Segmenter],
    jobs: Sequence[Job],
    shelf: Shelf,
    *,
    overwrite: bool = False,
    judge: bool = True,
    least: tuple[int, int] | None = None,
    limits: ReadLimits = DEFAULT_LIMITS,
) -> Generator[Outcome, None, None]:
    """Put the results of each photo on the shelf; a broken one is reported and the others are done.

    Photos are read and results written by threads while the network works on others. What is there already is left
    alone, so the same call continues a batch that was interrupted, and two processes may share a folder. But what was
    made from the photo as it was before, by another model or with other options, is made anew, and what was made from
    another photo fails: see ``Origins``.

    Args:
        segmenter: the models, or what loads them: the first photos are read meanwhile.
        jobs: the photos.
        shelf: where the results go; it is closed at the end, also of an interruption.
        overwrite: also do photos whose results are there.
        judge: also estimate how good each mask is, which takes about as long as to read the photo.
        least: ``least_size`` of a segmenter that is still to be loaded; without it, photos wait for the segmenter.
        limits: its limits.

    Yields:
        The outcome of each job, in order.

    Raises:
        FiguregroundError: a result would replace a photo, or the shelf's folder cannot be made.
    """
    readers = ThreadPoolExecutor(READERS)
    pools = [readers]
    making: Future[Mapping[str, Any]] = Future()
    try:
        if least is None:
            segmenter = _loaded(segmenter)
            least, limits = segmenter.least_size, segmenter.limits
        do = partial(_read, shelf, making, overwrite, least, limits)
        reads = ((partial(do, job), pixel_count(job.source)) for job in jobs)
        read = Ahead(readers, reads, Budget(2 * BATCH_SIZE, PIXELS_AT_ONCE))
        loaded = _loaded(segmenter)
        shelf.open(jobs, overwrite)
        making.set_result(loaded.making)
        work = _Work(loaded, shelf, judge, Semaphore(loaded.lanes))
        workers = ThreadPoolExecutor(loaded.lanes + 1)  # one more: the network never waits for a picture to be written
        pools.append(workers)
        batches = batched(read, _pixels, Budget(BATCH_SIZE // min(2, loaded.lanes), PIXELS_AT_ONCE // 2))
        calls = ((partial(work.do, batch), sum(map(_pixels, batch))) for batch in batches)
        for outcomes in Ahead(workers, calls, Budget(loaded.lanes + 1, PIXELS_AT_ONCE)):
            yield from outcomes
    finally:
        making.cancel()  # readers that wait for it
        for pool in pools:
            pool.shutdown(cancel_futures=True)
        shelf.close()


def _loaded(segmenter: Segmenter | Callable[[], Segmenter]) -> Segmenter:
    return segmenter if isinstance(segmenter, Segmenter) else segmenter()


@dataclass(frozen=True)
class _Read:
    """A photo that has been read."""

    job: Job
    photo: Photo
    source: Source
    kinds: Sequence[str]
    """Of results that are to be written."""
    message: str
    seconds: float


def _pixels(entry: _Read | Outcome) -> int:
    return pixels_of(entry.photo) if isinstance(entry, _Read) else 0


def _read(
    shelf: Shelf,
    making: Future[Mapping[str, Any]],
    overwrite: bool,
    least: tuple[int, int],
    limits: ReadLimits,
    job: Job,
) -> _Read | Outcome:
    try:
        source = Source(job.source)
        kinds, message = (KINDS, "") if overwrite else shelf.found(job, source, making.result)
        if not kinds:
            return Outcome(job, "there", message, shelf.files(job))
        start = time.perf_counter()
        source.digest  # noqa: B018 (of the bytes that are decoded now)
        photo = read_photo(job.source, least, limits, whole=shelf.coloured)
        return _Read(job, photo, source, kinds, message, time.perf_counter() - start)
    except FiguregroundError as error:
        return Outcome(job, "failed", str(error))


@dataclass(frozen=True)
class _Work:
    """From photos to files: what each of some threads does with a batch."""

    segmenter: Segmenter
    shelf: Shelf
    judge: bool
    turn: Semaphore
    """To use the network."""

    def do(self, batch: list[_Read | Outcome]) -> list[Outcome]:
        """The outcomes of a batch in order. It empties the batch.

        Here and below nothing keeps a photo that has been passed on: a single one can have a gigabyte behind it.
        """
        with self.turn:
            start = time.perf_counter()
            images = [entry.photo.seen for entry in batch if isinstance(entry, _Read)]
            maps = self.segmenter.logit_maps(images) if images else []
            share = (time.perf_counter() - start) / max(1, len(images))
        del images
        outcomes = []
        while batch:
            entry = batch.pop(0)
            outcomes.append(entry if isinstance(entry, Outcome) else self._write(entry, maps.pop(0), share))
            del entry
        return outcomes

    def _write(self, read: _Read, logits: NDArray[np.float32], share: float) -> Outcome:
        start = time.perf_counter()
        prediction = self.segmenter.prediction(read.photo.image, logits, read.photo.size)
        try:
            self.shelf.put(read.job, prediction, read.source, self.segmenter.making, read.kinds)
        except FiguregroundError as error:
            return Outcome(read.job, "failed", str(error))
        outcome = Outcome(
            read.job,
            "done",
            read.message,
            files=self.shelf.files(read.job),
            seconds={"read": read.seconds, "predict": share, "write": time.perf_counter() - start},
            size=prediction.mask.shape,
            figure=np.count_nonzero(prediction.mask) / prediction.mask.size,
        )
        return _judged(outcome, prediction) if self.judge else outcome


def _judged(outcome: Outcome, prediction: Prediction) -> Outcome:
    """With what can be said of the mask without the true one."""
    return replace(
        outcome,
        expected_dice=prediction.expected_dice,
        estimated_dice=prediction.estimated_dice,
        needs_review=prediction.needs_review,
    )
