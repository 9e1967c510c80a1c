"""What `traffic.hard_braking` promises."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.detection import Finding, Severity
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic.hard_braking import PLUGIN
from tests.support.straight_road import (
    START_NS,
    Row,
    as_set,
    batch_of,
    context,
    in_time,
    row,
    run,
    run_scrambled,
)


def braking(
    decel_mps2: float, *, rate_hz: int = 10, sends_accel: bool = True, vehicle: str = "v"
) -> list[Row]:
    """15 m/s, brakes at 5 s for 1.5 s, goes on."""
    rows, speed_mps, offset_m = [], 15.0, 0.0
    for step in range(12 * rate_hz):
        at_s = step / rate_hz
        accel = -decel_mps2 if 5.0 < at_s <= 6.5 else 0.0
        speed_mps += accel / rate_hz
        offset_m += speed_mps / rate_hz
        sent = {"accel_long_mps2": accel} if sends_accel else {}
        rows.append(row(vehicle, at_s, offset_m, speed_mps, **sent))
    return rows


def found(rows: list[Row]) -> list[Finding]:
    return run(PLUGIN, context(), in_time(rows))


@pytest.mark.parametrize("rate_hz", [1, 10])
def test_braking_with_six_fires_at_its_first_sample(rate_hz: int) -> None:
    raised, cleared = found(braking(6.0, rate_hz=rate_hz))
    first_s = 5.0 + 1.0 / rate_hz
    assert raised.phase == "raise"
    assert raised.at_ns == START_NS + round(first_s * NS_PER_S)
    assert (raised.subject_type, raised.subject_id) == ("vehicle", "v")
    assert raised.segment_id == "road"
    assert raised.severity == Severity.WARNING
    assert cleared.phase == "clear"
    assert cleared.started_at_ns == raised.started_at_ns


def test_a_finding_comes_out_of_update_without_waiting_for_a_tick() -> None:
    state = PLUGIN.initial(context())
    _, findings = PLUGIN.update(state, batch_of(braking(6.0)))
    assert [f.phase for f in findings] == ["raise"]


def test_it_clears_three_seconds_after_the_last_hard_sample() -> None:
    cleared = found(braking(6.0))[-1]
    assert cleared.at_ns == START_NS + round(9.5 * NS_PER_S)


@pytest.mark.parametrize("rate_hz", [1, 2, 10])
@pytest.mark.parametrize("sends_accel", [True, False])
def test_planned_braking_with_four_and_a_half_does_not_fire(
    rate_hz: int, sends_accel: bool
) -> None:
    assert found(braking(4.5, rate_hz=rate_hz, sends_accel=sends_accel)) == []


@pytest.mark.parametrize("rate_hz", [1, 2, 10])
def test_without_an_acceleration_the_speed_tells_within_a_second(rate_hz: int) -> None:
    raised = found(braking(7.0, rate_hz=rate_hz, sends_accel=False))[0]
    assert raised.evidence["measured_by"] == "speed_difference"
    assert (raised.at_ns - START_NS) / NS_PER_S <= 6.1


def test_noise_in_speed_at_ten_hertz_does_not_fire() -> None:
    rng = np.random.default_rng(7)
    rows = [row("v", s / 10.0, s, abs(12.0 + rng.normal(0.0, 0.3))) for s in range(600)]
    assert found(rows) == []


def test_a_gap_between_samples_is_no_braking() -> None:
    rows = [row("v", 1.0, 0.0, 30.0), row("v", 1.05, 1.5, 29.0), row("v", 8.0, 100.0, 0.0)]
    assert found(rows) == []


def test_a_missing_sample_does_not_hide_a_braking() -> None:
    rows = braking(7.0, rate_hz=2, sends_accel=False)
    kept = [r for r in rows if r["sampled_at_ns"] != START_NS + 6 * NS_PER_S]
    assert [f.phase for f in found(kept)] == ["raise", "clear"]


def test_a_sample_without_speed_or_acceleration_is_skipped() -> None:
    rows = braking(6.0, rate_hz=1)
    rows[3] |= {"speed_mps": float("nan"), "accel_long_mps2": None}
    assert [f.phase for f in found(rows)] == ["raise", "clear"]


def test_a_jolt_of_a_standing_vehicle_is_no_braking() -> None:
    rows = [row("v", s, 10.0, 0.2, accel_long_mps2=-9.0 if s == 5 else 0.0) for s in range(10)]
    assert found(rows) == []


def test_an_emergency_stop_is_serious_and_said_again_when_it_gets_worse() -> None:
    rows = [
        row("v", s, 15.0 * s, 20.0, accel_long_mps2=accel)
        for s, accel in enumerate([0.0, -6.0, -8.5, -7.0, 0.0, 0.0, 0.0, 0.0])
    ]
    findings = found(rows)
    assert [(f.phase, f.severity) for f in findings] == [
        ("raise", Severity.WARNING),
        ("raise", Severity.SERIOUS),
        ("clear", Severity.SERIOUS),
    ]
    assert findings[-1].evidence["worst_accel_long_mps2"] == -8.5


def test_a_relayed_copy_does_not_hide_or_double_a_braking() -> None:
    rows = braking(6.0, rate_hz=1)
    copies = [r | {"source_id": "rsu", "accel_long_mps2": None} for r in rows]
    both = [r for pair in zip(copies, rows, strict=True) for r in pair]
    assert [f.phase for f in run(PLUGIN, context(), both)] == ["raise", "clear"]


def test_a_late_row_gives_a_late_finding() -> None:
    late = row("v", 3.0, 0.0, 15.0, accel_long_mps2=-7.0, lateness=3)
    findings = run(PLUGIN, context(), [row("v", 20.0, 100.0, 15.0, accel_long_mps2=0.0), late])
    assert findings[0].is_late
    assert findings[0].at_ns == late["sampled_at_ns"]


def test_a_late_braking_that_comes_in_parts_is_one() -> None:
    late = [row("v", 3.0 + n, 0.0, 15.0, accel_long_mps2=-7.0, lateness=3) for n in range(2)]
    state, findings = PLUGIN.initial(context()), []
    for n, part in enumerate([[row("v", 900.0, 0.0, 15.0)], *[[one] for one in late], [], []]):
        if part:
            state, found = PLUGIN.update(state, batch_of(part))
            findings += found
        state = PLUGIN.restore(context(), PLUGIN.snapshot(state))
        state, found = PLUGIN.advance(state, START_NS + (900 + 2 * n) * NS_PER_S)
        findings += found
    assert [f.phase for f in findings] == ["raise", "clear"]
    assert findings[1].at_ns == late[1]["sampled_at_ns"] + 3 * NS_PER_S


def test_a_row_without_a_position_still_counts() -> None:
    nowhere = {"lat_deg": None, "lon_deg": None, "segment_id": ""}
    raised = found([r | nowhere for r in braking(6.0)])[0]
    assert raised.lat_deg is None
    assert raised.segment_id == ""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sends_accel", [True, False])
def test_batches_ticks_and_restarts_change_nothing(seed: int, sends_accel: bool) -> None:
    rows = in_time(
        braking(6.0, vehicle="a", sends_accel=sends_accel)
        + braking(8.5, vehicle="b", rate_hz=2, sends_accel=sends_accel)
        + braking(4.0, vehicle="c")
    )
    scrambled = run_scrambled(PLUGIN, context(), rows, seed=seed, shuffles=False)
    assert as_set(scrambled) == as_set(run(PLUGIN, context(), rows))


def test_the_silent_are_forgotten() -> None:
    state = PLUGIN.initial(context())
    for start in range(0, 2000, 10):
        state, _ = PLUGIN.update(state, batch_of([row(f"v{start}", start, 10.0, 10.0)]))
        state, _ = PLUGIN.advance(state, START_NS + (start - 2) * NS_PER_S)
    assert len(state.vehicles) < 20
