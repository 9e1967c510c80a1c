"""/v1/alerts: what is wrong, since when, why, and what people did about it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from cloud.api import present
from cloud.api.auth import Caller
from cloud.api.params import (
    AlertPath,
    AlertStates,
    AnyRun,
    Cursor,
    From,
    Limit,
    Origins,
    RuleName,
    Severities,
    Subject,
    TimeNs,
    To,
    Zone,
    bad_cursor,
    check_order,
    only_known_parameters,
)
from cloud.api.parts import CloudParts, Operator, Parts, Viewer
from cloud.api.problems import ProblemError, not_found
from cloud.pipeline import PipelineFullError
from cloud.store import reads
from cloud.stream import Event

router = APIRouter(tags=["alerts"], dependencies=[Depends(only_known_parameters)])

TEXT_PATTERN = r"^[^\x00]*$"
"""PostgreSQL's text holds every character but NUL."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Nothing(_Body):
    """No fields."""


class Assign(_Body):
    """Whom the alert is given to."""

    to: str = Field(min_length=1, max_length=100, pattern=TEXT_PATTERN)


class Snooze(_Body):
    """Until when nobody wants to be reminded."""

    until_at: TimeNs = Field(description="ISO 8601 with offset")


class Note(_Body):
    """What somebody found out."""

    text: str = Field(min_length=1, max_length=2000, pattern=TEXT_PATTERN)


class Clear(_Body):
    """Why it is closed by hand."""

    note: str = Field(default="", max_length=2000, pattern=TEXT_PATTERN)


@router.get("/v1/alerts", summary="Alerts, newest first")
def list_alerts(
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: AnyRun = None,
    origin: Annotated[Origins | None, Query(description="Where its data came from")] = None,
    rule: RuleName = None,
    kind: Annotated[
        str | None, Query(pattern=r"^[a-z_]{1,32}$", description="traffic, battery, ...")
    ] = None,
    severity: Annotated[Severities | None, Query(description="Severity now")] = None,
    state: Annotated[
        AlertStates | None, Query(description="open means active or recovering")
    ] = None,
    subject: Subject = None,
    from_ns: From = None,
    to_ns: To = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """`from` and `to` cut by overlap: an alert that is still open is listed however old it is."""
    check_order(from_ns, to_ns)
    where = reads.AlertFilter(
        zone=zone, run_id=run, origin=origin, rule=rule, kind=kind, severity=severity,
        state=state, subject=subject, from_ns=from_ns, to_ns=to_ns,
    )  # fmt: skip
    with parts.database() as connection:
        try:
            page = reads.alerts(connection, where, cursor=cursor, limit=limit)
        except ValueError as error:
            raise bad_cursor(error) from error
    items = [present.alert_view(view) for view in page.items]
    return {"items": items, "next_cursor": page.next_cursor}


@router.get("/v1/alerts/{alert_id}", summary="One alert with all its events and actions")
def one_alert(alert_id: AlertPath, parts: Parts, _caller: Viewer) -> dict[str, Any]:
    """The alert as it stands, every transition and everything people did."""
    return _view(parts, alert_id, in_full=True)


@router.post("/v1/alerts/{alert_id}/ack", summary="Acknowledge: somebody has seen it")
async def acknowledge(
    alert_id: AlertPath, parts: Parts, caller: Operator, body: Nothing | None = None
) -> dict[str, Any]:
    """Whoever's key it is stands as `acknowledged_by`."""
    del body
    return await _act(parts, alert_id, caller, "ack", {})


@router.post("/v1/alerts/{alert_id}/assign", summary="Give it to somebody")
async def assign(
    alert_id: AlertPath, parts: Parts, caller: Operator, body: Assign
) -> dict[str, Any]:
    """Append an assignment; the last one counts."""
    return await _act(parts, alert_id, caller, "assign", {"to": body.to})


@router.post("/v1/alerts/{alert_id}/snooze", summary="Be quiet about it for a while")
async def snooze(
    alert_id: AlertPath, parts: Parts, caller: Operator, body: Snooze
) -> dict[str, Any]:
    """Append a snooze; the last one counts."""
    return await _act(parts, alert_id, caller, "snooze", {"until_ns": body.until_at})


@router.post("/v1/alerts/{alert_id}/note", summary="Write down what was found")
async def note(alert_id: AlertPath, parts: Parts, caller: Operator, body: Note) -> dict[str, Any]:
    """Append a note."""
    return await _act(parts, alert_id, caller, "note", {"text": body.text})


@router.post("/v1/alerts/{alert_id}/clear", summary="Close it by hand")
async def clear(
    alert_id: AlertPath, parts: Parts, caller: Operator, body: Clear | None = None
) -> dict[str, Any]:
    """It stays cleared until its condition begins anew; 409 when it is not open."""
    known = await run_in_threadpool(_view, parts, alert_id)
    reason = body.note if body else ""
    try:
        told = await parts.pipeline.clear_alert(known["run_id"], alert_id, caller.name, reason)
    except PipelineFullError as error:
        raise ProblemError(503, str(error), headers={"Retry-After": "1"}) from error
    if told is None:
        raise ProblemError(409, f"alert {alert_id} is not open, expected an open one")
    return await _publish(parts, alert_id)


async def _act(
    parts: CloudParts,
    alert_id: str,
    caller: Caller,
    action: reads.ActionKind,
    detail: dict[str, Any],
) -> dict[str, Any]:
    def write() -> reads.AlertAction | None:
        with parts.database() as connection:
            return reads.add_action(connection, alert_id, caller.name, action, detail)

    if await run_in_threadpool(write) is None:
        raise not_found("alert", alert_id)
    return await _publish(parts, alert_id)


async def _publish(parts: CloudParts, alert_id: str) -> dict[str, Any]:
    shown = await run_in_threadpool(_view, parts, alert_id)
    parts.hub.publish(Event("alert", shown, shown["zone"], shown["run_id"]))
    if parts.notifier is not None:
        parts.notifier.take(shown)
    return shown


def _view(parts: CloudParts, alert_id: str, in_full: bool = False) -> dict[str, Any]:
    with parts.database() as connection:
        view = reads.alert(connection, alert_id)
    if view is None:
        raise not_found("alert", alert_id)
    return present.alert_view(view, in_full=in_full)
