"""What is wrong with a request, as RFC 9457 (problem details) says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import Response

from figureground.errors import (
    BadSettingsError,
    FiguregroundError,
    MissingPackageError,
    TooLargeError,
    UnreadableImageError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
STATUS = {
    TooLargeError: 413,
    MissingPackageError: 415,  # of a photo that only an optional package reads
    UnreadableImageError: 422,
    UsageError: 422,
    BadSettingsError: 422,
}
"""Of the errors that a request can be the reason of; of a class the first that fits."""


class Refusal(FiguregroundError):
    """A request that is not answered with what it asks for.

    Args:
        status: of HTTP.
        code: a word that stays when the message is worded anew.
        detail: what was given, what was expected, and what to do.
        retry_after: seconds after which another try may succeed.
        **more: ``given`` and ``allowed``, where these are values.
    """

    def __init__(self, status: int, code: str, detail: str, retry_after: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.word, self.retry_after, self.more = status, code, retry_after, more


def answer_to(error: Exception) -> Response:
    """The answer to a request that an error has ended."""
    if isinstance(error, Refusal):
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return problem(error.status, error.word, str(error), headers, **error.more)
    if isinstance(error, FiguregroundError):
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
        return problem(status, error.code, str(error))
    return problem(500, "failed", "the server failed; the request may be sent again")


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Problem details."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **more}
    return Response(json.dumps(content), status, headers, MEDIA_TYPE)
