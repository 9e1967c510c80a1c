"""Queues before signals against full traces: the longest of each approach and minute.

Truth: of all vehicles, with their true lanes, those slower than 5 km/h that follow one another from
the stop line on (first within 25 m, then 20 m); lanes and seconds of a minute give their maximum.
A minute stands for a cycle: the package's programs take 60 to 90 s. Judged are approaches and
minutes with at least three vehicles (15 m from line to the last one's front).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import Completion
from openvrc.traffic.queues import HALTING_MPS, LaneQueues
from tests.support.fcd_marks import EPOCH_NS, Fcd, vehicle_batches

MIN_QUEUE_M = 15.0
CAR_M = 5.0
"""From the last one's front to its tail: what a queue is longer than its front's distance."""


@dataclass(frozen=True)
class Queueing:
    """How far queues were from the truth."""

    n_queues: int
    error_ratio: float
    """Sum of the errors by sum of the true lengths."""
    within_80: float
    share: float


def true_queues(truth: Fcd, road_map: RoadMap) -> dict[int, NDArray[np.float64]]:
    """Begin of each whole minute in s to the longest queue of each segment (n_segments,) in m."""
    at_signal = road_map.segment_ends_at_signal & ~road_map.segment_is_internal
    rows = np.flatnonzero((truth.speed_mps < HALTING_MPS) & at_signal[truth.segment])
    segment = truth.segment[rows].astype(np.int64)
    to_line_m = road_map.segment_length_m[segment] - truth.offset_m[rows]
    order = np.lexsort((to_line_m, truth.lane_index[rows], segment, truth.time_s[rows]))
    segment, to_line_m = segment[order], to_line_m[order]
    second, lane = truth.time_s[rows][order], truth.lane_index[rows][order]
    minutes = range(-(-int(truth.time_s[0]) // 60) * 60, int(truth.time_s[-1]) - 58, 60)
    longest = {minute: np.zeros(road_map.n_segments) for minute in minutes}
    before: tuple[int, int, int] | None = None
    last_m, is_queue = 0.0, True
    for at_s, number, lane_index, length_m in zip(
        second.tolist(), segment.tolist(), lane.tolist(), to_line_m.tolist(), strict=True
    ):
        is_first = (at_s, number, lane_index) != before
        before = (at_s, number, lane_index)
        is_queue = length_m - (0.0 if is_first else last_m) <= (25.0 if is_first else 20.0) and (
            is_first or is_queue
        )
        last_m = length_m
        if is_queue and at_s // 60 * 60 in longest:
            of_minute = longest[at_s // 60 * 60]
            of_minute[number] = max(of_minute[number], length_m)
    return longest


def queues_of(fcd: Fcd, road_map: RoadMap) -> tuple[dict[int, LaneQueues], float]:
    """Begin of each minute in s to its queues, and the last estimate of the penetration."""
    completion = Completion(road_map)
    found: dict[int, LaneQueues] = {}
    for batch in vehicle_batches(fcd, road_map):
        completion.fold(batch)
        at_ns = int(batch.column("sampled_at_ns")[0])
        if completion.closed_ns is None:
            completion.begin(at_ns)
        completion.advance(at_ns)
        at_s = (at_ns - EPOCH_NS) // NS_PER_S
        if at_s % 60 == 0 and (states := completion.states(60)) is not None:
            found[at_s - 60] = states.queues
    return found, completion.share or np.nan


def measure(
    truth: dict[int, NDArray[np.float64]], found: dict[int, LaneQueues], share: float
) -> Queueing:
    """As `true_queues` and `queues_of` give them."""
    minutes = sorted(truth.keys() & found)
    true_m = np.concatenate([truth[minute] for minute in minutes])
    chosen = true_m >= MIN_QUEUE_M
    true_m = true_m[chosen]
    low_m, middle_m, high_m = (
        np.concatenate([getattr(found[minute], name) for minute in minutes])[chosen]
        for name in ("low_m", "middle_m", "high_m")
    )
    error_m = np.abs(middle_m - true_m)
    inside = (true_m >= low_m - CAR_M) & (true_m <= high_m + CAR_M)
    return Queueing(
        len(true_m), float(error_m.sum() / (true_m + CAR_M).sum()), float(inside.mean()), share
    )
