"""The live page: the files that its build made, and how a person gets in.

`/?key=KEY` exchanges a key for the cookie and redirects, so that the key does not stay in the
address bar; the page's own form does the same by POST.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from cloud.api.parts import Parts, cookie_name
from cloud.api.problems import ProblemError

router = APIRouter(include_in_schema=False)

COOKIE_MAX_AGE_S = 30 * 24 * 3600
"""A wall display survives a month of restarts; changing the key ends every session at once."""
FOLDER = Path(__file__).resolve().parent.parent / "static"
"""Where the page's build puts its files, in a checkout and in an installed package alike."""
NOT_BUILT = (
    "The live page is not built: run `make web` (it brings its own Node where there is none)."
    " The API answers all the same: /docs needs the page too, /openapi.json does not.\n"
)
IMMUTABLE = "public, max-age=31536000, immutable"
_KEY_LENGTH = 500


class PageFiles(StaticFiles):
    """The page's files; what has its content's hash in its name is never asked for again.

    The build packs them (`web/scripts/compress.mjs`): whoever takes gzip gets that.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """As Starlette's, packed where that is possible, with cache headers."""
        is_packed = _takes_gzip(scope) and self.lookup_path(f"{path}.gz")[1] is not None
        response = await super().get_response(f"{path}.gz" if is_packed else path, scope)
        if is_packed:
            kind, _ = mimetypes.guess_type(path)
            response.headers["Content-Type"] = kind or "application/octet-stream"
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        is_hashed = path.startswith("assets/") and response.status_code in (200, 304)
        response.headers["Cache-Control"] = IMMUTABLE if is_hashed else "no-cache"
        return response


def _takes_gzip(scope: Scope) -> bool:
    named = Headers(scope=scope).get("accept-encoding", "").split(",")
    return any(part.strip().lower() == "gzip" for part in named)


def static_files() -> StaticFiles:
    """The page's files under /static; before a build there are none."""
    return PageFiles(directory=FOLDER, check_dir=False)


def _document(name: str) -> Response:
    path = FOLDER / name
    if not path.is_file():
        return PlainTextResponse(NOT_BUILT, 503, headers={"Cache-Control": "no-store"})
    return FileResponse(path, headers={"Cache-Control": "no-cache"})


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
        return _document("index.html")
    response = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
    cookie = parts.keys.cookie_of(key)
    if cookie is not None:  # with a wrong key the page asks for the right one
        _set_cookie(request, response, cookie)
    return response


@router.get("/docs")
def docs() -> Response:
    """The API, written out from /openapi.json by a page of our own: no external request."""
    return _document("docs.html")


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
