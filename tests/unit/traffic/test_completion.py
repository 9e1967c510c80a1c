"""Completed segment states: what they add to windows, and what they leave as it is."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import Completion, States
from openvrc.traffic.penetration import Penetration
from openvrc.traffic.segment_model import Beliefs, Roads, Seen, speeds
from openvrc.traffic.service_level import LEVELS, levels
from tests.support.town import road_map

LENGTH_M = 306.0
MAP = road_map()


def windows(
    at_s: int, seen: dict[str, tuple[float, float]], *, revision: int = 0, version: str = ""
) -> Batch:
    """10 s windows that begin at `at_s`: segment to vehicle-seconds and metres."""
    n = len(seen)
    return from_columns(
        "segment_state",
        zone="town",
        run_id="test",
        origin="simulated",
        n_rows=n,
        columns={
            "source_id": "edge",
            "subject_id": list(seen),
            "sampled_at_ns": np.full(n, (at_s + 10) * NS_PER_S),
            "window_start_ns": np.full(n, at_s * NS_PER_S),
            "window_s": 10.0,
            "revision": revision,
            "map_version": version or MAP.map_version,
            "vehicle_s": [time_s for time_s, _ in seen.values()],
            "distance_m": [distance_m for _, distance_m in seen.values()],
        },
    )


def loops(end_s: int, counts: list[int], segment: str = "east_in") -> Batch:
    """One count a lane over the minute that ends at `end_s`."""
    n = len(counts)
    return from_columns(
        "loop_counts",
        zone="town",
        run_id="test",
        origin="simulated",
        n_rows=n,
        columns={
            "source_id": "rsu",
            "subject_id": [f"loop-{lane}" for lane in range(n)],
            "sampled_at_ns": np.full(n, end_s * NS_PER_S),
            "segment_id": segment,
            "lane_index": np.arange(n),
            "period_s": 60.0,
            "count": counts,
        },
    )


def drive(completion: Completion, seconds: range, seen: dict[str, tuple[float, float]]) -> States:
    """The same windows again and again; the minute at the end."""
    for at_s in seconds:
        completion.fold(windows(at_s, seen))
        completion.advance((at_s + 10) * NS_PER_S)
    states = completion.states(60)
    assert states is not None
    return states


def of(states: States, segment: str) -> tuple[float, bool]:
    """Speed, and whether it was observed."""
    place = MAP.index_of(segment)
    return float(states.speed_mps[place]), bool(states.is_observed[place])


def test_a_segment_keeps_its_state_when_nobody_reports_for_a_minute() -> None:
    completion = Completion(MAP)
    drive(completion, range(0, 120, 10), {"east_out": (20.0, 160.0)})
    speed_mps, is_observed = of(drive(completion, range(120, 180, 10), {}), "east_out")
    assert speed_mps == pytest.approx(8.0, abs=0.5)
    assert not is_observed


def test_uncertainty_grows_while_nobody_reports_and_the_state_ends() -> None:
    completion = Completion(MAP)
    seen = drive(completion, range(0, 120, 10), {"east_out": (20.0, 160.0)})
    later = drive(completion, range(120, 420, 10), {})
    place = MAP.index_of("east_out")
    assert later.speed_sd_mps[place] > seen.speed_sd_mps[place]
    assert np.isnan(of(drive(completion, range(420, 5000, 10), {}), "east_out")[0])


def test_a_segment_nobody_was_on_has_no_state_but_an_expectation() -> None:
    states = drive(Completion(MAP), range(0, 120, 10), {"east_out": (20.0, 160.0)})
    assert np.isnan(of(states, "west_out")[0])
    expected_mps = states.model_speed_mps[MAP.index_of("west_out")]
    assert 5.0 < expected_mps < 13.9


def test_one_slow_vehicle_on_a_fast_road_moves_its_speed_only_in_part() -> None:
    completion = Completion(MAP)
    drive(completion, range(0, 300, 10), {"east_out": (5.0, 60.0)})
    slow = {"east_out": (10.0, 20.0)}
    now_mps, _ = of(drive(completion, range(300, 310, 10), slow), "east_out")
    assert 6.0 < now_mps < 12.0


def test_where_everybody_is_counted_the_window_alone_says_the_speed_and_density() -> None:
    completion = Completion(MAP)
    for minute in range(5):
        for at_s in range(60 * minute, 60 * minute + 60, 10):
            completion.fold(windows(at_s, {"east_in": (60.0 + at_s, 612.0)}))
        completion.fold(loops(60 * minute + 60, [6, 6]))
        completion.advance((60 * minute + 60) * NS_PER_S)
    states = completion.states(60)
    assert states is not None
    assert states.share == 1.0
    time_s = sum(60.0 + at_s for at_s in range(240, 300, 10))
    place = MAP.index_of("east_in")
    assert states.speed_mps[place] == pytest.approx(6 * 612.0 / time_s, rel=1e-3)
    length_m = MAP.segment_length_m[place]
    assert states.density_vpkm[place] == pytest.approx(time_s / 60 / length_m * 1000, rel=2e-3)


def test_counts_of_all_lanes_tell_the_penetration_and_it_scales_density() -> None:
    completion = Completion(MAP)
    for minute in range(5):
        for at_s in range(60 * minute, 60 * minute + 60, 10):
            completion.fold(windows(at_s, {"east_in": (30.0, 306.0)}))
        completion.fold(loops(60 * minute + 60, [12, 12]))
        completion.advance((60 * minute + 60) * NS_PER_S)
    states = completion.states(60)
    assert states is not None
    assert states.share == pytest.approx(0.25, rel=0.1)
    place = MAP.index_of("east_in")
    assert states.density_vpkm[place] == pytest.approx(
        180.0 / 60 / MAP.segment_length_m[place] * 1000 / states.share, rel=0.1
    )


def test_counts_of_one_lane_of_two_tell_nothing() -> None:
    completion = Completion(MAP)
    for minute in range(5):
        for at_s in range(60 * minute, 60 * minute + 60, 10):
            completion.fold(windows(at_s, {"east_in": (30.0, 306.0)}))
        completion.fold(loops(60 * minute + 60, [24]))
        completion.advance((60 * minute + 60) * NS_PER_S)
    states = completion.states(60)
    assert states is not None
    assert states.share is None
    assert np.isnan(states.density_vpkm).all()


@pytest.mark.parametrize("late_by_s", [10, 30, 300])
def test_a_revised_window_counts_as_if_it_had_come_so_at_first(late_by_s: int) -> None:
    right, revised = Completion(MAP), Completion(MAP)
    first, second = {"east_out": (20.0, 160.0)}, {"east_out": (40.0, 60.0)}
    right.fold(windows(0, second))
    revised.fold(windows(0, first))
    for completion in (right, revised):
        drive(completion, range(10, 10 + late_by_s, 10), {"west_out": (5.0, 50.0)})
    revised.fold(windows(0, second, revision=1))
    at_s = 10 + late_by_s
    wanted, found = (
        drive(completion, range(at_s, at_s + 20, 10), {"west_out": (5.0, 50.0)})
        for completion in (right, revised)
    )
    np.testing.assert_allclose(found.speed_mps, wanted.speed_mps, rtol=1e-6)  # cells are float32


def test_windows_of_another_map_and_of_unknown_segments_change_nothing() -> None:
    completion = Completion(MAP)
    completion.fold(windows(0, {"east_out": (20.0, 160.0)}, version="another"))
    completion.fold(windows(0, {"nowhere": (20.0, 160.0)}))
    completion.advance(20 * NS_PER_S)
    assert completion.states(60) is None


def test_a_snapshot_goes_on_as_the_original_does() -> None:
    completion = Completion(MAP)
    drive(completion, range(0, 600, 10), {"east_in": (20.0, 160.0), "east_out": (5.0, 60.0)})
    completion.fold(loops(660, [9, 9]))
    restored = Completion.restore(MAP, *completion.snapshot())
    wanted, found = (
        drive(part, range(600, 720, 10), {"east_in": (25.0, 160.0)})
        for part in (completion, restored)
    )
    for name, values in wanted._asdict().items():
        np.testing.assert_array_equal(found._asdict()[name], values)


def test_a_gap_of_days_leaves_nothing_of_the_past() -> None:
    completion = Completion(MAP)
    drive(completion, range(0, 120, 10), {"east_out": (20.0, 160.0)})
    states = drive(completion, range(864_000, 864_060, 10), {"west_out": (5.0, 50.0)})
    assert np.isnan(of(states, "east_out")[0])
    assert of(states, "west_out")[1]


def test_a_gap_of_days_leaves_no_cells_behind() -> None:
    completion = Completion(MAP)
    drive(completion, range(0, 120, 10), {"east_out": (20.0, 160.0)})
    completion.advance(864_000 * NS_PER_S)
    assert not completion.snapshot()[0]["numbers"]
    drive(completion, range(864_000, 864_060, 10), {"east_out": (20.0, 160.0)})
    assert len(completion.snapshot()[0]["numbers"]) == 6


def test_time_in_which_nobody_drove_anywhere_counts_for_the_flow() -> None:
    """One of two completions is told of an empty window, which says the same as silence."""
    told, silent = Completion(MAP), Completion(MAP)
    for completion in (told, silent):
        completion.penetration = Penetration(counted=1000.0, passed=500.0)
        for at_s in range(0, 900, 10):
            is_driven = at_s % 60 == 0
            if is_driven or completion is told:
                passed = (20.0, 306.0) if is_driven else (0.0, 0.0)
                completion.fold(windows(at_s, {"east_in": passed}))
            completion.advance((at_s + 10) * NS_PER_S)
    wanted, found = told.states(10), silent.states(10)
    assert wanted is not None
    assert found is not None
    place = MAP.index_of("east_in")
    assert np.isfinite(wanted.flow_vph[place])
    assert found.flow_vph[place] == pytest.approx(wanted.flow_vph[place])
    assert found.density_vpkm[place] == pytest.approx(wanted.density_vpkm[place])


@pytest.mark.parametrize("late_by_s", [30, 300])
def test_a_window_that_comes_late_counts_with_its_time(late_by_s: int) -> None:
    """What came first is no other than what came late: also the very first of all."""
    right, late = Completion(MAP), Completion(MAP)
    oldest, others = {"east_in": (20.0, 306.0)}, {"west_in": (5.0, 50.0)}
    right.fold(windows(0, oldest))
    for completion in (right, late):
        completion.penetration = Penetration(counted=1000.0, passed=500.0)
        drive(completion, range(10, 10 + late_by_s, 10), others)
    late.fold(windows(0, oldest))
    assert right._past_s == late._past_s
    wanted, found = right.states(10), late.states(10)
    assert wanted is not None
    assert found is not None
    assert np.isfinite(wanted.flow_vph[MAP.index_of("east_in")])
    np.testing.assert_allclose(found.flow_vph, wanted.flow_vph, rtol=1e-5)


def test_the_more_vehicles_pass_the_less_their_past_and_the_map_count() -> None:
    one = np.ones(1)
    roads = Roads(one * LENGTH_M, one * 13.9, one, np.zeros(1, np.bool_), np.ones(1, np.bool_))
    past = Seen(one * 3000.0, one * 30_000.0)
    found = [
        float(
            speeds(roads, Seen(one * 100.0 * n, one * 400.0 * n), past, 1.0, Beliefs()).speed_mps[0]
        )
        for n in (1, 10, 100)
    ]
    assert found[0] > found[1] > found[2] > 4.0
    assert found[2] == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize(
    ("at_signal", "limit_mps", "delay_s", "density_vpkm", "speed_mps", "wanted"),
    [
        (True, 13.9, 10.0, 5.0, 6.0, "A"),
        (True, 13.9, 80.1, 5.0, 1.0, "F"),
        (False, 30.0, 0.0, 11.3, 30.0, "C"),
        (False, 30.0, 0.0, 28.1, 5.0, "F"),
        (False, 30.0, 0.0, np.nan, 29.0, "A"),
        (False, 13.9, 0.0, 5.0, 13.0, "A"),
        (False, 13.9, 0.0, 5.0, 4.0, "F"),
        (False, 13.9, 0.0, 5.0, np.nan, None),
    ],
)
def test_levels_of_service_are_those_of_the_highway_capacity_manual(
    at_signal: bool,
    limit_mps: float,
    delay_s: float,
    density_vpkm: float,
    speed_mps: float,
    wanted: str | None,
) -> None:
    values = (limit_mps, delay_s, density_vpkm, speed_mps)
    (found,) = levels(np.array([at_signal]), *(np.array([value]) for value in values))
    assert (LEVELS[found] if found >= 0 else None) == wanted
