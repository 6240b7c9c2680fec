"""``figureground page``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figureground.cli.common import app, refuse_existing
from figureground.pretrained import DEFAULT


@app.command()
def page(
    model: Annotated[str, typer.Argument(help="An exported model (.onnx) or a name.")] = DEFAULT,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder.")] = Path("site"),
    runtime: Annotated[
        Path, typer.Option(help="What runs the model in browsers, as npm pack onnxruntime-web@1.30.0 leaves it.")
    ] = Path("onnxruntime-web-1.30.0.tgz"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write to a folder that is there.")] = False,
) -> None:
    """Write the page of serve as a folder for any web server: the model runs in the browser, no photo leaves it."""
    refuse_existing(output, overwrite)
    from figureground.serving.page import write_page

    written = write_page(model, output, runtime)
    typer.echo(f"written: {output} ({written / 1e6:.1f} MB)")
