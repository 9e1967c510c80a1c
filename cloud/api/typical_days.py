"""/v1/traffic/.../typical and /v1/traffic/unusual: a segment's typical day, and now against it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query

from cloud.api import present
from cloud.api.params import Run, SubjectPath, To, Zone, only_known_parameters
from cloud.api.parts import CloudParts, Parts, Viewer, selected_runs
from cloud.api.problems import ProblemError
from cloud.latest import RunLatest
from cloud.store import reads
from cloud.typical_days import DAYS_A_WEEK, Slot, days_by_time, typical_of, zone_info
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.traffic.typical import QUARTER_S, Typical, judge

router = APIRouter(tags=["traffic"], dependencies=[Depends(only_known_parameters)])

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Weeks = Annotated[int, Query(ge=1, le=26, description="How many weeks back days are counted")]
WEEKS = 8
DAY_NS = 86_400 * NS_PER_S
RECENT_S = 600
MIN_PASSES = 1.0
"""What less than one vehicle's pass of a segment tells is not held against anything."""


@router.get(
    "/v1/traffic/segments/{segment_id:path}/typical", summary="A segment's typical day by weekday"
)
def typical_day(
    segment_id: SubjectPath,
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: Run = None,
    weekday: Annotated[Weekday | None, Query(description="Only this day")] = None,
    weeks: Weeks = WEEKS,
    to_ns: To = None,
) -> dict[str, Any]:
    """Quarters of an hour in the zone's time zone, of the days before `to` (the run's zone time).

    Speeds are medians of days, `speed_low_mps` to `speed_high_mps` holds eight of ten of them;
    `basis` says which days: `weekday` where at least three were seen, else `working_days` or
    `weekends`. Quarters with fewer than three days are left out. `seen_flow_vph` is of reporting
    vehicles. Days are of all runs of the zone with the origin of the run that is asked about.
    """
    chosen = _one_run(parts, zone, run)
    time_zone = zone_info(chosen.announced.get("time_zone", "UTC"))
    ends_ns = _now_ns(chosen) if to_ns is None else to_ns
    begins_ns = max(0, ends_ns - weeks * DAYS_A_WEEK * DAY_NS)
    with parts.database() as connection:
        quarters = reads.quarters_of_segment(
            connection, segment_id, zone=chosen.zone, origin=chosen.origin,
            from_ns=begins_ns, to_ns=ends_ns,
        )  # fmt: skip
    days = days_by_time(quarters, time_zone)
    length_m = _length_m(parts, chosen, segment_id)
    items = []
    for number, name in enumerate(WEEKDAYS, start=1):
        if weekday not in (None, name):
            continue
        for minute, of_days in sorted(days.items()):
            told = typical_of(of_days, number)
            if told is not None:
                usual, driven_m = told
                flow_vph = float(np.median(driven_m)) / length_m * 3600 / QUARTER_S
                items.append(_item(Slot(number, minute), usual) | {"seen_flow_vph": flow_vph})
    about: dict[str, Any] = present.run_facts(chosen)
    about |= {"segment_id": segment_id, "time_zone": time_zone.key}
    about |= {"from_ns": begins_ns, "to_ns": ends_ns, "step_s": QUARTER_S, "weeks": weeks}
    shown: dict[str, Any] = present.public(about | {"items": _rounded(items)})
    return shown | {"next_cursor": None}


@router.get("/v1/traffic/unusual", summary="Segments now against their typical day")
def unusual(
    parts: Parts,
    _caller: Viewer,
    zone: Zone = None,
    run: Run = None,
    weeks: Weeks = WEEKS,
    unusual_only: Annotated[bool, Query(description="Leave out what is as on other days")] = False,
) -> dict[str, Any]:
    """The last ten minutes' speed of every segment beside that quarter of an hour on days before.

    `speed_ratio` is of the typical speed, `score` in standard deviations, below 0 slower; unusual
    is what is over 3 of those and over a quarter slower or faster. Segments without three days to
    compare with, or that not one vehicle passed, are left out. Medians of at most `weeks` weeks.
    """
    items: list[dict[str, Any]] = []
    for chosen in selected_runs(parts, zone, run):
        items += _against_typical(parts, chosen, weeks)
    items = [item for item in items if item["is_unusual"] or not unusual_only]
    return {"items": [present.public(item) for item in items], "next_cursor": None}


def _against_typical(parts: CloudParts, run: RunLatest, weeks: int) -> list[dict[str, Any]]:
    recent = parts.traffic.recent(run.zone, run.run_id)
    if recent is None:
        return []
    road_map, now, at_ns = recent
    time_zone = zone_info(run.announced.get("time_zone", "UTC"))
    middle_ns = at_ns - RECENT_S // 2 * NS_PER_S
    with parts.database() as connection:
        slot, usual = parts.typical.at(
            connection, middle_ns, zone=run.zone, origin=run.origin, time_zone=time_zone,
            weeks=weeks,
        )  # fmt: skip
    about = present.run_facts(run) | {"sampled_at_ns": at_ns, "time_zone": time_zone.key}
    items = []
    for segment in np.flatnonzero(now.passes >= MIN_PASSES).tolist():
        segment_id = road_map.segment_ids[segment]
        if segment_id not in usual:
            continue
        speed_mps, error_mps = float(now.speed_mps[segment]), float(now.speed_sd_mps[segment])
        found = judge(usual[segment_id], speed_mps, error_mps)
        item = {
            "segment_id": segment_id,
            "speed_mps": speed_mps,
            "speed_standard_error_mps": error_mps,
            "speed_ratio": found.ratio,
            "score": found.score,
            "is_unusual": found.is_unusual,
        }
        typical = {f"typical_{name}": v for name, v in _item(slot, usual[segment_id]).items()}
        items.append(about | item | typical)
    return _rounded(items)


def _item(slot: Slot, usual: Typical) -> dict[str, Any]:
    return {
        "weekday": WEEKDAYS[slot.weekday - 1],
        "time_of_day": f"{slot.minute_of_day // 60:02}:{slot.minute_of_day % 60:02}",
        "basis": usual.basis,
        "days": usual.days,
        "speed_mps": usual.speed_mps,
        "speed_low_mps": usual.low_mps,
        "speed_high_mps": usual.high_mps,
    }


def _rounded(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: round(v, 2) if isinstance(v, float) else v for name, v in item.items()}
        for item in items
    ]


def _one_run(parts: CloudParts, zone: str | None, run: str | None) -> RunLatest:
    runs = selected_runs(parts, zone, run)
    if len(runs) != 1:
        names = ", ".join(sorted({r.zone for r in runs})) or "none"
        raise ProblemError(422, f"a typical day is of one zone, expected zone= one of: {names}")
    return runs[0]


def _now_ns(run: RunLatest) -> int:
    """The run's zone time; for one that has none yet, whatever is stored counts."""
    never = ABSENT_I64
    return run.zone_time_ns if run.zone_time_ns != never else 2**62


def _length_m(parts: CloudParts, run: RunLatest, segment_id: str) -> float:
    """NaN for a segment that the zone's map does not have."""
    zone_map = parts.maps.of_zone(run.zone, version=run.announced.get("map_version"))
    line = zone_map.segments.get(segment_id) if zone_map else None
    return float(line["properties"].get("length_m", np.nan)) if line else float("nan")
