"""``figureground predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from figureground.cli.common import app, needs


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    inputs: Annotated[list[Path], typer.Argument(help="Photos and folders of photos.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the masks.")] = Path("masks"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make masks anew that are there.")] = False,
) -> None:
    """Write a mask (PNG, 0 and 255) for each photo, at the photo's own size."""
    with needs("train"):
        from tqdm import tqdm

        from figureground.prediction import load
        from figureground.prediction.batch import find_jobs, predict_files

        jobs = find_jobs(inputs, output)
        outcomes = predict_files(load(model), jobs, overwrite=overwrite)
        counted = {"done": 0, "there": 0, "failed": 0}
        bar = tqdm(outcomes, total=len(jobs), unit="image", disable=not sys.stderr.isatty(), leave=False)
        for outcome in bar:
            counted[outcome.status] += 1
            if outcome.status == "failed":
                bar.write(f"skipped: {outcome.message}", file=sys.stderr)
    there = f", {counted['there']} were there (--overwrite replaces them)" if counted["there"] else ""
    failed = f", {counted['failed']} could not be read" if counted["failed"] else ""
    typer.echo(f"{counted['done']} masks written to {output}{there}{failed}")
    if counted["failed"]:
        raise typer.Exit(1)
