"""``figureground models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from figureground.cli.common import app

if TYPE_CHECKING:
    from figureground.bundle import BundleInfo


@app.command()
def models() -> None:
    """The models that come with the package: size, speed and scores of each, by the name that other commands take."""
    from figureground.bundle import read_info
    from figureground.pretrained import DEFAULT, PRETRAINED, pretrained_bundle

    for name, finds in PRETRAINED.items():
        path = pretrained_bundle(name)
        info = read_info(path)
        height, width = info.preprocessing.size
        default = ", the default of predict" if name == DEFAULT else ""
        typer.echo(f"{name}: {finds}{default} ({info.licence})")
        typer.echo(f"  network   {info.model.name} in {info.export['precision']}, {width}×{height} pixels")
        typer.echo(f"  size      {path.stat().st_size / 1e6:.1f} MB: {path}")
        typer.echo(f"  speed     {_speed(info)}")
        typer.echo(f"  scores    {_scores(info)}")


def _speed(info: BundleInfo) -> str:
    """Of the network, as measured when it was exported."""
    engines = info.export["gate"]["engines"][1:]  # the first is what it was exported from
    times = ", ".join(f"{row['milliseconds']:.1f} ms an image in {row['engine']}" for row in engines)
    return f"{times}, in batches, where it was exported"


def _scores(info: BundleInfo) -> str:
    """On test, with the threshold that the model predicts with."""
    test = info.scores["test"]
    scores = test.get("fitted", test)
    low, high = scores["dice"]["ci95"]
    return f"test Dice {scores['dice']['mean']:.4f} [{low:.4f}, {high:.4f}], n={test['n']} ({info.data.name})"
