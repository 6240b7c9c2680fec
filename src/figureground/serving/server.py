"""What runs the application: processes, sockets and connections."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from figureground.config import ServeConfig
from figureground.cores import limit_cores, usable_cores
from figureground.errors import CannotWriteError, UsageError
from figureground.image_files import ReadLimits
from figureground.prediction import Segmenter, Views, load
from figureground.runs import bundle_path
from figureground.serving.app import create_app

PATIENCE = 30.0  # seconds
CONNECTIONS = 1000
HEAD_BYTES = 16_384  # of a request, before its body


class Connection(H11Protocol):
    """One that is ended when nothing happens on it though it is the client's turn, and when there are too many.

    Uvicorn itself waits without end for the head of a first request, and for a client that does not take its answer.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look after it."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to look after it."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        state = (self.cycle, self.transport.get_write_buffer_size())
        self._timer = self.loop.call_later(PATIENCE, self._look, state)

    def _look(self, before: tuple[Any, int]) -> None:
        ours = self.cycle is not None and not self.cycle.response_complete
        if not ours and before == (self.cycle, self.transport.get_write_buffer_size()):
            self.transport.abort()
        else:
            self._look_later()


def model_names(models: Sequence[str]) -> dict[str, str]:
    """Models by the names that requests give them: of a file without its folder and suffix, of a run its folder's.

    Raises:
        FiguregroundError: two have the same, or one is no model.
    """
    names: dict[str, str] = {}
    for model in models:
        bundle_path(model)
        path = Path(model)
        name = path.stem if path.is_file() else path.name or path.resolve().name
        if name in names:
            raise UsageError(f"{model} and {names[name]} are both named {name}; rename one of them")
        names[name] = model
    return names


def build(
    models: dict[str, str], settings: ServeConfig, key: str | None, engine: str | None, views: Views, cores: int
) -> FastAPI:
    """The application with its models, in the process that calls it.

    Raises:
        FiguregroundError: a model that cannot be loaded.
    """
    limit_cores(cores)
    limits = ReadLimits(pixels=settings.max_pixels, bytes=settings.max_bytes)
    # With the engine that `predict` takes for one photo, so that both give the same mask to the bit.
    opened: dict[str, Segmenter] = {
        name: load(source, engine=engine, views=views, photos=1, limits=limits) for name, source in models.items()
    }
    return create_app(opened, settings, key)


def config_of(app: FastAPI | Callable[[], FastAPI], settings: ServeConfig) -> uvicorn.Config:
    """How Uvicorn runs the application, or what makes it in each of several processes."""
    return uvicorn.Config(
        app,
        factory=not isinstance(app, FastAPI),
        workers=settings.workers,
        http=Connection,
        ws="none",
        access_log=False,
        log_config=None,  # the process's own: its own would close the handlers, and with them files, of others
        log_level="error",
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=math.ceil(settings.longest_wait + settings.longest_run),
        backlog=CONNECTIONS,
    )


def serve(
    models: Sequence[str],
    settings: ServeConfig,
    *,
    key: str | None = None,
    engine: str | None = None,
    views: Views = Views(),  # noqa: B008 (frozen)
    say: Callable[[str], object] = lambda words: None,
) -> None:
    """Answer requests until the process is told to end; what was accepted by then is answered.

    Args:
        models: run folders, bundles or names.
        settings: where, and within which bounds.
        key: what requests must carry.
        engine: see ``figureground.load``.
        views: how the models look at a photo.
        say: takes lines for the user.

    Raises:
        FiguregroundError: a model that cannot be loaded, or an address that cannot be listened at.
    """
    names = model_names(models)
    cores = max(1, usable_cores() // settings.workers)
    made = partial(build, names, settings, key, engine, views, cores)
    with _listening(settings) as listener:
        alone = settings.workers == 1
        config = config_of(made() if alone else made, settings)
        host, port = listener.getsockname()[:2]
        say(f"serving {', '.join(names)} at http://{f'[{host}]' if ':' in host else host}:{port}")
        if alone:
            uvicorn.Server(config).run([listener])
        else:
            Multiprocess(config, [listener]).run()


def _listening(settings: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=CONNECTIONS)
    except (OSError, UnicodeError) as error:
        raise CannotWriteError(
            f"cannot listen at {settings.host}, port {settings.port} ({error}); choose another --port or --host"
        ) from None
