"""``figureground train`` and ``figureground demo``."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from figureground.cli.common import app, needs, options
from figureground.cli.options import computes, takes_settings
from figureground.config import TrainConfig
from figureground.errors import UsageError
from figureground.settings import put

if TYPE_CHECKING:
    from figureground.data import Split
    from figureground.training import Run

SHOWN = ("data.source", "data.folds", "minutes", "model.name", "model.encoder", "epochs")
"""Of the settings, those that ``--help`` shows."""
SCORED: dict[str, Split | None] = {"test": "test", "valid": "valid", "none": None}
"""What the best model is scored on, by what ``--score`` says."""


@app.command()
@computes
@takes_settings(TrainConfig, shown=SHOWN, default="the plan's or the recipe's")
def train(
    changes: dict[str, Any],
    recipe: Annotated[
        str | None,
        typer.Option(help="Instead of a plan: report (the lab report's), strong, pets, or a YAML file."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Of the run (default: the model's).")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue this run, to --epochs if they are given; no other options.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run of that name.")] = False,
    score: Annotated[str, typer.Option(help="What the best model is scored on: test, valid, or none.")] = "test",
    config: Annotated[
        Path | None, typer.Option(help="A config.yaml: the same run again; options change it.", hidden=True)
    ] = None,
    base_width: Annotated[
        int | None, typer.Option(help="Channels of unet's first stage (default: 64).", hidden=True)
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="As --encoder-weights imagenet.", hidden=True)
    ] = False,
) -> None:
    """Train a network; keep the best by valid Dice and score it on test.

    What is not set is planned from the data (see: figureground plan), for ten minutes with start and test. While you
    still choose between trainings, --score valid leaves test alone. Ctrl-C saves: --resume RUN continues. The run's
    folder holds model.safetensors, metrics.csv, history.png, config.yaml and test.json. --folds 5 trains five networks,
    each scored on the fifth of the images that it has not seen, which are then one segmenter.
    """
    if score not in SCORED:
        raise UsageError(f"--score {score!r}; expected test, valid or none")
    if {"epochs", "minutes"} <= changes.keys():
        raise UsageError("--epochs and --minutes both say how long; leave out one of them")
    if base_width is not None:
        put(changes, "model.arguments.base_width", base_width)
    if pretrained:
        put(changes, "initial_weights.encoder", "imagenet")
    started, scored = time.monotonic(), SCORED[score]
    with needs("train"):
        from figureground.runs import free_folder

        progress = sys.stderr.isatty()
        if resume is not None:
            if changes.keys() - {"epochs"} or config or name or overwrite or recipe:
                raise UsageError(
                    "--resume goes on with the run's own config.yaml, but for --epochs; leave out the others"
                )
            _resume(resume, changes.get("epochs"), scored, progress)
            return
        if config and recipe:
            raise UsageError("--config and --recipe both name all settings; leave out one of them")
        base = config or recipe
        train_config, otherwise = (_train_config(str(base), changes), None) if base else _planned(changes)
        folder = output / name if name else free_folder(output, train_config.model.name)
        _begin(train_config, folder, overwrite, progress, started, scored, otherwise)


def _begin(
    config: TrainConfig,
    folder: Path,
    overwrite: bool,
    progress: bool,
    started: float,
    scored: Split | None,
    otherwise: TrainConfig | None,
) -> None:
    """A new run, or one of all folds."""
    from figureground.data import open_dataset
    from figureground.training import begin_folds
    from figureground.training import train as train_run

    if config.data.cross_validates:
        if scored != "test":
            raise UsageError("--score, and each of --folds is scored on what it holds out; leave it out")
        begin_folds(config, folder, overwrite=overwrite)
        _train_folds(folder, progress, started, otherwise)
        return
    if scored:
        open_dataset(config.data, scored)  # before hours are spent
    run = train_run(
        config, folder, overwrite=overwrite, progress=progress, started=started, scored=scored, otherwise=otherwise
    )
    _finish(run, scored, progress)


def _resume(folder: Path, epochs: int | None, scored: Split | None, progress: bool) -> None:
    from figureground.runs import is_cross_validation
    from figureground.training import resume

    if not is_cross_validation(folder):
        _finish(resume(folder, epochs=epochs, progress=progress), scored, progress)
        return
    if epochs:
        raise UsageError(f"{folder} is of folds, which go on as they were begun; leave out --epochs")
    _train_folds(folder, progress)


def _planned(changes: dict[str, Any]) -> tuple[TrainConfig, TrainConfig | None]:
    """What the data ask for, which is said, and over it what the user has set; and the next choice."""
    from figureground.config import merge
    from figureground.plan import MINUTES, planned

    data = changes.get("data", {})
    folds = 1 if data.get("fold") else data.get("folds", 1)
    if folds > 1 and "epochs" not in changes:  # it is planned what each of them does in its share
        changes = {**changes, "minutes": changes.get("minutes", MINUTES) / folds}
    plan = planned(merge(of_start({}, changes), changes))
    typer.echo("\n".join(plan.lines()))
    with options():
        found = plan.config(), plan.otherwise()
    config, otherwise = (each and replace(each, minutes=each.minutes and each.minutes * folds) for each in found)
    assert config is not None
    return config, otherwise


def _train_config(base: str, changes: dict[str, Any]) -> TrainConfig:
    """A recipe or file with the options laid over it; what it does not say, the starting weights do."""
    from figureground.config import merge, parse
    from figureground.runs import run_settings

    settings = run_settings(base)
    parse(TrainConfig, settings, base)
    if "epochs" in changes:
        settings["minutes"] = None
    with options():
        return parse(TrainConfig, merge(of_start(settings, changes), changes), base)


def of_start(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with network and preprocessing of the weights that are started from, where they do not say them: also
    the arguments of a network that is theirs and named without any.
    """
    from figureground.bundle import read_info
    from figureground.config import merge, plain
    from figureground.runs import trainable_bundle

    start = merge(settings, changes).get("initial_weights", {}).get("network")
    if start:
        info = read_info(trainable_bundle(start))
        own = settings.get("model", {})
        name = merge(own, changes.get("model", {})).get("name", info.model.name)
        if name == info.model.name and not own.get("arguments"):
            settings["model"] = plain(info.model)
        settings.setdefault("preprocessing", plain(info.preprocessing))
    return settings


def _finish(run: Run, scored: Split | None, progress: bool) -> None:
    """Score the best model on a split, or none, and say where everything is."""
    if run.interrupted:
        _interrupted(run.folder)
    from figureground.evaluation import fit_run, score_run

    written = "model.safetensors, history.png, metrics.csv, config.yaml"
    if scored is None:
        fit_run(run.folder, progress=progress)
    else:
        typer.echo(score_run(run.folder, split=scored, progress=progress).summary())
        written += f", report.html, {scored}.json, per_image.csv"
    typer.echo(f"{run.folder}: {written}")


def _train_folds(
    folder: Path, progress: bool, started: float | None = None, otherwise: TrainConfig | None = None
) -> None:
    """Train and score what is left of a cross-validation, and say what all of it gave."""
    from figureground.evaluation import score_run, sum_up_folds
    from figureground.runs import followed
    from figureground.training import train_folds

    folder = followed(folder)

    def finish(run: Run) -> None:
        found = score_run(run.folder, progress=progress)
        typer.echo(f"{run.folder}: Dice {found.dice} on the {len(found.names)} images that it has not seen")

    if not train_folds(folder, finish, progress=progress, started=started, otherwise=otherwise):
        _interrupted(folder)
    typer.echo(sum_up_folds(folder).summary())
    typer.echo(f"{folder}: folds.json, out_of_fold.csv, config.yaml, and a run for each fold; together one segmenter")


def _interrupted(folder: Path) -> NoReturn:
    typer.echo(f"interrupted and saved; go on with: figureground train --resume {folder}", err=True)
    raise typer.Exit(130)


@app.command()
@computes
def demo(
    output: Annotated[Path, typer.Option(help="New folder for what it makes.")] = Path("demo"),
) -> None:
    """Cut out a cat with the model in the box, then train on drawn figures, as planned; takes two to three minutes."""
    from figureground.demo import cut_out_example, train_small
    from figureground.runs import free_folder

    named = output.name.strip(".")  # which "." and ".." are not
    output = free_folder(output.parent, output.name) if named else free_folder(output, "demo")
    cut_out_example(output, typer.echo)
    with needs("train"):
        train_small(output, sys.stderr.isatty(), typer.echo)
