"""``figureground import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figureground.cli.common import app, needs, refuse_existing
from figureground.cli.options import takes_settings
from figureground.config import ImportConfig


@app.command("import")
@takes_settings(ImportConfig, without=["preprocessing.scale", "preprocessing.overlap"], default="the preset's")
def import_network(
    source: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The network.")],
    changes: dict[str, Any],
    preset: Annotated[
        str | None, typer.Option(help="How it sees photos and what it gives: u2net, isnet, birefnet or smp.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle (default: FILE-figureground.onnx).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Make a bundle of somebody else's ONNX network, which all commands then take like a model of ours."""
    with needs("train"):
        from figureground.export import import_onnx

        target = output or source.with_name(f"{source.stem}-figureground.onnx")
        refuse_existing(target, overwrite)
        import_onnx(source, target, changes, preset, say=typer.echo)
    typer.echo(f"written: {target} ({target.stat().st_size / 1e6:.1f} MB)")
