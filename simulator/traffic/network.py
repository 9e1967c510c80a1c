"""The roads as a simulation needs them: lanes, movements over junctions, who waits for whom.

Lanes are numbered, those between junctions first (`n_normal` of them), then one *connector* for
each movement from a lane to another. All arrays are fixed; `make` builds them from a road map and
its movements, whatever these come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.errors import VrcError
from openvrc.contracts.maps import RoadMap
from simulator.traffic.conflicts import Conflicts, find_conflicts
from simulator.traffic.pieces import Pieces, pieces_of
from simulator.traffic.signals import SignalPlans

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NOWHERE = -1
LATERAL_MPS2 = 2.0
"""Sideways acceleration drivers take in turns: 85th percentile of passenger cars in town."""
SLOWEST_TURN_MPS = 3.0


class NetworkError(VrcError):
    """A network that cannot be driven on; says why."""


@dataclass(frozen=True)
class Link:
    """One movement: from a lane of the road map to another, over a junction."""

    from_lane: int  # numbers of `road_map.lane_ids`
    to_lane: int
    points_xy_m: FloatArray  # (n, 2)
    segment: int  # of the road map, for reports: the one inside the junction, or the one before
    length_m: float
    speed_mps: float
    junction: str
    signal: str = ""
    signal_group: int = -1
    name: str = ""
    """Lane inside the junction, by which explicit rights of way call it."""
    rank: float = 0.0
    """Right of way without signal: the larger goes first."""


@dataclass(frozen=True, eq=False)
class TrafficNetwork:
    """Lanes 0 to n_normal - 1 lie between junctions, connectors behind them: one for each link."""

    road_map: RoadMap
    n_normal: int
    edge_ids: tuple[str, ...]
    edge_segment: IntArray  # (n_edges,) of the road map
    lane_edge: IntArray  # (n_lanes,) NOWHERE for connectors
    lane_segment: IntArray  # (n_lanes,) of the road map
    lane_index: IntArray  # (n_lanes,) 0 is the rightmost
    lane_name: tuple[str, ...]
    length_m: FloatArray  # (n_lanes,)
    limit_mps: FloatArray  # (n_lanes,)
    is_for_cars: BoolArray  # (n_lanes,) False: buses only
    left: IntArray  # (n_lanes,) or NOWHERE
    right: IntArray  # (n_lanes,)
    before: IntArray  # (n_lanes,) the lane a connector starts from, NOWHERE for others
    after: IntArray  # (n_lanes,) the lane a connector leads to, NOWHERE for others
    link_from: IntArray  # (n_links,) lanes, ascending
    link_to: IntArray  # (n_links,)
    link_signal: IntArray  # (n_links,) number of a head of `signals`, or NOWHERE
    signals: SignalPlans
    conflicts: Conflicts
    points_xy_m: tuple[FloatArray, ...]  # per lane
    junctions: tuple[str, ...] = ()
    link_junction: IntArray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def n_lanes(self) -> int:
        """All lanes and connectors."""
        return len(self.length_m)

    @property
    def n_edges(self) -> int:
        """Segments between junctions."""
        return len(self.edge_ids)

    @cached_property
    def edge_lanes(self) -> IntArray:
        """(n_edges + 1,): the lanes of edge e are `edge_lanes[e]` to `edge_lanes[e + 1]`."""
        counts = np.bincount(self.lane_edge[: self.n_normal], minlength=self.n_edges)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def edge_length_m(self) -> FloatArray:
        """(n_edges,)."""
        return self.length_m[self.edge_lanes[:-1]]

    @cached_property
    def link_edges(self) -> tuple[IntArray, IntArray]:
        """Edges each link (n_links,) comes from and leads to."""
        return self.lane_edge[self.link_from], self.lane_edge[self.link_to]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.edge_ids)}

    def edge(self, edge_id: str) -> int:
        """Number of an edge. Raises NetworkError for one that is not there."""
        try:
            return self._numbers[edge_id]
        except KeyError:
            raise NetworkError(f"edge {edge_id!r} is not in the network") from None

    def lane(self, edge_id: str, index: int) -> int:
        """Number of a lane by its index from the right. Raises NetworkError."""
        first, last = self.edge_lanes[self.edge(edge_id) :][:2]
        found = np.flatnonzero(self.lane_index[first:last] == index)
        if not found.size:
            raise NetworkError(f"edge {edge_id!r} has no lane {index} for vehicles")
        return int(first + found[0])

    def entries(self) -> IntArray:
        """Edges nobody can come to from another: where traffic enters."""
        return np.setdiff1d(np.arange(self.n_edges), self.link_edges[1])

    def exits(self) -> IntArray:
        """Edges that lead nowhere: where traffic leaves."""
        return np.setdiff1d(np.arange(self.n_edges), self.link_edges[0])

    @cached_property
    def _pieces(self) -> Pieces:
        return pieces_of(self.points_xy_m, self.length_m)

    def place(
        self, lane: IntArray, offset_m: FloatArray, to_left_m: FloatArray | float = 0.0
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y (m) and course (deg, 0 north, clockwise) of points along lanes, all (n,).

        `to_left_m` moves a point across its lane. Fastest when sorted by lane and offset.
        """
        return self._pieces.place(lane, offset_m, to_left_m)


def make(
    road_map: RoadMap,
    links: Sequence[Link],
    signals: SignalPlans | None = None,
    rights: tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]] | None = None,
    speed_of_lane_mps: dict[str, float] | None = None,
) -> TrafficNetwork:
    """A network of a map's lanes for vehicles and these movements between them.

    `signals` are plans whose heads are (signal, group) as the links name them; `rights` are who
    yields to whom and who crosses whom, by the links' names. Raises NetworkError where nothing can
    be driven on.
    """
    driven = np.array([bool({"motor", "bus"} & set(allows)) for allows in road_map.lane_allows])
    normal = np.flatnonzero(driven & ~road_map.segment_is_internal[road_map.lane_segment])
    if not normal.size:
        raise NetworkError("the map has no lane for vehicles between junctions")
    number_of = np.full(road_map.n_lanes, NOWHERE, np.int64)
    number_of[normal] = np.arange(len(normal))
    usable = [k for k in links if min(number_of[k.from_lane], number_of[k.to_lane]) >= 0]
    usable.sort(key=lambda link: (number_of[link.from_lane], number_of[link.to_lane], link.name))
    segments, edge_of_lane = np.unique(road_map.lane_segment[normal], return_inverse=True)
    n, n_links = len(normal), len(usable)
    plans = signals if signals is not None else SignalPlans.none()
    heads = {head: number for number, head in enumerate(plans.heads)}
    junctions = sorted({link.junction for link in usable})
    place_of = {name: number for number, name in enumerate(junctions)}
    link_from = np.array([number_of[link.from_lane] for link in usable], np.int64)
    link_to = np.array([number_of[link.to_lane] for link in usable], np.int64)
    points = [road_map.lane_points(lane) for lane in normal.tolist()]
    limits = road_map.segment_speed_limit_mps[road_map.lane_segment[normal]]
    own = speed_of_lane_mps or {}
    names = [road_map.lane_ids[lane] for lane in normal.tolist()]
    limits = np.array([own.get(name, limit) for name, limit in zip(names, limits, strict=True)])
    is_for_cars = np.array(["motor" in road_map.lane_allows[lane] for lane in normal.tolist()])
    nowhere = np.full(n, NOWHERE, np.int64)
    off = np.full(n_links, NOWHERE, np.int64)
    left, right = _neighbours(edge_of_lane)
    return TrafficNetwork(
        road_map=road_map,
        n_normal=n,
        edge_ids=tuple(road_map.segment_ids[number] for number in segments.tolist()),
        edge_segment=segments.astype(np.int64),
        lane_edge=np.concatenate([edge_of_lane, off]),
        lane_segment=np.concatenate(
            [road_map.lane_segment[normal], [link.segment for link in usable]]
        ).astype(np.int64),
        lane_index=np.concatenate([road_map.lane_index[normal], np.zeros(n_links)]).astype(
            np.int64
        ),
        lane_name=(*names, *(link.name for link in usable)),
        length_m=np.concatenate([road_map.lane_length_m[normal], [k.length_m for k in usable]]),
        limit_mps=np.maximum(
            np.concatenate([limits, [link.speed_mps for link in usable]]), SLOWEST_TURN_MPS / 2
        ),
        is_for_cars=np.concatenate([is_for_cars, np.ones(n_links, np.bool_)]),
        left=np.concatenate([left, off]),
        right=np.concatenate([right, off]),
        before=np.concatenate([nowhere, link_from]),
        after=np.concatenate([nowhere, link_to]),
        link_from=link_from,
        link_to=link_to,
        link_signal=np.array(
            [heads.get((link.signal, link.signal_group), NOWHERE) for link in usable], np.int64
        ),
        signals=plans,
        conflicts=find_conflicts(usable, link_from, link_to, edge_of_lane[link_from], rights),
        points_xy_m=(*points, *(link.points_xy_m for link in usable)),
        junctions=tuple(junctions),
        link_junction=np.array([place_of[link.junction] for link in usable], np.int64),
    )


def _neighbours(edge_of_lane: IntArray) -> tuple[IntArray, IntArray]:
    """Left and right neighbour of every normal lane: lanes of an edge stand from the right."""
    n = len(edge_of_lane)
    same = edge_of_lane[1:] == edge_of_lane[:-1]
    left, right = np.full(n, NOWHERE, np.int64), np.full(n, NOWHERE, np.int64)
    left[:-1][same] = np.flatnonzero(same) + 1
    right[1:][same] = np.flatnonzero(same)
    return left, right


def turn_speed_mps(points_xy_m: FloatArray, length_m: float, limit_mps: float) -> float:
    """Speed at which a curve is driven: its mean radius at a comfortable sideways acceleration."""
    steps = np.diff(points_xy_m, axis=0)
    steps = steps[np.hypot(steps[:, 0], steps[:, 1]) > 1e-6]
    if len(steps) < 2:
        return limit_mps
    course = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    bend = abs(float(course[-1] - course[0]))
    if bend < 0.1:
        return limit_mps
    return float(np.clip(np.sqrt(LATERAL_MPS2 * length_m / bend), SLOWEST_TURN_MPS, limit_mps))
