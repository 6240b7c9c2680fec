"""The files that a batch leaves: pictures of each photo, and one COCO document of all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figureground.errors import FiguregroundError
from figureground.images import read_profile, replacing, write_image
from figureground.prediction.coco import annotation_record, assemble
from figureground.prediction.cutout import Background
from figureground.prediction.jobs import Job
from figureground.prediction.outputs import PICTURES, Prediction

COCO, COCO_RECORDS = "coco.json", ".coco.jsonl"
KINDS = (*PICTURES, "coco")


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
            raise FiguregroundError(f"nothing known by {unknown or 'no name'} to save; expected: {', '.join(KINDS)}")
        self.folder = folder
        self._background = background
        self._pictures = tuple(kind for kind in dict.fromkeys(kinds) if kind in PICTURES)
        self._records = folder / COCO_RECORDS if "coco" in kinds else None
        self._recorded = {record["file_name"] for record in self._read_records()}

    def files(self, job: Job) -> tuple[Path, ...]:
        """The picture files of a photo."""
        apart = len(self._pictures) > 1
        return tuple(self.folder / (kind if apart else "") / f"{job.name}{PICTURES[kind]}" for kind in self._pictures)

    def has(self, job: Job) -> bool:
        """Whether all of a photo's results are there."""
        recorded = self._records is None or job.below.as_posix() in self._recorded
        return recorded and all(path.exists() for path in self.files(job))

    def put(self, job: Job, prediction: Prediction) -> None:
        """Write a photo's results."""
        for kind, path in zip(self._pictures, self.files(job), strict=True):
            coloured = kind in ("overlay", "cutout")
            profile = read_profile(job.source) if coloured else None
            write_image(path, prediction.picture(kind, self._background), profile)
        if self._records is not None:
            record = annotation_record(job.below.as_posix(), prediction.mask, prediction.expected_dice)
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._records.open("a") as file:  # a line at once, so that an interrupted batch keeps what it has
                file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        """Make the COCO document of all records, also of those of earlier batches."""
        if self._records is not None and self._records.exists():
            with replacing(self.folder / COCO) as partial:
                partial.write_text(json.dumps(assemble(self._read_records())))

    def _read_records(self) -> list[dict[str, Any]]:
        if self._records is None or not self._records.exists():
            return []
        records = []
        for line in self._records.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:  # cut short by a killed process
                continue
        return records
