"""``figureground train`` and ``figureground demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from figureground.cli.common import app, needs, options
from figureground.errors import UsageError

if TYPE_CHECKING:
    from figureground.config import TrainConfig
    from figureground.training import Run

DEFAULT_RECIPE = "report"
TRAINING, DATA, RUN = "Training", "Data", "Run"  # panels of the help


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder (its layout is recognised) or synthetic[:n=...,size=...,seed=...].", rich_help_panel=DATA
        ),
    ] = None,
    foreground: Annotated[
        str | None,
        typer.Option(help="A trimap's border counts as: foreground, background, ignore.", rich_help_panel=DATA),
    ] = None,
    mask_threshold: Annotated[
        int | None,
        typer.Option(help="Masks with more than two values: this and above is figure.", rich_help_panel=DATA),
    ] = None,
    cache: Annotated[
        str | None, typer.Option(help="Decoded images: auto, off, or a folder.", rich_help_panel=DATA)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="unet, resnet34_unet or compact_fpn (default: resnet34_unet).", rich_help_panel=TRAINING),
    ] = None,
    base_width: Annotated[
        int | None, typer.Option(help="Channels of unet's first stage (default: 64).", rich_help_panel=TRAINING)
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="What --model decodes: a network of timm, as efficientnet_lite0.", rich_help_panel=TRAINING),
    ] = None,
    encoder_weights: Annotated[
        str | None,
        typer.Option(help="Start the encoder from: imagenet, or a file.", rich_help_panel=TRAINING),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(help="Start from the weights of this run, .safetensors bundle or name.", rich_help_panel=TRAINING),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="report (the lab report's, default), strong (ours), pets, pets_finish (small, long), or a YAML file.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="Learn also from what this model sees: a run, bundle, .onnx file or name; may be repeated.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    teacher_share: Annotated[
        float | None,
        typer.Option(help="How much that counts beside the masks, 0 to 1 (default: 0.4).", rich_help_panel=TRAINING),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", "-e", rich_help_panel=TRAINING)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", rich_help_panel=TRAINING)] = None,
    learning_rate: Annotated[float | None, typer.Option(rich_help_panel=TRAINING)] = None,
    size: Annotated[
        int | None, typer.Option(help="Height and width the network sees (default: 256).", rich_help_panel=TRAINING)
    ] = None,
    augmentation: Annotated[
        str | None, typer.Option(help="none, report, strong, heavy.", rich_help_panel=TRAINING)
    ] = None,
    loss: Annotated[str | None, typer.Option(help="bce or bce_dice.", rich_help_panel=TRAINING)] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Batches whose gradients are added up.", rich_help_panel=TRAINING)
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Highest norm of the gradient.", rich_help_panel=TRAINING)] = None,
    early_stopping: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better Dice.", rich_help_panel=TRAINING)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, bfloat16.", rich_help_panel=TRAINING)] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, gpu.", rich_help_panel=TRAINING)] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that prepare batches.", rich_help_panel=TRAINING)
    ] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=TRAINING)] = None,
    config: Annotated[
        Path | None, typer.Option(help="A config.yaml: the same run again; flags change it.", rich_help_panel=RUN)
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of all runs.", rich_help_panel=RUN)] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Of the run (default: the model's).", rich_help_panel=RUN)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of that name.", rich_help_panel=RUN)
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="Continue this run; no other flags.", rich_help_panel=RUN)] = None,
) -> None:
    """Train a network; keep the best by valid Dice and score it on test.

    Ctrl-C saves: --resume RUN continues. The run's folder holds model.safetensors, metrics.csv, history.png,
    config.yaml and test.json.
    """
    settings: dict[str, Any] = {
        "data": {"source": data, "foreground": foreground, "mask_threshold": mask_threshold, "cache": cache},
        "model": {"name": model, "encoder": encoder, "arguments": _model_arguments(base_width)},
        "initial_weights": {"network": start_from, "encoder": encoder_weights},
        "preprocessing": {"size": None if size is None else [size, size]},
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "augmentation": augmentation,
        "loss": loss, "accumulate": accumulate, "clip": clip, "early_stopping": early_stopping,
        "precision": precision, "device": device, "workers": workers, "seed": seed,
        "teachers": teacher or None, "teacher_share": teacher_share,
    }  # fmt: skip
    changes = _given(settings)
    with needs("train"):
        from figureground.evaluation import open_split
        from figureground.runs import free_folder
        from figureground.training import resume as resume_run
        from figureground.training import train as train_run

        progress = sys.stderr.isatty()
        if resume is not None:
            if changes or config or name or overwrite or recipe:
                raise UsageError("--resume goes on with the run's own config.yaml; leave out the other settings")
            _finish(resume_run(resume, progress=progress), progress)
            return
        if config and recipe:
            raise UsageError("--config and --recipe both name all settings; leave out one of them")
        train_config = _train_config(str(config or recipe or DEFAULT_RECIPE), changes)
        open_split(train_config.data, "test")  # before hours are spent: the best model is scored on it
        folder = output / name if name else free_folder(output, train_config.model.name)
        _finish(train_run(train_config, folder, overwrite=overwrite, progress=progress), progress)


def _model_arguments(base_width: int | None) -> dict[str, Any] | None:
    return None if base_width is None else {"base_width": base_width}


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Only what the user gave."""
    given = {key: _given(value) if isinstance(value, dict) else value for key, value in settings.items()}
    return {key: value for key, value in given.items() if value is not None and value != {}}


def _train_config(base: str, changes: dict[str, Any]) -> TrainConfig:
    """A recipe or file with the flags laid over it; what it does not say of network and preprocessing, the starting
    weights do: also the arguments of a network that is theirs and named without any.
    """
    from figureground.bundle import read_info
    from figureground.config import TrainConfig, merge, parse, plain, read_settings
    from figureground.runs import trainable_bundle

    settings = read_settings(base)
    parse(TrainConfig, settings, base)
    start = merge(settings, changes).get("initial_weights", {}).get("network")
    if start:
        info = read_info(trainable_bundle(start))
        own = settings.get("model", {})
        name = merge(own, changes.get("model", {})).get("name", info.model.name)
        if name == info.model.name and not own.get("arguments"):
            settings["model"] = plain(info.model)
        settings.setdefault("preprocessing", plain(info.preprocessing))
    with options():
        return parse(TrainConfig, merge(settings, changes), base)


def _finish(run: Run, progress: bool) -> None:
    """Score the best model on test and say where everything is."""
    if run.interrupted:
        typer.echo(f"interrupted and saved; go on with: figureground train --resume {run.folder}", err=True)
        raise typer.Exit(130)
    from figureground.evaluation import score_run

    typer.echo(score_run(run.folder, progress=progress).summary())
    typer.echo(
        f"{run.folder}: model.safetensors, report.html, history.png, metrics.csv, config.yaml, test.json, per_image.csv"
    )


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="New folder for what it makes.")] = Path("demo"),
) -> None:
    """Cut out a cat with the model in the box, then train a small U-Net on drawn data; takes two to three minutes."""
    from figureground.demo import cut_out_example, train_small
    from figureground.runs import free_folder

    named = output.name.strip(".")  # which "." and ".." are not
    output = free_folder(output.parent, output.name) if named else free_folder(output, "demo")
    cut_out_example(output, typer.echo)
    with needs("train"):
        train_small(output, sys.stderr.isatty(), typer.echo)
