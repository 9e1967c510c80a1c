"""What is around the standing vehicles of a zone in one second: gaps, flow, passers, queues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed
from openvrc.detectors.traffic import _surroundings
from openvrc.detectors.traffic._penetration import Penetration
from openvrc.detectors.traffic._seconds import Columns

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

FRESH_S = 3  # a vehicle heard within this is still about there: two lost samples at 1 Hz
PASSING_MPS = 5.0
FLOWING_MPS = 5.0
AHEAD_M = 150.0  # where "traffic ahead" is looked for
ABREAST_M = 6.0  # about a car's length: a vehicle beside, such as the other half of a crash
CLOSE_AHEAD_M = 30.0  # fronts within four places of a queue
QUEUE_SPACING_M = 7.5  # front to front in a standing queue (jam density 133 vehicles/km)


@dataclass(frozen=True)
class Standing:
    """Standing vehicles with room ahead in their lane, and what is around each, all (n,)."""

    slot: IndexArray
    standing_s: FloatArray
    to_end_m: FloatArray
    gap_m: FloatArray
    unseen_queue: FloatArray
    """Probability of one ahead that nobody connected is in, with the share as estimated."""
    unknown_queue: FloatArray
    """The same over all shares that what has been seen allows."""
    speed_ahead_mps: FloatArray
    """Of all lanes, NaN where nobody is ahead."""
    lane_speed_mps: FloatArray
    standing_close_ahead: IndexArray
    standing_ahead: IndexArray


def count_passers(fleet: Keyed, rows: Columns) -> None:
    """Add who drove past each standing vehicle between its last second and this one."""
    slot = rows["slot"]
    known = fleet["segment"]
    elapsed_ns = rows["at_ns"] - fleet["at_ns"][slot]
    drives = (rows["speed_mps"] > PASSING_MPS) & (rows["segment"] >= 0)
    drives &= (fleet["at_ns"][slot] != ABSENT_I64) & (elapsed_ns <= FRESH_S * NS_PER_S)
    road = rows["segment"][drives]
    stays = known[slot[drives]] == road
    before_m = np.where(stays, fleet["offset_m"][slot[drives]], 0.0)  # came in at the start
    stands = np.flatnonzero((fleet["standing_since_ns"] != ABSENT_I64) & (known >= 0))
    asker_m = _surroundings.place_m(known[stands], fleet["offset_m"][stands])
    fleet["passers"][stands] += _surroundings.passes(
        asker_m,
        _surroundings.place_m(road, before_m),
        _surroundings.place_m(road, rows["offset_m"][drives]),
    )


def look_around(
    fleet: Keyed,
    penetration: Penetration,
    road_map: RoadMap,
    second: int,
    stands: IndexArray,
    room_m: float,
) -> Standing:
    """What is around those of `stands` that have `room_m` ahead in their lane and segment.

    From everybody heard lately. What all of `stands` show about the share of connected vehicles is
    learned on the way.
    """
    heard = fleet["at_ns"] > (second - FRESH_S) * NS_PER_S
    others = np.flatnonzero(heard & (fleet["segment"] >= 0))
    lanes = _LaneOrder(fleet, others)
    segment, offset_m = fleet["segment"][stands], fleet["offset_m"][stands]
    to_end_m = road_map.segment_length_m[segment] - offset_m
    standing_s = (fleet["at_ns"][stands] - fleet["standing_since_ns"][stands]) / NS_PER_S
    asker_m = _surroundings.place_m(_lane_road(fleet, stands), offset_m)
    gap_m, leader = _surroundings.gaps_ahead(asker_m, lanes.place_m, lanes.length_m)
    pair = (leader >= 0) & lanes.is_standing[leader]
    to_signal_m = np.where(road_map.segment_ends_at_signal[segment], to_end_m, np.inf)
    pair_gap_m = np.where(pair, gap_m, _surroundings.FAR_M)
    penetration.learn(standing_s, to_signal_m, pair_gap_m, fleet["has_driven"][stands])
    one = np.flatnonzero((gap_m > room_m) & (to_end_m > room_m))
    asker_m, stands, to_end_m = asker_m[one], stands[one], to_end_m[one]
    still = lanes.is_standing
    queue_m, _ = _surroundings.gaps_ahead(asker_m, lanes.place_m[still], lanes.length_m[still])
    room_ahead_m = np.minimum(to_end_m, queue_m)
    speed_mps, close, ahead = _along_the_segment(fleet, others, stands)
    return Standing(
        slot=stands,
        standing_s=standing_s[one],
        to_end_m=to_end_m,
        gap_m=gap_m[one],
        unseen_queue=_surroundings.unseen_queue_probability(
            room_ahead_m, penetration.share, QUEUE_SPACING_M
        ),
        unknown_queue=penetration.unseen_queue(room_ahead_m, QUEUE_SPACING_M),
        speed_ahead_mps=speed_mps,
        lane_speed_mps=_mean_speed(lanes.speed_mps, lanes.place_m, asker_m),
        standing_close_ahead=close,
        standing_ahead=ahead,
    )


def _lane_road(fleet: Keyed, slots: IndexArray) -> IndexArray:
    """One number a lane; vehicles of unknown lane share one of their own per segment."""
    return fleet["segment"][slots] * 128 + fleet["lane"][slots] + 1  # type: ignore[no-any-return]


class _LaneOrder:
    """Vehicles of all lanes in a row, all (n,)."""

    def __init__(self, fleet: Keyed, others: IndexArray) -> None:
        place_m = _surroundings.place_m(_lane_road(fleet, others), fleet["offset_m"][others])
        order = np.argsort(place_m)
        ordered_m = place_m[order]
        if (ordered_m[1:] == ordered_m[:-1]).any():  # settled by values, never by slots
            order = np.lexsort((fleet["length_m"][others], place_m))
            ordered_m = place_m[order]
        ordered = others[order]
        self.place_m = ordered_m
        self.length_m: FloatArray = fleet["length_m"][ordered]
        self.speed_mps: FloatArray = fleet["speed_mps"][ordered]
        self.is_standing = fleet["standing_since_ns"][ordered] != ABSENT_I64


def _mean_speed(speed_mps: FloatArray, place_m: FloatArray, asker_m: FloatArray) -> FloatArray:
    """Mean speed of those ahead of each asker, not abreast, within AHEAD_M; NaN nobody."""
    if not len(asker_m):
        return np.empty(0)
    speed_mps = np.where(np.isnan(speed_mps), FLOWING_MPS, speed_mps)
    total, count = _surroundings.sum_between(
        place_m, speed_mps, asker_m + ABREAST_M, asker_m + AHEAD_M
    )
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _along_the_segment(
    fleet: Keyed, others: IndexArray, stands: IndexArray
) -> tuple[FloatArray, IndexArray, IndexArray]:
    """Per standing vehicle, over all lanes: mean speed ahead, who stands close ahead, who within.

    Both counts leave out who is abreast; the second reaches AHEAD_M.
    """
    none = np.empty(0, np.int64)
    if not len(stands):
        return np.empty(0), none, none
    road = fleet["segment"][stands]
    matters = np.zeros(int(fleet["segment"][others].max()) + 1, np.bool_)
    matters[road] = True  # these are few
    others = others[matters[fleet["segment"][others]]]
    place_m = _surroundings.place_m(fleet["segment"][others], fleet["offset_m"][others])
    order = np.argsort(place_m)
    place_m, ordered = place_m[order], others[order]
    asker_m = _surroundings.place_m(road, fleet["offset_m"][stands])
    mean_mps = _mean_speed(fleet["speed_mps"][ordered], place_m, asker_m)
    still_m = place_m[fleet["standing_since_ns"][ordered] != ABSENT_I64]
    near_m, close_m, far_m = (asker_m + m for m in (ABREAST_M, CLOSE_AHEAD_M, AHEAD_M))
    first = np.searchsorted(still_m, near_m, side="left")
    close = np.searchsorted(still_m, close_m, side="right") - first
    return mean_mps, close, np.searchsorted(still_m, far_m, side="right") - first
