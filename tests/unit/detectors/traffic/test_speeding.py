"""Who is much too fast for seconds, and who is not."""

from __future__ import annotations

from typing import Any

import pytest

from openvrc.contracts.detection import Severity
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic import speeding
from tests.support.fcd_marks import cut, read_map, vehicle_batches
from tests.support.incidents import timed_batches
from tests.support.straight_road import (
    LIMIT_MPS,
    START_NS,
    Row,
    as_set,
    context,
    in_time,
    row,
    run,
    run_scrambled,
)
from tests.support.traffic_events import detect


def driving(vehicle: str, speed_mps: float, n_s: int = 15, **more: Any) -> list[Row]:
    return [row(vehicle, float(s), 10.0 + speed_mps * s, speed_mps, **more) for s in range(n_s)]


def test_much_too_fast_for_seconds_is_found_and_cleared() -> None:
    findings = run(speeding.PLUGIN, context(), driving("fast", 20.0))
    assert [f.phase for f in findings] == ["raise", "clear"]
    assert findings[0].at_ns == START_NS + 4 * NS_PER_S
    assert findings[0].started_at_ns == START_NS
    assert findings[0].severity == Severity.INFO
    assert findings[1].at_ns == START_NS + (14 + 5) * NS_PER_S


def test_far_too_fast_is_a_warning() -> None:
    (found, _) = run(speeding.PLUGIN, context(), driving("fast", 1.7 * LIMIT_MPS))
    assert found.severity == Severity.WARNING


@pytest.mark.parametrize("speed_mps", [LIMIT_MPS, 1.2 * LIMIT_MPS, LIMIT_MPS + 5.0])
def test_a_little_too_fast_is_ordinary(speed_mps: float) -> None:
    assert run(speeding.PLUGIN, context(), driving("most", speed_mps)) == []


def test_one_wrong_match_to_a_slow_road_is_nothing() -> None:
    rows = [r | {"segment_id": ""} for r in driving("main", 25.0)]
    rows[5] |= {"segment_id": "road"}
    assert run(speeding.PLUGIN, context(), rows) == []


def test_an_ambulance_may() -> None:
    assert run(speeding.PLUGIN, context(), driving("a", 25.0, vehicle_class="emergency")) == []


@pytest.mark.parametrize("seed", range(3))
def test_findings_do_not_depend_on_batches_ticks_or_restarts(seed: int) -> None:
    pause = [r | {"speed_mps": 5.0} if 6 <= i < 13 else r for i, r in
             enumerate(driving("b", 21.0, 28))]  # fmt: skip
    rows = in_time(driving("a", 20.0) + pause)
    plain = as_set(run(speeding.PLUGIN, context(), rows))
    assert [f[2] for f in plain].count("raise") == 3
    again = run_scrambled(speeding.PLUGIN, context(), rows, seed=seed, shuffles=False)
    assert as_set(again) == plain


def test_hardly_anybody_on_the_motorway_speeds() -> None:
    road_map, fcd = read_map("a39_freeway"), cut("a39_freeway", "control_fcd", 600, 620)
    timed = timed_batches(list(vehicle_batches(fcd, road_map)))
    found = detect([speeding.PLUGIN], road_map, timed).raised()
    # SUMO's drivers choose up to a fifth above the limit; none is above what is tolerated.
    assert len(found) <= 2
