"""A vehicle that brakes for nobody, and what only looks like one."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.detection import Finding
from openvrc.detectors.traffic import phantom_stop
from tests.support.fcd_marks import cut, read_map, vehicle_batches
from tests.support.incidents import timed_batches
from tests.support.straight_road import (
    START_NS,
    Row,
    as_set,
    context,
    in_time,
    passing,
    row,
    run,
    run_scrambled,
)
from tests.support.traffic_events import detect, second_of

BRAKES_MPS = [12.0, 12.0, 12.0, 8.0, 4.0, 1.0, 0.0, 0.0]


def driving(vehicle: str, start_s: float, from_m: float, speeds_mps: list[float], **more: object
            ) -> list[Row]:  # fmt: skip
    """A sample a second at these speeds."""
    places_m = from_m + np.concatenate(([0.0], np.cumsum(speeds_mps[1:])))
    return [
        row(vehicle, start_s + s, float(m), v, **more)
        for s, (m, v) in enumerate(zip(places_m, speeds_mps, strict=True))
    ]


def queues(n: int = 15) -> list[Row]:
    """Three at a time come up behind one that stands on "after": nearly all are seen."""
    rows = [row("stands", float(s), 80.0, 0.0, segment_id="after") for s in range(3 * n + 3)]
    for i in range(n):
        rows += driving(f"lead{i}", 3.0 * i, 60.0, [12.0, 6.0, 1.0], segment_id="after")
        rows += driving(f"next{i}", 3.0 * i, 45.0, [12.0, 12.0, 1.0], segment_id="after")
        rows += driving(f"last{i}", 3.0 * i, 30.0, [12.0, 12.0, 1.0], segment_id="after")
    return rows


def raised(findings: list[Finding]) -> list[str]:
    return [f.subject_id for f in findings if f.phase == "raise"]


def test_a_vehicle_that_brakes_to_a_stop_on_a_free_road_is_found_within_a_second() -> None:
    rows = in_time(queues() + driving("ghost", 60.0, 200.0, BRAKES_MPS))
    findings = run(phantom_stop.PLUGIN, context(), rows)
    assert [(f.subject_id, f.phase) for f in findings] == [("ghost", "raise"), ("ghost", "clear")]
    found = findings[0]
    assert found.at_ns - START_NS == 64 * 10**9  # the sample at 4 m/s
    assert found.evidence["speed_before_mps"] == 12.0
    assert found.evidence["decel_mps2"] == 4.0
    assert found.evidence["seen_ratio"] >= 0.95
    assert findings[1].at_ns - found.started_at_ns == 60 * 10**9


def test_it_is_over_when_the_vehicle_drives_on() -> None:
    goes_on = [*BRAKES_MPS[:5], 6.0, 9.0, 12.0]
    rows = in_time(queues() + driving("ghost", 60.0, 200.0, goes_on))
    findings = run(phantom_stop.PLUGIN, context(), rows)
    assert [f.phase for f in findings] == ["raise", "clear"]
    assert findings[1].at_ns - START_NS == 66 * 10**9


@pytest.mark.parametrize(
    "reason",
    [
        [row("slow", 60.0 + s, 300.0 + s, 1.0) for s in range(8)],  # ahead
        [row("slow", 60.0 + s, 300.0 + s, 1.0, lane_index=1) for s in range(8)],  # on any lane
        [row("cuts in", 60.0 + s, 210.0 + 13.0 * s, 13.0) for s in range(8)],  # close
        [row("earlier", 20.0, 280.0, 1.0)],  # there are reasons at that place
    ],
)
def test_a_braking_with_a_reason_ahead_is_none(reason: list[Row]) -> None:
    rows = in_time(queues() + driving("braker", 60.0, 200.0, BRAKES_MPS) + reason)
    assert "braker" not in raised(run(phantom_stop.PLUGIN, context(), rows))


@pytest.mark.parametrize(
    ("from_m", "speeds_mps", "more", "signal"),
    [
        (200.0, BRAKES_MPS, {"vehicle_class": "bus"}, False),
        (200.0, BRAKES_MPS, {"left_blinker_on": True}, False),
        (200.0, [12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0], {}, False),  # gently
        (200.0, [6.0, 4.0, 1.0, 0.0], {}, False),  # was not fast
        (510.0, BRAKES_MPS, {}, False),  # a junction is near
        (420.0, BRAKES_MPS, {}, True),  # a stop line is near
        (200.0, [12.0, 12.0, float("nan"), float("nan"), 4.0, 0.0], {"segment_id": ""}, False),
    ],
)
def test_a_braking_with_a_reason_of_its_own_is_none(
    from_m: float, speeds_mps: list[float], more: dict[str, object], signal: bool
) -> None:
    rows = in_time(queues() + driving("braker", 60.0, from_m, speeds_mps, **more))
    assert raised(run(phantom_stop.PLUGIN, context(signal=signal), rows)) == []


def test_where_few_are_seen_or_nothing_is_known_yet_nobody_is_told_of() -> None:
    ghost = driving("ghost", 60.0, 200.0, BRAKES_MPS)
    assert raised(run(phantom_stop.PLUGIN, context(), in_time(queues(3) + ghost))) == []
    third = [r for r in queues() if str(r["subject_id"]).startswith("last")]
    assert raised(run(phantom_stop.PLUGIN, context(), in_time(third + ghost))) == []


@pytest.mark.parametrize("seed", range(3))
def test_findings_do_not_depend_on_batches_ticks_restarts_or_order(seed: int) -> None:
    rows = in_time(
        queues()
        + driving("ghost", 60.0, 200.0, BRAKES_MPS)
        + driving("second", 50.0, 200.0, [*BRAKES_MPS, *[12.0] * 8], lane_index=1)
        + passing("passer", 55.0, lane_index=1)
    )
    plain = as_set(run(phantom_stop.PLUGIN, context(), rows))
    assert plain
    again = run_scrambled(phantom_stop.PLUGIN, context(), rows, seed=seed, shuffles=True)
    assert as_set(again) == plain


def test_the_injected_stops_on_free_road_are_found_and_nobody_else() -> None:
    road_map = read_map("hamburg_urban")
    fcd = cut("hamburg_urban", "fcd", 570, 648)
    timed = timed_batches(list(vehicle_batches(fcd, road_map)))
    run_ = detect([phantom_stop.PLUGIN], road_map, timed)
    found = {f.subject_id: second_of(f) for f in run_.raised()}
    # Measured over the whole recording: four, all injected (two of the lane block, two hard
    # brakes with free road ahead); none in either control run.
    assert {"PKW3123", "PKW3541"} <= set(found) <= {"PKW3123", "PKW3129", "PKW3541"}
    assert 642.0 <= found["PKW3541"] <= 646.0
