"""``figureground average``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from figureground.cli.common import app, data_of, needs
from figureground.cli.options import computes, takes_data


@app.command()
@computes
@takes_data
def average(
    models: Annotated[
        list[str], typer.Argument(help="Two or more runs or .safetensors bundles of one network, or a run of folds.")
    ],
    changes: dict[str, Any],
    all_of_them: Annotated[
        bool, typer.Option("--all", help="Take all, instead of those that have more Dice on valid together.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    name: Annotated[str, typer.Option(help="Of the new run (default: a free one).")] = "",
) -> None:
    """Make one model of several: the mean of their weights, often better than each and as fast as one.

    For models that were trained on from the same weights, for example with other seeds. The result is scored on test,
    as that of a training is. Of folds all are taken, if their mean holds.
    """
    with needs("train"):
        from figureground.data import open_dataset
        from figureground.evaluation import average as average_models
        from figureground.evaluation import require_alike, score_run
        from figureground.runs import CONFIG, followed, free_folder, link_latest, members_of

        given = [str(followed(model)) for model in models]  # ``latest`` is the new run in the end
        models = [member for model in given for member in members_of(model)]
        require_alike(models)  # before the data are looked at, which may not be the user's mistake
        runs = [model for model in given if (Path(model) / CONFIG).is_file()]
        source = data_of(runs or models[:1], changes)
        if not source.cross_validates:
            open_dataset(source, "test")  # before minutes are spent
        folder = output / name if name else free_folder(output, "average")
        progress = sys.stderr.isatty()
        taken = average_models(models, folder, source, choose=not all_of_them, progress=progress)
        typer.echo(f"mean of {', '.join(taken)}")
        if source.cross_validates:
            link_latest(folder)
            typer.echo(
                f"{folder}: model.safetensors, config.yaml; its threshold stays 0.5, as no image of them is new to "
                f"it. If the data have a test part: figureground evaluate {folder}"
            )
            return
        try:
            typer.echo(score_run(folder, progress=progress).summary())
        except (KeyboardInterrupt, SystemExit):  # SIGTERM's
            typer.echo(f"{folder} holds the mean, but no score; remove it and give the command again", err=True)
            raise
        link_latest(folder)
    typer.echo(f"{folder}: model.safetensors, report.html, config.yaml, test.json, per_image.csv")
