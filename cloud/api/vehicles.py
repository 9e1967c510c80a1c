"""/v1/vehicles: where they are, how they are, what they did."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from cloud.api import present
from cloud.api.history import read_history
from cloud.api.params import (
    AnyRun,
    Cursor,
    From,
    Limit,
    Run,
    StepS,
    SubjectPath,
    To,
    Zone,
    decode_cursor,
    encode_cursor,
    only_known_parameters,
)
from cloud.api.parts import CloudParts, Parts, Viewer, selected_runs
from cloud.api.problems import not_found
from cloud.latest import RunLatest
from cloud.store import reads

router = APIRouter(tags=["vehicles"], dependencies=[Depends(only_known_parameters)])

Contains = Annotated[
    str | None, Query(pattern=r"^[^\x00]{1,100}$", description="Part of the id, any case")
]
Key = tuple[str, str, str]
"""(zone, run_id, vehicle_id): the order of the list."""


@router.get("/v1/vehicles", summary="Newest known state of every vehicle")
def list_vehicles(
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: Run = None,
    contains: Contains = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """`is_present` tells whether it still reports, by its own rhythm and its zone's clock."""
    after = tuple(decode_cursor(cursor, 3)) if cursor else ("", "", "")
    wanted = (contains or "").lower()
    runs = selected_runs(parts, zone, run)
    with parts.latest.lock:
        known = [(r, r.vehicles.vehicle_ids()) for r in runs]
    keys = _page(known, after, wanted, limit + 1)  # not under the lock: 100,000 take 30 ms
    page = keys[:limit]
    with parts.latest.lock:
        items = [item for r in runs for item in _vehicles(r, page)]
    order = {key: place for place, key in enumerate(page)}
    items.sort(key=lambda item: order[item["zone"], item["run_id"], item["vehicle_id"]])
    has_more = len(keys) > limit
    return {"items": items, "next_cursor": encode_cursor(list(page[-1])) if has_more else None}


@router.get("/v1/vehicles/{vehicle_id:path}/history", summary="What a vehicle reported")
def vehicle_history(
    vehicle_id: SubjectPath,
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: AnyRun = None,
    from_ns: From = None,
    to_ns: To = None,
    cursor: Cursor = None,
    limit: Limit = 1000,
    step_s: StepS = None,
) -> dict[str, Any]:
    """`vehicle_state` records, newest first; with `step_s` speeds and newest place of each step.

    Steps are summed up from minutes, which are a minute or two behind (VRC_CLOUD_MINUTES_EVERY_S)
    and outlive the records.
    """
    return read_history(
        parts, "vehicle_state", vehicle_id, zone=zone, run=run, from_ns=from_ns, to_ns=to_ns,
        cursor=cursor, limit=limit, step_s=step_s,
    )  # fmt: skip


@router.get("/v1/vehicles/{vehicle_id:path}/battery", summary="A vehicle's battery")
def vehicle_battery(
    vehicle_id: SubjectPath,
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: AnyRun = None,
    from_ns: From = None,
    to_ns: To = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """`battery_state` records, newest first, with the vehicle's profile and its battery alerts."""
    frames = read_history(
        parts, "battery_state", vehicle_id, zone=zone, run=run, from_ns=from_ns, to_ns=to_ns,
        cursor=cursor, limit=limit,
    )  # fmt: skip
    where = reads.AlertFilter(zone=zone, run_id=run, kind="battery", subject=vehicle_id)
    with parts.database() as connection:
        alerts = reads.alerts(connection, where, limit=100).items
        profile = reads.history(
            connection, "vehicle_profile", vehicle_id, zone=zone, run_id=run, limit=1
        ).items
    return frames | {
        "vehicle_id": vehicle_id,
        "profile": present.public(profile[0]) if profile else None,
        "alerts": [present.alert_view(view) for view in alerts],
    }


@router.get("/v1/vehicles/{vehicle_id:path}", summary="One vehicle as it is now")
def one_vehicle(
    vehicle_id: SubjectPath, parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None
) -> dict[str, Any]:
    """Its newest state, profile and open alerts; without a run the newest that knows it."""
    with parts.latest.lock:
        shown = _find(parts, vehicle_id, zone, run)
    if shown is None:
        raise not_found("vehicle", vehicle_id)
    where = reads.AlertFilter(
        zone=shown["zone"], run_id=shown["run_id"], subject=vehicle_id, state="open"
    )
    with parts.database() as connection:
        alerts = reads.alerts(connection, where, limit=100).items
    return shown | {"alerts": [present.alert_view(view) for view in alerts]}


def _find(
    parts: CloudParts, vehicle_id: str, zone: str | None, run_id: str | None
) -> dict[str, Any] | None:
    chosen = parts.latest.select(zone, run_id)
    # Without a run, one that its zone's newest run does not have is looked for in older ones.
    others = [] if run_id else sorted(parts.latest.runs.values(), key=lambda r: -r.appeared)
    for candidate in [*chosen, *others]:
        is_in_zone = zone is None or candidate.zone == zone
        if is_in_zone and candidate.vehicles.slot(vehicle_id) is not None:
            profile = candidate.tables["vehicle_profile"].records.get(vehicle_id)
            return _vehicle(candidate, vehicle_id, set(_present(candidate))) | {
                "profile": present.public(profile)
            }
    return None


def _page(
    known: list[tuple[RunLatest, list[str]]], after: tuple[Any, ...], wanted: str, limit: int
) -> list[Key]:
    """The first keys behind a cursor's, in order."""
    keys = (
        (run.zone, run.run_id, vehicle_id)
        for run, vehicle_ids in known
        for vehicle_id in vehicle_ids
        if not wanted or wanted in vehicle_id.lower()
    )
    return heapq.nsmallest(limit, (key for key in keys if key > after))


def _vehicles(run: RunLatest, page: Sequence[Key]) -> list[dict[str, Any]]:
    """Those of a page that are of this run and still known."""
    here = (run.zone, run.run_id)
    slots = [run.vehicles.slot(vehicle_id) for *where, vehicle_id in page if tuple(where) == here]
    found = [slot for slot in slots if slot is not None]
    return present.vehicles(run, found, set(_present(run))) if found else []


def _present(run: RunLatest) -> list[int]:
    slots: list[int] = run.vehicles.present(run.zone_time_ns).tolist()
    return slots


def _vehicle(run: RunLatest, vehicle_id: str, present_slots: set[int]) -> dict[str, Any]:
    slot = run.vehicles.slot(vehicle_id)
    assert slot is not None
    return present.vehicle(run, slot, is_present=slot in present_slots)
