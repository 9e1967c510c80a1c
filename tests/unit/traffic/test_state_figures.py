"""Completed states against the truth of a SUMO package: a pinned part of `make bench-traffic`."""

from __future__ import annotations

import pytest

from tests.bench import queue_rows
from tests.bench import traffic_state_rows as bench
from tests.support.fcd_marks import prepared, read_map
from tests.support.incidents import is_connected

# Measured on the motorway (docs/traffic.md); the margin is a tenth and more, for another seed.
LIMITS = {1.0: (0.15, 0.99), 0.1: (0.95, 0.95)}


@pytest.mark.parametrize("share", list(LIMITS))
def test_completed_speeds_stay_near_the_truth_on_the_motorway(share: float) -> None:
    package = "a39_freeway"
    road_map = read_map(package)
    fcd = prepared(package, "fcd", "truth")  # the truth's marks: matching is pinned elsewhere
    fcd = fcd.rows(is_connected(fcd.vehicles, share, 1)[fcd.vehicle])
    loops = bench.read_loops(package, road_map)
    got = bench.measure(package, road_map, fcd, everybody=share == 1.0, loops=loops)
    speed_mae_mps, coverage = LIMITS[share]
    assert got.speed_mae_mps < speed_mae_mps
    assert got.coverage > coverage
    assert got.share == pytest.approx(share, rel=0.25)
    assert got.within_80 > 0.8


def test_queues_stay_near_the_truth_of_four_minutes_in_town() -> None:
    """Whole, with the matcher's marks: 4 and 18 %; half of the vehicles, one draw."""
    package = "hamburg_urban"
    road_map = read_map(package)
    fcd = prepared(package, "fcd", "truth", from_s=300, to_s=541)
    truth = queue_rows.true_queues(fcd, road_map)
    for share, limit in ((1.0, 0.06), (0.5, 0.23)):
        part = fcd.rows(is_connected(fcd.vehicles, share, 1)[fcd.vehicle])
        got = queue_rows.measure(truth, *queue_rows.queues_of(part, road_map))
        assert got.n_queues > 100
        assert got.error_ratio < limit
