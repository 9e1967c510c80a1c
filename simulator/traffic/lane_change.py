"""Lane changes: for the way, for speed (MOBIL), and the courtesy of letting others in.

MOBIL: Kesting, Treiber, Helbing 2007, doi:10.3141/1999-10. A change must be safe for the new
follower, and gain more than it costs others; who has to leave the lane for the way is content
with safety, the less room is left the more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.ahead import Ahead
from simulator.traffic.following import acceleration
from simulator.traffic.network import NOWHERE, TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.vehicles import STRIDE_M, Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

THINK_EVERY_S, CHOOSE_EVERY_S = 1.0, 2.0
"""A driver thinks of another lane once a second where its way asks for it, in turn with the others,
and half as often of a better one."""
POLITENESS = 0.2
THRESHOLD_MPS2 = 0.15
SAFE_MPS2, SAFE_URGENT_MPS2 = 3.0, 5.0
"""What the new follower may have to brake; the second where the lane is about to end."""
KEEP_RIGHT_MPS2 = 0.2
PAUSE_S = 4.0
"""Between two changes of one's own choice."""
ROOM_M = 1.0
NEED_S, NEED_M = 12.0, 60.0
"""For each lane to change one begins this long, or this far, before the lane ends."""
FOR_THE_WAY_MPS2 = 100.0  # puts needed changes before all wishes
HELD_UP_S, HELD_UP_M, CRAWLING_MPS = 2.5, 12.0, 1.0
"""With a larger gap the gain cannot pass the threshold; in a standing queue nobody changes."""
URGENT_S, URGENT_M = 8.0, 120.0
CLOSE_TO_START_M, CLOSE_TO_END_M = 5.0, 8.0
LET_IN_MPS2 = 1.5
"""How hard others brake to let somebody in."""


@dataclass(frozen=True)
class Side:
    """What each thinking driver (m,) would meet in the lane on one side."""

    lane: IntArray
    leader: IntArray  # rows, NOWHERE if none
    follower: IntArray
    gap_m: FloatArray
    behind_m: FloatArray
    own_mps2: FloatArray
    follower_mps2: FloatArray
    slot: IntArray


@dataclass(frozen=True)
class Before:
    """What each thinking driver (m,) would have before it in the lane on one side."""

    lane: IntArray
    slot: IntArray
    leader: IntArray  # rows, NOWHERE if none
    gap_m: FloatArray
    own_mps2: FloatArray

    def of(self, some: IntArray) -> Before:
        """Of these drivers."""
        return Before(
            lane=self.lane[some],
            slot=self.slot[some],
            leader=self.leader[some],
            gap_m=self.gap_m[some],
            own_mps2=self.own_mps2[some],
        )


@dataclass
class _Best:
    """The better side of each thinking driver so far, all (m,)."""

    gain: FloatArray
    lane: IntArray
    own_mps2: FloatArray
    slot: IntArray

    def note(self, who: IntArray, gain: FloatArray, side: Side, good: BoolArray) -> None:
        """These found this side better."""
        self.gain[who], self.lane[who] = gain, side.lane[good]
        self.own_mps2[who], self.slot[who] = side.own_mps2[good], side.slot[good]


@dataclass(frozen=True)
class Changes:
    """Who changes where, and who slows down for whom."""

    rows: IntArray
    lanes: IntArray
    own_mps2: FloatArray
    courteous: IntArray  # rows that brake to let somebody in, or to find a gap
    courtesy_mps2: FloatArray


@dataclass(frozen=True)
class _Hope:
    """What a change of one's own choice could gain at best."""

    wanted_mps2: FloatArray
    desired_mps: FloatArray
    now_s: float

    def is_there(self, rows: Rows, who: IntArray) -> BoolArray:
        """Whether an empty lane would be worth it, and one has not just changed."""
        ratio2 = (rows.speed_mps[who] / self.desired_mps[who]) ** 2
        free = rows.max_accel_mps2[who] * (1.0 - ratio2 * ratio2)
        is_worth = (
            free - self.wanted_mps2[who] > THRESHOLD_MPS2 - KEEP_RIGHT_MPS2 * rows.is_fast[who]
        )
        return np.asarray(is_worth & (self.now_s - rows.changed_s[who] > PAUSE_S))


@dataclass(frozen=True)
class Turns:
    """Whose turn it is to think, both (n,)."""

    for_the_way: BoolArray
    by_choice: BoolArray


def choose(
    network: TrafficNetwork,
    plans: Plans,
    rows: Rows,
    ahead: Ahead,
    wanted_mps2: FloatArray,
    desired: FloatArray,
    turns: Turns,
    now_s: float,
) -> Changes:
    """Decide for the drivers whose turn it is.

    `wanted_mps2` and `desired` (m/s), both (n,), are what each would do in its lane.
    """
    hope = _Hope(wanted_mps2, desired, now_s)
    who, must, wants = _who_looks(network, rows, ahead, turns, hope)
    lane, v, plan = rows.lane[who], rows.speed_mps[who], rows.plan[who]
    off = rows.change[who].astype(np.int64)
    left_m = rows.until_m[who] - rows.offset_m[who]
    left_m[left_m < 0.0] = np.inf  # past what closed the lane
    urgency = np.clip(1.0 - left_m / URGENT_M, 0.0, 1.0) * must
    m = len(who)
    best = _Best(np.full(m, -np.inf), np.full(m, NOWHERE), np.zeros(m), np.zeros(m, np.int64))
    courteous: list[tuple[IntArray, FloatArray]] = []
    for step, side_of in ((1, network.left), (-1, network.right)):
        target = side_of[lane]
        is_way = must & (np.sign(off) == step)
        looks = np.flatnonzero((target >= 0) & (is_way | (wants & ~must)))
        aside = plans.change[plan[looks], target[looks]]
        reach_m = plans.until_m[plan[looks], target[looks]] - rows.offset_m[who[looks]]
        needs_m = 2 * np.abs(aside) * np.maximum(NEED_S * v[looks], NEED_M)
        looks = looks[is_way[looks] | (aside == 0) | (reach_m >= needs_m)]
        if not looks.size:
            continue
        before = _look_ahead_aside(network, plans, rows, ahead, who[looks], target[looks], desired)
        # Who would not be faster there need not look behind.
        bias = KEEP_RIGHT_MPS2 * rows.is_fast[who[looks]]
        better = before.own_mps2 - wanted_mps2[who[looks]] + bias > THRESHOLD_MPS2
        useful = np.flatnonzero(better | is_way[looks])
        looks, before = looks[useful], before.of(useful)
        one, way = who[looks], is_way[looks]
        side = _look_behind_aside(rows, ahead, one, before, desired)
        gain, safe = _gain(rows, plans, network, one, side, wanted_mps2, urgency[looks], step)
        gain = np.where(way, gain + FOR_THE_WAY_MPS2, gain)
        good = safe & (gain > THRESHOLD_MPS2) & (gain > best.gain[looks])
        best.note(looks[good], gain[good], side, good)
        near_m = np.maximum(URGENT_M, URGENT_S * v[looks])
        stuck = np.flatnonzero(way & ~good & (left_m[looks] < near_m))
        if stuck.size:
            courteous += _courtesies(rows, one[stuck], side, stuck, desired)
    best_gain, best_lane, best_own, best_slot = best.gain, best.lane, best.own_mps2, best.slot
    chosen = np.flatnonzero(best_lane >= 0)
    chosen = chosen[np.argsort(-best_gain[chosen], kind="stable")]
    slot = best_lane[chosen] * (rows.n + 1) + best_slot[chosen]
    _, one = np.unique(slot, return_index=True)  # one into each gap
    chosen = chosen[np.sort(one)]
    kind = [np.concatenate(part) for part in zip(*courteous, strict=True)] if courteous else []
    return Changes(
        rows=who[chosen],
        lanes=best_lane[chosen],
        own_mps2=best_own[chosen],
        courteous=kind[0] if kind else np.empty(0, np.int64),
        courtesy_mps2=kind[1] if kind else np.empty(0),
    )


def _who_looks(
    network: TrafficNetwork, rows: Rows, ahead: Ahead, turns: Turns, hope: _Hope
) -> tuple[IntArray, BoolArray, BoolArray]:
    """Rows that look aside; whether they have to, for their way, and whether they want to."""
    # Who is in a good lane and not held up has nothing to think about: most of all.
    v = rows.speed_mps
    thinks = turns.by_choice.copy()
    some = np.flatnonzero(thinks)
    v_some = v.take(some)
    held_up = (ahead.gap_m.take(some) < HELD_UP_S * v_some + HELD_UP_M) & (v_some > CRAWLING_MPS)
    thinks[some] = held_up | rows.is_fast.take(some)
    who = np.flatnonzero(thinks | (turns.for_the_way & (rows.change != 0)))
    is_way_blocked = rows.next_lane[who] == NOWHERE
    may = (rows.lane[who] < network.n_normal) & (rows.to_left_m[who] == 0.0)
    may &= (rows.offset_m[who] > rows.length_m[who] + CLOSE_TO_START_M) | (
        is_way_blocked & (v[who] < CRAWLING_MPS)
    )
    may &= (ahead.rest_m[who] > CLOSE_TO_END_M) | is_way_blocked
    who = who[may]
    off = rows.change[who]
    left_m = rows.until_m[who] - rows.offset_m[who]
    left_m[left_m < 0.0] = np.inf
    needs_m = np.abs(off) * np.maximum(NEED_S * np.maximum(v[who], 5.0), NEED_M)
    must = (off != 0) & (left_m < needs_m)
    # Of one's own choice only who is held up, or could keep right, looks aside.
    wants = thinks[who] & hope.is_there(rows, who)
    looks = must | wants
    return who[looks], must[looks], wants[looks]


def _look_ahead_aside(
    network: TrafficNetwork,
    plans: Plans,
    rows: Rows,
    ahead: Ahead,
    who: IntArray,
    lane: IntArray,
    desired_mps: FloatArray,
) -> Before:
    """Whom these rows would follow in these lanes, and how they would drive behind them."""
    n, offset_m = rows.n, rows.offset_m[who]
    slot = ahead.key.searchsorted(lane * STRIDE_M + offset_m)
    leader = np.minimum(slot, n - 1)
    leader = np.where((slot < n) & (rows.lane[leader] == lane), leader, NOWHERE)
    gap_m = rows.offset_m[leader] - rows.length_m[leader] - offset_m
    leader_mps = rows.speed_mps[leader]
    _beyond(network, plans, rows, ahead, who, lane, leader, gap_m, leader_mps)
    own_mps2 = _follow(rows, who, gap_m, leader_mps, desired_mps)
    return Before(lane, slot, leader, gap_m, own_mps2)


def _look_behind_aside(
    rows: Rows, ahead: Ahead, who: IntArray, before: Before, desired_mps: FloatArray
) -> Side:
    """Who would come to follow these rows."""
    lane, slot, offset_m = before.lane, before.slot, rows.offset_m[who]
    follower = np.maximum(slot - 1, 0)
    follower = np.where((slot > 0) & (rows.lane[follower] == lane), follower, NOWHERE)
    behind_m = np.where(
        follower >= 0, offset_m - rows.length_m[who] - rows.offset_m[follower], np.inf
    )
    # Nobody behind in the lane: who is about to enter it.
    alone = np.flatnonzero((follower < 0) & (ahead.coming[lane] >= 0))
    follower[alone] = ahead.coming[lane[alone]]
    behind_m[alone] = offset_m[alone] - rows.length_m[who[alone]] + ahead.coming_m[lane[alone]]
    follower[alone[rows.is_stopping[follower[alone]]]] = NOWHERE
    return Side(
        lane=lane,
        leader=before.leader,
        follower=follower,
        gap_m=before.gap_m,
        behind_m=behind_m,
        own_mps2=before.own_mps2,
        follower_mps2=_follow(rows, follower, behind_m, rows.speed_mps[who], desired_mps),
        slot=slot,
    )


def _beyond(
    network: TrafficNetwork,
    plans: Plans,
    rows: Rows,
    ahead: Ahead,
    who: IntArray,
    lane: IntArray,
    leader: IntArray,
    gap_m: FloatArray,
    leader_mps: FloatArray,
) -> None:
    """Where the lane has no leader: the last vehicle on the connector, or on the lane behind it."""
    none = np.flatnonzero(leader < 0)
    gap_m[none] = ahead.tail_m[lane[none]] - rows.offset_m[who[none]]
    leader_mps[none] = ahead.tail_mps[lane[none]]
    rest_m = network.length_m[lane[none]] - rows.offset_m[who[none]]
    hop = plans.connector[rows.plan[who[none]], lane[none]].astype(np.int64)
    for _ in range(2):
        keep = hop >= 0
        none, rest_m, hop = none[keep], rest_m[keep], hop[keep]
        found = ahead.hindmost[hop]
        there = found >= 0
        who_ahead = found[there]
        new_m = rest_m[there] + rows.offset_m[who_ahead] - rows.length_m[who_ahead]
        nearer = new_m < gap_m[none[there]]
        gap_m[none[there][nearer]] = new_m[nearer]
        leader_mps[none[there][nearer]] = rows.speed_mps[who_ahead[nearer]]
        none, rest_m, hop = none[~there], rest_m[~there], hop[~there]
        rest_m = rest_m + network.length_m[hop]
        hop = network.after[hop]


def _follow(
    rows: Rows,
    who: IntArray,
    gap_m: FloatArray,
    leader_mps: FloatArray,
    desired_mps: FloatArray,
) -> FloatArray:
    """What these rows would do behind such leaders; 0 for nobody (NOWHERE)."""
    wanted = acceleration(
        rows.speed_mps[who],
        gap_m,
        leader_mps,
        desired_mps[who],
        rows.headway_s[who],
        rows.max_accel_mps2[who],
        rows.braking_mps2[who],
    )
    return np.where(who >= 0, wanted, 0.0)


def _gain(
    rows: Rows,
    plans: Plans,
    network: TrafficNetwork,
    who: IntArray,
    side: Side,
    wanted_mps2: FloatArray,
    urgency: FloatArray,
    step: int,
) -> tuple[FloatArray, BoolArray]:
    """MOBIL's gain of a change in m/s2, and whether it is safe."""
    limit = SAFE_MPS2 + (SAFE_URGENT_MPS2 - SAFE_MPS2) * urgency
    safe = (side.own_mps2 > -limit) & (side.follower_mps2 > -limit)
    safe &= (side.gap_m > ROOM_M) & (side.behind_m > ROOM_M)
    is_bus = plans.is_bus[rows.plan[who]]
    safe &= network.is_for_cars[np.maximum(side.lane, 0)] | is_bus
    others = np.where(side.follower >= 0, side.follower_mps2 - wanted_mps2[side.follower], 0.0)
    bias = rows.is_fast[who] * (-step * KEEP_RIGHT_MPS2)
    return side.own_mps2 - wanted_mps2[who] + POLITENESS * others + bias, safe


def _courtesies(
    rows: Rows, who: IntArray, side: Side, stuck: IntArray, desired_mps: FloatArray
) -> list[tuple[IntArray, FloatArray]]:
    """Followers in the wanted lane let the stuck in, and those seek the gap behind its leader."""
    gap_m, leader = np.maximum(side.gap_m[stuck], 1.0), side.leader[stuck]
    seek = leader >= 0
    own = _follow(rows, who[seek], gap_m[seek], rows.speed_mps[leader[seek]], desired_mps)
    follower, behind_m = side.follower[stuck], side.behind_m[stuck]
    near = (follower >= 0) & (behind_m > -rows.length_m[who])
    lets = _follow(
        rows,
        follower[near],
        np.maximum(behind_m[near], 0.5),
        rows.speed_mps[who[near]],
        desired_mps,
    )
    return [
        (who[seek], np.maximum(own, -LET_IN_MPS2)),
        (follower[near], np.maximum(lets, -LET_IN_MPS2)),
    ]
