"""Errors as problem documents (RFC 9457): what was wrong and what was expected, never a trace."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
MAX_SHOWN = 100
"""Characters of a caller's own value repeated in an answer."""


class ProblemError(Exception):
    """An answer that is not what the caller wanted."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.facts = facts

    def response(self) -> Response:
        """The problem document."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return JSONResponse(
            body | self.facts, self.status, headers=self.headers, media_type=CONTENT_TYPE
        )


def not_found(what: str, name: str) -> ProblemError:
    """404 that repeats what was asked for."""
    return ProblemError(404, f"no {what} {name[:MAX_SHOWN]!r} is known")


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(Exception, _on_bug)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"nothing is at {request.url.path[:MAX_SHOWN]}; /docs lists what there is"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("allow", "another method")
        detail = f"{request.method} is not possible here, expected {allowed}"
    return ProblemError(error.status_code, detail, headers=error.headers).response()


async def _on_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [_one_error(e) for e in error.errors()]
    detail = "; ".join(f"{e['where']}: {e['expected']}" for e in wrong)
    return ProblemError(422, detail, errors=wrong).response()


async def _on_bug(_request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return ProblemError(500, "the service has a fault; its log says more").response()


def _one_error(error: Mapping[str, Any]) -> dict[str, str]:
    where = ".".join(str(part) for part in error["loc"])
    found = repr(error.get("input"))[:MAX_SHOWN]
    return {"where": where[:MAX_SHOWN], "found": found, "expected": str(error["msg"])}
