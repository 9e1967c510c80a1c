"""What requests may say, checked before anything else sees it: ids, times, limits, cursors.

A pattern on every text keeps NUL bytes and invalid UTF-8 (which arrives as U+FFFD) away from SQL;
a parameter that an endpoint does not know is refused, because a misspelt filter that is ignored
answers another question than the one that was asked.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from pydantic import BeforeValidator, WithJsonSchema

from cloud.api.problems import MAX_SHOWN, ProblemError
from openvrc.contracts.messages.record import (
    ID_PATTERN,
    NANOSECONDS_1970_TO_2200,
    TOPIC_ID_PATTERN,
)
from openvrc.contracts.units import ns_from_iso

CURSOR_PATTERN = r"^[A-Za-z0-9_=\-]{1,600}$"
RULE_PATTERN = r"^[a-z_]{1,32}(\.[a-z_]{1,64})?$"
ALERT_ID_PATTERN = r"^[A-Za-z0-9_.:\-]{1,96}$"
REASON_PATTERN = r"^[a-z0-9_]{1,64}$"

Severities = Literal["info", "warning", "serious", "critical"]
AlertStates = Literal["open", "active", "recovering", "cleared", "historical"]
Origins = Literal["live", "replay", "simulated"]


def _time_ns(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("a time is text such as 2026-01-01T00:00:00Z")
    try:
        time_ns = ns_from_iso(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{value[:MAX_SHOWN]!r} is no ISO 8601 time with an offset such as 2026-01-01T00:00:00Z"
        ) from error
    low, high = NANOSECONDS_1970_TO_2200
    if not low <= time_ns <= high:
        raise ValueError(f"{value[:MAX_SHOWN]!r} lies outside 1970 to 2200")
    return time_ns


TimeNs = Annotated[
    int,
    BeforeValidator(_time_ns),
    WithJsonSchema({"type": "string", "format": "date-time", "example": "2026-01-01T00:00:00Z"}),
]

ZonePath = Annotated[str, Path(pattern=TOPIC_ID_PATTERN, description="Zone")]
SubjectPath = Annotated[str, Path(pattern=ID_PATTERN, description="Id; `/` and `#` URL-encoded")]
AlertPath = Annotated[str, Path(pattern=ALERT_ID_PATTERN, description="Alert id")]
SourcePath = Annotated[str, Path(pattern=TOPIC_ID_PATTERN, description="Sender")]
NumberPath = Annotated[int, Path(ge=0, le=2**62)]

Zone = Annotated[str | None, Query(pattern=TOPIC_ID_PATTERN, description="Zone; without: all")]
Run = Annotated[
    str | None,
    Query(
        pattern=TOPIC_ID_PATTERN,
        description="Run; without: of each zone the newest that is running, else the newest",
    ),
]
AnyRun = Annotated[str | None, Query(pattern=TOPIC_ID_PATTERN, description="Run; without: all")]
Subject = Annotated[str | None, Query(pattern=ID_PATTERN, description="Subject id")]
Source = Annotated[str | None, Query(pattern=TOPIC_ID_PATTERN, description="Sender")]
RuleName = Annotated[str | None, Query(pattern=RULE_PATTERN, description="Rule")]
Reason = Annotated[str | None, Query(pattern=REASON_PATTERN, description="Reason of the rejection")]
From = Annotated[TimeNs | None, Query(alias="from", description="Not before this time (ISO 8601)")]
To = Annotated[TimeNs | None, Query(alias="to", description="Before this time (ISO 8601)")]
Cursor = Annotated[
    str | None, Query(pattern=CURSOR_PATTERN, description="`next_cursor` of the page before")
]
StepS = Annotated[
    int | None,
    Query(
        ge=60, le=604_800, multiple_of=60,
        description="Sums by steps of whole minutes instead of records, for long spans",
    ),
]  # fmt: skip
Limit = Annotated[int, Query(ge=1, le=1000, description="Items in one page")]


async def only_known_parameters(request: Request) -> None:
    """Refuse query parameters that the endpoint does not have."""
    route = request.scope.get("route")
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return
    known = {field.alias for field in dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        shown = ", ".join(repr(name[:MAX_SHOWN]) for name in unknown[:5])
        expected = ", ".join(sorted(known)) or "none"
        raise ProblemError(422, f"unknown query parameter {shown}; this endpoint knows {expected}")


def check_order(from_ns: int | None, to_ns: int | None) -> None:
    """Refuse a span that ends before it begins."""
    if from_ns is not None and to_ns is not None and to_ns < from_ns:
        raise ProblemError(422, "query.to lies before query.from, expected from <= to")


def bad_cursor(error: Exception) -> ProblemError:
    """A cursor that no page gave out."""
    del error  # its text is about the encoding, which is nobody's business
    return ProblemError(
        422, "query.cursor is not one this list gave out, expected a page's next_cursor"
    )


def encode_cursor(key: list[str]) -> str:
    """A cursor of a list that is kept in memory."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def decode_cursor(cursor: str, parts: int) -> list[str]:
    """What `encode_cursor` was given. Raises ProblemError."""
    try:
        key = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise bad_cursor(error) from error
    is_key = isinstance(key, list) and len(key) == parts and all(isinstance(k, str) for k in key)
    if not is_key:
        raise bad_cursor(ValueError("shape"))
    return key  # type: ignore[no-any-return]
