"""Where positions leave two segments open, what the vehicle did before decides.

Each vehicle keeps a few hypotheses: segments with the cost of the best way to have got there. A
step to a segment that follows is free, a jump costs. Old evidence fades, so no belief is beyond
correction. This is the forward pass of a hidden Markov model (Viterbi), cut to what a stream can
afford; it runs only for ambiguous samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.aggregate.runs import group_starts
from openvrc.contracts.maps import RoadMap

Float32Array = NDArray[np.float32]
IndexArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]

NO_SEGMENT = -1
HYPOTHESES = 3  # segments kept per vehicle; junction mouths rarely offer more
FAR_COST = np.float32(1e6)  # of no hypothesis at all; finite, so that sums stay comparable


@dataclass(frozen=True)
class Continuity:
    """What steps between segments cost, in the likelihood's units."""

    jump_cost: float = 4.0  # to a segment that does not follow
    back_cost: float = 1.0  # to one it follows: the position had run ahead
    memory: float = 0.6  # share of the past evidence that lasts to the next sample
    max_past_cost: float = 8.0
    # Candidates this much worse than the best never win.
    ambiguous_cost: float = 8.0
    near_future_m: float = 60.0  # within one sample: 2 s at 30 m/s


class Steps:
    """The cost of going from one segment to another between two samples."""

    def __init__(self, road_map: RoadMap, continuity: Continuity) -> None:
        """Collect the pairs of segments that follow one another within `near_future_m`."""
        self._segments = road_map.n_segments
        self._jump = np.float32(continuity.jump_cost)
        pairs = np.array(list(_following(road_map, continuity.near_future_m)), dtype=np.int64)
        pairs = pairs.reshape(-1, 2)
        onward = pairs[:, 0] * self._segments + pairs[:, 1]
        back = pairs[:, 1] * self._segments + pairs[:, 0]
        same = np.arange(self._segments, dtype=np.int64) * (self._segments + 1)
        keys = np.concatenate((same, onward, back))
        costs = np.zeros(len(keys), dtype=np.float32)
        costs[len(same) + len(onward) :] = continuity.back_cost
        # Of repeated keys, unique keeps the first: the free one.
        self._keys, first = np.unique(keys, return_index=True)
        self._costs = costs[first]

    def cost(self, before: Int32Array, after: Int32Array) -> Float32Array:
        """Cost of each step; arrays that broadcast; a `before` of NO_SEGMENT costs a jump."""
        before, after = np.broadcast_arrays(before, after)
        costs = np.where(before == after, np.float32(0.0), self._jump)
        # Most hypotheses are none, or the very segment: only the others have to be looked up.
        asked = np.nonzero((before != after) & (before != NO_SEGMENT))
        key = before[asked].astype(np.int64) * self._segments + after[asked]
        at = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        costs[asked] = np.where(self._keys[at] == key, self._costs[at], self._jump)
        return costs


def decide(
    steps: Steps,
    continuity: Continuity,
    past_segments: Int32Array,
    past_costs: Float32Array,
    group: IndexArray,
    segment: Int32Array,
    cost: Float32Array,
) -> tuple[IndexArray, Int32Array, Float32Array]:
    """The best candidate of each vehicle, and its hypotheses after this sample.

    `past_segments` and `past_costs` are (n, HYPOTHESES); candidates are rows with `group` 0 to
    n - 1, sorted, at least one each. Returns the candidate's row (n,), and the new hypotheses.
    """
    before = past_segments[group]
    step = steps.cost(before, segment[:, None])
    way = past_costs[group] * np.float32(continuity.memory) + step
    past = np.minimum(way.min(axis=1), np.float32(continuity.max_past_cost))
    total = cost + past
    starts = group_starts(group)
    segments = np.full((len(starts), HYPOTHESES), NO_SEGMENT, dtype=np.int32)
    costs = np.full((len(starts), HYPOTHESES), FAR_COST, dtype=np.float32)
    chosen = np.zeros(len(starts), dtype=np.int64)
    for number in range(HYPOTHESES):
        row, least = best_of_groups(total, starts, group)
        known = least < FAR_COST
        segments[known, number] = segment[row[known]]
        costs[known, number] = least[known]
        if number == 0:
            chosen = row
        total = np.where(segment == segments[group, number], FAR_COST, total)
    return chosen, segments, np.minimum(costs - costs[:, :1], FAR_COST)


def best_of_groups(
    cost: Float32Array, starts: IndexArray, group: IndexArray
) -> tuple[IndexArray, Float32Array]:
    """Row and cost of the cheapest member of each group (the first of equals)."""
    least = np.minimum.reduceat(cost, starts)
    rows = np.flatnonzero(cost == least[group])[::-1]
    best = np.zeros(len(starts), dtype=np.int64)
    best[group[rows]] = rows  # of repeated indices the last assignment holds: the first row
    return best, least


def _following(road_map: RoadMap, horizon_m: float) -> Iterator[tuple[int, int]]:
    """Pairs (segment, one that begins at most `horizon_m` behind its end)."""
    length_m = road_map.segment_length_m
    offsets, flat = road_map.successor_offsets.tolist(), road_map.successor_segments.tolist()
    for start in range(road_map.n_segments):
        found: dict[int, float] = {}
        ahead = [(number, 0.0) for number in flat[offsets[start] : offsets[start + 1]]]
        while ahead:
            number, begins_m = ahead.pop()
            if begins_m >= found.get(number, np.inf) or begins_m > horizon_m:
                continue
            found[number] = begins_m
            ends_m = begins_m + float(length_m[number])
            if ends_m <= horizon_m:
                ahead += [(after, ends_m) for after in flat[offsets[number] : offsets[number + 1]]]
        for number in found:
            yield start, number
