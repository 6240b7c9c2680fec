"""``figureground compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from figureground.cli.common import MetadataOption, app, data_of, needs, start_anew
from figureground.cli.options import computes, takes_data


@app.command()
@computes
@takes_data
def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more run folders or bundles.")],
    changes: dict[str, Any],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    metric: Annotated[str, typer.Option(help="What to compare by: a name in evaluate's JSON.")] = "dice",
    native: Annotated[bool, typer.Option("--native", help="At the photos' own size.")] = False,
    slices: Annotated[bool, typer.Option("--slices", help="Say on which kinds of images they differ.")] = False,
    metadata_file: MetadataOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1)] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the JSON file.")] = False,
) -> None:
    """Compare models on the same images: differences with intervals, and whether the data can tell them apart.

    Runs that differ in seed, workers, device and cache alone are taken together. Models whose networks see different
    sizes are compared at the photos' own size.
    """
    start_anew(overwrite, json_file)
    with needs("train"):
        from figureground.data import open_dataset
        from figureground.evaluation import compare as compare_evaluations
        from figureground.evaluation import (
            evaluate,
            groups_of,
            metadata_of,
            read_metadata,
            require_comparable,
            write_json,
        )
        from figureground.prediction import load
        from figureground.runs import followed

        models = [str(followed(model)) for model in models]  # ``latest`` may be another run before the end
        require_comparable(models, metric)
        dataset = open_dataset(data_of(models, changes), split)  # type: ignore[arg-type]
        metadata = read_metadata(metadata_file, dataset.names) if metadata_file else {}
        progress = sys.stderr.isatty()
        segmenters = [load(model) for model in models]
        native = native or len({segmenter.preprocessing.scored_at for segmenter in segmenters}) > 1
        evaluations = [
            evaluate(segmenter, dataset, batch_size=batch_size, progress=progress, native=native)
            for segmenter in segmenters
        ]
        sliced = groups_of(evaluations[0], metadata_of(dataset) | metadata) if slices or metadata else []
        comparison = compare_evaluations(evaluations, metric, native, sliced)
    typer.echo(comparison.summary())
    if json_file:
        write_json(json_file, comparison.to_json())
        typer.echo(f"written: {json_file}")
