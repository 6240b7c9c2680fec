"""Photos without masks become a dataset: those whose masks are likely to be right to train on, the rest to look at."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from figureground.errors import FiguregroundError
from figureground.files import replacing, resolved
from figureground.prediction.batch.jobs import Job
from figureground.prediction.batch.shelf import KINDS, Shelf
from figureground.prediction.origins import Source
from figureground.prediction.photos.result import PICTURES, Prediction
from figureground.prediction.records import Records

REVIEW = "review"
ESTIMATES, ESTIMATE_RECORDS = "estimates.csv", ".estimates.jsonl"


class PseudoLabels(Shelf):
    """Masks and their photos, ``images/`` and ``masks/``, where the model's estimate finds nothing to review; the
    others have the same below ``review/``. ``estimates.csv`` has a row for each.

    Photos are hard links, or copies on another disk. Whoever has mended a mask below ``review/`` moves it and its
    photo: both stay where they are put.

    Args:
        folder: of the dataset.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._estimates = Records(folder / ESTIMATE_RECORDS)
        self._places: dict[Path, str] = {}
        self._jobs: Sequence[Job] = ()

    def open(self, jobs: Sequence[Job], overwrite: bool = False) -> None:
        """See, before any work is done, that the results can be put here; raises as ``Shelf.open``."""
        self._jobs = jobs
        super().open(jobs, overwrite)

    def _place(self, job: Job) -> str:
        """Below which folder its mask is, or is about to be: ``.`` or ``review``."""
        there = (self.folder / _mask(REVIEW, job)).exists() and not (self.folder / _mask(".", job)).exists()
        return self._places.get(job.name) or (REVIEW if there else ".")

    def _name(self, job: Job, kind: str) -> str:
        return _mask(self._place(job), job)

    def _photo(self, job: Job) -> Path:
        return self.folder / self._place(job) / "images" / f"{job.name.as_posix()}{job.source.suffix}"

    def found(self, job: Job, source: Source, making: Callable[[], Mapping[str, Any]]) -> tuple[list[str], str]:
        """What is to be written; a mask that is there gets its photo back."""
        kinds, message = super().found(job, source, making)
        if not kinds and not self._photo(job).exists():
            self._link(job)
        return kinds, message

    def put(
        self,
        job: Job,
        prediction: Prediction,
        source: Source | None = None,
        making: Mapping[str, Any] | None = None,
        kinds: Collection[str] = KINDS,
    ) -> None:
        """Write a mask where it belongs, with its photo, and take away what an earlier model has put elsewhere."""
        before = (*self.files(job), self._photo(job))
        self._places[job.name] = REVIEW if prediction.needs_review else "."
        for path in set(before) - {*self.files(job), self._photo(job)}:
            path.unlink(missing_ok=True)
        self._estimates.add({"file_name": job.name.as_posix(), "estimated_dice": prediction.estimated_dice})
        self._link(job)
        try:
            super().put(job, prediction, source, making, kinds)
        except FiguregroundError:
            self._photo(job).unlink(missing_ok=True)  # a photo without a mask would be refused in training
            raise

    def _link(self, job: Job) -> None:
        path = self._photo(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(resolved(job.source), path)
        except OSError:
            with replacing(path) as partial:
                shutil.copyfile(job.source, partial)

    def close(self) -> None:
        """Write ``estimates.csv``, of all photos that have a mask.

        Raises:
            FiguregroundError: it cannot be written.
        """
        if not (rows := [self._row(job) for job in self._labelled()]):
            return
        with replacing(self.folder / ESTIMATES) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image", "mask", "estimated_dice", "place"])
            table.writerows(rows)

    def _labelled(self) -> list[Job]:
        return [job for job in self._jobs if all(path.exists() for path in self.files(job))]

    def _row(self, job: Job) -> tuple[str, str, str, str]:
        found = self._estimates.latest(job.name.as_posix()).get("estimated_dice")
        image, mask = (path.relative_to(self.folder).as_posix() for path in (self._photo(job), *self.files(job)))
        return image, mask, "" if found is None else f"{found:.4f}", "review" if self._place(job) == REVIEW else "train"

    def counts(self) -> Counter[str]:
        """How many of the photos have a mask to ``train`` on, or to ``review``, and how many of them are ``copied``."""
        jobs = self._labelled()
        copied = sum(not os.path.samefile(self._photo(job), job.source) for job in jobs)
        return Counter("review" if self._place(job) == REVIEW else "train" for job in jobs) + Counter(copied=copied)


def _mask(place: str, job: Job) -> str:
    return Path(place, "masks", f"{job.name.as_posix()}{PICTURES['mask']}").as_posix()
