"""``figureground calibrate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from figureground.cli.common import app, data_of, needs, start_anew
from figureground.cli.options import computes, takes_data
from figureground.errors import FiguregroundError

if TYPE_CHECKING:
    from figureground.bundle import BundleInfo


@app.command()
@computes
@takes_data
def calibrate(
    model: Annotated[Path, typer.Argument(help="A run folder or a bundle; its metadata is rewritten.")],
    changes: dict[str, Any],
    target: Annotated[
        str, typer.Option(help="dice, or what must be reached: precision=0.98, recall=0.95 (means over images).")
    ] = "dice",
    post_processing: Annotated[
        bool, typer.Option("--post-processing", help="Also choose a clean-up of the masks.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all thresholds' figures here.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the JSON file.")] = False,
) -> None:
    """Fit threshold, temperature and the estimate of the Dice on valid, and store them in the model.

    Files that were exported before keep theirs: export again, or calibrate them too.
    """
    start_anew(overwrite, json_file)
    with needs("train"):
        from figureground.data import open_dataset
        from figureground.evaluation import fit_on_valid, write_json
        from figureground.prediction import open_member
        from figureground.pretrained import pretrained_bundle
        from figureground.runs import bundle_path, followed

        model = followed(model)  # ``latest`` may be another run before the end
        bundle = bundle_path(model)
        shipped = pretrained_bundle(bundle.stem)
        if shipped.is_file() and bundle.samefile(shipped):
            raise FiguregroundError(
                f"{model} comes with the package and stays as it is; copy {bundle} and name the copy"
            )
        source = data_of([model], changes)
        dataset = open_dataset(source, "valid")
        progress = sys.stderr.isatty()
        fit = fit_on_valid(
            open_member(bundle),
            dataset,
            target=target,
            post_processing=post_processing,
            boundaries=True,
            progress=progress,
        )
        _store(bundle, fit.info)
    typer.echo(fit.summary())
    typer.echo(f"written: {bundle}")
    if json_file:
        write_json(json_file, fit.to_json())
        typer.echo(f"written: {json_file}")


def _store(bundle: Path, info: BundleInfo) -> None:
    """Rewrite the metadata, without the scores of what was fitted before."""
    from dataclasses import replace

    from figureground.bundle import replace_info
    from figureground.files import replacing

    scores = {split: _unfitted(figures) for split, figures in info.scores.items()}
    info = replace(info, scores=scores)
    if bundle.suffix != ".onnx":
        replace_info(bundle, info)
        return
    from figureground.export.onnx import write_info

    with replacing(bundle) as partial:
        partial.write_bytes(bundle.read_bytes())
        write_info(partial, info)


def _unfitted(figures: object) -> object:
    if not isinstance(figures, dict):
        return figures
    return {key: value for key, value in figures.items() if key not in ("fitted", "quality")}
