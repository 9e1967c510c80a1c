"""The live page: plain files, and how a person gets in.

`/?key=KEY` exchanges a key for the cookie and redirects, so that the key does not stay in the
address bar; the page's own form does the same by POST.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from cloud.api.parts import Parts, cookie_name
from cloud.api.problems import ProblemError

router = APIRouter(include_in_schema=False)

COOKIE_MAX_AGE_S = 30 * 24 * 3600
"""A wall display survives a month of restarts; changing the key ends every session at once."""
_HERE = Path(__file__).resolve().parent.parent
_KEY_LENGTH = 500


def page_folder() -> Path:
    """Where the page's files are: inside an installed package, or in the project's `web/`."""
    packaged = _HERE / "static"
    return packaged if packaged.is_dir() else _HERE.parent / "web"


def static_files() -> StaticFiles:
    """The page's files under /static."""
    return StaticFiles(directory=page_folder())


class SignIn(BaseModel):
    """The page's form."""

    model_config = ConfigDict(extra="forbid")
    key: str = Field(max_length=_KEY_LENGTH)


@router.get("/")
def index(
    request: Request, parts: Parts, key: Annotated[str | None, Query(max_length=_KEY_LENGTH)] = None
) -> Response:
    """The page, or with a key the cookie and a redirect to the page."""
    if key is None:
        return FileResponse(page_folder() / "index.html", headers={"Cache-Control": "no-cache"})
    response = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
    cookie = parts.keys.cookie_of(key)
    if cookie is not None:  # with a wrong key the page asks for the right one
        _set_cookie(request, response, cookie)
    return response


@router.get("/docs")
def docs() -> Response:
    """The API, written out from /openapi.json by a page of our own: no external request."""
    return FileResponse(page_folder() / "docs.html", headers={"Cache-Control": "no-cache"})


@router.post("/v1/session")
def sign_in(request: Request, parts: Parts, body: SignIn) -> Response:
    """Exchange a key for the cookie."""
    cookie = parts.keys.cookie_of(body.key)
    if cookie is None:
        raise ProblemError(401, "this API key is not known")
    response = Response(status_code=204)
    _set_cookie(request, response, cookie)
    return response


def _set_cookie(request: Request, response: Response, cookie: str) -> None:
    response.set_cookie(
        cookie_name(request),
        cookie,
        max_age=COOKIE_MAX_AGE_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
