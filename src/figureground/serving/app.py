"""The application: what is answered at which address."""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from figureground.config import ServeConfig
from figureground.cores import usable_cores
from figureground.errors import FiguregroundError
from figureground.prediction import Segmenter
from figureground.serving.limits import Line, Memory, read_body
from figureground.serving.metrics import Metrics
from figureground.serving.page import POLICY, page_files
from figureground.serving.problems import MEDIA_TYPE, Refusal, answer_to, problem
from figureground.serving.work import PARTS, Server, Wanted
from figureground.version import __version__

T = TypeVar("T")
log = logging.getLogger(__name__)
GONE = 499  # nginx's word for a client that went away before its answer
SECURITY = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
GUARDED = ("/v1/", "/metrics")
"""What a key is needed for, where there is one."""
BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {part: {"type": "string", "format": "binary"} for part in PARTS},
            }
        },
    },
}
EXAMPLE = {
    "model": "pets", "height": 2, "width": 3, "threshold": 0.5, "figure": 0.5, "estimated_dice": 0.97,
    "needs_review": False, "rle": {"size": [2, 3], "counts": "03"}, "polygons": [[[0, 0, 2, 0, 2, 1, 0, 1]]],
    "seconds": {"wait": 0.001, "read": 0.01, "predict": 0.03, "write": 0.01},
}  # fmt: skip
ERRORS = {
    401: "No key, or a wrong one", 404: "No such model", 408: "The body arrived too slowly",
    413: "Too many bytes or pixels", 415: "Not a photo", 422: "A photo or parameter that cannot be used",
    429: "As many wait as may", 503: "It took too long",
}  # fmt: skip


class Service:
    """What answers requests for masks.

    Args:
        segmenters: the models by name; the first is the one that answers where none is named.
        settings: its bounds.
    """

    def __init__(self, segmenters: Mapping[str, Segmenter], settings: ServeConfig) -> None:
        self._settings = settings
        threads = settings.concurrency or usable_cores() + 1
        self.line = Line(threads, settings.queue, settings.longest_wait, settings.longest_run)
        self._memory = Memory(settings.held_bytes)
        self.metrics = Metrics(self.line, self._memory)
        self._servers = {name: Server.of(name, segmenter) for name, segmenter in segmenters.items()}
        self._default = next(iter(segmenters))

    def models(self) -> list[dict[str, Any]]:
        """The models as ``/v1/models`` lists them."""
        return [
            {"name": name, "default": name == self._default, "threshold": server.segmenter.threshold}
            for name, server in self._servers.items()
        ]

    async def answer(self, request: Request, wanted: Wanted) -> Response:
        """The answer to a request, whatever is wrong with it; it is counted."""
        try:
            response = await self._answer(request, wanted)
        except ClientDisconnect:
            response = Response(status_code=GONE)
        except FiguregroundError as error:
            response = answer_to(error)
        except Exception as error:  # of our own making: the next one may be answered
            log.exception("a request could not be answered")
            response = answer_to(error)
        self.metrics.requests.labels(response.status_code).inc()
        return response

    async def _answer(self, request: Request, wanted: Wanted) -> Response:
        accepted = time.perf_counter()
        server = self._servers.get(wanted.model or self._default)
        if server is None:
            detail = f"there is no model {wanted.model!r}; expected one of: {', '.join(self._servers)}"
            raise Refusal(404, "no_model", detail, given=wanted.model, allowed=list(self._servers))
        self.line.refuse_if_full()
        with self._memory.holding() as take:
            body = await read_body(request, self._settings.max_bytes, self._settings.longest_upload, take)
            self.metrics.received.inc(len(body))
            kind = request.headers.get("content-type", "")
            answer = await _unless_gone(request, self.line.do(lambda: server.answer(body, kind, wanted, accepted)))
        for stage, seconds in answer.seconds.items():
            self.metrics.seconds.labels(stage).observe(seconds)
        self.metrics.sent.inc(len(answer.content))
        return Response(answer.content, headers=answer.headers, media_type=answer.media_type)


def create_app(
    segmenters: Mapping[str, Segmenter],
    settings: ServeConfig = ServeConfig(),  # noqa: B008 (frozen)
    key: str | None = None,
) -> FastAPI:
    """The application.

    Args:
        segmenters: the models by name; the first is the one that answers where none is named.
        settings: its bounds.
        key: what requests must carry; none: nothing.
    """
    service = Service(segmenters, settings)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.line.close()

    app = FastAPI(
        title="figureground", version=__version__, lifespan=living, docs_url=None, redoc_url=None,
        description="Figure-ground segmentation: a photo goes in, its mask or what is made of it comes out.",
    )  # fmt: skip
    app.add_middleware(_Guard, key=key)
    _answer_errors(app)

    @app.post(
        "/v1/segment",
        responses={
            200: {"content": {"image/png": {}, "application/json": {"example": EXAMPLE}}, "description": "The result"},
            **{status: {"description": words, "content": {MEDIA_TYPE: {}}} for status, words in ERRORS.items()},
        },
        openapi_extra={"requestBody": BODY},
        response_class=Response,
    )
    async def segment(request: Request, wanted: Annotated[Wanted, Query()]) -> Response:
        """The figure in one photo, sent as the body or as the part ``image`` of a form."""
        return await service.answer(request, wanted)

    @app.get("/v1/models")
    async def models() -> dict[str, list[dict[str, Any]]]:
        """The models by name."""
        return {"models": service.models()}

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "As many requests wait as may"}})
    async def ready() -> Response:
        """It would take a request now."""
        full = service.line.is_full
        return JSONResponse({"status": "busy" if full else "ready"}, 503 if full else 200)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counters for Prometheus, of this process."""
        return Response(service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    _add_page(app)
    return app


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What ``work`` gives; it is cancelled when the client goes.

    Raises:
        ClientDisconnect: it has gone.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())  # the body is read: nothing else can come
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


def _answer_errors(app: FastAPI) -> None:
    """Everything that goes wrong is told as problem details."""

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
        return problem(422, "usage", f"{'; '.join(found)[:1000]}; see /openapi.json")

    async def failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, "no_such_address", f"{error.detail}; see /openapi.json", error.headers)

    async def broken(request: Request, error: Exception) -> Response:
        return answer_to(error)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, failed)
    app.add_exception_handler(Exception, broken)


class _Guard:
    """Headers for all answers, and the key before anything of a request is read."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app, self._key = app, key and key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        if self._key and scope["path"].startswith(GUARDED) and not self._knows(scope):
            detail = "this needs a key; expected the header Authorization: Bearer KEY"
            refusal = problem(401, "no_key", detail, {"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _knows(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, found = given.partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(found.strip(), self._key or b"")


def _add_page(app: FastAPI) -> None:
    """The page and its files, read once: no path of a request reaches the file system."""
    files = page_files()

    def answer(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "there is no such page")
        return Response(files[name], media_type=mimetypes.guess_type(name)[0] or "application/octet-stream")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return answer("index.html")

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(name: str) -> Response:
        return answer(name)
