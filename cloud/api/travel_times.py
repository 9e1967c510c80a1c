"""/v1/traffic/travel-time: how long it takes now from one point to another."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from cloud.api import present
from cloud.api.params import Run, Zone, only_known_parameters
from cloud.api.parts import Parts, Viewer, selected_runs
from cloud.api.problems import ProblemError
from openvrc.traffic.routes import MAX_PLACE_DISTANCE_M, Place, RoadGraph
from openvrc.traffic.travel_time import travel_time

router = APIRouter(tags=["traffic"], dependencies=[Depends(only_known_parameters)])

Latitude = Annotated[float, Query(ge=-90, le=90, description="WGS-84, deg")]
Longitude = Annotated[float, Query(ge=-180, le=180, description="WGS-84, deg")]


@router.get("/v1/traffic/travel-time", summary="Travel time between two points, now")
def between(
    from_lat_deg: Latitude,
    from_lon_deg: Longitude,
    to_lat_deg: Latitude,
    to_lon_deg: Longitude,
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: Run = None,
) -> dict[str, Any]:
    """The fastest way by what segments took in the last minutes, for who leaves now.

    `travel_time_low_s` to `travel_time_high_s` holds four of five drivers. 422 for a point that no
    road is near and for several zones without `zone`, 404 where no way leads from one point to the
    other, 409 while the zone has no map or no traffic was seen in it.
    """
    runs = selected_runs(parts, zone, run)
    if len(runs) != 1:
        names = ", ".join(sorted({r.zone for r in runs})) or "none"
        raise ProblemError(422, f"a travel time is of one zone, expected zone= one of: {names}")
    found = parts.traffic.steady(runs[0].zone, runs[0].run_id)
    if found is None:
        raise ProblemError(409, f"zone {runs[0].zone} has no map or no traffic was seen in it yet")
    graph, pass_s, at_ns = found
    starts = _places(graph, "from", from_lat_deg, from_lon_deg)
    way = graph.fastest(pass_s, starts, _places(graph, "to", to_lat_deg, to_lon_deg))
    if way is None:
        raise ProblemError(404, "no way leads from the one point to the other on this map")
    takes = travel_time(graph.road_map, pass_s, way)
    answer = {
        "zone": runs[0].zone,
        "run_id": runs[0].run_id,
        "origin": runs[0].origin,
        "sampled_at_ns": at_ns,
        "map_version": graph.road_map.map_version,
        "length_m": round(takes.length_m, 1),
        "free_travel_time_s": round(takes.free_s, 1),
        "travel_time_s": round(takes.expected_s, 1),
        "travel_time_low_s": round(takes.low_s, 1),
        "travel_time_high_s": round(takes.high_s, 1),
        "delay_s": round(max(takes.expected_s - takes.free_s, 0.0), 1),
        "segment_ids": [graph.road_map.segment_ids[segment] for segment in way.segments],
    }
    shown: dict[str, Any] = present.public(answer)
    return shown


def _places(graph: RoadGraph, which: str, lat_deg: float, lon_deg: float) -> list[Place]:
    places = graph.places(lat_deg, lon_deg)
    if not places:
        raise ProblemError(
            422,
            f"the {which} point {lat_deg}, {lon_deg} is off the map, "
            f"expected one within {MAX_PLACE_DISTANCE_M:.0f} m of a road",
        )
    return places
