"""Decides how errors look over HTTP: one shape, ``{"error": {"code", "message", ...}}``, and which status is which."""

import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from visiondrift.errors import BadInput, EmbedderUnavailable, LogError, LogFull, QueueFull
from visiondrift.intake.batch import BadBody, TooManyEvents

# The first that fits: a subclass stands before its parent. The last column is Retry-After in seconds.
_STATUS: tuple[tuple[type[Exception], int, str, float | None], ...] = (
    (TooManyEvents, 413, "too_many_events", None),
    (BadBody, 422, "malformed_body", None),
    (BadInput, 422, "bad_request", None),
    (QueueFull, 429, "queue_full", 1),
    (LogFull, 507, "disk_full", 60),
    (LogError, 503, "log_unavailable", 5),
    (EmbedderUnavailable, 503, "embedder_unavailable", 30),
)
_CODES = {404: "not_found", 405: "method_not_allowed"}


class Failure(Exception):
    """A request that ends with a status other than 200. ``more`` is added to the error's JSON object."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> JSONResponse:
        """The answer as it goes out."""
        error = {"code": self.code, "message": str(self), **self.more}
        return JSONResponse({"error": error}, status_code=self.status, headers=self.headers)


def failure_of(error: Exception) -> Failure:
    """The status of an error of the service: what was sent wrongly is 4xx, what may pass by itself says when."""
    text = str(error)
    for kind, status, code, retry_after in _STATUS:
        if isinstance(error, kind):
            wait = getattr(error, "retry_after", retry_after)
            return Failure(status, code, text, headers={"Retry-After": str(math.ceil(wait))} if wait else {})
    return Failure(500, "internal_error", "an error of the exporter itself; its log has the details")


def install(app: FastAPI) -> None:
    """Make every error of ``app`` come out in the one shape."""
    app.add_exception_handler(Failure, _on_failure)
    for kind in (BadInput, LogError, EmbedderUnavailable, Exception):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_parameters)


def _on_failure(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Failure)  # noqa: S101 - registered for this type alone
    return error.response()


def _on_error(_: Request, error: Exception) -> JSONResponse:
    return failure_of(error).response()


def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    code = _CODES.get(error.status_code, "bad_request")
    message = f"{request.method} {request.url.path}: {error.detail}"
    return Failure(error.status_code, code, message, headers=error.headers).response()


def _on_parameters(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type alone
    problems = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
    return Failure(422, "bad_request", "; ".join(problems)).response()
