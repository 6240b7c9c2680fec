"""``figureground plan``."""

from __future__ import annotations

from typing import Any

import typer

from figureground.cli.common import app, needs, options
from figureground.cli.options import computes, takes_settings
from figureground.config import TrainConfig

SHOWN = ("data.source", "model.name", "model.encoder", "minutes")


@app.command()
@computes
@takes_settings(TrainConfig, shown=SHOWN, default="the plan's or the recipe's")
def plan(changes: dict[str, Any]) -> None:
    """Say what train would do with these data, and why; what is set by hand is not changed."""
    with needs("train"), options():
        from figureground.cli.train import of_start
        from figureground.config import merge
        from figureground.plan import planned

        typer.echo("\n".join(planned(merge(of_start({}, changes), changes)).lines()))
