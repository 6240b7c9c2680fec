"""The files that a batch leaves: pictures of each photo, and one COCO document of all."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from figureground.errors import CannotWriteError, FiguregroundError, UsageError
from figureground.files import resolved
from figureground.images import read_profile
from figureground.prediction.batch.jobs import Job
from figureground.prediction.photos.result import COLOURED, PICTURES, Prediction
from figureground.prediction.pictures.coco import Records, annotation_record
from figureground.prediction.pictures.cutout import Background

COCO, COCO_RECORDS = "coco.json", ".coco.jsonl"
KINDS = (*PICTURES, "coco")
PNG_PIXELS = {"mask": [(8, 0)], "probability": [(16, 0)], "cutout": [(8, 6), (8, 2)]}
"""Depth and colour type, bytes 24 and 25 of the file, by which pictures of one name and suffix are told apart."""


class Shelf:
    """Where a batch's results go: files of one kind directly into the folder, of several each into one of its own.

    Args:
        folder: of the results.
        kinds: some of ``KINDS``.
        background: behind cut-outs; none: they are transparent.

    Raises:
        FiguregroundError: a kind that is not known.
    """

    def __init__(self, folder: Path, kinds: Sequence[str] = ("mask",), background: Background | None = None) -> None:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise UsageError(f"nothing known by {unknown or 'no name'} to save; expected: {', '.join(KINDS)}")
        self.folder = folder
        self._background = background
        self._pictures = tuple(kind for kind in dict.fromkeys(kinds) if kind in PICTURES)
        self._records = Records(folder / COCO_RECORDS) if "coco" in kinds else None
        self._recorded = self._records.places() if self._records else {}

    @property
    def coloured(self) -> bool:
        """Whether there are results with the photo's own pixels."""
        return any(kind in COLOURED for kind in self._pictures)

    def open(self, jobs: Sequence[Job], overwrite: bool = False) -> None:
        """See, before any work is done, that the results can be put here.

        Raises:
            FiguregroundError: the folder cannot be made or written to, a result would replace a photo, or, unless
                ``overwrite`` is given, one of another kind.
        """
        photos = {resolved(job.source) for job in jobs}
        for job in jobs:
            for kind, path in zip(self._pictures, self.files(job), strict=True):
                if resolved(path) in photos:
                    raise CannotWriteError(
                        f"{path} is a photo, and would be replaced; expected another folder of results"
                    )
                if not overwrite and path.exists() and not _may_be(kind, path):
                    raise CannotWriteError(
                        f"{path} is there, and no {kind}; choose another folder, or replace it with --overwrite"
                    )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise CannotWriteError(
                f"{self.folder} cannot be a folder of results ({error.strerror}); choose another"
            ) from error

    def files(self, job: Job) -> tuple[Path, ...]:
        """The picture files of a photo."""
        apart = len(self._pictures) > 1
        return tuple(self.folder / (kind if apart else "") / f"{job.name}{PICTURES[kind]}" for kind in self._pictures)

    def has(self, job: Job) -> bool:
        """Whether all of a photo's results are there."""
        recorded = self._records is None or job.below.as_posix() in self._recorded
        return recorded and all(path.exists() for path in self.files(job))

    def put(self, job: Job, prediction: Prediction) -> None:
        """Write a photo's results, if one cannot be written the others nevertheless.

        Raises:
            FiguregroundError: what could not be written, and why.
        """
        failures = []
        if self._records is not None:
            try:
                self._records.add(annotation_record(job.below.as_posix(), prediction.mask, prediction.expected_dice))
            except FiguregroundError as error:
                failures.append(str(error))
        for kind, path in zip(self._pictures, self.files(job), strict=True):
            profile = read_profile(job.source) if kind in COLOURED else None
            try:
                prediction.write(kind, path, self._background, profile)
            except FiguregroundError as error:
                failures.append(str(error))
        if failures:
            raise CannotWriteError("; ".join(failures))

    def close(self) -> None:
        """Make the COCO document of all records, also of those of earlier batches.

        Raises:
            FiguregroundError: it cannot be written.
        """
        if self._records is not None:
            self._records.write_document(self.folder / COCO)


def _may_be(kind: str, path: Path) -> bool:
    """Whether a file can be a picture of this kind: those of several have the same name."""
    with path.open("rb") as file:
        head = file.read(26)
    return kind not in PNG_PIXELS or tuple(head[24:]) in PNG_PIXELS[kind]
