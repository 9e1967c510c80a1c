"""/v1/notify: silences, and what was told to whom."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.api import present
from cloud.api.alerts import TEXT_PATTERN
from cloud.api.params import (
    ALERT_ID_PATTERN,
    Cursor,
    Limit,
    TimeNs,
    bad_cursor,
    decode_cursor,
    encode_cursor,
    only_known_parameters,
)
from cloud.api.parts import Operator, Parts, Viewer
from cloud.api.problems import ProblemError, not_found
from cloud.store import notices
from openvrc.contracts.detection import Severity

router = APIRouter(tags=["notify"], dependencies=[Depends(only_known_parameters)])

GLOB_PATTERN = r"^[^\x00]{1,200}$"


class NewSilence(BaseModel):
    """A window in which matching alerts notify nobody."""

    model_config = ConfigDict(extra="forbid")
    begins_at: TimeNs = Field(description="ISO 8601 with offset")
    ends_at: TimeNs = Field(description="ISO 8601 with offset")
    zone: str = Field("*", pattern=GLOB_PATTERN, description="Glob")
    rule: str = Field("*", pattern=GLOB_PATTERN, description="Glob")
    subject: str = Field("*", pattern=GLOB_PATTERN, description="Glob")
    reason: str = Field(min_length=1, max_length=500, pattern=TEXT_PATTERN)


@router.get("/v1/notify/deliveries", summary="Attempts to tell somebody of alerts, newest first")
def deliveries(
    parts: Parts,
    _caller: Viewer,
    alert: Annotated[str | None, Query(pattern=ALERT_ID_PATTERN, description="Alert id")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """`outcome`: sent, retry (another attempt follows), failed, dropped (no room)."""
    before = None
    if cursor is not None:
        (text,) = decode_cursor(cursor, 1)
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):
            raise bad_cursor(ValueError("id"))
        before = int(text)
    with parts.database() as connection:
        rows = notices.deliveries(connection, before=before, alert_id=alert, limit=limit + 1)
    items = [
        present.public(row | {"severity": Severity(row["severity"]).word}) for row in rows[:limit]
    ]
    end = encode_cursor([str(rows[limit - 1]["id"])]) if len(rows) > limit else None
    return {"items": items, "next_cursor": end}


@router.get("/v1/notify/silences", summary="Silences that have not ended")
def silences(parts: Parts, _caller: Viewer) -> dict[str, Any]:
    """Those that begin later, too."""
    with parts.database() as connection:
        rows = notices.silences(connection)
    return {"items": [present.public(row) for row in rows], "next_cursor": None}


@router.post("/v1/notify/silences", summary="Be quiet about some alerts for a while")
def silence(parts: Parts, caller: Operator, body: NewSilence) -> dict[str, Any]:
    """Alerts are still raised and shown; only nobody is notified of them."""
    if body.ends_at <= body.begins_at:
        raise ProblemError(422, "body.ends_at is not after body.begins_at, expected a window")
    with parts.database() as connection:
        number = notices.add_silence(
            connection, who=caller.name, begins_ns=body.begins_at, ends_ns=body.ends_at,
            zone=body.zone, rule=body.rule, subject=body.subject, reason=body.reason,
        )  # fmt: skip
    return {"id": number}


@router.post("/v1/notify/silences/{number}/end", summary="End a silence early")
def end_silence(
    parts: Parts, caller: Operator, number: Annotated[int, Path(ge=0, le=2**62)]
) -> dict[str, Any]:
    """404 for one that has ended."""
    with parts.database() as connection:
        if not notices.end_silence(connection, number, caller.name):
            raise not_found("silence", str(number))
    return {"id": number}
