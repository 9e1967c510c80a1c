"""Online map matching: which segment and lane is each vehicle on, and how far along?

A fold over samples in time order per vehicle. Each sample is smoothed by dead reckoning; the lane
pieces near it are weighed by distance and heading; where the best two are on different segments,
the vehicle's history decides: staying on a segment or driving on to one that follows is free, a
jump to any other costs. Evidence adds up over samples with a short memory, so a wrong first guess
between two close roads is corrected. The result does not depend on how the samples are split into
batches.

Positions are those of the vehicle's front, as SUMO and SAE J2735 bumper-corrected data have them.

Hidden Markov map matching: Newson and Krumm, ACM GIS 2009, doi:10.1145/1653771.1653818; here with
few hypotheses and only where positions are ambiguous, which a stream can afford.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.aggregate.candidates import Candidates, Likelihood, Roads
from edge.aggregate.dead_reckoning import Smoothing, Track, smooth
from edge.aggregate.history import (
    FAR_COST,
    HYPOTHESES,
    NO_SEGMENT,
    Continuity,
    Steps,
    best_of_groups,
    decide,
)
from edge.aggregate.lanes import LANES, Changing, SideBySide
from edge.aggregate.runs import group_starts
from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IndexArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]
AnyArray = NDArray[Any]

OFF_MAP = -1
NEVER_NS = np.iinfo(np.int64).min
# Below this the heading is noise of the compass, not of the course.
STANDING_MPS = 0.5
_LATER = {"lane_segment", "lane_costs"}
"""Not in snapshots before 2026-11-27: every vehicle's lane is then judged anew."""


class MatchResult(NamedTuple):
    """One row per sample, in the order given. Segment -1 is off the map; then lane -1, NaN.

    The lane is what the vehicle's history makes likeliest of those side by side (`lanes.py`);
    offset and distance are those of the piece of lane nearest to this sample, which may belong to
    another lane of the segment.
    """

    segment_index: Int32Array
    lane_index: NDArray[np.int8]  # 0 is the rightmost
    offset_m: Float32Array  # along the segment, 0 to its stated length
    distance_m: Float32Array  # from the (smoothed) position to the nearest lane's centre


class MatcherState:
    """Every vehicle's history, in arrays indexed by slot; grows as slots appear."""

    def __init__(self, slots: int = 0) -> None:
        """All `slots` start without history."""
        self.sampled_at_ns = np.full(slots, NEVER_NS, dtype=np.int64)
        self.x_m = np.zeros(slots)
        self.y_m = np.zeros(slots)
        self.heading_deg = np.full(slots, np.nan)
        self.samples = np.zeros(slots, dtype=np.int32)
        self.segments = np.full((slots, HYPOTHESES), NO_SEGMENT, dtype=np.int32)
        self.costs = np.full((slots, HYPOTHESES), FAR_COST, dtype=np.float32)
        self.lane_segment = np.full(slots, NO_SEGMENT, dtype=np.int32)
        self.lane_costs = np.zeros((slots, LANES), dtype=np.float32)

    def grow(self, slots: int) -> None:
        """Make room for slots 0 to `slots` - 1."""
        have = len(self.sampled_at_ns)
        if slots <= have:
            return
        more = MatcherState(max(slots, 2 * have) - have)  # doubling: growth costs O(1) a slot
        for name, array in vars(self).items():
            setattr(self, name, np.concatenate((array, getattr(more, name))))

    def evict(self, slots: IndexArray | Int32Array) -> None:
        """Forget these slots' histories, so that the slots can be used for other vehicles."""
        fresh = MatcherState(1)
        known = np.asarray(slots, dtype=np.int64)
        known = known[known < len(self.sampled_at_ns)]
        for name, array in vars(self).items():
            array[known] = getattr(fresh, name)[0]

    def snapshot(self) -> dict[str, AnyArray]:
        """A copy of every array by name; `restore` takes it back."""
        return {name: array.copy() for name, array in vars(self).items()}

    @classmethod
    def restore(cls, snapshot: dict[str, AnyArray]) -> MatcherState:
        """The state a snapshot was taken of. Raises ValueError if arrays are missing."""
        missing = vars(cls()).keys() - snapshot.keys() - _LATER
        if missing:
            raise ValueError(f"matcher snapshot lacks {sorted(missing)}")
        state = cls(len(snapshot["sampled_at_ns"]))
        for name, fresh in list(vars(state).items()):
            if name in snapshot:
                setattr(state, name, np.array(snapshot[name], dtype=fresh.dtype))
        return state


class _Samples(NamedTuple):
    """A batch in order of rounds: every vehicle's first sample, then every second one, ..."""

    slots: IndexArray
    sampled_at_ns: NDArray[np.int64]
    x_m: FloatArray
    y_m: FloatArray
    heading_deg: FloatArray
    speed_mps: FloatArray
    is_newer: BoolArray  # than the vehicle's last; others leave no trace
    begins: BoolArray  # a new track


class _Ways(NamedTuple):
    """What speaks best for each segment near each sample, one row each, by sample."""

    position: IndexArray
    segment: Int32Array
    cost: Float32Array
    row: IndexArray  # of the candidate


class Matcher:
    """Matches positions onto one road map; holds no vehicle's state itself."""

    def __init__(
        self,
        road_map: RoadMap,
        *,
        likelihood: Likelihood | None = None,
        continuity: Continuity | None = None,
        smoothing: Smoothing | None = None,
        changing: Changing | None = None,
    ) -> None:
        """Index the map (about 0.5 s for 3,000 lanes)."""
        self.road_map = road_map
        self._likelihood = likelihood or Likelihood()
        self._continuity = continuity or Continuity()
        self._smoothing = smoothing or Smoothing()
        self._roads = Roads(road_map, self._likelihood)
        self._steps = Steps(road_map, self._continuity)
        self._side_by_side = SideBySide(self._roads, road_map, changing or Changing())

    def initial(self) -> MatcherState:
        """A state without any vehicle."""
        return MatcherState()

    def update(
        self,
        state: MatcherState,
        subject_slots: Int32Array,
        sampled_at_ns: NDArray[np.int64],
        lat_deg: FloatArray,
        lon_deg: FloatArray,
        heading_deg: FloatArray,
        speed_mps: FloatArray,
        is_motor: BoolArray | None = None,
    ) -> MatchResult:
        """Match a batch, all arrays (n,), and bring `state` forward.

        Samples of one vehicle must be in time order; one that is not newer than the vehicle's
        last is matched by itself and leaves no trace. NaN heading or speed means unknown; a
        sample without a position is off the map. `is_motor` None means that all are.
        """
        result = _nothing(len(subject_slots))
        rows = np.flatnonzero(np.isfinite(lat_deg) & np.isfinite(lon_deg))
        if rows.size == 0:
            return result
        order, rounds = _rounds(subject_slots[rows])
        rows = rows[order]
        slots = subject_slots[rows].astype(np.int64)
        state.grow(int(slots.max()) + 1)
        x_m, y_m = self.road_map.frame.to_xy_m(lat_deg[rows], lon_deg[rows])
        samples = _Samples(
            slots=slots,
            sampled_at_ns=sampled_at_ns[rows],
            x_m=x_m.copy(),
            y_m=y_m.copy(),
            heading_deg=_finite(heading_deg[rows]) % 360.0,
            speed_mps=_finite(speed_mps[rows]),
            is_newer=np.ones(len(rows), dtype=np.bool_),
            begins=np.zeros(len(rows), dtype=np.bool_),
        )
        for part in rounds:
            self._smooth(state, samples, part)
        motor = None if is_motor is None else np.asarray(is_motor, dtype=np.bool_)[rows]
        found = self._roads.near(
            samples.x_m,
            samples.y_m,
            samples.heading_deg,
            samples.speed_mps,
            motor,
        )
        best = self._best(state, samples, rounds, found)
        matched = np.flatnonzero(best >= 0)
        to, row = rows[matched], best[matched]
        piece = found.piece[row]
        result.segment_index[to] = self._roads.segment[piece]
        result.lane_index[to] = self._lanes(
            state, samples, rounds, matched, piece, (x_m, y_m), motor
        )
        result.offset_m[to] = self._roads.offset_m(piece, found.along_m[row])
        result.distance_m[to] = np.sqrt(found.distance_squared_m2[row])
        return result

    def _smooth(self, state: MatcherState, samples: _Samples, part: slice) -> None:
        """Dead reckoning of one round, in place: at most one sample per vehicle."""
        slots, at_ns = samples.slots[part], samples.sampled_at_ns[part]
        heading_deg = samples.heading_deg[part]
        last_ns = state.sampled_at_ns[slots]
        newer = at_ns > last_ns
        elapsed_s = np.where(newer & (last_ns != NEVER_NS), at_ns - last_ns, 0) * 1e-9
        # A heading is only as good as the motion that shows it; unknown speed is motion.
        held_deg = state.heading_deg[slots]
        hold = (samples.speed_mps[part] < STANDING_MPS) | np.isnan(heading_deg)
        hold &= newer & ~np.isnan(held_deg)
        heading_deg[:] = np.where(hold, held_deg, heading_deg)
        track = smooth(
            Track(state.x_m[slots], state.y_m[slots], state.samples[slots]),
            elapsed_s,
            samples.x_m[part],
            samples.y_m[part],
            heading_deg,
            samples.speed_mps[part],
            self._smoothing,
        )
        samples.x_m[part] = np.where(newer, track.x_m, samples.x_m[part])
        samples.y_m[part] = np.where(newer, track.y_m, samples.y_m[part])
        samples.is_newer[part] = newer
        samples.begins[part] = track.samples == 1
        to = slots[newer]
        state.sampled_at_ns[to] = at_ns[newer]
        state.x_m[to], state.y_m[to] = track.x_m[newer], track.y_m[newer]
        state.heading_deg[to] = heading_deg[newer]
        state.samples[to] = track.samples[newer]

    def _lanes(
        self,
        state: MatcherState,
        samples: _Samples,
        rounds: list[slice],
        matched: IndexArray,
        piece: Int32Array,
        reported_m: tuple[FloatArray, FloatArray],
        is_motor: BoolArray | None,
    ) -> NDArray[np.int8]:
        """The lane of each matched sample (n,); what is believed of its vehicle moves on."""
        lane = self._roads.lane_index[piece]
        is_open = self._side_by_side.is_open[piece]
        if is_motor is not None:
            is_open &= is_motor[matched]
        place = np.flatnonzero(is_open)
        row, piece = matched[place], piece[place]
        slots, is_newer = samples.slots[row], samples.is_newer[row]
        follows = is_newer & ~samples.begins[row]
        segment = self._roads.segment[piece]
        across = self._side_by_side.across(
            piece, [axis[row] for axis in reported_m], [samples.x_m[row], samples.y_m[row]]
        )
        best = np.empty(len(place), dtype=np.int64)
        for part in rounds:
            first, last = np.searchsorted(row, (part.start, part.stop))
            at = slice(first, last)
            held = slots[at]
            is_same = follows[at] & (state.lane_segment[held] == segment[at])
            best[at], costs = self._side_by_side.follow(across, at, is_same, state.lane_costs[held])
            kept = is_newer[at]
            if not kept.all():
                held, costs, at = held[kept], costs[kept], np.flatnonzero(kept) + first
            state.lane_segment[held] = segment[at]
            state.lane_costs[held] = costs
        lane[place] = best
        return lane

    def _best(
        self,
        state: MatcherState,
        samples: _Samples,
        rounds: list[slice],
        found: Candidates,
    ) -> IndexArray:
        """Row of each sample's winning candidate, -1 for none; hypotheses move on."""
        best = np.full(len(samples.slots), -1, dtype=np.int64)
        open_group = np.zeros(len(samples.slots), dtype=np.bool_)
        piece_segment = self._roads.segment[found.piece]
        ways = _ways(found, piece_segment)
        rivals = np.zeros(0, dtype=np.int64)
        starts = group_starts(ways.position)
        if len(starts):
            sizes = np.diff(starts, append=len(ways.position))
            group = np.repeat(np.arange(len(starts)), sizes)
            way, least = best_of_groups(ways.cost, starts, group)
            best[ways.position[starts]] = ways.row[way]
            near = ways.cost - least[group] < self._continuity.ambiguous_cost
            open_group[ways.position[near & (ways.segment != ways.segment[way][group])]] = True
            rivals = np.flatnonzero(open_group[ways.position] & near)
        for part in rounds:
            self._move_on(state, samples, part, best, piece_segment, open_group)
            if rivals.size:
                first, last = np.searchsorted(ways.position[rivals], (part.start, part.stop))
                if last > first:
                    self._decide(state, samples, ways, rivals[first:last], best)
        return best

    def _move_on(
        self,
        state: MatcherState,
        samples: _Samples,
        part: slice,
        best: IndexArray,
        segment: Int32Array,
        open_group: BoolArray,
    ) -> None:
        """Hypotheses of one round where the position alone decides, or a track begins."""
        fresh = samples.is_newer[part] & (~open_group[part] | samples.begins[part])
        slots, row = samples.slots[part][fresh], best[part][fresh]
        decided = (row >= 0) & ~open_group[part][fresh]
        state.segments[slots] = NO_SEGMENT
        state.costs[slots] = FAR_COST
        state.segments[slots[decided], 0] = segment[row[decided]]
        state.costs[slots[decided], 0] = 0.0

    def _decide(
        self,
        state: MatcherState,
        samples: _Samples,
        ways: _Ways,
        rivals: IndexArray,
        best: IndexArray,
    ) -> None:
        """Hypotheses of one round where several segments are open; changes `best`."""
        position = ways.position[rivals]
        starts = group_starts(position)
        group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(position)))
        who = position[starts]
        slots = samples.slots[who]
        chosen, segments, costs = decide(
            self._steps,
            self._continuity,
            state.segments[slots],
            state.costs[slots],
            group,
            ways.segment[rivals],
            ways.cost[rivals],
        )
        newer = samples.is_newer[who]
        state.segments[slots[newer]] = segments[newer]
        state.costs[slots[newer]] = costs[newer]
        best[who[newer]] = ways.row[rivals[chosen[newer]]]


def _ways(found: Candidates, segment: Int32Array) -> _Ways:
    """The best candidate of each sample on each segment; those of one segment stand together."""
    begins = np.ones(len(segment), dtype=np.bool_)
    np.not_equal(segment[1:], segment[:-1], out=begins[1:])
    begins[1:] |= found.position[1:] != found.position[:-1]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return _Ways(found.position, segment, found.cost, starts)
    row, least = best_of_groups(found.cost, starts, np.cumsum(begins) - 1)
    return _Ways(found.position[starts], segment[starts], least, row)


def _nothing(count: int) -> MatchResult:
    return MatchResult(
        segment_index=np.full(count, OFF_MAP, dtype=np.int32),
        lane_index=np.full(count, -1, dtype=np.int8),
        offset_m=np.full(count, np.nan, dtype=np.float32),
        distance_m=np.full(count, np.nan, dtype=np.float32),
    )


def _finite(values: FloatArray) -> FloatArray:
    """Infinities are as unknown as NaN."""
    return np.where(np.isfinite(values), values, np.nan)


def _rounds(slots: Int32Array) -> tuple[IndexArray, list[slice]]:
    """An order in which each slice holds a vehicle at most once, its samples in given order."""
    by_slot = np.argsort(slots, kind="stable")
    starts = group_starts(slots[by_slot])
    if len(starts) == len(slots):
        return np.arange(len(slots)), [slice(0, len(slots))]
    sizes = np.diff(starts, append=len(slots))
    rank = np.empty(len(slots), dtype=np.int64)
    rank[by_slot] = np.arange(len(slots)) - np.repeat(starts, sizes)
    ends = np.cumsum(np.bincount(rank)).tolist()
    return np.argsort(rank, kind="stable"), [
        slice(first, last) for first, last in zip([0, *ends], ends, strict=False)
    ]
