"""How signals run, and what is lost before them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from openvrc.cli.signal_table import SignalTable
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import Completion
from openvrc.traffic.segment_model import Seen, roads_of
from openvrc.traffic.signals import SignalTimes, pass_delays
from tests.unit.traffic.test_completion import LENGTH_M, MAP, windows

PROGRAM = ["green"] * 20 + ["amber"] * 3 + ["red"] * 25 + ["red_amber"] * 2


def reports(first_s: int, last_s: int, *, program: list[str] = PROGRAM) -> Batch:
    """A report a second of group 0, which north and south have."""
    seconds = np.arange(first_s, last_s)
    return from_columns(
        "signal_state",
        zone="town",
        run_id="test",
        origin="simulated",
        n_rows=len(seconds),
        columns={
            "source_id": "controller",
            "subject_id": "market:0",
            "intersection_id": "market",
            "signal_group": 0,
            "lateness": 0,
            "phase": [program[second % len(program)] for second in seconds],
            "sampled_at_ns": seconds * NS_PER_S,
        },
    )


def test_shares_and_cycle_of_a_fixed_program_are_those_of_the_program() -> None:
    times = SignalTimes(memory_s=math.inf)
    times.take(reports(0, 501))
    found = times.shares("market:0")
    assert found is not None
    assert found == pytest.approx((0.4, 0.1, 0.5, 50.0, 20.0, 9.0))


def test_an_adaptive_program_is_followed_and_old_cycles_fade() -> None:
    longer = ["green"] * 60 + ["red"] * 40
    times = SignalTimes()
    times.take(reports(0, 1000))
    times.take(reports(1000, 5000, program=longer))
    found = times.shares("market:0")
    assert found is not None
    assert found.green_ratio == pytest.approx(0.6, abs=0.01)
    assert found.cycle_s == pytest.approx(100.0, abs=2.0)
    assert found.cycles == pytest.approx(9.0, abs=1.0)


def test_the_time_of_a_silence_is_not_booked_and_no_cycle_spans_it() -> None:
    times = SignalTimes(memory_s=math.inf)
    times.take(reports(0, 201))
    times.take(reports(1000, 1201))
    found = times.shares("market:0")
    assert found is not None
    assert found[3:] == pytest.approx((50.0, 20.0, 6.0))


def test_repeated_and_late_reports_change_nothing() -> None:
    once, more = SignalTimes(), SignalTimes()
    once.take(reports(0, 300))
    for batch in (reports(0, 200), reports(100, 200), reports(200, 300)):
        more.take(batch)
    late = reports(250, 300, program=["red"]).with_columns({"lateness": np.ones(50, np.int64)})
    more.take(late)
    assert once.groups == more.groups


def test_nothing_is_told_of_a_group_before_a_whole_cycle() -> None:
    times = SignalTimes()
    times.take(reports(1, 99))
    assert times.shares("market:0") is None
    assert times.shares("market:9") is None


def test_a_pass_loses_what_it_takes_longer_than_at_the_limit() -> None:
    roads = roads_of(MAP)
    time_s, distance_m = np.zeros((2, MAP.n_segments))
    north, south = MAP.index_of("north_in"), MAP.index_of("south_in")
    time_s[north], distance_m[north] = 100.0, 2 * LENGTH_M
    time_s[south], distance_m[south] = 10.0, 2 * LENGTH_M
    delays = pass_delays(roads, Seen(time_s, distance_m))
    assert delays.delay_s[north] == pytest.approx(50.0 - LENGTH_M / 13.9)
    assert delays.delay_s[south] == 0.0
    assert np.isnan(delays.delay_s[MAP.index_of("east_in")])
    assert delays.passes[north] == 2.0


def test_completed_states_hold_signals_through_a_checkpoint() -> None:
    completion = Completion(MAP)
    completion.fold(reports(0, 120))
    facts, arrays = completion.snapshot()
    restored = Completion.restore(MAP, json.loads(json.dumps(facts)), arrays)
    completion.fold(reports(120, 300))
    restored.fold(reports(120, 300))
    assert restored.signals.groups == completion.signals.groups


def test_groups_that_the_map_does_not_have_are_not_kept_nor_restored() -> None:
    completion = Completion(MAP)
    made_up = [f"made up:{number}" for number in range(50)]
    ours = reports(0, 100)
    completion.fold(ours.with_columns({"subject_id": made_up * 2}))
    completion.fold(ours)
    assert list(completion.signals.groups) == ["market:0"]
    facts, arrays = completion.snapshot()
    facts["signals"]["made up:0"] = facts["signals"]["market:0"]  # as an older one has them
    assert list(Completion.restore(MAP, facts, arrays).signals.groups) == ["market:0"]


def test_a_recordings_table_has_a_row_for_each_approach_and_group_that_was_heard() -> None:
    table = SignalTable()
    seen = windows(0, {"north_in": (100.0, LENGTH_M)})
    revised = windows(0, {"north_in": (100.0, 2 * LENGTH_M)}, revision=1)
    table.take([reports(0, 201), seen, revised])
    rows = {row["segment_id"]: row for row in table.rows("a", MAP)}
    assert set(rows) == {"north_in", "south_in"}
    assert rows["north_in"]["green_ratio"] == 0.4
    assert rows["north_in"]["cycle_s"] == 50.0
    assert rows["north_in"]["delay_s"] == pytest.approx(50.0 - LENGTH_M / 13.9, abs=0.05)
    assert rows["north_in"]["level_of_service"] == "C"
    assert rows["south_in"]["seen_vehicles"] == 0.0
    assert rows["south_in"]["delay_s"] == ""
