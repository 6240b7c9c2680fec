"""Which photos a batch has, and the names under which its results are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figureground.errors import FiguregroundError
from figureground.images import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Job:
    """A photo of a batch."""

    source: Path
    below: Path
    """Its path in the batch: below the folder that was given, or its name alone. Different for each job."""
    name: Path
    """The same without a suffix, unless another photo differs in the suffix alone: the results' name."""


def find_jobs(inputs: Sequence[Path]) -> list[Job]:
    """The photos in files and folders, which are searched through. Hidden files do not count.

    Sub-folders are kept. Photos of different folders that would have the same name get their folder's name before it.

    Raises:
        FiguregroundError: an input that does not exist, or no photo in any of them.
    """
    found: dict[Path, Job] = {}  # by resolved path: the same file counts once
    for path in inputs:
        if path.is_dir():
            photos = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")
            for photo in filter(Path.is_file, photos):
                found.setdefault(photo.resolve(), Job(photo, photo.relative_to(path), Path()))
        elif path.exists():
            found.setdefault(path.resolve(), Job(path, Path(path.name), Path()))
        else:
            raise FiguregroundError(f"{path}: no such file or folder; expected photos")
    if not found:
        raise FiguregroundError(
            f"no photo in {', '.join(map(str, inputs))}; expected files of: {', '.join(IMAGE_SUFFIXES)}"
        )
    below = _kept_apart({resolved: job.below for resolved, job in found.items()})
    stems = Counter(path.with_suffix("") for path in below.values())
    jobs = []
    for resolved, job in found.items():
        path = below[resolved]
        alone = stems[path.with_suffix("")] == 1
        jobs.append(Job(job.source, path, path.with_suffix("") if alone else path))
    return jobs


def _kept_apart(below: dict[Path, Path]) -> dict[Path, Path]:
    """Paths in the batch, by resolved path; where two are the same, with as many folders before them as it takes."""
    apart, depth = dict(below), 2
    while twice := _doubles(apart):
        for resolved in twice:
            apart[resolved] = Path(*resolved.relative_to(resolved.anchor).parts[-depth:])
        depth += 1
    return apart


def _doubles(below: dict[Path, Path]) -> list[Path]:
    taken = Counter(below.values())
    return [resolved for resolved, path in below.items() if taken[path] > 1]
