"""``figureground export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from figureground.cli.common import app, data_of, needs, refuse_existing
from figureground.cli.options import computes, takes_data


@app.command()
@computes
@takes_data
def export(
    model: Annotated[Path, typer.Argument(help="A run folder, a .safetensors bundle, or an imported .onnx.")],
    changes: dict[str, Any],
    precision: Annotated[str, typer.Option(help="float32, float16 (weights only) or int8.")] = "float32",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .onnx file (default: in the run).")] = None,
    accept_loss: Annotated[bool, typer.Option("--accept-loss", help="Write it even if the Dice falls.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Write a model as one .onnx file, if it passes: compared with the original on valid, in every engine.

    Its mean Dice may fall by 0.0005 (float32, float16) or 0.005 (int8); otherwise there is no file.
    """
    suffix = "" if precision == "float32" else f"-{precision}"
    with needs("train"):
        from figureground.export import export as export_model
        from figureground.export import original_bundle
        from figureground.runs import followed

        original_bundle(model)  # before the data and the target are looked at, which may not be the user's mistake
        model = followed(model)
        stem = model.stem if model.suffix == ".onnx" else "model"
        target = output or (model if model.is_dir() else model.parent) / f"{stem}{suffix}.onnx"
        refuse_existing(target, overwrite)
        source = data_of([model], changes)
        export_model(
            model, target, source, precision=precision,  # type: ignore[arg-type]  # checked there
            accept_loss=accept_loss, progress=sys.stderr.isatty(), say=typer.echo,
        )  # fmt: skip
    typer.echo(f"written: {target} ({target.stat().st_size / 1e6:.1f} MB)")
