"""The files that a batch leaves: pictures of each photo, and one COCO document of all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from figureground.errors import CannotWriteError, FiguregroundError, UsageError
from figureground.files import resolved
from figureground.images import read_profile
from figureground.prediction.batch.jobs import Job
from figureground.prediction.origins import Origins, Source, plain_background, stamp_of
from figureground.prediction.photos.result import COLOURED, PICTURES, Prediction
from figureground.prediction.pictures.coco import annotation_record, write_document
from figureground.prediction.pictures.cutout import Background
from figureground.prediction.records import Records

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
        self._origins = Origins(folder)
        self._behind = {"cutout": {"background": plain_background(background)}}

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
        return tuple(self.folder / self._name(job, kind) for kind in self._pictures)

    def _name(self, job: Job, kind: str) -> str:
        """Of a result, in the folder; of its record for the COCO document, below that."""
        if kind == "coco":
            return f"{COCO}/{job.below.as_posix()}"
        return f"{f'{kind}/' if len(self._pictures) > 1 else ''}{job.name.as_posix()}{PICTURES[kind]}"

    def found(self, job: Job, source: Source, making: Callable[[], Mapping[str, Any]]) -> tuple[list[str], str]:
        """Of which kinds a photo's results are to be written, and what is to be said of that.

        Args:
            job: the photo.
            source: its file.
            making: tells what else they would be made with; it is asked where there are some.

        Raises:
            CannotWriteError: one was made from another photo.
        """
        stamps: dict[str, Any] = {
            kind: stamp_of(path) for kind, path in zip(self._pictures, self.files(job), strict=True)
        }
        if self._records is not None:
            stamps["coco"] = self._records.places().get(job.below.as_posix())
        if all(stamp is None for stamp in stamps.values()):
            return list(stamps), ""
        made = making()
        results = [(self._name(job, kind), stamp, self._made(kind, made)) for kind, stamp in stamps.items()]
        names, message = self._origins.found(results, source)
        return [kind for kind in stamps if self._name(job, kind) in names], message

    def _made(self, kind: str, making: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**making, **self._behind.get(kind, {})}

    def put(
        self,
        job: Job,
        prediction: Prediction,
        source: Source | None = None,
        making: Mapping[str, Any] | None = None,
        kinds: Collection[str] = KINDS,
    ) -> None:
        """Write a photo's results, if one cannot be written the others nevertheless.

        Args:
            job: the photo.
            prediction: of it.
            source: its file, as it was before it was read; none: it is not recorded what the results were made from.
            making: what else they were made with.
            kinds: no others are written.

        Raises:
            FiguregroundError: what could not be written, and why.
        """
        failures = []
        if self._records is not None and "coco" in kinds:
            try:
                record = annotation_record(job.below.as_posix(), prediction.mask, prediction.expected_dice)
                self._note(job, "coco", self._records.add(record), source, making)
            except FiguregroundError as error:
                failures.append(str(error))
        for kind, path in zip(self._pictures, self.files(job), strict=True):
            if kind not in kinds:
                continue
            profile = read_profile(job.source) if kind in COLOURED else None
            try:
                prediction.write(kind, path, self._background, profile)
                self._note(job, kind, stamp_of(path), source, making)
            except FiguregroundError as error:
                failures.append(str(error))
        if failures:
            raise CannotWriteError("; ".join(failures))

    def _note(self, job: Job, kind: str, stamp: Any, source: Source | None, making: Mapping[str, Any] | None) -> None:
        if source is not None:
            self._origins.add(self._name(job, kind), stamp, self._made(kind, making or {}), source)

    def close(self) -> None:
        """Make the COCO document of all records, also of those of earlier batches.

        Raises:
            FiguregroundError: it cannot be written.
        """
        if self._records is not None:
            write_document(self._records, self.folder / COCO)


def _may_be(kind: str, path: Path) -> bool:
    """Whether a file can be a picture of this kind: those of several have the same name."""
    with path.open("rb") as file:
        head = file.read(26)
    return kind not in PNG_PIXELS or tuple(head[24:]) in PNG_PIXELS[kind]
