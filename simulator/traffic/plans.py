"""Where to go next, as tables: for each destination or route, the edge behind each edge.

A *plan* is a row: a tree of shortest ways to one edge, or a fixed route laid over such a tree, so
that who leaves the route finds on. From the row follows what each lane is good for: the connector
to take at its end, how far one may stay in it, and by how many lanes to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from simulator.traffic.network import NOWHERE, NetworkError, TrafficNetwork

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ARRIVED = -2
"""In place of a connector: the way ends with this lane."""
FORESIGHT_M = 2000.0
"""How far ahead lanes are told apart; beyond it any lane is as good."""
SWEEPS = 10
"""Junctions the foresight reaches over."""
TURN_S = 2.0
"""What a junction costs beside its length, in the choice of ways."""


@dataclass
class Plans:
    """Rows of plans on one network; `closed_from_m` changes what lanes are good for."""

    network: TrafficNetwork
    closed_from_m: FloatArray = field(init=False)  # (n_normal,) inf: open
    next_edge: IntArray = field(init=False)  # (n_plans, n_edges), NOWHERE at the goal
    goal: IntArray = field(init=False)  # (n_plans,) edges
    is_bus: NDArray[np.bool_] = field(init=False)  # (n_plans,)
    is_to_goal: NDArray[np.bool_] = field(init=False)  # (n_plans,) any way to the goal will do
    connector: NDArray[np.int32] = field(init=False)  # (n_plans, n_normal)
    change: NDArray[np.int8] = field(init=False)  # (n_plans, n_normal) lanes to go left
    until_m: NDArray[np.float32] = field(init=False)  # (n_plans, n_normal) from the lane's start

    is_exit: NDArray[np.bool_] = field(init=False)  # (n_edges,) leads nowhere
    version: int = 0
    """Rises when plans that are in use change."""
    _leaving: dict[bool, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        network = self.network
        self.is_exit = np.zeros(network.n_edges, np.bool_)
        self.is_exit[network.exits()] = True
        self.closed_from_m = np.full(network.n_normal, np.inf)
        self.next_edge = np.empty((0, network.n_edges), np.int64)
        self.goal = np.empty(0, np.int64)
        self.is_bus = np.empty(0, np.bool_)
        self.is_to_goal = np.empty(0, np.bool_)
        self.connector = np.empty((0, network.n_normal), np.int32)
        self.change = np.empty((0, network.n_normal), np.int8)
        self.until_m = np.empty((0, network.n_normal), np.float32)

    def to_edges(
        self, goals: IntArray, *, is_bus: bool = False, travel_s: FloatArray | None = None
    ) -> IntArray:
        """Add a plan to each goal (edge); numbers of the new rows.

        `travel_s` (n_edges,) are travel times, by default those at the speed limit.
        """
        rows = shortest_ways(self.network, goals, is_bus=is_bus, travel_s=travel_s)
        return self._add(rows, goals, is_bus, is_to_goal=True)

    def along(self, routes: Sequence[Sequence[int]], *, is_bus: bool = False) -> IntArray:
        """Add a plan for each route (edges in order); numbers of the new rows.

        An edge that comes twice is left by its last way on. Raises NetworkError for a route that
        makes a step no link allows.
        """
        goals = np.array([route[-1] for route in routes], np.int64)
        unique, inverse = np.unique(goals, return_inverse=True)
        rows = shortest_ways(self.network, unique, is_bus=is_bus)[inverse]
        steps = set(zip(*(edges.tolist() for edges in self.network.link_edges), strict=True))
        for row, route in enumerate(routes):
            for before, behind in pairwise(route):
                if (before, behind) not in steps:
                    names = self.network.edge_ids
                    raise NetworkError(f"no link leads from {names[before]} to {names[behind]}")
                rows[row, before] = behind
            rows[row, route[-1]] = NOWHERE
        return self._add(rows, goals, is_bus)

    def leaving(self, is_bus: bool) -> int:
        """The row of the plan to the nearest exit, made when it is first asked for."""
        if is_bus not in self._leaving:
            exits = self.network.exits()
            ways = shortest_ways(self.network, exits, is_bus=bool(is_bus), to_any=True)
            self._leaving[is_bus] = int(self._add(ways, np.array([NOWHERE]), is_bus)[0])
        return self._leaving[is_bus]

    def loop(self, edges: Sequence[int]) -> int:
        """Add a plan that goes round these edges for ever; its row."""
        row = np.full((1, self.network.n_edges), NOWHERE, np.int64)
        row[0, list(edges)] = [*edges[1:], edges[0]]
        return int(self._add(row, np.array([NOWHERE], np.int64), False)[0])

    def reroute(self, rows: IntArray, travel_s: FloatArray) -> None:
        """Make the plans of these rows anew by current travel times (n_edges,)."""
        for is_bus in (False, True):
            of_kind = rows[self.is_bus[rows] == is_bus]
            if of_kind.size:
                self.next_edge[of_kind] = shortest_ways(
                    self.network, self.goal[of_kind], is_bus=is_bus, travel_s=travel_s
                )
        self.version += 1
        self._work_out(rows)

    def close(self, lane: int, from_m: float) -> None:
        """Close a lane from a point on (inf opens it again)."""
        self.closed_from_m[lane] = from_m
        self.version += 1
        self._work_out(np.arange(len(self.goal)))

    def _add(
        self, rows: IntArray, goals: IntArray, is_bus: bool, *, is_to_goal: bool = False
    ) -> IntArray:
        first, n = len(self.goal), self.network.n_normal
        self.next_edge = np.concatenate([self.next_edge, rows])
        self.goal = np.concatenate([self.goal, goals])
        self.is_bus = np.concatenate([self.is_bus, np.full(len(goals), is_bus)])
        self.is_to_goal = np.concatenate([self.is_to_goal, np.full(len(goals), is_to_goal)])
        self.connector = np.concatenate([self.connector, np.empty((len(goals), n), np.int32)])
        self.change = np.concatenate([self.change, np.empty((len(goals), n), np.int8)])
        self.until_m = np.concatenate([self.until_m, np.empty((len(goals), n), np.float32)])
        new = np.arange(first, first + len(goals))
        self._work_out(new)
        return new

    def _work_out(self, rows: IntArray) -> None:
        for row in rows.tolist():
            self._lanes_of(row)

    def _lanes_of(self, row: int) -> None:
        """Connectors, reach and changes of one plan, backwards from junction to junction."""
        network, n = self.network, self.network.n_normal
        before, behind = network.link_edges
        used = np.flatnonzero(self.next_edge[row, before] == behind)
        if not self.is_bus[row]:
            cars = network.is_for_cars
            used = used[cars[network.link_from[used]] & cars[network.link_to[used]]]
        start, end = network.link_from[used], network.link_to[used]
        own_m = network.length_m[:n]
        over_m = own_m[start] + network.length_m[n + used]
        is_goal = network.lane_edge[:n] == self.goal[row]
        closed = np.isfinite(self.closed_from_m)
        stay_m = np.where(closed, self.closed_from_m, own_m)
        stay_m[is_goal & ~closed] = FORESIGHT_M
        until_m = stay_m.copy()
        is_open = ~closed[start]
        start, end, over_m, used = start[is_open], end[is_open], over_m[is_open], used[is_open]
        for _ in range(SWEEPS):
            through_m = np.minimum(over_m + until_m[end], FORESIGHT_M)
            np.maximum.at(until_m, start, through_m)
        connector = np.full(n, NOWHERE, np.int64)
        order = np.argsort(through_m, kind="stable") if used.size else used
        connector[start[order]] = n + used[order]  # the last written reaches farthest
        connector[is_goal & ~closed] = ARRIVED
        connector[self.is_exit[network.lane_edge[:n]]] = ARRIVED  # also by mistake
        self.connector[row], self.until_m[row] = connector, until_m
        self.change[row] = self._changes(until_m, self.is_bus[row])

    def _changes(self, until_m: FloatArray, is_bus: bool) -> IntArray:
        """Lanes to go left (right if negative) to the nearest lane that reaches farthest."""
        network, n = self.network, self.network.n_normal
        usable = np.ones(n, np.bool_) if is_bus else network.is_for_cars[:n]
        reach = np.where(usable, until_m, 0.0)
        best = np.maximum.reduceat(reach, network.edge_lanes[:-1])[network.lane_edge[:n]]
        good = usable & (until_m >= best - 0.5)
        index = np.arange(n)
        far = np.iinfo(np.int32).max
        last = np.maximum.accumulate(np.where(good, index, -far))
        coming = np.minimum.accumulate(np.where(good, index, far)[::-1])[::-1]
        edge = network.lane_edge[:n]
        to_left = np.where(edge[np.minimum(coming, n - 1)] == edge, coming - index, far)
        to_right = np.where(edge[np.maximum(last, 0)] == edge, index - last, far)
        step = np.where(to_left <= to_right, to_left, -to_right)
        return np.where(np.abs(step) < 100, step, 0)


def shortest_ways(
    network: TrafficNetwork,
    goals: IntArray,
    *,
    is_bus: bool = False,
    travel_s: FloatArray | None = None,
    to_any: bool = False,
) -> IntArray:
    """The edge behind each edge on the quickest way to each goal, (n_goals, n_edges).

    NOWHERE at the goal itself and where no way leads to it. With `to_any` one row, to the nearest.
    """
    lanes = network.edge_lanes[:-1]
    own_s = network.edge_length_m / network.limit_mps[lanes] if travel_s is None else travel_s
    before, behind = network.link_edges
    cost_s = own_s[behind] + network.length_m[network.n_normal :] / np.maximum(
        network.limit_mps[network.n_normal :], 1.0
    )
    cost_s = cost_s + TURN_S
    if not is_bus:
        cars = network.is_for_cars
        keep = cars[network.link_from] & cars[network.link_to]
        before, behind, cost_s = before[keep], behind[keep], cost_s[keep]
    order = np.lexsort((cost_s, before, behind))
    before, behind, cost_s = before[order], behind[order], cost_s[order]
    is_new = np.append(True, (np.diff(before) != 0) | (np.diff(behind) != 0))[: len(before)]
    shape = (network.n_edges, network.n_edges)
    # From the goal against the traffic: the predecessor of an edge is the edge behind it.
    graph = csr_array((cost_s[is_new], (behind[is_new], before[is_new])), shape=shape)
    if to_any:
        nearest = dijkstra(graph, indices=goals, return_predecessors=True, min_only=True)[1]
        return np.where(nearest < 0, NOWHERE, nearest).astype(np.int64)[None, :]
    ways = dijkstra(graph, indices=goals, return_predecessors=True)[1]
    return np.where(ways < 0, NOWHERE, ways).astype(np.int64).reshape(len(goals), -1)
