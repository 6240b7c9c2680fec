"""``figureground evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from figureground.cli.common import DataOption, ForegroundOption, MaskThresholdOption, app, needs, refuse_existing


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    data: DataOption,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    foreground: ForegroundOption = "foreground",
    mask_threshold: MaskThresholdOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1)] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write every image's figures here.")] = None,
    native: Annotated[bool, typer.Option(help="Score at the photos' own size too.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the JSON and CSV files.")] = False,
) -> None:
    """Score a model on a split: overlap, boundaries and calibration, with 95% intervals (docs/evaluation.md)."""
    for path in (json_file, csv_file):
        refuse_existing(path, overwrite)
    with needs("train"):
        from figureground.data import open_dataset
        from figureground.evaluation import evaluate as score
        from figureground.evaluation import write_json
        from figureground.prediction import load

        dataset = open_dataset(data, split, foreground=foreground, mask_threshold=mask_threshold)  # type: ignore[arg-type]
        evaluation = score(
            load(model),
            dataset,
            batch_size=batch_size,
            progress=sys.stderr.isatty(),
            native=native,
            per_image=csv_file,
        )
    typer.echo(evaluation.summary())
    if json_file:
        write_json(json_file, evaluation.to_json())
        typer.echo(f"written: {json_file}")
    if csv_file:
        typer.echo(f"written: {csv_file}")
