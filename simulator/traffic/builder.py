"""Roads and junctions drawn by hand or taken from a map without junctions, made into a network.

Roads end a little before a junction; a movement is a curve from lane to lane, tangent to both.
Which lane leads where follows the usual marking: right from the rightmost, left from the leftmost,
straight on from all (but a left lane of three or more, where there is a left turn).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, RoadMap, Segment, SignalHead
from simulator.traffic.network import Link, NetworkError, TrafficNetwork, make, turn_speed_mps
from simulator.traffic.signal_design import design
from simulator.traffic.signals import SignalPlans

FloatArray = NDArray[np.float64]

LANE_WIDTH_M = 3.5
CURVE_POINTS = 9
STRAIGHT_RAD = np.radians(35.0)
U_TURN_RAD = np.radians(165.0)
ORIGIN_LAT_DEG, ORIGIN_LON_DEG = 53.55, 9.99


@dataclass(frozen=True)
class Road:
    """One direction of a road between two junctions."""

    id: str
    from_id: str
    to_id: str
    lines: tuple[FloatArray, ...]  # per lane (n, 2) in m, rightmost first
    speed_limit_mps: float
    name: str = ""
    allows: tuple[tuple[str, ...], ...] = ()  # per lane; empty: motor and bus


@dataclass(frozen=True)
class Movement:
    """A lane's way over a junction."""

    road: Road
    lane: int
    goal: Road
    goal_lane: int
    bend_rad: float  # positive to the left

    @property
    def segment_id(self) -> str:
        """Id of the segment inside the junction."""
        return f":{self.road.to_id}_{self.road.id}_{self.goal.id}"


@dataclass
class Builder:
    """Collects roads; `network` makes them one."""

    origin_lat_deg: float = ORIGIN_LAT_DEG
    origin_lon_deg: float = ORIGIN_LON_DEG
    roads: dict[str, Road] = field(default_factory=dict)
    explicit: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    onward: dict[str, frozenset[str]] = field(default_factory=dict)
    """Road -> those it may lead to, where not to all that leave its junction."""
    signalled: dict[str, float] = field(default_factory=dict)  # junction -> offset of its plan, s

    def road(self, road: Road) -> None:
        """Add one. Raises NetworkError for an id that is there already."""
        if road.id in self.roads:
            raise NetworkError(f"road {road.id!r} is there twice")
        self.roads[road.id] = road

    def straight(
        self,
        road_id: str,
        ends: tuple[str, str],
        start_xy_m: ArrayLike,
        end_xy_m: ArrayLike,
        lanes: int,
        speed_limit_mps: float,
        median_m: float = 0.0,
    ) -> None:
        """Add a straight road; its lanes lie to the right of the line from start to end."""
        start, end = np.array(start_xy_m, np.float64), np.array(end_xy_m, np.float64)
        ahead = (end - start) / np.hypot(*(end - start))
        right = np.array([ahead[1], -ahead[0]])
        lines = tuple(
            np.array([start, end]) + right * (median_m / 2 + (lanes - 1 - k + 0.5) * LANE_WIDTH_M)
            for k in range(lanes)
        )
        self.road(Road(road_id, *ends, lines, speed_limit_mps))

    def connect(self, from_road: str, to_road: str, lanes: Sequence[tuple[int, int]]) -> None:
        """State which lanes lead to which; what is stated for a road replaces the usual."""
        self.explicit[from_road, to_road] = list(lanes)

    def network(self) -> TrafficNetwork:
        """The network. Raises NetworkError, MapError."""
        movements = self._movements()
        groups, plans = design(movements, self.signalled)
        frame = LocalFrame(self.origin_lat_deg, self.origin_lon_deg)
        road_map = self._road_map(movements, groups, frame)
        lane_number = {name: lane for lane, name in enumerate(road_map.lane_ids)}
        links = [_link(road_map, lane_number, m, groups) for m in movements]
        return make(road_map, links, SignalPlans.of(plans))

    def _movements(self) -> list[Movement]:
        leaving: dict[str, list[Road]] = defaultdict(list)
        for road in self.roads.values():
            leaving[road.from_id].append(road)
        found = []
        for road in self.roads.values():
            stated = [key for key in self.explicit if key[0] == road.id]
            if stated:
                for key in stated:
                    goal = self.roads[key[1]]
                    found += [
                        Movement(road, a, goal, b, _bend(road, goal)) for a, b in self.explicit[key]
                    ]
            else:
                onward = self.onward.get(road.id)
                goals = leaving[road.to_id]
                found += _usual(road, [g for g in goals if onward is None or g.id in onward])
        return found

    def _road_map(
        self,
        movements: Sequence[Movement],
        groups: Mapping[tuple[str, int, str, int], int],
        frame: LocalFrame,
    ) -> RoadMap:
        after: dict[str, dict[str, None]] = defaultdict(dict)
        inside: dict[str, list[Movement]] = defaultdict(list)
        for movement in movements:
            after[movement.road.id][movement.segment_id] = None
            inside[movement.segment_id].append(movement)
        segments = [_outer(road, tuple(after[road.id]), frame) for road in self.roads.values()]
        segments += [_inner(name, group, frame) for name, group in inside.items()]
        heads = {}
        for movement in movements:
            key = (movement.road.id, movement.lane, movement.goal.id, movement.goal_lane)
            if key in groups:
                head = _head(movement, groups[key], frame)
                heads[head.intersection_id, head.signal_group, head.segment_id, head.lane_index] = (
                    head
                )
        return RoadMap.build(
            segments,
            signal_heads=heads.values(),
            origin_lat_deg=self.origin_lat_deg,
            origin_lon_deg=self.origin_lon_deg,
        )


def _usual(road: Road, leaving: Sequence[Road]) -> list[Movement]:
    """Movements by the usual marking."""
    goals = [(goal, _bend(road, goal)) for goal in leaving]
    onward = [(goal, bend) for goal, bend in goals if abs(bend) < U_TURN_RAD]
    found: list[Movement] = []
    n = len(road.lines)
    has_left = any(bend > STRAIGHT_RAD for _, bend in onward)
    has_straight = any(abs(bend) <= STRAIGHT_RAD for _, bend in onward)
    for goal, bend in onward:
        m = len(goal.lines)
        if bend < -STRAIGHT_RAD:
            pairs = [(0, 0)]
        elif bend > STRAIGHT_RAD:
            pairs = [(n - 1, m - 1)]
        else:
            last = n - 1 if has_left and n >= 3 else n
            pairs = [(k, min(k, m - 1)) for k in range(last)]
        if not has_straight and abs(bend) > STRAIGHT_RAD:  # at a fork's end all lanes turn
            half = range((n + 1) // 2) if bend < 0 else range(n // 2, n)
            pairs = [(k, min(k, m - 1) if bend < 0 else max(m - n + k, 0)) for k in half]
            if len(onward) == 1:
                pairs = [(k, min(k, m - 1)) for k in range(n)]
        found += [Movement(road, a, goal, b, bend) for a, b in pairs]
    return found


def _bend(road: Road, goal: Road) -> float:
    """Angle from a road's end to another's start in rad, positive to the left."""
    before, behind = np.diff(road.lines[0][-2:], axis=0)[0], np.diff(goal.lines[0][:2], axis=0)[0]
    turn = np.arctan2(behind[1], behind[0]) - np.arctan2(before[1], before[0])
    return float((turn + np.pi) % (2 * np.pi) - np.pi)


def _curve(movement: Movement) -> FloatArray:
    """A cubic from lane to lane, tangent to both."""
    before, behind = movement.road.lines[movement.lane], movement.goal.lines[movement.goal_lane]
    start, end = before[-1], behind[0]
    reach_m = float(np.hypot(*(end - start)))
    if reach_m < 1e-3:
        return np.array([start, start + 0.1 * _unit(before[-1] - before[-2])])
    if abs(movement.bend_rad) < 0.02 and abs(_aside(before, end)) < 0.02:
        return np.array([start, end])
    handle_m = reach_m * (0.39 if abs(movement.bend_rad) > STRAIGHT_RAD else 0.4)
    p1 = start + handle_m * _unit(before[-1] - before[-2])
    p2 = end - handle_m * _unit(behind[1] - behind[0])
    t = np.linspace(0.0, 1.0, CURVE_POINTS)[:, None]
    return np.asarray(
        (1 - t) ** 3 * start + 3 * t * (1 - t) ** 2 * p1 + 3 * t**2 * (1 - t) * p2 + t**3 * end
    )


def _unit(step: FloatArray) -> FloatArray:
    return np.asarray(step / max(float(np.hypot(*step)), 1e-9))


def _aside(line: FloatArray, point: FloatArray) -> float:
    ahead, away = _unit(line[-1] - line[-2]), point - line[-1]
    return float(ahead[0] * away[1] - ahead[1] * away[0])


def _length_m(line: FloatArray) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _degrees(line: FloatArray, frame: LocalFrame) -> tuple[tuple[float, float], ...]:
    lat_deg, lon_deg = frame.to_lat_lon_deg(line[:, 0], line[:, 1])
    return tuple(zip(lon_deg.tolist(), lat_deg.tolist(), strict=True))


def _outer(road: Road, successors: tuple[str, ...], frame: LocalFrame) -> Segment:
    length_m = min(map(_length_m, road.lines))
    allows = road.allows or (("motor", "bus"),) * len(road.lines)
    return Segment(
        id=road.id,
        from_id=road.from_id,
        to_id=road.to_id,
        name=road.name,
        length_m=length_m,
        speed_limit_mps=road.speed_limit_mps,
        successors=successors,
        lanes=tuple(
            Lane(
                id=f"{road.id}_{index}",
                index=index,
                length_m=length_m,
                width_m=LANE_WIDTH_M,
                allows=allows[index],
                coordinates=_degrees(line, frame),
            )
            for index, line in enumerate(road.lines)
        ),
        coordinates=_degrees(road.lines[len(road.lines) // 2], frame),
    )


def _inner(name: str, movements: Sequence[Movement], frame: LocalFrame) -> Segment:
    curves = [_curve(movement) for movement in movements]
    first = movements[0]
    limit = min(first.road.speed_limit_mps, first.goal.speed_limit_mps)
    return Segment(
        id=name,
        from_id=first.road.to_id,
        to_id=first.road.to_id,
        length_m=_length_m(curves[0]),
        speed_limit_mps=min(turn_speed_mps(c, _length_m(c), limit) for c in curves),
        is_internal=True,
        successors=(first.goal.id,),
        lanes=tuple(
            Lane(
                id=f"{name}_{index}",
                index=index,
                length_m=_length_m(curve),
                width_m=LANE_WIDTH_M,
                allows=("motor", "bus"),
                coordinates=_degrees(curve, frame),
            )
            for index, curve in enumerate(curves)
        ),
        coordinates=_degrees(curves[0], frame),
    )


def _head(movement: Movement, group: int, frame: LocalFrame) -> SignalHead:
    line = movement.road.lines[movement.lane]
    ((lon_deg, lat_deg),) = _degrees(line[-1:], frame)
    return SignalHead(
        intersection_id=movement.road.to_id,
        signal_group=group,
        lat_deg=lat_deg,
        lon_deg=lon_deg,
        segment_id=movement.road.id,
        lane_index=movement.lane,
    )


def _link(
    road_map: RoadMap,
    lane_number: Mapping[str, int],
    movement: Movement,
    groups: Mapping[tuple[str, int, str, int], int],
) -> Link:
    curve = _curve(movement)
    limit = min(movement.road.speed_limit_mps, movement.goal.speed_limit_mps)
    key = (movement.road.id, movement.lane, movement.goal.id, movement.goal_lane)
    group = groups.get(key, -1)
    length_m = _length_m(curve)
    return Link(
        from_lane=lane_number[f"{movement.road.id}_{movement.lane}"],
        to_lane=lane_number[f"{movement.goal.id}_{movement.goal_lane}"],
        points_xy_m=curve,
        segment=road_map.index_of(movement.segment_id),
        length_m=max(length_m, 0.1),
        speed_mps=turn_speed_mps(curve, length_m, limit),
        junction=movement.road.to_id,
        signal=movement.road.to_id if group >= 0 else "",
        signal_group=group,
        name=f"{movement.segment_id}_{movement.lane}_{movement.goal_lane}",
        rank=round(movement.road.speed_limit_mps * len(movement.road.lines)),
    )
