"""What every endpoint works with, and how it gets at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import psycopg
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from cloud.api.auth import SAFE_METHODS, Caller, Keys, Role, is_same_origin, key_in
from cloud.api.problems import ProblemError, not_found
from cloud.edges import Edges
from cloud.latest import Latest, RunLatest
from cloud.live import PositionsCache
from cloud.mailbox import Mailbox
from cloud.maps import ZoneMaps
from cloud.notify.notifier import Notifier
from cloud.pipeline import Pipeline
from cloud.store.reads import Connection
from cloud.stream import StreamHub
from cloud.traffic_states import TrafficStates
from cloud.typical_days import TypicalNow
from openvrc.contracts.zone import Zone
from openvrc.settings import Settings


class ConnectionPool(Protocol):
    """Hands out database connections for reading."""

    def connection(self) -> AbstractContextManager[Connection]:
        """One connection, given back afterwards."""
        ...


@dataclass(frozen=True)
class CloudParts:
    """The running parts of one cloud process."""

    settings: Settings
    keys: Keys
    pipeline: Pipeline
    pool: ConnectionPool
    latest: Latest
    hub: StreamHub
    positions: PositionsCache
    maps: ZoneMaps
    edges: Edges = field(default_factory=Edges)
    traffic: TrafficStates = field(default_factory=TrafficStates)
    typical: TypicalNow = field(default_factory=TypicalNow)
    mailbox: Mailbox = field(default_factory=Mailbox)
    live_clients: set[Any] = field(default_factory=set)
    notifier: Notifier | None = None
    """None where no file of channels is set: then nobody is told."""

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """A connection; a database that is away answers 503 and not 500."""
        try:
            with self.pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
            raise _no_database() from error

    def zone_limits(self, zone: str) -> Zone | None:
        """What the zone's folder says, the defaults for one that was only announced, else None."""
        try:
            return self.maps.limits_of(zone)
        except (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError) as error:
            raise _no_database() from error


def _no_database() -> ProblemError:
    return ProblemError(503, "the database does not answer, retry", headers={"Retry-After": "2"})


def parts_of(connection: HTTPConnection) -> CloudParts:
    """The parts behind a request or WebSocket."""
    parts: CloudParts = connection.app.state.parts
    return parts


async def _given_parts(connection: HTTPConnection) -> CloudParts:
    """As a coroutine: what is none runs in another thread, a hop of 0.1 ms a request."""
    return parts_of(connection)


Parts = Annotated[CloudParts, Depends(_given_parts)]

_BEARER = HTTPBearer(auto_error=False, description="An API key")
_API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key")


def cookie_name(connection: HTTPConnection) -> str:
    """Cookies are shared by all ports of a host; two demos must not sign each other out."""
    return f"vrc_session_{connection.url.port or 0}"


def caller_of(connection: HTTPConnection) -> tuple[Caller | None, bool]:
    """Who asks, and whether by cookie."""
    keys = parts_of(connection).keys
    key = key_in(connection.headers)
    if key is not None:
        return keys.of_key(key), False
    cookie = connection.cookies.get(cookie_name(connection))
    return (keys.of_cookie(cookie) if cookie else None), True


def require(role: Role) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets in callers of at least this role."""

    async def check(
        request: Request,
        _bearer: Annotated[Any, Security(_BEARER)] = None,
        _api_key: Annotated[Any, Security(_API_KEY)] = None,
    ) -> Caller:
        caller, is_cookie = caller_of(request)
        if caller is None:
            raise ProblemError(
                401,
                "no valid API key, expected Authorization: Bearer KEY or X-API-Key: KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if caller.role < role:
            raise ProblemError(
                403, f"{caller.name} is {caller.role.word}, expected at least {role.word}"
            )
        if is_cookie and request.method not in SAFE_METHODS and not is_same_origin(request.headers):
            raise ProblemError(403, "a change by cookie must come from this service's own page")
        return caller

    return check


Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]


def selected_runs(parts: CloudParts, zone: str | None, run: str | None) -> list[RunLatest]:
    """Runs a request means. Raises 404 for a zone or run that was named and is not known."""
    with parts.latest.lock:
        runs = parts.latest.select(zone, run)
    if not runs and run is not None:
        raise not_found("run" if zone is None else f"run of zone {zone}", run)
    if not runs and zone is not None:
        raise not_found("zone", zone)
    return runs
