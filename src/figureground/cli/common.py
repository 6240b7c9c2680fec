"""What the commands share: the application, errors as one line, and options that several of them have."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from figureground.errors import FiguregroundError, UsageError
from figureground.version import __version__

if TYPE_CHECKING:
    from figureground.config import DataConfig

app = typer.Typer(
    name="figureground",
    help="Figure-ground segmentation: masks from photographs, and models from photographs with masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DataOption = Annotated[
    str, typer.Option("--data", help="A folder (its layout is recognised) or synthetic[:n=...,size=...,seed=...].")
]
ForegroundOption = Annotated[
    str, typer.Option(help="What a trimap's border counts as: foreground, background or ignore.")
]
RunForegroundOption = Annotated[str | None, typer.Option(help="What a trimap's border counts as.")]
"""Of commands that otherwise take the run's."""
MaskThresholdOption = Annotated[
    int | None, typer.Option(help="Masks with more than two values: this one and above is figure.")
]
MetadataOption = Annotated[
    Path | None, typer.Option("--metadata", help="A CSV table to slice by: a column 'name', and any others.")
]


@contextmanager
def reporting_errors(debug: bool = False) -> Iterator[Callable[[object], None]]:
    """Wrong input becomes one line on stderr and exit status 1, of usage 2, Ctrl-C 130; ``debug`` shows tracebacks.

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
        _fail(str(error), status=2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", status=1)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
    finally:
        logger.removeHandler(handler)


def _fail(message: str, status: int) -> None:
    """End with one line."""
    typer.echo(f"error: {message}", err=True)
    sys.exit(status)


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
def options() -> Iterator[None]:
    """Settings that are refused here came from options, so it is their usage that was wrong."""
    try:
        yield
    except FiguregroundError as error:
        raise UsageError(str(error)) from None


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """A missing package becomes the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise FiguregroundError(
            f"this needs {error.name}, which is not installed: pip install 'figureground[{extra}]'"
        ) from error


def refuse_existing(path: Path | None, overwrite: bool) -> None:
    """End before any work is done if the file to be written is there.

    Raises:
        FiguregroundError: it exists, and may not be replaced.
    """
    if path is not None and path.exists() and not overwrite:
        raise FiguregroundError(f"{path} exists; choose another name or replace it with --overwrite")


def data_of(model: Path, data: str | None, foreground: str | None, mask_threshold: int | None) -> DataConfig:
    """The data of a run folder's model, with what the user gave laid over it."""
    from dataclasses import replace

    from figureground.config import DataConfig
    from figureground.runs import CONFIG, read_config

    if (model / CONFIG).is_file():
        base = read_config(model).data
    elif data is not None:
        base = DataConfig()
    else:
        raise UsageError(f"{model} does not say which data it was trained on; name a folder with --data")
    given = {"source": data, "foreground": foreground, "mask_threshold": mask_threshold}
    return replace(base, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
