"""Edie's definitions on trajectories whose density, flow and speed are known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.aggregate.paths import Paths
from edge.aggregate.steps import Samples
from edge.aggregate.windows import SegmentRows, Windows
from tests.support.edge_world import S, road_map

LENGTH_M = 500.0
MAP = road_map(LENGTH_M, 3)


def samples(rows: list[tuple[int, float, float]]) -> Samples:
    """Rows of (vehicle, seconds, x in m) on the segments of `MAP`."""
    vehicle, at_s, x = (np.array(column) for column in zip(*rows, strict=True))
    segment = np.minimum(x // LENGTH_M, 2).astype(np.int64)
    return Samples(
        vehicle.astype(np.int64),
        np.round(at_s * S).astype(np.int64),
        np.where(x < 0, -1, segment),
        x - segment * LENGTH_M,
    )


def rows_of(parts: list[SegmentRows]) -> dict[tuple[str, int, int], dict[str, Any]]:
    found = {}
    for part in parts:
        for row in range(len(part.segment)):
            facts = {name: getattr(part, name)[row].item() for name in part._fields}
            segment = MAP.segment_ids[facts["segment"]]
            found[segment, facts["window_s"], facts["window_start_ns"] // S] = facts
    return found


def test_a_steady_stream_gives_its_density_flow_and_speed() -> None:
    windows, headway_m, speed_mps = Windows(MAP), 50.0, 10.0
    # Enough vehicles that all of segment b is covered from 0 s to 60 s.
    starts = np.arange(-1200.0, 1001.0, headway_m)
    rows = [
        (number, float(t), start + speed_mps * t)
        for t in range(61)
        for number, start in enumerate(starts)
        if 0.0 <= start + speed_mps * t < 3 * LENGTH_M
    ]
    windows.fold(samples(rows))
    row = rows_of(windows.advance(60 * S))["b", 60, 0]
    assert row["speed_mps"] == pytest.approx(speed_mps, rel=1e-6)
    assert row["density_vpkm"] == pytest.approx(1000.0 / headway_m, rel=0.01)
    assert row["flow_vph"] == pytest.approx(3600.0 * speed_mps / headway_m, rel=0.01)
    assert row["coverage_ratio"] == 1.0
    assert row["speed_standard_error_mps"] == pytest.approx(0.0, abs=1e-6)
    # Fundamental relation: flow = density * speed.
    assert row["flow_vph"] == pytest.approx(row["density_vpkm"] * row["speed_mps"] * 3.6, rel=1e-6)


def test_time_and_distance_are_split_at_window_and_segment_borders() -> None:
    windows = Windows(MAP)
    windows.fold(samples([(0, 8.0, 480.0), (0, 12.0, 520.0)]))
    rows = rows_of(windows.advance(60 * S))
    # 10 m/s: 20 m on a until 10 s, 20 m on b after it.
    assert rows["a", 10, 0]["vehicle_s"] == pytest.approx(2.0)
    assert rows["a", 10, 0]["distance_m"] == pytest.approx(20.0)
    assert rows["b", 10, 10]["vehicle_s"] == pytest.approx(2.0)
    assert rows["a", 60, 0]["vehicle_s"] == pytest.approx(2.0)
    # b has one vehicle and no time in the first ten seconds: no row; a leaves with an empty row.
    assert ("b", 10, 0) not in rows
    assert rows["a", 10, 10]["vehicle_count"] == 0
    assert np.isnan(rows["a", 10, 10]["speed_mps"])


def test_a_segment_driven_over_between_two_samples_gets_its_share() -> None:
    small = road_map(20.0, 3)
    assert Paths(small).between(0, 2) == (1,)
    windows = Windows(small)
    x = Samples(np.zeros(2, np.int64), np.array([0, 4 * S]), np.array([0, 2]), np.array([10.0, 10]))
    windows.fold(x)
    parts = [part for part in windows.advance(60 * S) if part.window_s[0] == 60]
    totals = {int(s): d for p in parts for s, d in zip(p.segment, p.distance_m, strict=True)}
    assert totals == pytest.approx({0: 10.0, 1: 20.0, 2: 10.0})


def test_long_gaps_and_places_off_the_map_are_no_step() -> None:
    windows = Windows(MAP)
    windows.fold(samples([(0, 0.0, 0.0), (0, 6.0, 60.0), (1, 0.0, 0.0), (1, 1.0, -5.0)]))
    windows.fold(samples([(1, 2.0, 20.0)]))
    row = rows_of(windows.advance(10 * S))["a", 10, 0]
    assert (row["vehicle_s"], row["vehicle_count"]) == (0.0, 0)
    assert row["coverage_ratio"] == pytest.approx(0.3)


def test_noise_of_a_standing_vehicle_does_not_add_up_to_motion() -> None:
    windows = Windows(MAP)
    noise = [0.0, 1.5, -1.0, 0.5, -0.5, 1.0, 0.0, -1.5, 0.5, 0.0]
    windows.fold(samples([(0, float(t), 100.0 + noise[t]) for t in range(10)]))
    row = rows_of(windows.advance(10 * S))["a", 10, 0]
    assert row["speed_mps"] == pytest.approx(0.0, abs=1e-9)


def test_the_same_sample_from_two_sources_is_folded_once() -> None:
    windows = Windows(MAP)
    windows.fold(samples([(0, 0.0, 0.0), (0, 0.0, 0.0), (0, 1.0, 10.0), (0, 1.0, 10.0)]))
    assert rows_of(windows.advance(10 * S))["a", 10, 0]["vehicle_s"] == pytest.approx(1.0)


def test_late_data_raise_the_revision_of_a_kept_window_only() -> None:
    windows = Windows(MAP)
    windows.fold(samples([(0, float(t), 10.0 * t) for t in range(10)]))
    first = rows_of(windows.advance(700 * S))
    assert first["a", 10, 0]["revision"] == 0
    windows.fold(samples([(1, 601.0, 0.0), (1, 602.0, 10.0)]))
    again = rows_of(windows.advance(701 * S))
    assert {key[2] for key in again} == {600}
    assert again["a", 10, 600]["revision"] == again["a", 60, 600]["revision"] == 1
    windows.fold(samples([(2, 1.0, 0.0), (2, 2.0, 10.0)]))
    assert rows_of(windows.advance(702 * S)) == {}
    assert windows.n_too_late > 0


def test_the_standard_error_is_that_of_a_ratio_estimate() -> None:
    windows = Windows(MAP)
    rows = [(v, float(t), 50.0 + (v + 1) * 4.0 * t) for v in range(3) for t in range(10)]
    windows.fold(samples(rows))
    row = rows_of(windows.advance(10 * S))["a", 10, 0]
    times, speeds = np.full(3, 9.0), np.array([4.0, 8.0, 12.0])
    mean = 8.0
    residual = times * speeds - mean * times
    expected = np.sqrt(3 / 2 * np.sum(residual**2)) / times.sum()
    assert row["speed_mps"] == pytest.approx(mean)
    assert row["speed_standard_error_mps"] == pytest.approx(expected)


TRACE = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 1400)), max_size=30
)


@settings(max_examples=40, deadline=None)
@given(TRACE, st.integers(1, 10))
def test_batch_splits_and_a_checkpoint_in_between_change_no_window(
    trace: list[tuple[int, int, int]], size: int
) -> None:
    ordered = [(v, float(t), float(x)) for v, t, x in sorted(trace, key=lambda row: row[1])]
    whole, split = Windows(MAP), Windows(MAP)
    if ordered:
        whole.fold(samples(ordered))
    for start in range(0, len(ordered), size):
        split.fold(samples(ordered[start : start + size]))
        split = Windows.restore(MAP, split.snapshot())
    one, other = rows_of(whole.advance(120 * S)), rows_of(split.advance(120 * S))
    assert one.keys() == other.keys()
    for key, facts in one.items():
        assert facts == pytest.approx(other[key], nan_ok=True)
