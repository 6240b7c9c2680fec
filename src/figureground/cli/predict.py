"""``figureground predict``."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from figureground.cli.common import app, needs, options, start_anew
from figureground.cli.films import predict_film, shown_in_films
from figureground.cli.options import computes, option
from figureground.config import PostProcessingConfig
from figureground.errors import BadBundleError, FiguregroundError, UsageError
from figureground.files import read_list, read_text

if TYPE_CHECKING:
    from figureground.image_files import ReadLimits
    from figureground.prediction import Segmenter
    from figureground.prediction.batch.jobs import Job
    from figureground.prediction.batch.predict import Outcome
    from figureground.prediction.batch.shelf import Shelf
    from figureground.prediction.pictures.cutout import Background

STDIN = "-"
SOME = 3  # of many files, those that are named
DEFAULT_OUTPUT = Path("masks")
InputsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Photos, folders and films, or - for one photo on stdin; models first, if any."),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="A run folder, bundle or name (default: pets); several are averaged."),
]


@app.command()
@computes
def predict(
    inputs: InputsArgument = None,
    model: ModelOption = None,
    engine: Annotated[
        str | None,
        typer.Option(help="torch, openvino or onnxruntime (default: first done)."),
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Also look at photos mirrored.")] = False,
    tile: Annotated[
        list[float] | None,
        typer.Option(help="Also look at so many times the network's size, in tiles: 2."),
    ] = None,
    keep_largest: Annotated[bool | None, option(PostProcessingConfig, "keep_largest", "the model's")] = None,
    fill_holes: Annotated[bool | None, option(PostProcessingConfig, "fill_holes", "the model's")] = None,
    min_area: Annotated[float | None, option(PostProcessingConfig, "min_area", "the model's")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, or the film.")] = DEFAULT_OUTPUT,
    save: Annotated[str, typer.Option(help="Of mask,overlay,cutout,probability,coco.")] = "mask",
    background: Annotated[str | None, typer.Option(help="Behind cut-outs: white, #rrggbb or a picture.")] = None,
    list_file: Annotated[Path | None, typer.Option("--list", help="A file of photos' names, - for stdin.")] = None,
    max_pixels: Annotated[float | None, typer.Option(help="Refuse larger photos (default: 179 million).")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what became of each photo.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make anew what is there.")] = False,
    smoothing: Annotated[float, typer.Option(help="Weight of earlier frames, below 1.")] = 0.0,
) -> None:
    """Find the figure in photos and films: masks, overlays, cut-outs, at each photo's own size.

    What is there already is left alone, so the same command continues a batch that was interrupted; what was made by
    another model, with other options or of a photo that has changed since is made anew.
    """
    from figureground.image_files import DEFAULT_LIMITS, ReadLimits
    from figureground.prediction.batch.shelf import Shelf
    from figureground.prediction.films.reading import VIDEO_SUFFIXES
    from figureground.prediction.pictures.cutout import parse_background

    limits = DEFAULT_LIMITS if max_pixels is None else ReadLimits(pixels=max_pixels)
    models, sources = _told_apart(inputs or [], model or [], list_file)
    _check_places(sources, output, json_file, overwrite)
    kinds = save.replace(" ", "").split(",")
    if background and "cutout" not in kinds:
        raise UsageError(f"--background is for cut-outs, and {save} was asked for; add --save cutout")
    behind = parse_background(background) if background else None
    given = {"keep_largest": keep_largest, "fill_holes": fill_holes, "min_area": min_area}
    changes = {key: value for key, value in given.items() if value is not None}
    load = Load(models, engine, tta, tile or [], changes, limits)
    films, jobs, left_out = _films_and_photos(sources, output) if sources != [STDIN] else ([], [], [])
    if smoothing and not films:
        raise UsageError(f"--smoothing {smoothing:g} is for films, and there is none; leave it out")
    if sources == [STDIN]:
        _from_stdin(load(1), kinds, behind)
        return
    if films and len(films) * len(kinds) + len(jobs) > 1 and output.suffix.lower() in VIDEO_SUFFIXES:
        raise UsageError(f"{output} names one film, but more was asked for; expected a folder as --output")
    if json_file and not jobs:
        raise UsageError(f"{json_file} is about photos, and only films were given; leave out --json")
    shelf = Shelf(output, kinds, behind) if jobs else None
    shown = shown_in_films(kinds, sources, alone=not jobs) if films else []
    well = [predict_film(load(), film, output, shown, behind, smoothing, overwrite) for film in films if shown]
    if shelf:
        well.append(predict_photos(load, jobs, shelf, overwrite, json_file, left_out))
    if left_out:
        some = ", ".join(path.name for path in left_out[:SOME]) + (", ..." if len(left_out) > SOME else "")
        typer.echo(f"left out, as no {'pictures or films' if films else 'pictures'}: {len(left_out)} files ({some})")
    if not all(well):
        raise typer.Exit(1)


def _told_apart(inputs: Sequence[str], models: Sequence[str], list_file: Path | None) -> tuple[list[str], list[str]]:
    """Models and what they shall look at; models may stand first among the inputs, and pets is there if none does."""
    from figureground.pretrained import DEFAULT
    from figureground.runs import is_model

    first = next((i for i, name in enumerate(inputs) if not is_model(name)), len(inputs))
    found, sources = [*models, *inputs[:first]], list(inputs[first:])
    if not found and sources:
        _refuse_missing_model(sources[0])
    if list_file is not None:
        sources += read_list(
            sys.stdin.buffer.read() if str(list_file) == STDIN else list_file.read_bytes(), str(list_file)
        )
    if not sources:
        raise UsageError("no photo was given; expected files, folders, --list FILE or - for stdin")
    late = next((name for name in sources if is_model(name)), None)
    if late is not None:
        raise UsageError(f"{late} is a model or a run among the photos; name models first, or with --model")
    if STDIN in sources and len(sources) > 1:
        raise UsageError(f"{STDIN} is one photo on stdin, {len(sources)} sources were given; expected it alone")
    return found or [DEFAULT], sources


def _refuse_missing_model(first: str) -> None:
    """A run folder with a slip of the pen must not be taken for a missing photo, and another model for it."""
    from figureground.image_files import IMAGE_SUFFIXES
    from figureground.prediction.films.reading import VIDEO_SUFFIXES
    from figureground.pretrained import PRETRAINED

    path = Path(first)
    if first != STDIN and not path.exists() and path.suffix.lower() not in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
        raise BadBundleError(
            f"{path}: no such model, photo or folder; models are run folders, bundles and "
            f"names: {', '.join(PRETRAINED)}"
        )


def _check_places(sources: Sequence[str], output: Path, json_file: Path | None, overwrite: bool) -> None:
    """End before any work is done if results cannot go where they are to."""
    from figureground.image_files import IMAGE_SUFFIXES

    if output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir():
        raise UsageError(
            f"{output} is the name of a picture, results go into a folder; for a single one: "
            f"figureground predict - < PHOTO > {output.with_suffix('.png')}"
        )
    if sources == [STDIN] and (json_file or output != DEFAULT_OUTPUT):
        raise UsageError(f"{STDIN} is one photo whose picture goes to stdout; leave out --output and --json")
    start_anew(overwrite or _is_summary(json_file), json_file)  # a batch that goes on replaces its own


def _is_summary(path: Path | None) -> bool:
    """Whether this is the ``--json`` of a batch."""
    import json

    try:
        found = json.loads(read_text(path)) if path and path.is_file() else None
    except (FiguregroundError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"model", "engine", "images"} <= found.keys()


class Load:
    """Loads the models once, when they are needed."""

    def __init__(
        self,
        models: Sequence[str],
        engine: str | None,
        tta: bool,
        tile: Sequence[float],
        changes: Mapping[str, Any],
        limits: ReadLimits,
    ) -> None:
        from figureground.bundle import read_info
        from figureground.prediction.photos.views import Views, least_size
        from figureground.runs import bundle_path, members_of

        views = Views(tta, (1.0, *tile))
        # Refuses what is no model at once.
        infos = [read_info(bundle_path(member)) for model in models for member in members_of(model)]
        self.least_size = least_size((info.preprocessing for info in infos), views)
        with options():
            post_processing = replace(infos[0].post_processing, **changes)
        self.limits = limits
        self._given = models, engine, views, post_processing
        self._segmenter: Segmenter | None = None

    def __call__(self, photos: int | None = None) -> Segmenter:
        """The segmenter; ``photos`` is how many it will be shown, if that is known."""
        if self._segmenter is None:
            from figureground.prediction import load

            models, engine, views, post_processing = self._given
            with needs("train"):
                self._segmenter = load(
                    *models,
                    engine=engine,
                    views=views,
                    photos=photos,
                    post_processing=post_processing,
                    limits=self.limits,
                )
        return self._segmenter


def _films_and_photos(sources: Sequence[str], output: Path) -> tuple[list[Job], list[Job], list[Path]]:
    """Both, and what else is in the folders."""
    from figureground.prediction.batch.jobs import find_films, find_jobs, find_left_out
    from figureground.prediction.films.reading import is_film

    paths = [Path(source) for source in sources]
    films = find_films(paths, output)
    photos = [path for path in paths if not is_film(path)]
    jobs = find_jobs(photos, output, required=not films) if photos else []
    return films, jobs, find_left_out(paths, output, [*films, *jobs])


def _from_stdin(segmenter: Segmenter, kinds: Sequence[str], background: Background | None) -> None:
    """One photo on stdin to one picture on stdout."""
    from figureground.images import read_profile
    from figureground.prediction.photos.result import COLOURED

    if len(kinds) != 1:
        raise UsageError(f"stdout takes one picture, {len(kinds)} were asked for; expected one, such as mask")
    if getattr(sys.stdout, "name", "") == os.devnull:  # it was closed
        raise FiguregroundError(f"stdout is closed, which takes the picture; expected {STDIN} > picture.png")
    photo = sys.stdin.buffer.read(int(segmenter.limits.bytes) + 1)
    profile = read_profile(photo) if kinds[0] in COLOURED else None
    sys.stdout.buffer.write(segmenter.predict(photo).encode(kinds[0], background, profile))


def predict_photos(
    load: Load,
    jobs: Sequence[Job],
    shelf: Shelf,
    overwrite: bool,
    json_file: Path | None,
    left_out: Sequence[Path],
) -> bool:
    """A batch: each photo reported, and a summary; whether all went well."""
    from tqdm import tqdm

    from figureground.prediction.batch.predict import predict_files
    from figureground.prediction.origins import UNKNOWN
    from figureground.prediction.photos.engines import FEW_PHOTOS

    start = time.perf_counter()
    outcomes: list[Outcome] = []
    bar = tqdm(total=len(jobs), unit="image", disable=not sys.stderr.isatty(), leave=False)
    few = len(jobs) <= FEW_PHOTOS
    judge = few or json_file is not None
    done = predict_files(
        lambda: load(len(jobs)),
        jobs,
        shelf,
        overwrite=overwrite,
        judge=judge,
        least=load.least_size,
        limits=load.limits,
    )
    try:
        with closing(done), bar:
            for outcome in done:
                outcomes.append(outcome)
                bar.update()
                if outcome.status == "failed":
                    bar.write(f"skipped: {outcome.message}", file=sys.stderr)
    except BaseException as error:  # also SIGTERM's, and a full disk
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            onwards = "" if overwrite else "; the same command goes on"
            typer.echo(f"interrupted behind {len(outcomes)} of {len(jobs)} photos{onwards}", err=True)
        if json_file and outcomes:
            with suppress(FiguregroundError):  # the first error is what is told
                _write_summary(json_file, load(), outcomes, left_out, time.perf_counter() - start, interrupted=True)
        raise
    segmenter = load()
    counted: Counter[str] = Counter(outcome.status for outcome in outcomes)
    seconds = time.perf_counter() - start
    if json_file:
        _write_summary(json_file, segmenter, outcomes, left_out, seconds, interrupted=False)
    said = Counter((outcome.status, outcome.message) for outcome in outcomes if outcome.message)
    anew = "".join(f", {count} {message}" for (status, message), count in said.items() if status == "done")
    unknown = said["there", UNKNOWN]
    aside = f"; {unknown} without a record of what they were made from" if unknown else ""
    there = f", {counted['there']} were there (--overwrite replaces them{aside})" if counted["there"] else ""
    failed = f", {counted['failed']} failed" if counted["failed"] else ""
    speed = f" in {seconds:.1f} s ({counted['done'] / seconds:.1f} images/s, {segmenter.engine}){anew}"
    typer.echo(
        f"{counted['done']} of {len(jobs)} photos done{speed if counted['done'] else ''}{there}{failed}: {shelf.folder}"
    )
    for outcome in outcomes:
        if few and outcome.needs_review:
            typer.echo(f"look at {outcome.job.source}: {_doubt(outcome)}")
    return not counted["failed"]


def _doubt(outcome: Outcome) -> str:
    return (
        f"the mask may be wrong (estimated Dice {outcome.estimated_dice:.2f})" if outcome.figure else "no figure found"
    )


def _write_summary(
    path: Path,
    segmenter: Segmenter,
    outcomes: Sequence[Outcome],
    left_out: Sequence[Path],
    seconds: float,
    *,
    interrupted: bool,
) -> None:

    from figureground.files import write_json

    figures = {
        "model": segmenter.name,
        "engine": segmenter.engine,
        "threshold": segmenter.threshold,
        **{status: [each.status for each in outcomes].count(status) for status in ("done", "there", "failed")},
        **({"interrupted": True} if interrupted else {}),
        "seconds": seconds,
        "images": [outcome.to_json() for outcome in outcomes],
        "left_out": [str(path) for path in left_out],
    }
    write_json(path, figures)
