"""A SUMO network as a traffic network: its own connections, rights of way and programmes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openvrc.contracts.maps import RoadMap
from openvrc.mapformats import read_map
from openvrc.mapformats.sumo_junctions import Junctions, Movement, Program, read_junctions
from simulator.traffic.network import Link, TrafficNetwork, make, turn_speed_mps
from simulator.traffic.signals import CODE_OF_LETTER, GREEN_YIELD, SignalPlans

RANK_OF_STATE = {"M": 2.0, "O": 2.0, "Z": 1.5, "=": 1.0, "m": 0.0, "o": 0.0, "s": -1.0, "w": -1.0}


def read_sumo(path: Path) -> TrafficNetwork:
    """The network of a .net.xml or .net.xml.gz. Raises MapError, NetworkError."""
    return from_sumo(read_map(path), read_junctions(path))


def from_sumo(road_map: RoadMap, junctions: Junctions) -> TrafficNetwork:
    """A network of a map and what its file says of junctions."""
    number = {name: lane for lane, name in enumerate(road_map.lane_ids)}
    links = [
        _link(road_map, number, movement, junctions.lane_speed_mps)
        for movement in junctions.movements
        if movement.from_lane in number and movement.to_lane in number
    ]
    plans = {
        name: _plan(program)
        for name, program in junctions.programs.items()
        if not any(letter in "oO" for _, state in program.phases for letter in state)
    }
    rights = (
        _of_links(junctions.yields, junctions.movements),
        _of_links(junctions.foes, junctions.movements),
    )
    signals = SignalPlans.of(plans)
    return make(road_map, links, signals, rights, junctions.lane_speed_mps)


def _plan(program: Program) -> tuple[float, list[tuple[float, list[int]]]]:
    return program.offset_s, [
        (duration_s, [CODE_OF_LETTER.get(letter, GREEN_YIELD) for letter in state])
        for duration_s, state in program.phases
        if duration_s > 0
    ]


def _of_links(
    named: dict[str, frozenset[str]], movements: tuple[Movement, ...]
) -> dict[str, frozenset[str]]:
    """Relations of lanes inside junctions as relations of movements, named by their first one."""
    first = {lane: movement.via[0] for movement in movements for lane in movement.via}
    return {
        first.get(lane, lane): frozenset(first.get(other, other) for other in others)
        for lane, others in named.items()
    }


def _link(
    road_map: RoadMap, number: dict[str, int], movement: Movement, speeds: dict[str, float]
) -> Link:
    via = [number[lane] for lane in movement.via if lane in number]
    from_lane, to_lane = number[movement.from_lane], number[movement.to_lane]
    ends = [road_map.lane_points(from_lane)[-1:], road_map.lane_points(to_lane)[:1]]
    inside = [road_map.lane_points(lane) for lane in via]
    points = np.concatenate(inside) if inside else np.concatenate(ends)
    drawn_m = float(np.hypot(*np.diff(points, axis=0).T).sum())
    length_m = float(road_map.lane_length_m[via].sum()) if via else max(drawn_m, 0.1)
    segment = int(road_map.lane_segment[via[0] if via else from_lane])
    limit_mps = min((speeds[lane] for lane in movement.via if lane in speeds), default=np.inf)
    if not np.isfinite(limit_mps):
        limit_mps = float(road_map.segment_speed_limit_mps[segment])
    return Link(
        from_lane=from_lane,
        to_lane=to_lane,
        points_xy_m=points,
        segment=segment,
        length_m=max(length_m, 0.1),
        speed_mps=turn_speed_mps(points, drawn_m, limit_mps) if not via else limit_mps,
        junction=road_map.segment_to[road_map.lane_segment[from_lane]],
        signal=movement.signal,
        signal_group=movement.link_index,
        name=movement.via[0] if movement.via else f"{movement.from_lane}>{movement.to_lane}",
        rank=RANK_OF_STATE.get(movement.state, 1.0),
    )
