"""Many files: which they are, where their masks go, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from figureground.errors import FiguregroundError
from figureground.images import IMAGE_SUFFIXES
from figureground.prediction.segmenter import Segmenter


@dataclass(frozen=True)
class Job:
    """A photo, and the file its mask goes to."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    status: Literal["done", "there", "failed"]
    """``there``: a file of that name existed and was left alone."""
    message: str = ""


def find_jobs(inputs: Sequence[Path], output: Path) -> list[Job]:
    """Photos in files and folders (searched through), each with a target below ``output``.

    Sub-folders are kept. Photos whose names differ in the suffix alone keep it: ``a.jpg`` becomes ``a.jpg.png``.

    Raises:
        FiguregroundError: an input that does not exist, or no photo in any of them.
    """
    found: list[tuple[Path, Path]] = []  # (photo, its path below the output)
    for path in inputs:
        if path.is_dir():
            photos = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")
            found.extend((photo, photo.relative_to(path)) for photo in photos if photo.is_file())
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise FiguregroundError(f"{path}: no such file or folder; expected photos")
    if not found:
        raise FiguregroundError(
            f"no photo in {', '.join(map(str, inputs))}; expected files of: {', '.join(IMAGE_SUFFIXES)}"
        )
    taken = Counter(below.with_suffix("") for _, below in found)
    jobs = []
    for source, below in found:
        alone = taken[below.with_suffix("")] == 1
        jobs.append(Job(source, output / (below.with_suffix(".png") if alone else Path(f"{below}.png"))))
    targets = Counter(job.target for job in jobs)
    twice = [job for job in jobs if targets[job.target] > 1]
    if twice:
        raise FiguregroundError(
            f"{twice[0].source} and {twice[1].source} would both become {twice[0].target}; predict them one by one, "
            "or give the folder above them"
        )
    return jobs


def predict_files(segmenter: Segmenter, jobs: Sequence[Job], *, overwrite: bool = False) -> Iterator[Outcome]:
    """Write the mask of each photo; a broken one is reported and the next is done."""
    for job in jobs:
        if job.target.exists() and not overwrite:
            yield Outcome(job, "there")
            continue
        try:
            segmenter.predict(job.source).save(job.target)
        except FiguregroundError as error:
            yield Outcome(job, "failed", str(error))
        else:
            yield Outcome(job, "done")
