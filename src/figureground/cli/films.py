"""The films of ``figureground predict``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from figureground.cli.common import needs
from figureground.errors import FiguregroundError, UsageError

if TYPE_CHECKING:
    from figureground.prediction import Segmenter
    from figureground.prediction.batch.jobs import Job
    from figureground.prediction.pictures.cutout import Background


def shown_in_films(kinds: Sequence[str], sources: Sequence[str], *, alone: bool) -> list[str]:
    """What films can show of what was asked for.

    Raises:
        UsageError: not all of it, and a film was named, or films are ``alone``, rather than found among photos.
    """
    from figureground.prediction.films.predict import SHOWN
    from figureground.prediction.films.reading import is_film

    others = [kind for kind in kinds if kind not in SHOWN]
    if others and (alone or any(is_film(Path(source)) for source in sources)):
        raise UsageError(f"a film cannot show {', '.join(others)}; expected some of: {', '.join(SHOWN)}")
    shown = [kind for kind in kinds if kind in SHOWN]
    if others:
        typer.echo(
            f"films are {'made without' if shown else 'left out: they cannot show'} {', '.join(others)}", err=True
        )
    return shown


def predict_film(
    segmenter: Segmenter,
    film: Job,
    output: Path,
    kinds: Sequence[str],
    background: Background | None,
    smoothing: float,
    overwrite: bool,
) -> bool:
    """A film of each of some kinds (``shown_in_films``), each reported; whether all went well."""
    from figureground.files import resolved
    from figureground.prediction.films.reading import VIDEO_SUFFIXES
    from figureground.prediction.origins import Origins, Source, plain_background, stamp_of

    one = output.suffix.lower() in VIDEO_SUFFIXES
    folder = output.parent if one else output
    origins, source = Origins(folder), Source(film.source)
    well = True
    for kind in kinds:
        name = output.name if one else f"{film.name.as_posix()}{f'-{kind}' if len(kinds) > 1 else ''}.mp4"
        target = folder / name
        made = {**segmenter.making, "kind": kind, "smoothing": smoothing}
        if kind == "cutout":
            made["background"] = plain_background(background)
        replaced, anew = overwrite, ""
        try:
            if target.exists() and not overwrite and resolved(target) != resolved(film.source):
                changed, message = origins.found([(name, stamp_of(target), made)], source)
                if not changed:
                    typer.echo(f"{target} was there (--overwrite replaces it{message and f'; {message}'})")
                    continue
                replaced, anew = True, f", {message}"
            source.digest  # noqa: B018 (of the bytes that are decoded now)
            typer.echo(_of_kind(segmenter, film.source, target, kind, background, smoothing, replaced) + anew)
            origins.add(name, stamp_of(target), made, source)
        except UsageError:
            raise
        except FiguregroundError as error:
            typer.echo(f"skipped: {error}", err=True)
            well = False
    return well


def _of_kind(
    segmenter: Segmenter,
    film: Path,
    target: Path,
    kind: str,
    background: Background | None,
    smoothing: float,
    overwrite: bool,
) -> str:
    with needs("video"):
        from figureground.prediction.films.predict import GREEN, predict_video

        summary = predict_video(
            segmenter, film, target, show=kind,  # type: ignore[arg-type]  # checked there
            background=GREEN if background is None else background,
            smoothing=smoothing, progress=sys.stderr.isatty(), overwrite=overwrite,
        )  # fmt: skip
    return (
        f"{target}: {summary.frames} frames of {summary.width}×{summary.height}, "
        f"{summary.real_time_factor:.2f} seconds for a second of film ({segmenter.engine})"
    )
