"""``figureground serve``."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from figureground.cli.common import app, needs, options
from figureground.cli.options import computes, takes_settings
from figureground.config import ServeConfig, parse, plain
from figureground.cores import usable_cores
from figureground.errors import UsageError
from figureground.files import read_text
from figureground.pretrained import DEFAULT

KEY_VARIABLE = "FIGUREGROUND_API_KEY"


@app.command()
@computes
@takes_settings(ServeConfig)
def serve(
    changes: dict[str, Any],
    models: Annotated[list[str] | None, typer.Argument(help="Run folders, bundles or names (default: pets).")] = None,
    engine: Annotated[str | None, typer.Option(help="As of predict (default: that of a single photo).")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Also look at photos mirrored.")] = False,
    key_file: Annotated[
        Path | None, typer.Option(help=f"A file with the key that requests must carry (default: ${KEY_VARIABLE}).")
    ] = None,
) -> None:
    """Answer requests for masks over HTTP, and show a page for people."""
    with needs("serve"):
        from figureground.serving.server import serve as run
    from figureground.prediction import Views

    with options():
        settings = parse(ServeConfig, changes, "serve")
    key = _key(key_file)
    typer.echo(f"bounds: {_shown(settings)}")
    if key is None and not _is_private(settings.host):
        typer.echo(f"warning: everybody who reaches {settings.host} can use it; set a key with --key-file", err=True)
    run(models or [DEFAULT], settings, key=key, engine=engine, views=Views(tta), say=typer.echo)


def _shown(settings: ServeConfig) -> str:
    """The bounds as flags."""
    bounds = {name: value for name, value in plain(settings).items() if name not in ("host", "port")}
    bounds["concurrency"] = settings.concurrency or usable_cores() + 1
    return " ".join(f"--{name.replace('_', '-')} {value:.12g}" for name, value in bounds.items())


def _is_private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(file: Path | None) -> str | None:
    """The key, which is never on the command line: others see that in the list of processes.

    Raises:
        UsageError: it is empty.
    """
    given = os.environ.get(KEY_VARIABLE) if file is None else read_text(file)
    if given is None:
        return None
    if not given.strip():
        raise UsageError(f"the key in {file or KEY_VARIABLE} is empty; expected a long random word")
    return given.strip()
