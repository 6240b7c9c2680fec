"""``figureground pseudo-label``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figureground.cli.common import app
from figureground.cli.options import computes
from figureground.cli.predict import Load, predict_photos


@app.command("pseudo-label")
@computes
def pseudo_label(
    model: Annotated[str, typer.Argument(help="A run folder, bundle or name.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos without masks, and folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the dataset.")],
    engine: Annotated[str | None, typer.Option(help="torch, openvino or onnxruntime (default: first done).")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Also look at photos mirrored.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make anew what is there.")] = False,
) -> None:
    """Make a dataset of photos without masks: what a model is sure of to train on, the rest to look at.

    A mask is taken where the model's own estimate of its Dice is not below the model's bound for review (both come
    with the training, or with figureground calibrate): it goes to masks/ and its photo to images/, which train takes.
    The others have the same below review/, and estimates.csv lists all. Photos are hard links, or copies on another
    disk. The same command goes on with what was interrupted; another model or a changed photo is done anew.
    """
    from figureground.image_files import DEFAULT_LIMITS
    from figureground.prediction.batch.jobs import find_jobs, find_left_out
    from figureground.prediction.batch.pseudo_labels import REVIEW, PseudoLabels

    load = Load([model], engine, tta, [], {}, DEFAULT_LIMITS)
    jobs = find_jobs(photos, output)
    left_out = find_left_out(photos, output, jobs)
    shelf = PseudoLabels(output)
    well = predict_photos(load, jobs, shelf, overwrite, None, left_out)
    found, quality = shelf.counts(), load().quality
    typer.echo(
        f"{found['train']} with an estimated Dice of {quality.review_below:.2f} or more to train on: {output}; "
        f"{found['review']} to look at: {output / REVIEW}; photos are "
        + (f"hard links, but {found['copied']} copies" if found["copied"] else "hard links")
    )
    if not quality.fitted_on:
        typer.echo(f"the estimate of {model} was never fitted; figureground calibrate does it")
    if left_out:
        typer.echo(f"left out, as no pictures: {len(left_out)} files ({', '.join(each.name for each in left_out[:3])})")
    if not well:
        raise typer.Exit(1)
