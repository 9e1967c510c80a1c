"""/v1/zones, /v1/rsus, /v1/signals, ...: what stands in a zone and what runs there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import FileResponse, JSONResponse, Response

from cloud.api import present
from cloud.api.params import Run, Zone, ZonePath, only_known_parameters
from cloud.api.parts import CloudParts, Parts, Viewer, selected_runs
from cloud.api.problems import not_found
from cloud.api.traffic import GEOJSON
from cloud.store import reads

BACKGROUND_FILE = "background.pmtiles"
PMTILES = "application/vnd.pmtiles"

router = APIRouter(tags=["zones"], dependencies=[Depends(only_known_parameters)])


@router.get("/v1/zones", summary="Zones and their runs")
def zones(parts: Parts, _caller: Viewer) -> dict[str, Any]:
    """`default_run_id` is the run that other endpoints mean when only the zone is given.

    `background` is a map to lie under the roads: its path, and the datum its tiles are in.
    """
    with parts.database() as connection:
        stored = {row.zone: row for row in reads.zones(connection, with_map=False)}
        runs = reads.runs(connection)
    names = sorted(stored.keys() | set(parts.latest.zones()) | {run.zone for run in runs})
    items = [_zone(parts, name, stored.get(name), runs) for name in names]
    return {"items": items, "next_cursor": None}


@router.get(
    "/v1/zones/{zone}/map",
    summary="A zone's road map",
    responses={200: {"content": {GEOJSON: {}}}, 304: {"description": "Not modified"}},
)
def zone_map(zone: ZonePath, request: Request, parts: Parts, _caller: Viewer) -> Response:
    """Canonical GeoJSON, WGS-84: segments with lanes as lines, signal heads as points."""
    with parts.latest.lock:
        run = parts.latest.newest_run(zone)
    version = run.announced.get("map_version") if run else None
    found = parts.maps.of_zone(zone, version=version)
    if found is None:
        raise not_found("map of zone", zone)
    etag = f'"{found.map_version}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return JSONResponse(found.geojson, media_type=GEOJSON, headers=headers)


@router.get(
    "/v1/zones/{zone}/background",
    summary="A zone's background map",
    response_class=FileResponse,
    responses={
        200: {"content": {PMTILES: {}}},
        206: {"description": "The bytes of a Range", "content": {PMTILES: {}}},
        416: {"description": "A Range that the file does not have"},
    },
)
def background(zone: ZonePath, parts: Parts, _caller: Viewer) -> FileResponse:
    """`background.pmtiles` of the zone's folder, by Range; its datum is that of `/v1/zones`."""
    path = _background_of(parts, zone)
    if path is None:
        raise not_found("background map of zone", zone)
    return FileResponse(path, media_type=PMTILES, headers={"Cache-Control": "no-cache"})


def _background_of(parts: CloudParts, zone: str) -> Path | None:
    folder = (parts.settings.zones_dir / zone).resolve()
    path = folder / BACKGROUND_FILE
    is_below = folder.parent == parts.settings.zones_dir.resolve()  # a zone named ".." is not
    return path if is_below and path.is_file() else None


def _background(parts: CloudParts, zone: str) -> dict[str, str] | None:
    """Where the background map is and in which datum: that of the map the zone was made of."""
    if _background_of(parts, zone) is None:
        return None
    limits = parts.zone_limits(zone)
    datum = limits.datum if limits is not None else "wgs84"
    return {"path": f"/v1/zones/{quote(zone, safe='')}/background", "datum": datum}


@router.get("/v1/rsus", summary="Roadside units")
def rsus(parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None) -> dict[str, Any]:
    """Where they stand and their last heartbeat."""
    return _latest_records(parts, "rsu_status", zone, run)


@router.get("/v1/signals", summary="Signal groups")
def signals(parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None) -> dict[str, Any]:
    """What each signal group shows and until when."""
    return _latest_records(parts, "signal_state", zone, run)


@router.get("/v1/chargers", summary="Charging connectors")
def chargers(parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None) -> dict[str, Any]:
    """Connectors of charging and swap stations."""
    return _latest_records(parts, "charger_state", zone, run)


@router.get("/v1/road-events", summary="Events on the road")
def road_events(
    parts: Parts, _caller: Viewer, zone: Zone = None, run: Run = None
) -> dict[str, Any]:
    """What roadside units and edges announce: roadworks, obstacles, closed lanes, warnings."""
    return _latest_records(parts, "road_event", zone, run)


def _latest_records(
    parts: CloudParts, message: str, zone: str | None, run_id: str | None
) -> dict[str, Any]:
    runs = selected_runs(parts, zone, run_id)
    with parts.latest.lock:
        items = [
            present.record(run, fields)
            for run in runs
            for _, fields in sorted(run.tables[message].records.items(), key=lambda kv: str(kv[0]))
        ]
    return {"items": items, "next_cursor": None}


def _zone(
    parts: CloudParts, name: str, stored: reads.ZoneRow | None, runs: list[reads.RunRow]
) -> dict[str, Any]:
    with parts.latest.lock:
        default = parts.latest.newest_run(name)
        live = {r.run_id: r for r in parts.latest.runs.values() if r.zone == name}
        zone_time_at = present.at(default.zone_time_ns) if default else None
    mine = [run for run in runs if run.zone == name]
    return {
        "zone": name,
        "time_zone": stored.time_zone if stored else "UTC",
        "clock": stored.clock if stored else "wall",
        "map_version": stored.map_version if stored else None,
        "background": _background(parts, name),
        "zone_time_at": zone_time_at,
        "default_run_id": default.run_id if default else (mine[0].run_id if mine else None),
        "runs": [
            {
                "run_id": run.run_id,
                "origin": run.origin,
                "title": run.title,
                "state": run.state,
                "first_at": present.at(run.first_at_ns),
                "last_at": present.at(run.last_at_ns),
                "is_in_memory": run.run_id in live,
            }
            for run in mine
        ],
    }
