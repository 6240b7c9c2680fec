"""Which photos a batch has, and the names under which its results are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
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


def find_jobs(inputs: Sequence[Path], output: Path | None = None) -> list[Job]:
    """The photos in files and folders, which are searched through. Hidden files and folders do not count.

    Sub-folders are kept. Photos of different folders that would have the same name get their folder's name before it.

    Args:
        inputs: files and folders. A file that is missing is a job too, which will fail, unless all are missing.
        output: where the results go; what lies there is no photo, though it may be inside a folder of photos.

    Raises:
        FiguregroundError: no input exists, there is no photo in any, or the results would lie among photos.
    """
    if not any(path.exists() for path in inputs):
        raise FiguregroundError(f"{', '.join(map(str, inputs))}: no such file or folder; expected photos")
    found: dict[Path, Job] = {}  # by resolved path: the same file counts once
    for path in inputs:
        if path.is_dir():
            for photo in _photos_in(path, output):
                found.setdefault(photo.resolve(), Job(photo, photo.relative_to(path), Path()))
        else:
            found.setdefault(path.resolve(), Job(path, Path(path.name), Path()))
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


def _photos_in(folder: Path, output: Path | None) -> Iterator[Path]:
    results = output.resolve() if output is not None else None
    if results == folder.resolve():
        raise FiguregroundError(
            f"the results would lie among the photos of {folder}, and next time be taken for photos; "
            f"expected another folder, such as {folder / 'masks'}"
        )
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        result = results in path.resolve().parents
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not hidden and not result:
            yield path


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
