"""/v1/past: a zone as it was, for the page's time slider; /v1/traffic/windows for its diagrams."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from cloud.api import present
from cloud.api.params import TimeNs, only_known_parameters
from cloud.api.parts import Parts, Viewer
from cloud.api.problems import ProblemError
from cloud.latest import rank_of_window
from cloud.past_frame import encode_past
from cloud.store import reads
from openvrc.contracts.messages.record import ID_PATTERN, TOPIC_ID_PATTERN
from openvrc.contracts.units import NS_PER_S

router = APIRouter(tags=["past"], dependencies=[Depends(only_known_parameters)])

LONGEST_SPAN_S = 600
"""Of positions in one answer: a page asks for less than a minute at a time."""
LONGEST_WINDOWS_S = 6 * 3600
MOST_SAMPLES = 200_000
"""Four megabytes on the wire, two seconds of the database."""
MOST_ROWS = 50_000
SEGMENTS_WITHIN_S, SIGNALS_WITHIN_S, RSUS_WITHIN_S = 150.0, 15.0, 120.0
CHARGERS_WITHIN_S, EVENTS_WITHIN_S = 600.0, 900.0
"""How far back the newest state may lie: longer than each sender's own rhythm."""

OneZone = Annotated[str, Query(alias="zone", pattern=TOPIC_ID_PATTERN, description="Zone")]
OneRun = Annotated[str, Query(alias="run", pattern=TOPIC_ID_PATTERN, description="Run")]
Begin = Annotated[TimeNs, Query(alias="from", description="Not before this time (ISO 8601)")]
End = Annotated[TimeNs, Query(alias="to", description="Before this time (ISO 8601)")]
At = Annotated[TimeNs, Query(alias="at", description="The moment (ISO 8601)")]
Degrees = Annotated[float, Query(ge=-180, le=180)]
OCTETS = "application/octet-stream"


@router.get(
    "/v1/past/positions",
    summary="Where vehicles were in a short span",
    response_class=Response,
    responses={200: {"content": {OCTETS: {}}}},
)
def positions(
    parts: Parts,
    _caller: Viewer,
    zone: OneZone,
    run: OneRun,
    from_ns: Begin,
    to_ns: End,
    step_s: Annotated[float, Query(ge=0.1, le=60, description="One sample a vehicle and step")] = 1,
    west: Degrees = -180,
    south: Annotated[float, Query(ge=-90, le=90)] = -90,
    east: Degrees = 180,
    north: Annotated[float, Query(ge=-90, le=90)] = 90,
) -> Response:
    """Binary, see `cloud/past_frame.py`; 413 when it would be too many samples."""
    _check_span(from_ns, to_ns, LONGEST_SPAN_S)
    with parts.database() as connection:
        rows = reads.past_positions(
            connection, zone=zone, run_id=run, from_ns=from_ns, to_ns=to_ns, step_s=step_s,
            limit=MOST_SAMPLES + 1, bounds=(west, south, east, north),
        )  # fmt: skip
    if len(rows) > MOST_SAMPLES:
        raise ProblemError(413, f"over {MOST_SAMPLES} samples, expected narrower bounds or a step")
    return Response(encode_past(rows), media_type=OCTETS)


@router.get("/v1/past/state", summary="Roads, signals and what stands beside them at a moment")
def state(parts: Parts, _caller: Viewer, zone: OneZone, run: OneRun, at_ns: At) -> dict[str, Any]:
    """What was newest then, by event time, in the shape of the stream's snapshot."""
    wanted = {
        "segments": ("segment_state", SEGMENTS_WITHIN_S),
        "signals": ("signal_state", SIGNALS_WITHIN_S),
        "rsus": ("rsu_status", RSUS_WITHIN_S),
        "chargers": ("charger_state", CHARGERS_WITHIN_S),
        "road_events": ("road_event", EVENTS_WITHIN_S),
    }
    with parts.database() as connection:
        found = {
            name: reads.newest_at(
                connection, message, zone=zone, run_id=run, at_ns=at_ns, within_s=within_s,
                rank=_rank_of_window if name == "segments" else _time_of, limit=MOST_ROWS,
            )
            for name, (message, within_s) in wanted.items()
        }  # fmt: skip
    return {name: [present.public(row) for row in rows] for name, rows in found.items()}


@router.get("/v1/traffic/windows", summary="Windows of some segments side by side")
def windows(
    parts: Parts,
    _caller: Viewer,
    zone: OneZone,
    run: OneRun,
    from_ns: Begin,
    to_ns: End,
    segment: Annotated[
        list[str], Query(min_length=1, max_length=100, description="Segment id, repeatable")
    ],
    window_s: Annotated[float, Query(ge=1, le=86400, description="Windows of this length")] = 10,
) -> dict[str, Any]:
    """Newest revision of each window: a space-time diagram's cells."""
    _check_span(from_ns, to_ns, LONGEST_WINDOWS_S)
    _check_ids(segment)
    with parts.database() as connection:
        rows = reads.records_between(
            connection, "segment_state", zone=zone, run_id=run, from_ns=from_ns, to_ns=to_ns,
            limit=MOST_ROWS, subjects=segment,
        )  # fmt: skip
    best: dict[tuple[str, int], reads.Row] = {}
    for row in rows:
        key = (row["subject_id"], row["sampled_at_ns"])
        if row["window_s"] == window_s and row["revision"] >= best.get(key, row)["revision"]:
            best[key] = row
    names = ("speed_mps", "density_vpkm", "flow_vph", "vehicle_count")
    items = [
        {"segment_id": segment_id, "sampled_at": present.at(at_ns)}
        | {name: present.public(row.get(name)) for name in names}
        for (segment_id, at_ns), row in sorted(best.items(), key=lambda item: item[0])
    ]
    return {"items": items, "next_cursor": None}


@router.get("/v1/signals/history", summary="What signal groups showed in a span")
def signals(
    parts: Parts,
    _caller: Viewer,
    zone: OneZone,
    run: OneRun,
    from_ns: Begin,
    to_ns: End,
    group: Annotated[
        list[str],
        Query(min_length=1, max_length=64, description="intersection:group, repeatable"),
    ],
) -> dict[str, Any]:
    """Changes only: the first state of each group in the span, and each one that differs."""
    _check_span(from_ns, to_ns, LONGEST_WINDOWS_S)
    _check_ids(group)
    with parts.database() as connection:
        rows = reads.records_between(
            connection, "signal_state", zone=zone, run_id=run, from_ns=from_ns, to_ns=to_ns,
            limit=MOST_ROWS, subjects=group,
        )  # fmt: skip
    shown: dict[str, str] = {}
    items = []
    for row in sorted(rows, key=lambda row: row["sampled_at_ns"]):
        if shown.get(row["subject_id"]) != row["phase"]:
            shown[row["subject_id"]] = row["phase"]
            at = present.at(row["sampled_at_ns"])
            items.append({"subject_id": row["subject_id"], "phase": row["phase"], "at": at})
    return {"items": items, "next_cursor": None}


def _rank_of_window(row: reads.Row) -> tuple[Any, ...]:
    has_traffic, ends_at_ns, revision = rank_of_window(row)
    return has_traffic, ends_at_ns, row["window_s"], revision


def _time_of(row: reads.Row) -> Any:
    return row["sampled_at_ns"]


def _check_span(from_ns: int, to_ns: int, longest_s: float) -> None:
    if not 0 < to_ns - from_ns <= longest_s * NS_PER_S:
        raise ProblemError(
            422, f"query.from to query.to is no span of at most {longest_s} s, expected one"
        )


def _check_ids(ids: list[str]) -> None:
    if not all(re.match(ID_PATTERN, name) for name in ids):
        raise ProblemError(422, "an id holds what no id may hold")
