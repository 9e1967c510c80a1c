"""/v1/traffic: how the roads flow, now and before."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from cloud.api import present
from cloud.api.completed import segment_states
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
    only_known_parameters,
)
from cloud.api.parts import CloudParts, Parts, Viewer, selected_runs
from cloud.api.problems import ProblemError
from cloud.latest import RunLatest, rank_of_window
from cloud.latest_tables import Record
from openvrc.traffic.completion import WINDOWS_S

router = APIRouter(tags=["traffic"], dependencies=[Depends(only_known_parameters)])

GEOJSON = "application/geo+json"


@router.get(
    "/v1/traffic/segments",
    summary="Newest state of every segment that had traffic",
    responses={200: {"content": {GEOJSON: {}}}},
)
def segments(
    request: Request,
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: Run = None,
    window_s: Annotated[
        float | None, Query(ge=1, le=86400, description="Only windows of this length")
    ] = None,
    completed: Annotated[
        bool,
        Query(
            description="What is believed of every segment, also where nobody was seen in this "
            "window; of windows of 10 or 60 s (the default)"
        ),
    ] = False,
    format: Annotated[  # noqa: A002
        Literal["json", "geojson"] | None,
        Query(description="geojson adds the segments' lines (also by Accept)"),
    ] = None,
) -> Response:
    """One state a segment, zone and run: its newest window with traffic (of equals the longest).

    `sampled_at` is the window's end: a segment whose traffic ended keeps its last state.
    `completed=true` gives the newest closed window of every segment that was driven on in the last
    minutes instead: estimates for all vehicles, with delay, level of service, an 80 % interval of
    the speed, and `basis` observed or estimated.
    """
    runs = selected_runs(parts, zone, run)
    if completed:
        listed = [(r, _completed(parts, r, window_s)) for r in runs]
    else:
        with parts.latest.lock:
            found = [(r, newest_windows(r, window_s)) for r in runs]
        listed = [(r, [_state(r, state) for state in states]) for r, states in found]
    wants_geojson = format == "geojson" or (
        format is None and GEOJSON in request.headers.get("accept", "")
    )
    if wants_geojson:
        return JSONResponse(_geojson(parts, listed), media_type=GEOJSON)
    items = [item for _, states in listed for item in states]
    return JSONResponse({"items": items, "next_cursor": None})


@router.get("/v1/traffic/segments/{segment_id:path}/history", summary="A segment's windows")
def segment_history(
    segment_id: SubjectPath,
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
    """`segment_state` records, newest first; with `step_s` one sum a step and length of window.

    Steps are summed up from minutes, which are a minute or two behind (VRC_CLOUD_MINUTES_EVERY_S)
    and outlive the records.
    """
    return read_history(
        parts, "segment_state", segment_id, zone=zone, run=run, from_ns=from_ns, to_ns=to_ns,
        cursor=cursor, limit=limit, step_s=step_s,
    )  # fmt: skip


def newest_windows(run: RunLatest, window_s: float | None = None) -> list[Record]:
    """Of each segment the newest window with traffic, of two that end together the longest."""
    best: dict[str, Record] = {}
    for state in run.tables["segment_state"].records.values():
        if window_s is not None and state["window_s"] != window_s:
            continue
        known = best.get(state["subject_id"])
        if known is None or _rank(state) > _rank(known):
            best[state["subject_id"]] = state
    return [best[segment_id] for segment_id in sorted(best)]


def _rank(state: Record) -> tuple[bool, int, float]:
    has_traffic, ends_at_ns, _ = rank_of_window(state)
    return has_traffic, ends_at_ns, state["window_s"]


def _state(run: RunLatest, state: Record) -> dict[str, Any]:
    """The record under the name a segment goes by everywhere else, too."""
    return {"segment_id": state["subject_id"]} | present.record(run, state)


def _completed(parts: CloudParts, run: RunLatest, window_s: float | None) -> list[dict[str, Any]]:
    length_s = 60 if window_s is None else int(window_s)
    if length_s not in WINDOWS_S or length_s != (window_s or length_s):
        raise ProblemError(422, f"window_s is {window_s:g}, completed windows have 10 or 60 s")
    found = parts.traffic.states(run.zone, run.run_id, length_s)
    if found is None:
        return []
    about = {"zone": run.zone, "run_id": run.run_id, "origin": run.origin}
    return [item | about for item in segment_states(*found)]


def _geojson(
    parts: CloudParts, found: list[tuple[RunLatest, list[dict[str, Any]]]]
) -> dict[str, Any]:
    features = []
    for run, states in found:
        zone_map = parts.maps.of_zone(run.zone, version=run.announced.get("map_version"))
        lines = zone_map.segments if zone_map else {}
        features += [_feature(state, lines.get(state["segment_id"])) for state in states]
    return {"type": "FeatureCollection", "features": features}


def _feature(state: dict[str, Any], line: dict[str, Any] | None) -> dict[str, Any]:
    of_map = line["properties"] if line else {}
    about = {k: of_map[k] for k in ("name", "speed_limit_mps", "lane_count") if k in of_map}
    return {
        "type": "Feature",
        "geometry": line["geometry"] if line else None,
        "properties": state | about,
    }
