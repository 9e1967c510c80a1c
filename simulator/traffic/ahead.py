"""What is ahead of every vehicle: its leader in the lane, behind a junction, where ways join."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.network import NOWHERE, TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.signals import RED
from simulator.traffic.vehicles import STRIDE_M, Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

HOPS = 8
"""Lanes looked over beyond one's own; enough for 100 m even where junctions follow each other."""
LOOK_S, LOOK_M = 5.0, 30.0
"""How far ahead a leader matters: at 5 s the interaction is below a tenth of the free term."""
ASLEEP_MPS, ASLEEP_GAP_M, AT_LINE_M = 0.02, 2.2, 1.5
"""Slower than this and this near to who stands, or to the line, one stands."""
JOINING_M = 60.0
"""From this far before two ways join, vehicles on them mind each other."""


@dataclass(frozen=True)
class Walls:
    """Where something stands across a lane: a closure, somebody on a crossing."""

    lane: IntArray  # (n_walls,)
    at_m: FloatArray  # (n_walls,) along the lane
    nearest_m: FloatArray  # (n_lanes,) of each lane's first, inf where there is none

    @classmethod
    def of(cls, n_lanes: int, places: Iterable[tuple[int, float]]) -> Walls:
        """Walls at these (lane, offset in m)."""
        found = sorted(places)
        lane = np.array([lane for lane, _ in found], np.int64)
        at_m = np.array([at_m for _, at_m in found], np.float64)
        nearest_m = np.full(n_lanes, np.inf)
        np.minimum.at(nearest_m, lane, at_m)
        return cls(lane, at_m, nearest_m)


@dataclass
class Ahead:
    """Arrays (n,) unless said otherwise."""

    gap_m: FloatArray  # to the nearest bumper ahead, inf where none matters
    leader_mps: FloatArray
    rest_m: FloatArray  # to the lane's end
    asleep: BoolArray  # stands behind somebody who stands, or before a red light: nothing to do
    heads: IntArray  # rows that are first in their lane
    lookers: IntArray  # those of them that are not asleep
    hindmost: IntArray  # (n_lanes,) row of each lane's last vehicle, or NOWHERE
    tail_m: FloatArray  # (n_lanes,) hindmost tail of those who have left the lane already
    tail_mps: FloatArray  # (n_lanes,)
    key: FloatArray
    coming: IntArray  # (n_lanes,) row of the next vehicle that will enter each lane, or NOWHERE
    coming_m: FloatArray  # (n_lanes,) its way to the lane's start, inf if nobody is near


def look(
    network: TrafficNetwork, plans: Plans, rows: Rows, walls: Walls, code_of_link: IntArray
) -> Ahead:
    """Look ahead for everybody. `code_of_link` (n_links,) is what is shown to each link."""
    n, lane, offset_m = rows.n, rows.lane, rows.offset_m
    is_last_of_lane = np.empty(n, np.bool_)
    is_last_of_lane[-1:] = True
    np.not_equal(lane[1:], lane[:-1], out=is_last_of_lane[:-1])
    rear_m = offset_m - rows.length_m
    gap_m = np.empty(n)
    gap_m[:-1] = rear_m[1:] - offset_m[:-1]
    leader_mps = np.empty(n)
    leader_mps[:-1] = rows.speed_mps[1:]
    heads = np.flatnonzero(is_last_of_lane)
    hindmost = np.full(network.n_lanes, NOWHERE, np.int64)
    firsts = np.append(0, heads[:-1] + 1)[: len(heads)]
    hindmost[lane[firsts]] = firsts
    rest_m = rows.lane_m - offset_m
    stands = rows.speed_mps < ASLEEP_MPS
    asleep = np.zeros(n, np.bool_)
    np.less(gap_m[:-1], ASLEEP_GAP_M, out=asleep[:-1])
    asleep[:-1] &= stands[1:]
    asleep &= stands
    asleep[heads] = _waits_at_red(network, rows, heads, stands, rest_m, code_of_link)
    gap_m[heads], leader_mps[heads] = np.inf, 0.0
    ahead = Ahead(
        gap_m,
        leader_mps,
        rest_m,
        asleep,
        heads,
        heads[~asleep[heads]],
        hindmost,
        *_tails(network, rows, rear_m),
        rows.key(),
        np.full(network.n_lanes, NOWHERE, np.int64),
        np.full(network.n_lanes, np.inf),
    )
    _over_junctions(network, plans, rows, ahead, rear_m, walls.nearest_m)
    _behind_tails(rows, ahead)
    _before_walls(rows, ahead, walls)
    return ahead


def _waits_at_red(
    network: TrafficNetwork,
    rows: Rows,
    heads: IntArray,
    stands: BoolArray,
    rest_m: FloatArray,
    code_of_link: IntArray,
) -> BoolArray:
    """Which heads stand before a red light."""
    n = network.n_normal
    link = rows.next_lane[heads] - n
    waits = stands[heads] & rows.is_stopping[heads] & (link >= 0) & (rest_m[heads] < AT_LINE_M)
    waits &= rows.lane[heads] < n
    return np.asarray(waits & (code_of_link[np.maximum(link, 0)] == RED))


def _tails(
    network: TrafficNetwork, rows: Rows, rear_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Where tails still stick out into the lanes their vehicles have left."""
    tail_m = np.full(network.n_lanes, np.inf)
    tail_mps = np.zeros(network.n_lanes)
    out = np.flatnonzero(rear_m < 0.0)
    for came_from, inner in ((rows.came_from, None), (rows.came_from2, rows.came_from)):
        who = out[came_from[out] >= 0]
        if inner is None:
            at_m = network.length_m[came_from[who]] + rear_m[who]
        else:
            at_m = rear_m[who] + network.length_m[inner[who]]
            who, at_m = who[at_m < 0.0], at_m[at_m < 0.0]
            at_m = network.length_m[came_from[who]] + at_m
        order = np.argsort(-at_m, kind="stable")  # the hindmost is written last
        lanes, at_m = came_from[who[order]], at_m[order]
        nearer = at_m < tail_m[lanes]
        tail_m[lanes[nearer]] = at_m[nearer]
        tail_mps[lanes[nearer]] = rows.speed_mps[who[order][nearer]]
    return tail_m, tail_mps


def _over_junctions(
    network: TrafficNetwork,
    plans: Plans,
    rows: Rows,
    ahead: Ahead,
    rear_m: FloatArray,
    wall_m: FloatArray,
) -> None:
    who = ahead.lookers
    far_m = ahead.rest_m[who]
    look_m = rows.speed_mps[who] * LOOK_S + LOOK_M
    lane = rows.next_lane[who]
    for _ in range(HOPS):
        keep = (lane >= 0) & (far_m < look_m)
        who, far_m, look_m, lane = who[keep], far_m[keep], look_m[keep], lane[keep]
        if not who.size:
            return
        np.minimum.at(ahead.coming_m, lane, far_m)
        is_next = ahead.coming_m[lane] == far_m
        ahead.coming[lane[is_next]] = who[is_next]
        found = ahead.hindmost[lane]
        new_m = np.where(found >= 0, far_m + rear_m[found], np.inf)
        shut_m = far_m + wall_m[lane]
        speed = np.where(new_m <= shut_m, rows.speed_mps[found], 0.0)
        new_m = np.minimum(new_m, shut_m)
        better = new_m < ahead.gap_m[who]
        ahead.gap_m[who[better]], ahead.leader_mps[who[better]] = new_m[better], speed[better]
        keep = ~np.isfinite(new_m)
        who, far_m, look_m, lane = who[keep], far_m[keep], look_m[keep], lane[keep]
        far_m = far_m + network.length_m[lane]
        is_connector = lane >= network.n_normal
        normal = np.where(is_connector, 0, lane)
        onward = plans.connector[rows.plan[who], normal]
        lane = np.where(is_connector, network.after[lane], onward)


def _behind_tails(rows: Rows, ahead: Ahead) -> None:
    lanes = rows.lane[ahead.heads]
    gap_m = ahead.tail_m[lanes] - rows.offset_m[ahead.heads]
    nearer = gap_m < ahead.gap_m[ahead.heads]
    who = ahead.heads[nearer]
    ahead.gap_m[who], ahead.leader_mps[who] = gap_m[nearer], ahead.tail_mps[lanes[nearer]]


def _before_walls(rows: Rows, ahead: Ahead, walls: Walls) -> None:
    """Who is the next behind a wall stops there."""
    for lane, at_m in zip(walls.lane.tolist(), walls.at_m.tolist(), strict=True):
        row = int(ahead.key.searchsorted(lane * STRIDE_M + at_m, side="right")) - 1
        if row >= 0 and rows.lane[row] == lane and at_m - rows.offset_m[row] < ahead.gap_m[row]:
            ahead.gap_m[row], ahead.leader_mps[row] = at_m - rows.offset_m[row], 0.0


def joining(
    network: TrafficNetwork, rows: Rows, ahead: Ahead, is_joined: BoolArray
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Who follows somebody on another way into the same lane: rows, gap, his speed, way to go.

    `is_joined` (n_links,) tells links that share their lane with others. Who will stop at the line
    is out of it.
    """
    n = network.n_normal
    inside = np.flatnonzero(rows.lane >= n)
    inside = inside[is_joined[rows.lane[inside] - n]]
    heads = ahead.lookers
    heads = heads[(rows.lane[heads] < n) & (rows.next_lane[heads] >= n) & ~rows.is_stopping[heads]]
    heads = heads[is_joined[rows.next_lane[heads] - n]]
    heads = heads[ahead.rest_m[heads] < JOINING_M]
    who = np.concatenate([inside, heads])
    lane = rows.lane[who]
    rest_m = ahead.rest_m[who]
    link = np.where(lane >= n, lane, rows.next_lane[who])
    to_go_m = rest_m + np.where(lane >= n, 0.0, network.length_m[link])
    goal = network.after[link]
    order = np.argsort(goal * STRIDE_M + to_go_m, kind="stable")
    who, goal, link, to_go_m = who[order], goal[order], link[order], to_go_m[order]
    pairs = np.flatnonzero((goal[1:] == goal[:-1]) & (link[1:] != link[:-1]))
    leader, own = who[pairs], who[pairs + 1]
    gap_m = to_go_m[pairs + 1] - to_go_m[pairs] - rows.length_m[leader]
    return own, gap_m, rows.speed_mps[leader], to_go_m[pairs + 1]
