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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the JSON file.")] = False,
) -> None:
    """Score a model on a split: mean Dice and IoU with their 95% intervals."""
    refuse_existing(json_file, overwrite)
    with needs("train"):
        from figureground.data import open_dataset
        from figureground.evaluation import evaluate as score
        from figureground.evaluation import write_json
        from figureground.prediction import load

        dataset = open_dataset(data, split, foreground=foreground, mask_threshold=mask_threshold)  # type: ignore[arg-type]
        evaluation = score(load(model), dataset, batch_size=batch_size, progress=sys.stderr.isatty())
    typer.echo(evaluation.summary())
    if json_file:
        write_json(json_file, evaluation.to_json())
        typer.echo(f"written: {json_file}")
