"""Queues before signals: who belongs, what unseen ones add, what they tell of the share."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import Completion
from openvrc.traffic.queues import Queues
from tests.support.town import road_map

MAP = road_map()
EAST = MAP.index_of("east_in")
LENGTH_M = float(MAP.segment_length_m[EAST])
CELLS = range(6)


def cars(
    second: int,
    to_line_m: list[float],
    *,
    segment: str = "east_in",
    lane: int = 0,
    mps: float = 0.0,
) -> Batch:
    """Vehicles on one lane, by their distance to its stop line."""
    n = len(to_line_m)
    return from_columns(
        "vehicle_state",
        zone="town",
        run_id="test",
        origin="simulated",
        n_rows=n,
        columns={
            "source_id": [f"car-{number}" for number in range(n)],
            "subject_id": [f"car-{number}" for number in range(n)],
            "sampled_at_ns": np.full(n, second * NS_PER_S),
            "speed_mps": np.full(n, mps),
            "segment_id": segment,
            "lane_index": np.full(n, lane),
            "segment_offset_m": LENGTH_M - np.array(to_line_m),
        },
    )


def queue(parts: list[Batch], share: float | None = 1.0) -> tuple[float, float, float, bool]:
    """Low, middle and high length of the eastern approach, and whether somebody was seen in it."""
    queues = Queues(MAP)
    for part in parts:
        queues.take(part)
    queues.advance(60 * NS_PER_S, 10, share)
    found = queues.lengths(CELLS, share)
    return (
        float(found.low_m[EAST]),
        float(found.middle_m[EAST]),
        float(found.high_m[EAST]),
        bool(found.is_observed[EAST]),
    )


def test_where_everybody_reports_a_queue_is_as_long_as_it_is_seen() -> None:
    low_m, middle_m, _, is_observed = queue([cars(5, [1.0, 8.5, 16.0, 23.5])])
    assert low_m == middle_m == pytest.approx(23.5, abs=0.1)
    assert is_observed


def test_the_longest_of_a_minute_and_of_the_lanes_counts() -> None:
    parts = [cars(5, [1.0, 8.5]), cars(15, [1.0, 8.5, 16.0]), cars(25, [1.0], lane=1)]
    assert queue(parts)[1] == pytest.approx(16.0, abs=0.1)


def test_who_drives_or_stands_elsewhere_is_in_no_queue() -> None:
    parts = [
        cars(5, [1.0, 8.5, 16.0], mps=3.0),
        cars(5, [1.0, 8.5], segment="east_out"),
        cars(5, [150.0, 157.5]),
    ]
    assert queue(parts)[3] is False


def test_a_gap_ends_a_queue_when_everybody_reports_but_not_when_few_do() -> None:
    parts = [cars(5, [1.0, 8.5, 60.0])]
    assert queue(parts, share=1.0)[1] == pytest.approx(8.5, abs=0.1)
    assert queue(parts, share=0.1)[1] >= 60.0


def test_the_fewer_report_the_longer_a_queue_may_be_behind_the_last_one_seen() -> None:
    highs = [queue([cars(5, [1.0, 8.5])], share)[2] for share in (1.0, 0.5, 0.1)]
    assert highs[0] < highs[1] <= highs[2]


def test_a_lane_that_always_has_a_queue_is_believed_to_have_one_unseen() -> None:
    queues = Queues(MAP)
    for minute in range(20):
        queues.take(cars(60 * minute + 5, [1.0, 8.5, 16.0, 23.5, 31.0, 38.5]))
        queues.advance(60 * (minute + 1) * NS_PER_S, 10, 0.3)
        queues.close_minute(range(6 * minute, 6 * minute + 6), 0.3)
    unseen = queues.lengths(range(120, 126), 0.3)
    assert not unseen.is_observed[EAST]
    assert unseen.middle_m[EAST] > 15.0
    assert np.isnan(unseen.middle_m[MAP.index_of("east_out")])


@pytest.mark.parametrize("step", [2, 4])
def test_places_that_are_seen_tell_the_share_of_vehicles_that_report(step: int) -> None:
    completion = Completion(MAP)
    completion.begin(0)
    for cell in range(30):
        everybody = [1.0 + 7.5 * number for number in range(13)]
        completion.fold(cars(10 * cell + 9, everybody[::step]))
        completion.advance((10 * cell + 10) * NS_PER_S)
    assert completion.share == pytest.approx(1.0 / step / 0.8, rel=0.1)


def test_batches_in_parts_and_a_snapshot_between_them_change_nothing() -> None:
    whole, parts = Queues(MAP), Queues(MAP)
    seconds = [cars(second, [1.0, 8.5, 16.0]) for second in range(60)]
    for batch in seconds:
        whole.take(batch)
    whole.advance(60 * NS_PER_S, 10, 0.5)
    for batch in seconds:
        for row in (slice(2, 3), slice(0, 2)):
            parts.take(batch.slice(row.start, row.stop - row.start))
        parts = Queues.restore(MAP, *parts.snapshot())
        parts.advance(int(batch.column("sampled_at_ns")[0]), 10, 0.5)
    parts.advance(60 * NS_PER_S, 10, 0.5)
    for wanted, found in zip(whole.lengths(CELLS, 0.5), parts.lengths(CELLS, 0.5), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (parts.seen, parts.places) == (whole.seen, whole.places)
