"""The ``figureground`` command. Each subcommand imports what it needs when it runs, so that ``--help`` is instant."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from figureground.errors import FiguregroundError
from figureground.version import __version__

if TYPE_CHECKING:
    from figureground.config import TrainConfig
    from figureground.training import Run

app = typer.Typer(
    name="figureground",
    help="Figure-ground segmentation: masks from photographs, and models from photographs with masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Get data, and tidy up behind it.", no_args_is_help=True)
app.add_typer(data_app, name="data")

TRAINING, DATA, RUN = "Training", "Data", "Run"  # panels of the help
DataOption = Annotated[
    str, typer.Option("--data", help="A folder (its layout is recognised) or synthetic[:n=...,size=...,seed=...].")
]
ForegroundOption = Annotated[
    str, typer.Option(help="What a trimap's border counts as: foreground, background or ignore.")
]
MaskThresholdOption = Annotated[
    int | None, typer.Option(help="Masks with more than two values: this one and above is figure.")
]


def main() -> None:
    """Run the command."""
    debug = "--debug" in sys.argv
    with reporting_errors(debug):
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])


@contextmanager
def reporting_errors(debug: bool = False) -> Iterator[Callable[[object], None]]:
    """Wrong input becomes one line on stderr and exit status 1, Ctrl-C 130; ``debug`` shows tracebacks.

    Yields:
        What prints a line for the user.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("figureground")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield typer.echo
    except FiguregroundError as error:
        if debug:
            raise
        _fail(str(error))
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
    finally:
        logger.removeHandler(handler)


def _fail(message: str) -> None:
    """End with one line and status 1."""
    typer.echo(f"error: {message}", err=True)
    sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options of every command; ``--debug``, which shows tracebacks, is taken out before."""


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    """A missing package becomes the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise FiguregroundError(
            f"this needs {error.name}, which is not installed: pip install 'figureground[{extra}]'"
        ) from error


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
        str | None, typer.Option(help="unet or resnet34_unet [default: resnet34_unet].", rich_help_panel=TRAINING)
    ] = None,
    base_width: Annotated[
        int | None, typer.Option(help="Channels of unet's first stage [default: 64].", rich_help_panel=TRAINING)
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Start from ImageNet weights.", rich_help_panel=TRAINING)
    ] = False,
    recipe: Annotated[
        str, typer.Option(help="report (the lab report's), strong (ours), or a YAML file.", rich_help_panel=TRAINING)
    ] = "report",
    epochs: Annotated[int | None, typer.Option("--epochs", "-e", rich_help_panel=TRAINING)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", rich_help_panel=TRAINING)] = None,
    learning_rate: Annotated[float | None, typer.Option(rich_help_panel=TRAINING)] = None,
    size: Annotated[
        int | None, typer.Option(help="Height and width the network sees [default: 256].", rich_help_panel=TRAINING)
    ] = None,
    augmentation: Annotated[str | None, typer.Option(help="none, report, strong.", rich_help_panel=TRAINING)] = None,
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
    name: Annotated[str | None, typer.Option(help="Of the run [default: the model's].", rich_help_panel=RUN)] = None,
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
        "model": {"name": model, "arguments": _model_arguments(base_width, pretrained)},
        "preprocessing": {"size": [size, size] if size else None},
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "augmentation": augmentation,
        "loss": loss, "accumulate": accumulate, "clip": clip, "early_stopping": early_stopping,
        "precision": precision, "device": device, "workers": workers, "seed": seed,
    }  # fmt: skip
    changes = _given(settings)
    with _needs("train"):
        from figureground.training import free_folder
        from figureground.training import resume as resume_run
        from figureground.training import train as train_run

        progress = sys.stderr.isatty()
        if resume is not None:
            if changes or config:
                raise FiguregroundError("--resume goes on with the run's own config.yaml; leave out the other settings")
            _finish(resume_run(resume, progress=progress), progress)
            return
        train_config = _train_config(str(config or recipe), changes)
        folder = output / name if name else free_folder(output, train_config.model.name)
        _finish(train_run(train_config, folder, overwrite=overwrite, progress=progress), progress)


def _model_arguments(base_width: int | None, pretrained: bool) -> dict[str, Any] | None:
    arguments: dict[str, Any] = {"base_width": base_width} if base_width else {}
    if pretrained:
        arguments["pretrained"] = True
    return arguments or None


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Only what the user gave."""
    given = {key: _given(value) if isinstance(value, dict) else value for key, value in settings.items()}
    return {key: value for key, value in given.items() if value is not None and value != {}}


def _train_config(base: str, changes: dict[str, Any]) -> TrainConfig:
    """A recipe or file with the flags laid over it."""
    from figureground.config import TrainConfig, merge, parse, read_settings

    return parse(TrainConfig, merge(read_settings(base), changes), base)


def _finish(run: Run, progress: bool) -> None:
    """Score the best model on test and say where everything is."""
    if run.interrupted:
        typer.echo(f"interrupted and saved; go on with: figureground train --resume {run.folder}", err=True)
        raise typer.Exit(130)
    from figureground.evaluation import score_run

    typer.echo(score_run(run.folder, progress=progress).summary())
    typer.echo(f"{run.folder}: model.safetensors, history.png, metrics.csv, config.yaml, test.json")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    data: DataOption,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    foreground: ForegroundOption = "foreground",
    mask_threshold: MaskThresholdOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1)] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the JSON file.")] = False,
) -> None:
    """Score a model on a split: mean Dice and IoU with their 95% intervals."""
    _refuse_existing(json_file, overwrite)
    with _needs("train"):
        from figureground.data import open_dataset
        from figureground.evaluation import evaluate as score
        from figureground.evaluation import write_json
        from figureground.prediction import load

        dataset = open_dataset(data, split, foreground=foreground, mask_threshold=mask_threshold)  # type: ignore[arg-type]
        evaluation = score(load(model), dataset, batch_size=batch_size, progress=sys.stderr.isatty())
    typer.echo(evaluation.summary())
    if json_file:
        write_json(json_file, evaluation.to_json())
        typer.echo(f"written: {json_file}")


def _refuse_existing(path: Path | None, overwrite: bool) -> None:
    if path is not None and path.exists() and not overwrite:
        raise FiguregroundError(f"{path} exists; choose another name or replace it with --overwrite")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    inputs: Annotated[list[Path], typer.Argument(help="Photos and folders of photos.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the masks.")] = Path("masks"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make masks anew that are there.")] = False,
) -> None:
    """Write a mask (PNG, 0 and 255) for each photo, at the photo's own size."""
    with _needs("train"):
        from tqdm import tqdm

        from figureground.prediction import load
        from figureground.prediction.batch import find_jobs, predict_files

        jobs = find_jobs(inputs, output)
        outcomes = predict_files(load(model), jobs, overwrite=overwrite)
        counted = {"done": 0, "there": 0, "failed": 0}
        bar = tqdm(outcomes, total=len(jobs), unit="image", disable=not sys.stderr.isatty(), leave=False)
        for outcome in bar:
            counted[outcome.status] += 1
            if outcome.status == "failed":
                bar.write(f"skipped: {outcome.message}", file=sys.stderr)
    there = f", {counted['there']} were there (--overwrite replaces them)" if counted["there"] else ""
    failed = f", {counted['failed']} could not be read" if counted["failed"] else ""
    typer.echo(f"{counted['done']} masks written to {output}{there}{failed}")
    if counted["failed"]:
        raise typer.Exit(1)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for what it makes.")] = Path("demo"),
) -> None:
    """Train a small U-Net on drawn data, score it and show a prediction; takes a minute or two."""
    with _needs("train"):
        from figureground.demo import run_demo

        run_demo(output, sys.stderr.isatty(), typer.echo)


@data_app.command("oxford-pet")
def oxford_pet(
    root: Annotated[Path, typer.Option(help="Folder that holds the dataset, or shall.")],
    download: Annotated[bool, typer.Option("--download", help="Get what is missing (800 MB).")] = False,
) -> None:
    """Get the Oxford-IIIT Pet dataset, or check that a folder holds it."""
    with _needs("train"):
        from figureground.data import SPLITS, open_dataset
        from figureground.data.oxford_pet import download as fetch

        folder = fetch(root) if download else root
        sizes = {split: len(open_dataset(folder, split)) for split in SPLITS}
    typer.echo(f"{folder}: " + ", ".join(f"{size} {split}" for split, size in sizes.items()))


@data_app.command("clear-cache")
def clear_cache(
    folder: Annotated[Path | None, typer.Option(help="As --cache of train [default: ~/.cache/figureground].")] = None,
) -> None:
    """Remove the decoded images that training keeps."""
    with _needs("train"):
        from figureground.data.cache import DEFAULT_FOLDER
        from figureground.data.cache import clear_cache as clear

        place = folder or DEFAULT_FOLDER
        entries, freed = clear(place)
    typer.echo(f"{entries} entries removed from {place}, {freed / 1e6:.0f} MB freed")


if __name__ == "__main__":
    main()
