"""Which photos a batch has, and the names under which its results are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from figureground.errors import CannotWriteError, UnreadableImageError
from figureground.files import files_below, is_hidden, resolved
from figureground.image_files import IMAGE_SUFFIXES, copies_among, is_picture
from figureground.prediction.films.reading import is_film


@dataclass(frozen=True)
class Job:
    """A photo of a batch."""

    source: Path
    below: Path
    """Its path in the batch: below the folder that was given, or its name alone. Different for each job."""
    name: Path
    """The same without a suffix, unless another one's results would have that name: the results' name."""


def find_jobs(inputs: Sequence[Path], output: Path | None = None, *, required: bool = True) -> list[Job]:
    """The photos in files and folders, which are searched through for what ``is_picture``. Hidden ones do not count,
    nor ``copies_among`` those in folders.

    Sub-folders are kept. Photos of different folders that would have the same name get their folder's name before it.

    Args:
        inputs: files and folders. A file that is missing is a job too, which will fail, unless one is required and
            all are missing.
        output: where the results go; what lies there is no photo, though it may be inside a folder of photos.
        required: that there is one.

    Raises:
        FiguregroundError: no input exists, there is no photo in any, or the results would lie among photos.
    """
    if required and all(_is_missing(path) for path in inputs):
        raise UnreadableImageError(f"{', '.join(map(str, inputs))}: no such file or folder; expected photos")
    found = _found(inputs, output, is_picture)
    for copy in copies_among(found).difference(inputs):
        del found[copy]
    jobs = _named(found)
    _refuse_results_among_photos(jobs, inputs, output)
    if required and not found:
        raise UnreadableImageError(
            f"no photo in {', '.join(map(str, inputs))}; expected files of: {', '.join(IMAGE_SUFFIXES)}"
        )
    return jobs


def _refuse_results_among_photos(jobs: Sequence[Job], inputs: Sequence[Path], output: Path | None) -> None:
    """Of folders that lie below the results: these may be put into one of them, and be photos the next time."""
    if output is None:
        return
    searched = [resolved(path) for path in inputs if is_folder(path) and resolved(output) in resolved(path).parents]
    for job in jobs:
        if any(folder in resolved(output / job.name).parents for folder in searched):
            raise CannotWriteError(
                f"the results would lie among the photos ({output / job.name}), and next time be taken for photos; "
                f"expected another folder, such as {output / 'masks'}"
            )


def find_films(inputs: Sequence[Path], output: Path | None) -> list[Job]:
    """The films among files, and in folders as `find_jobs` searches them; there may be none."""
    searched = [path for path in inputs if is_folder(path) or is_film(path)]
    return _named(_found(searched, output, is_film))


def find_left_out(inputs: Sequence[Path], output: Path | None, jobs: Sequence[Job]) -> list[Path]:
    """The files in folders, as `find_jobs` searches them, that are in no job."""
    done = {job.source for job in jobs} | {resolved(job.source) for job in jobs}
    folders = [path for path in inputs if is_folder(path)]
    left_out = _found(folders, output, lambda path: path not in done)
    return [path for path in left_out if resolved(path) not in done]


def is_folder(path: Path) -> bool:
    """Whether it is one; what may not be looked up is none."""
    with suppress(OSError):  # it may not be looked up: as a photo it fails, and says why
        return path.is_dir()
    return False


def _may_be_photo(path: Path) -> bool:
    with suppress(OSError):
        return path.is_file() or not path.exists()  # a link to nothing is a job that fails
    return True


def _is_missing(path: Path) -> bool:
    with suppress(OSError):
        return not path.exists()
    return False


def _found(inputs: Sequence[Path], output: Path | None, wanted: Callable[[Path], bool]) -> dict[Path, Path]:
    """Of each file its path below the folder that was given, by the file; the same file counts once."""
    found: dict[Path, tuple[Path, Path]] = {}  # by resolved path
    for path in inputs:
        if is_folder(path):
            for file in _files_in(path, output, wanted):
                found.setdefault(resolved(file), (file, file.relative_to(path)))
        else:
            found.setdefault(resolved(path), (path, Path(path.name)))
    return dict(found.values())


def _named(found: dict[Path, Path]) -> list[Job]:
    """Jobs of which no two have the same path, nor the same name."""
    below = _kept_apart(found)
    stems = Counter(path.with_suffix("") for path in below.values())
    kept = set(below.values())  # names that a photo beside one of another suffix may have
    jobs = []
    for source, path in below.items():
        stem = path.with_suffix("")
        jobs.append(Job(source, path, path if stems[stem] > 1 or stem in kept else stem))
    return jobs


def _files_in(folder: Path, output: Path | None, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    results = resolved(output) if output is not None else None
    if results == resolved(folder):
        raise CannotWriteError(
            f"the results would lie among the photos of {folder}, and next time be taken for photos; "
            f"expected another folder, such as {folder / 'masks'}"
        )
    around = results is not None and results in resolved(folder).parents  # it was named although it lies there
    for path in files_below(folder):
        if is_hidden(path, folder) or not wanted(path):
            continue
        if _may_be_photo(path) and (around or results not in resolved(path).parents):
            yield path


def _kept_apart(found: dict[Path, Path]) -> dict[Path, Path]:
    """Paths in the batch, by file; where two are the same, with as many folders before them as it takes."""
    apart, depth = dict(found), 2
    while twice := _doubles(apart):
        for source in twice:
            whole = resolved(source)
            apart[source] = Path(*whole.relative_to(whole.anchor).parts[-depth:])
        depth += 1
    return apart


def _doubles(below: dict[Path, Path]) -> list[Path]:
    taken = Counter(below.values())
    return [source for source, path in below.items() if taken[path] > 1]
