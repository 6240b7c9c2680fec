"""``figureground evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from figureground.cli.common import MetadataOption, app, data_of, needs, refuse_existing, start_anew
from figureground.cli.options import computes, takes_data
from figureground.errors import UsageError


@app.command()
@computes
@takes_data
def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    changes: dict[str, Any],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1)] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write every image's figures here.")] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a report here, and its plots into a folder of the same name.")
    ] = None,
    metadata_file: MetadataOption = None,
    native: Annotated[bool, typer.Option(help="Score at the photos' own size too.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files.")] = False,
) -> None:
    """Score a model on a split: overlap, boundaries and calibration, with 95% intervals (docs/evaluation.md)."""
    if html_file and not html_file.suffix:
        raise UsageError(
            f"--html {html_file} is the name of its folder of plots; expected one such as {html_file}.html"
        )
    refuse_existing(html_file and html_file.with_suffix(""), overwrite)
    start_anew(overwrite, json_file, csv_file, html_file)
    with needs("train"):
        from figureground.data import open_dataset
        from figureground.evaluation import evaluate as score
        from figureground.evaluation import (
            metadata_of,
            read_metadata,
            read_record,
            slices_of,
            write_json,
            write_report,
        )
        from figureground.evaluation.scoring.slices import summary
        from figureground.prediction import load
        from figureground.runs import followed

        model = str(followed(model))  # ``latest`` may be another run before the end
        dataset = open_dataset(data_of([model], changes), split)  # type: ignore[arg-type]
        metadata = read_metadata(metadata_file, dataset.names) if metadata_file else {}
        segmenter = load(model)
        evaluation = score(
            segmenter,
            dataset,
            batch_size=batch_size,
            progress=sys.stderr.isatty(),
            native=native,
            per_image=csv_file,
        )
        metadata = metadata_of(dataset) | metadata
        slices = slices_of(evaluation, metadata)
        typer.echo("\n".join([evaluation.summary(), *summary(slices)]))
        if csv_file:
            typer.echo(f"written: {csv_file}")
        if json_file:
            write_json(json_file, evaluation.to_json() | {"slices": [found.to_json() for found in slices]})
            typer.echo(f"written: {json_file}")
        if html_file:
            write_report(html_file, evaluation, segmenter, dataset, slices=slices, record=read_record(model))
            typer.echo(f"written: {html_file}")
