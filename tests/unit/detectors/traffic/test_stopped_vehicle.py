"""What `traffic.stopped_vehicle` promises, on a small road."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.detection import Context, Finding
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic.stopped_vehicle import PLUGIN
from tests.support.straight_road import (
    START_NS,
    Row,
    as_set,
    batch_of,
    context,
    in_time,
    passing,
    road_map,
    row,
    run,
    run_scrambled,
    stopping,
)


def traffic(until_s: int, *, lane: int = 1, every_s: int = 5) -> list[Row]:
    """Others who drive through on one lane."""
    return [
        r
        for start in range(0, until_s - 45, every_s)
        for r in passing(f"other{start}", float(start), lane_index=lane)
    ]


def found(rows: list[Row], *, signal: bool = False) -> list[Finding]:
    return run(PLUGIN, context(signal=signal), in_time(rows))


def obstruction(**more: object) -> list[Row]:
    return stopping("stopped", 60.0, 300.0, 160.0, 180.0, **more) + traffic(240)


def test_a_vehicle_standing_mid_lane_with_passers_is_found_within_twenty_seconds() -> None:
    findings = found(obstruction())
    assert [(f.phase, f.subject_id, f.component) for f in findings] == [
        ("raise", "stopped", "lane:0"),
        ("clear", "stopped", "lane:0"),
    ]
    raised, cleared = findings
    assert raised.started_at_ns == START_NS + 60 * NS_PER_S
    assert 8.0 <= (raised.at_ns - raised.started_at_ns) / NS_PER_S <= 20.0
    assert raised.segment_id == "road"
    assert raised.evidence["passers"] >= 2
    assert raised.lon_deg is not None
    assert cleared.at_ns == START_NS + 161 * NS_PER_S
    assert cleared.started_at_ns == raised.started_at_ns


def test_no_vehicle_of_a_red_light_queue_is_found() -> None:
    queue = [
        r
        for place in range(12)
        for r in stopping(f"q{place:02}", 40.0 + place, 598.0 - 7.5 * place, 110.0, 130.0)
    ]
    assert found(queue + traffic(150), signal=True) == []


def test_a_queue_of_which_a_quarter_is_seen_is_not_found_during_red() -> None:
    seen = (2, 7, 11)
    queue = [
        r
        for place in seen
        for r in stopping(f"q{place:02}", 40.0 + place, 598.0 - 7.5 * place, 110.0, 130.0)
    ]
    assert found(queue + traffic(150), signal=True) == []


def test_a_bus_at_a_stop_is_not_found() -> None:
    assert found(obstruction(vehicle_class="bus")) == []


def test_a_bus_that_stays_for_over_five_minutes_is_found() -> None:
    rows = stopping("bus", 60.0, 300.0, 375.0, 380.0, vehicle_class="bus") + traffic(380)
    findings = found(rows)
    assert [f.phase for f in findings] == ["raise", "clear"]
    assert findings[0].at_ns >= START_NS + 360 * NS_PER_S


def test_a_parked_car_off_the_map_is_not_found() -> None:
    parked = [
        row("p", s, 300.0, 0.0, segment_id="", lane_index=-1, segment_offset_m=None)
        for s in range(200)
    ]
    assert found(parked + traffic(240)) == []


def test_a_car_first_seen_parked_is_not_found() -> None:
    assert found([row("p", s, 300.0, 0.0) for s in range(200)] + traffic(240)) == []


def test_a_lane_changer_who_waits_for_a_gap_is_given_longer() -> None:
    findings = found(obstruction(left_blinker_on=True))
    assert findings[0].at_ns - findings[0].started_at_ns >= 45 * NS_PER_S


def test_hazard_lights_are_no_lane_change() -> None:
    findings = found(obstruction(left_blinker_on=True, right_blinker_on=True))
    assert findings[0].at_ns - findings[0].started_at_ns <= 20 * NS_PER_S
    assert findings[0].evidence["has_hazard_lights"] is True


def test_a_quiet_road_needs_no_passers_but_a_minute() -> None:
    findings = found(stopping("alone", 60.0, 300.0, 200.0, 215.0))
    assert [f.phase for f in findings] == ["raise", "clear"]
    assert 60 <= (findings[0].at_ns - findings[0].started_at_ns) / NS_PER_S <= 62
    assert findings[0].evidence["passers"] == 0


def test_a_quiet_stop_line_is_not_an_obstruction() -> None:
    assert found(stopping("alone", 60.0, 540.0, 150.0, 155.0), signal=True) == []


def test_stop_and_go_is_no_obstruction() -> None:
    rows = []
    for place in range(30):  # a lane of vehicles 18 m apart that move 4 m every 20 s
        for s in range(200):
            moves = s % 20 < 2
            offset_m = 20.0 + 18.0 * place + 4.0 * (s // 20)
            rows.append(row(f"v{place:02}", s, offset_m, 2.5 if moves else 0.0))
    assert found(rows + traffic(240)) == []


def test_a_relayed_copy_changes_nothing() -> None:
    rows = obstruction()
    copies = [r | {"source_id": "rsu1", "position_accuracy_m": 5.0} for r in rows]
    assert as_set(found(rows + copies)) == as_set(found(rows))


def test_lost_samples_do_not_end_an_obstruction() -> None:
    rows = obstruction()
    kept = [r for i, r in enumerate(rows) if i % 4]
    findings = found(kept)
    assert [f.phase for f in findings] == ["raise", "clear"]


def test_a_vehicle_that_falls_silent_is_unknown_and_comes_back_with_its_episode() -> None:
    gone = range(START_NS + 100 * NS_PER_S, START_NS + 140 * NS_PER_S)
    rows = [
        r for r in obstruction() if r["subject_id"] != "stopped" or r["sampled_at_ns"] not in gone
    ]
    findings = found(rows)
    assert [f.phase for f in findings] == ["raise", "unknown", "raise", "clear"]
    assert len({f.started_at_ns for f in findings}) == 1
    assert findings[1].at_ns == START_NS + 109 * NS_PER_S


def test_late_rows_are_left_out() -> None:
    rows = [r | {"lateness": 1} for r in obstruction()]
    assert found(rows) == []


def test_rows_without_a_place_or_a_speed_do_no_harm() -> None:
    nowhere = [
        row(f"n{s}", s, 300.0, 0.0, lat_deg=None, lon_deg=None, segment_offset_m=None)
        for s in range(100)
    ]
    speechless = [row("mute", s, 100.0, float("nan")) for s in range(200)]
    unmapped = [row("u", s, 100.0, 0.0, segment_id="elsewhere") for s in range(200)]
    rows = obstruction() + nowhere + speechless + unmapped
    assert {f.subject_id for f in found(rows)} == {"stopped"}


def test_without_a_map_nothing_is_claimed() -> None:
    assert run(PLUGIN, Context("z", "r", "live"), in_time(obstruction())) == []


@pytest.mark.parametrize("seed", range(4))
def test_batches_ticks_order_and_restarts_change_nothing(seed: int) -> None:
    rows = in_time(obstruction() + stopping("second", 90.3, 200.0, 150.0, 185.0, lane_index=1))
    expected = as_set(run(PLUGIN, context(), rows))
    assert len(expected) >= 2
    scrambled = run_scrambled(PLUGIN, context(), rows, seed=seed, shuffles=True)
    assert as_set(scrambled) == expected


def test_the_silent_are_forgotten() -> None:
    state = PLUGIN.initial(context())
    for start in range(0, 2000, 10):
        batch = batch_of([row(f"v{start}", start, 10.0, 10.0)])
        state, _ = PLUGIN.update(state, batch)
        state, _ = PLUGIN.advance(state, START_NS + (start - 2) * NS_PER_S)
    assert len(state.fleet) < 20


def test_position_noise_at_ten_hertz_changes_nothing_in_kind() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for r in obstruction():
        for tenth in range(10):
            at_ns = r["sampled_at_ns"] + tenth * NS_PER_S // 10
            offset_m = r["segment_offset_m"] + 0.1 * tenth * r["speed_mps"] + rng.normal(0.0, 1.0)
            more = {"segment_offset_m": max(offset_m, 0.0), "sampled_at_ns": at_ns}
            rows.append(r | more | {"speed_mps": abs(r["speed_mps"] + rng.normal(0.0, 0.1))})
    findings = found(rows)
    assert [f.phase for f in findings] == ["raise", "clear"]
    assert findings[0].at_ns - findings[0].started_at_ns <= 20 * NS_PER_S


def test_the_map_of_the_tests_is_what_it_says() -> None:
    assert road_map(signal=True).segment_ends_at_signal.sum() == 1
