"""``figureground models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from figureground.cli.common import app, needs

if TYPE_CHECKING:
    from figureground.bundle import BundleInfo
    from figureground.models.catalogue import Buildable


@app.command()
def models(
    build: Annotated[
        bool, typer.Option("--all", help="Also every network that train can build, with its size.")
    ] = False,
) -> None:
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
    if build:
        with needs("train"):
            _list_networks()


def _list_networks() -> None:
    """What can be built."""
    from figureground.models import catalogue

    typer.echo(f"\n{'train --model':<24}{'parameters':>14}{'multiply-adds at 256×256':>28}")
    for row in catalogue.own_networks():
        _show(row, row.model.name)
    typer.echo(f"\n--model, here with --encoder {catalogue.SHOWN_ENCODER}")
    for row in catalogue.decoders():
        _show(row, row.model.name)
    typer.echo("\n--encoder, whose ImageNet weights are at hand (--encoder-weights imagenet)")
    for row in catalogue.encoders():
        _show(row, str(row.model.encoder), f"  below {row.model.name}, {row.weights}")
    typer.echo("and every other network of timm, whose weights are fetched once, or given as a file")


def _show(row: Buildable, name: str, note: str = "") -> None:
    typer.echo(f"{name:<24}{row.parameters / 1e6:>12.1f} M{row.multiply_adds / 1e9:>26.2f} G{note}")


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
