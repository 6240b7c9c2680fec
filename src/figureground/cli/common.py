"""What the commands share: the application, errors as one line, and options that several of them have."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from figureground.cli.streams import flush_streams, open_streams
from figureground.errors import CannotWriteError, FiguregroundError, MissingPackageError, UsageError
from figureground.version import __version__

if TYPE_CHECKING:
    from figureground.config import DataConfig

# Pillow keeps a photo in blocks of 16 MB, which the C library may hold back when they are freed; larger ones it
# returns. This has to be said before Pillow is imported.
os.environ.setdefault("PILLOW_BLOCK_SIZE", "64m")
app = typer.Typer(
    name="figureground",
    help="Figure-ground segmentation: masks from photographs, and models from photographs with masks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes 0.15 s to show a page of help
    pretty_exceptions_enable=False,
)

BAD_USAGE: Any = typer.BadParameter.__mro__[2]
"""What all errors of the command line are; typer has click within, or beside it, and no name for this."""

SCARCITY = ("can't start new thread", "can't allocate memory", "unable to allocate", "out of memory", "bad_alloc")
"""What Python, torch and the engines say in a ``RuntimeError`` when they get no thread or memory."""

MetadataOption = Annotated[
    Path | None, typer.Option("--metadata", help="A CSV table to slice by: a column 'name', and any others.")
]


@contextmanager
def reporting_errors(debug: bool = False) -> Iterator[Callable[[object], None]]:
    """Wrong input becomes one line on stderr and exit status 1, of usage 2, Ctrl-C 130; ``debug`` shows tracebacks.

    Yields:
        What prints a line for the user.
    """
    open_streams()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("figureground")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield typer.echo
        if problem := flush_streams():
            raise problem
    except (FiguregroundError, OSError, BAD_USAGE, MemoryError, RuntimeError) as error:
        ours = not isinstance(error, RuntimeError) or any(said in str(error).lower() for said in SCARCITY)
        if not ours or (debug and not isinstance(error, BAD_USAGE)):
            raise
        _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        sys.exit(130)
    finally:
        flush_streams()
        logger.removeHandler(handler)


def _fail(error: Exception) -> None:
    """End with one line, and with none where nobody reads what is said."""
    if isinstance(error, BAD_USAGE):
        message = error.format_message()
        _say(message if "\n" in message else f"error: {message.rstrip('.')}; see --help")  # help, of a command alone
        sys.exit(2)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        _say(f"error: {error.filename or 'input or output'}: {error.strerror or error}")
    elif isinstance(error, FiguregroundError):
        _say(f"error: {error}")
    elif isinstance(error, MemoryError | RuntimeError):
        _say(
            f"error: memory or threads ran out ({str(error).partition(chr(10))[0] or 'no memory is left'}); end other "
            "programs, or ask for less: a smaller --batch-size or photo, fewer --workers or --threads"
        )
    sys.exit(2 if isinstance(error, UsageError) else 1)


def _say(message: str) -> None:
    """A line on stderr, if there is one."""
    with suppress(OSError):
        typer.echo(message, err=True)


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
        raise MissingPackageError(
            f"this needs {error.name}, which is not installed: pip install 'figureground[{extra}]'"
        ) from error


def refuse_existing(path: Path | None, overwrite: bool) -> None:
    """End before any work is done if the file to be written is there.

    Raises:
        FiguregroundError: it exists, and may not be replaced.
    """
    if path is not None and path.exists() and not overwrite:
        raise CannotWriteError(f"{path} exists; choose another name or replace it with --overwrite")


def start_anew(overwrite: bool, *reports: Path | None) -> None:
    """Take away what a command is to write before it does any work: however it ends, none tells of an earlier one.

    Raises:
        FiguregroundError: one exists, and may not be replaced.
    """
    for path in reports:
        refuse_existing(path, overwrite)
    for path in filter(None, reports):
        path.unlink(missing_ok=True)


def data_of(models: Sequence[str | Path], changes: Mapping[str, Any]) -> DataConfig:
    """The data of models, as they were trained, with what the user gave laid over it.

    Raises:
        FiguregroundError: a model does not say which data, several do not agree, or the settings are wrong.
    """
    from figureground.config import DataConfig, merge, parse, plain

    found = []
    for model in models:
        own = plain(_own_data(Path(model), named="source" in changes))
        with options():
            found.append(parse(DataConfig, merge(own, changes), str(model)))
    for model, other in zip(models, found, strict=True):
        for name, value in plain(other).items():
            first = plain(found[0])[name]
            if value != first and name not in ("cache", "folds"):
                raise UsageError(f"{models[0]} was trained with {name} {first!r}, {model} with {value!r}; say which")
    return max(found, key=lambda data: data.folds or 0)  # whose networks have seen all but an official test


def _own_data(model: Path, named: bool) -> DataConfig:
    """What a run says of its data, or how a bundle had its masks read; ``named``: where they are is said elsewhere."""
    from dataclasses import replace

    from figureground.bundle import read_info
    from figureground.config import DataConfig
    from figureground.runs import CONFIG, bundle_path, is_model, read_config

    if (model / CONFIG).is_file():
        return read_config(model).data
    if not named:
        raise UsageError(f"{model} does not say which data it was trained on; name a folder with --data")
    if not is_model(str(model)):
        return DataConfig()  # what is no model is named when it is opened
    known = read_info(bundle_path(model)).data
    return replace(known.reading, foreground=known.foreground)
