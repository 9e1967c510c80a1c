"""Bad input to the traffic rules: counted or explained, and never an alarm about traffic.

Each case goes through the edge (admission, matching) and then through every rule that reads
vehicle_state, as in a zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Context, Detector, Finding
from openvrc.contracts.plugins import discover
from tests.support.edge_world import (
    FRAME,
    RUN,
    T0,
    ZONE,
    S,
    driven_core,
    of,
    reasons,
    road_map,
    tick,
)

RULES: tuple[Detector, ...] = tuple(
    detector
    for name, detector in discover("openvrc.detectors").items()
    if name.startswith(("traffic.", "security.")) and "vehicle_state" in detector.inputs
)


STEP_S = 5


@dataclass(frozen=True)
class Report:
    """What somebody says at a moment, in m east and north of the road's begin."""

    vehicle: str
    at_s: float
    x_m: float
    y_m: float = 0.0
    speed_mps: float = 10.0
    heading_deg: float = 90.0
    source: str = ""
    said_s: float | None = None
    """The time it states, where that is not the time it comes."""


@dataclass
class Said:
    """What came out."""

    findings: list[Finding] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)

    def rules(self) -> set[str]:
        """Rules that raised."""
        return {f.rule for f in self.findings if f.phase == "raise"}


def batch_of(reports: list[Report]) -> Batch:
    lat_deg, lon_deg = FRAME.to_lat_lon_deg(
        np.array([r.x_m for r in reports]), np.array([r.y_m for r in reports])
    )
    said_s = [r.at_s if r.said_s is None else r.said_s for r in reports]
    return from_columns(
        "vehicle_state",
        zone=ZONE,
        run_id=RUN,
        origin="simulated",
        n_rows=len(reports),
        columns={
            "source_id": [r.source or r.vehicle for r in reports],
            "subject_id": [r.vehicle for r in reports],
            "id_kind": "permanent",
            "sampled_at_ns": np.array([T0 + round(s * S) for s in said_s], np.int64),
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "speed_mps": [r.speed_mps for r in reports],
            "heading_deg": [r.heading_deg for r in reports],
            "vehicle_class": "car",
        },
    )


def said(reports: Iterable[Report]) -> Said:
    """The edge and the rules, a batch and a tick each STEP_S."""
    core, result = driven_core(), Said()
    context = Context(ZONE, RUN, "simulated", road_map())
    states = [rule.initial(context) for rule in RULES]
    by_second: dict[int, list[Report]] = {}
    for report in reports:
        by_second.setdefault(int(-(-report.at_s // STEP_S)) * STEP_S, []).append(report)
    for second in range(0, max(by_second) + 2 * STEP_S, STEP_S):
        if second in by_second:
            core.on_batch(batch_of(by_second[second]), T0 + second * S)
        core.on_batch(tick(float(second)), T0 + second * S)
        group = core.take_group()
        result.reasons += reasons(group)
        result.rows += of(group, "vehicle_state")
        admitted = [b for b in group.batches if b.message == "vehicle_state"]
        for place, rule in enumerate(RULES):
            for batch in admitted:
                states[place], found = rule.update(states[place], batch)
                result.findings += found
            states[place], found = rule.advance(states[place], T0 + (second - 2) * S)
            result.findings += found
    return result


def drives(vehicle: str, seconds: range, from_m: float = 0.0, **more: Any) -> list[Report]:
    return [Report(vehicle, float(s), from_m + 10.0 * (s - seconds[0]), **more) for s in seconds]


def test_a_vehicle_that_teleports_is_refused_with_a_reason() -> None:
    jump = [Report("jumper", float(s), 100.0 + (9_000.0 if s % 2 else 0.0)) for s in range(20, 30)]
    result = said(drives("jumper", range(20)) + jump + drives("other", range(40)))
    assert set(result.reasons) == {"implausible_jump"}
    assert not any(rule.startswith("traffic.") for rule in result.rules())


def test_a_vehicle_on_a_parking_lot_beside_the_road_is_no_obstruction() -> None:
    parked = [Report("parked", float(s), 250.0, -30.0, speed_mps=0.0) for s in range(90)]
    result = said(parked + [r for n in range(0, 60, 12) for r in drives(f"v{n}", range(n, n + 40))])
    assert result.rules() == set()
    assert result.reasons == []


def test_a_vehicle_first_heard_standing_on_a_lane_may_be_parked() -> None:
    parked = [Report("parked", float(s), 250.0, speed_mps=0.0) for s in range(90)]
    assert said(parked).rules() == set()


def test_a_vehicle_silent_in_a_tunnel_has_not_jumped() -> None:
    result = said(drives("miner", range(20)) + drives("miner", range(80, 95), from_m=800.0))
    assert result.rules() == set()
    assert result.reasons == []


def test_an_id_that_two_vehicles_share_is_counted_or_called_misbehaviour() -> None:
    twins = [
        Report("twin", s + half / 2.0, 10.0 * s + 400.0 * half, source=f"obu-{half}")
        for s in range(1, 40)
        for half in range(2)
    ]
    result = said(twins)
    assert result.reasons.count("implausible_jump") >= 20
    assert not any(rule.startswith("traffic.") for rule in result.rules())


def test_a_vehicle_that_drives_off_the_map_is_kept_without_a_segment() -> None:
    result = said(drives("leaver", range(60), from_m=700.0))
    assert result.rules() == set()
    assert [r.get("segment_id") for r in result.rows[-5:]] == [None] * 5


@pytest.mark.parametrize("beside_m", [3.2, 6.4], ids=["one lane missing", "two lanes missing"])
def test_lanes_that_the_map_does_not_have_make_no_alarm(beside_m: float) -> None:
    rows = [r for n in range(0, 30, 6) for r in drives(f"v{n}", range(n, n + 60), y_m=beside_m)]
    assert said(rows).rules() == set()


@pytest.mark.parametrize(
    ("offset_s", "is_refused"), [(-3600.0, False), (-30.0, False), (3600.0, True)]
)
def test_a_roadside_unit_with_a_wrong_clock_is_late_or_refused(
    offset_s: float, is_refused: bool
) -> None:
    rows = [
        Report(f"v{n}", float(s), 10.0 * (s - n), source="rsu-1", said_s=s + offset_s)
        for s in range(1, 60)
        for n in range(0, 50, 10)
        if s >= n
    ]
    result = said(rows)
    assert result.rules() == set()
    assert set(result.reasons) == ({"too_far_future"} if is_refused else set())
    assert len(result.reasons) + len(result.rows) == len(rows)
    assert all(r["lateness"] for r in result.rows[10:])


def mirrored_east(report: Report) -> Report:
    return Report(report.vehicle, report.at_s, 500.0 - report.x_m, source="rsu-1")


def mirrored_north(report: Report) -> Report:
    return Report(report.vehicle, report.at_s, report.x_m, 60.0, source="rsu-1")


def mirrored_with_courses(report: Report) -> Report:
    x_m = 500.0 - report.x_m
    return Report(report.vehicle, report.at_s, x_m, heading_deg=270.0, source="rsu-1")


@pytest.mark.parametrize("mirrored", [mirrored_east, mirrored_north, mirrored_with_courses])
def test_a_roadside_unit_with_mirrored_coordinates_is_misbehaviour_at_most(
    mirrored: Callable[[Report], Report],
) -> None:
    rows = [mirrored(r) for n in range(0, 30, 6) for r in drives(f"v{n}", range(n, n + 60))]
    assert said(rows).rules() <= {"security.misbehaviour"}
