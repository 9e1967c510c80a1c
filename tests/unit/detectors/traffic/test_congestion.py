"""What `traffic.congestion` promises, on windows of a small road."""

from __future__ import annotations

import pytest

from openvrc.contracts.detection import Context, Finding, Severity
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic.congestion import PLUGIN
from tests.support.straight_road import (
    LENGTH_M,
    START_NS,
    Row,
    as_set,
    batch_of,
    context,
    in_time,
    run,
    run_scrambled,
)

LANES = 2


def window(end_s: int, speed_mps: float, vehicles: float, **more: object) -> Row:
    """`vehicles` present on average, at a space-mean speed; 60 s unless said otherwise."""
    window_s = int(more.pop("window_s", 60))  # type: ignore[call-overload]
    vehicle_s = vehicles * window_s
    return {
        "subject_id": "road",
        "source_id": "edge",
        "sampled_at_ns": START_NS + end_s * NS_PER_S,
        "edge_received_at_ns": START_NS + end_s * NS_PER_S,
        "window_start_ns": START_NS + (end_s - window_s) * NS_PER_S,
        "window_s": float(window_s),
        "revision": 0,
        "lateness": 0,
        "map_version": "m",
        "vehicle_s": vehicle_s,
        "distance_m": vehicle_s * speed_mps,
        "vehicle_count": max(int(vehicles), 1),
        "coverage_ratio": 1.0,
    } | more


def minutes(*states: tuple[float, float], **more: object) -> list[Row]:
    """60 s windows one after the other, each (speed in m/s, vehicles)."""
    return [window(60 * (i + 1), speed, n, **more) for i, (speed, n) in enumerate(states)]


def tens(*states: tuple[float, float], **more: object) -> list[Row]:
    """10 s windows one after the other."""
    return [
        window(10 * (i + 1), speed, n, window_s=10, **more) for i, (speed, n) in enumerate(states)
    ]


def found(rows: list[Row], *, signal: bool = False) -> list[Finding]:
    return run(PLUGIN, context(signal=signal), in_time(rows), "segment_state")


FREE, SLOW = (12.0, 10.0), (4.5, 30.0)


def test_slow_traffic_over_two_windows_is_congestion_and_ends_when_it_flows() -> None:
    raised, cleared = found(minutes(FREE, SLOW, SLOW, SLOW, FREE, FREE, FREE))
    assert raised.phase == "raise"
    assert (raised.subject_type, raised.subject_id) == ("segment", "road")
    assert raised.lat_deg is not None
    assert cleared.phase == "clear"
    assert cleared.started_at_ns == raised.started_at_ns


def test_flowing_traffic_is_no_congestion_however_dense() -> None:
    assert found(minutes(*[(9.0, 40.0)] * 6)) == []


def test_one_slow_vehicle_is_no_congestion() -> None:
    assert found(minutes(*[(3.0, 1.0)] * 6)) == []


def test_half_the_limit_is_the_border() -> None:
    assert found(minutes(*[(13.9 / 2 + 0.1, 20.0)] * 4)) == []
    # In town a slow-down below a failed junction's delay (50 s) is none: 600 m at 5 m/s lose 77 s.
    assert [f.phase for f in found(minutes(*[(5.0, 20.0)] * 4))] == ["raise"]


def test_red_lights_that_hold_everybody_for_forty_seconds_are_no_congestion() -> None:
    # 600 m at the limit take 43 s; 40 s of waiting give a mean speed of 7.2 m/s.
    assert found(minutes(*[(LENGTH_M / 83.0, 20.0)] * 8), signal=True) == []


def test_a_red_light_stricter_rule_waits_for_a_failed_signal() -> None:
    speed_mps = LENGTH_M / (LENGTH_M / 13.9 + 90.0)  # a delay of 90 s: level of service F
    rows = minutes(*[(speed_mps, 20.0)] * 4)
    raised = found(rows, signal=True)[0]
    assert raised.evidence["is_at_signal"] is True
    assert raised.evidence["congestion_index"] == pytest.approx(90.0 / 80.0, abs=0.01)


def test_a_window_of_red_among_moving_ones_is_no_congestion() -> None:
    rows = minutes(*[(0.3, 12.0), (9.0, 12.0), (9.0, 12.0)] * 3)
    assert found(rows, signal=True) == []


def test_worse_is_serious_and_better_is_warning_again_with_hysteresis() -> None:
    phases = [
        (f.phase, f.severity)
        for f in found(minutes((5.0, 20.0), (5.0, 20.0), *[(1.5, 40.0)] * 3, *[(5.0, 20.0)] * 3))
    ]
    assert phases == [
        ("raise", Severity.WARNING),
        ("raise", Severity.SERIOUS),
        ("raise", Severity.WARNING),
    ]


def test_speed_around_the_border_does_not_flicker() -> None:
    rows = minutes(*[(5.5, 20.0), (6.2, 20.0), (8.0, 20.0)] * 4)
    assert len(found(rows)) <= 1


JAM, LOOSE = (1.0, 60.0), (10.0, 20.0)


@pytest.mark.parametrize("signal", [True, False])
def test_forty_seconds_of_standing_traffic_are_found_from_short_windows(signal: bool) -> None:
    raised, cleared = found(tens(LOOSE, LOOSE, *[JAM] * 4, *[LOOSE] * 4), signal=signal)
    assert raised.phase == "raise"
    assert raised.at_ns == START_NS + 50 * NS_PER_S
    assert raised.started_at_ns == START_NS + 20 * NS_PER_S
    assert cleared.phase == "clear"


def test_twenty_seconds_of_standing_traffic_are_not() -> None:
    assert found(tens(LOOSE, JAM, JAM, LOOSE, JAM, JAM, LOOSE)) == []


def test_a_red_queue_of_seven_a_lane_is_not_standing_traffic() -> None:
    assert found(tens(*[(0.5, 7.0 * LANES)] * 5), signal=True) == []


def test_a_revision_counts_once_and_the_highest_wins_in_any_order() -> None:
    rows = minutes(*[FREE] * 4)
    revised = [r | {"revision": 1, "distance_m": r["vehicle_s"] * 4.5} for r in rows]
    forward, backward = rows + revised, revised + rows
    assert as_set(found(forward)) == as_set(found(backward)) == as_set(found(revised))
    assert as_set(found(revised + revised)) == as_set(found(revised))


def test_a_revision_of_a_folded_window_changes_nothing() -> None:
    rows = minutes(*[SLOW] * 4)
    state, before = PLUGIN.initial(context()), []
    for r in rows:
        state, _ = PLUGIN.update(state, batch_of([r], "segment_state"))
        state, now = PLUGIN.advance(state, r["sampled_at_ns"] + 3 * NS_PER_S)
        before += now
    again = rows[1] | {"revision": 5, "distance_m": 0.0}
    state, _ = PLUGIN.update(state, batch_of([again], "segment_state"))
    _, now = PLUGIN.advance(state, START_NS + 260 * NS_PER_S)
    assert [f.phase for f in before] == ["raise"]
    assert now == []


def test_a_segment_that_empties_is_cleared() -> None:
    others = [r | {"subject_id": "after"} for r in minutes(*[FREE] * 9)]
    findings = found(minutes(*[SLOW] * 4) + others)
    assert [f.phase for f in findings] == ["raise", "clear"]


def test_a_zone_that_falls_silent_is_unknown_not_cleared() -> None:
    state = PLUGIN.initial(context())
    state, _ = PLUGIN.update(state, batch_of(minutes(*[SLOW] * 4), "segment_state"))
    state, raised = PLUGIN.advance(state, START_NS + 300 * NS_PER_S)
    _, silent = PLUGIN.advance(state, START_NS + 1000 * NS_PER_S)
    assert [f.phase for f in raised] == ["raise"]
    assert [(f.phase, f.at_ns) for f in silent] == [("unknown", START_NS + 420 * NS_PER_S)]


def test_windows_without_values_or_of_unknown_segments_do_no_harm() -> None:
    empty = {"vehicle_s": float("nan"), "distance_m": float("nan"), "vehicle_count": 0}
    rows = [r | empty for r in minutes(*[SLOW] * 4)]
    elsewhere = [r | {"subject_id": "elsewhere"} for r in minutes(*[SLOW] * 4)]
    assert found(rows + elsewhere) == []


def test_without_a_map_nothing_is_claimed() -> None:
    where = Context("z", "r", "live")
    assert run(PLUGIN, where, minutes(*[SLOW] * 4), "segment_state") == []


@pytest.mark.parametrize("seed", range(4))
def test_batches_ticks_order_and_restarts_change_nothing(seed: int) -> None:
    rows = minutes(FREE, SLOW, SLOW, SLOW, FREE, FREE) + tens(
        *[LOOSE] * 6, *[JAM] * 9, *[LOOSE] * 10
    )
    rows = in_time(rows + [r | {"subject_id": "after"} for r in rows[1:]])
    expected = as_set(run(PLUGIN, context(), rows, "segment_state"))
    assert len(expected) >= 2
    scrambled = run_scrambled(PLUGIN, context(), rows, "segment_state", seed=seed, shuffles=True)
    assert as_set(scrambled) == expected
