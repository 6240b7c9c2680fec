"""``figureground data``: get data, check it, and tidy up behind it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from figureground.cli.common import app, needs, options, start_anew
from figureground.cli.options import computes, takes_settings
from figureground.config import DataConfig
from figureground.errors import FiguregroundError, UsageError

if TYPE_CHECKING:
    from figureground.data.doctor import Predictor

data_app = typer.Typer(help="Get data, check it, and tidy up behind it.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("oxford-pet")
def oxford_pet(
    root: Annotated[Path, typer.Option(help="Folder that holds the dataset, or shall.")],
    download: Annotated[bool, typer.Option("--download", help="Get what is missing (800 MB).")] = False,
) -> None:
    """Get the Oxford-IIIT Pet dataset, or check that a folder holds it."""
    with needs("train"):
        from figureground.config import DataConfig
        from figureground.data.sources.oxford_pet import download as fetch
        from figureground.data.sources.oxford_pet import find_root, open_oxford_pet

        folder = fetch(root) if download else find_root(root)
        if folder is None:
            raise FiguregroundError(f"{root} does not hold the dataset; get it there with --download")
        sizes = Counter(entry.split for entry in open_oxford_pet(folder, DataConfig()).entries)
    typer.echo(f"{folder}: " + ", ".join(f"{size} {split}" for split, size in sizes.items()))


@data_app.command("clear-cache")
def clear_cache(
    folder: Annotated[Path | None, typer.Option(help="As --cache of train (default: ~/.cache/figureground).")] = None,
) -> None:
    """Remove the decoded images that training keeps."""
    with needs("train"):
        from figureground.data.cache import clear_cache as clear
        from figureground.files import CACHE_FOLDER

        place = folder or CACHE_FOLDER
        entries, freed = clear(place)
    typer.echo(f"{entries} entries removed from {place}, {freed / 1e6:.0f} MB freed")


@data_app.command()
@computes
@takes_settings(DataConfig, without=["source", "group", "split", "folds", "fold", "cache"])
def check(
    folder: Annotated[Path, typer.Argument(help="Data of any kind that lies in files, as --data of train.")],
    changes: dict[str, Any],
    html: Annotated[Path | None, typer.Option(help="Write the findings with pictures here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the findings with all files here.")] = None,
    fix: Annotated[Path | None, typer.Option(help="Write a repaired copy into this new folder.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Let this model judge the masks; may be repeated.")] = None,
    folds: Annotated[
        Path | None,
        typer.Option(help="A run of train --folds: each mask is judged by the network that has not seen it."),
    ] = None,
    accept: Annotated[list[str] | None, typer.Option(help="A kind that is no problem here: empty_mask.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the HTML and JSON files.")] = False,
) -> None:
    """Find and explain what is wrong with images and masks; exit status 1 if there are problems.

    Nothing is changed; --fix writes a repaired copy and a log of what was done.
    """
    if folds and model:
        raise UsageError("--folds and --model both say who judges the masks; leave out one of them")
    start_anew(overwrite, html, json_file)
    if html:
        with needs("train"):  # before minutes are spent
            import jinja2  # noqa: F401
    from figureground.config import parse
    from figureground.data.doctor import check as examine
    from figureground.data.doctor import repair, require_repairable, write_findings, write_json
    from figureground.data.sources import recognise
    from figureground.runs import held_out_by, members_of

    with options():
        config = parse(DataConfig, {**changes, "source": str(folder)}, "data check")
    if fix:
        leaves_out = config.foreground == "ignore" or config.ignore_value is not None
        require_repairable(fix, leaves_out, recognise(folder)[0])
    progress = sys.stderr.isatty()
    held_out = held_out_by(folds) if folds else {}
    judges = [_predictor(name) for name in (members_of(folds) if folds else model or ())]
    report = examine(config, predictors=judges, held_out=held_out, accept=accept or (), progress=progress)
    typer.echo(report.summary())
    if html:
        write_findings(report, html)
    if json_file:
        write_json(report, json_file)
    if fix:
        actions = repair(report, fix, progress)
        typer.echo(f"{fix}: repaired copy; {len(actions)} changes are listed in {fix / 'repairs.csv'}")
    for path in filter(None, (html, json_file)):
        typer.echo(f"written: {path}")
    if not report.clean:
        raise typer.Exit(1)


def _predictor(model: str) -> Predictor:
    """What gives the probability of figure for an image."""
    with needs("train"):
        from figureground.prediction import load

        segmenter = load(model)
    return lambda image: segmenter.predict(image).probability
