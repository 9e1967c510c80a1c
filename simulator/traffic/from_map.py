"""Any map file as a traffic network; maps without junctions get them drawn.

A map of OpenStreetMap or GeoJSON has segments that meet in a point. Here each of them ends some
metres before it, and connectors lead over the gap; segment ids stay as they are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import MapError, RoadMap
from openvrc.mapformats import read_map
from simulator.traffic.builder import Builder, Road
from simulator.traffic.from_sumo import read_sumo
from simulator.traffic.network import NetworkError, TrafficNetwork

FloatArray = NDArray[np.float64]

SETBACK_M = 9.0
"""How far before a junction's point its stop lines are."""
BEND_SETBACK_M = 2.0
MOST_SHARE = 0.35
"""Of a segment's length, at most, at either end."""


def read_network(path: Path) -> TrafficNetwork:
    """The network of a map file of any known format. Raises MapError, NetworkError."""
    road_map = read_map(path)
    if road_map.segment_is_internal.any():
        try:
            return read_sumo(path)
        except MapError as error:
            raise NetworkError(
                f"{path.name}: has junctions but is no SUMO network: {error}"
            ) from error
    return from_map(road_map)


def from_map(road_map: RoadMap) -> TrafficNetwork:
    """A network of a map whose segments meet in points; signals where the map has heads."""
    builder = Builder(road_map.origin_lat_deg, road_map.origin_lon_deg)
    ends = Counter(road_map.segment_from) + Counter(road_map.segment_to)
    through = {node for node, count in ends.items() if count <= 4 and _is_bend(road_map, node)}
    # Maps need not say what follows what. In one that does, a segment without successors is a
    # dead end; in one that never does, all that leave a segment's end follow it.
    states_ways_on = road_map.successor_segments.size > 0
    for number, name in enumerate(road_map.segment_ids):
        lanes = np.flatnonzero(road_map.lane_segment == number)
        driven = [k for k in lanes.tolist() if {"motor", "bus"} & set(road_map.lane_allows[k])]
        if not driven:
            continue
        start, end = road_map.segment_from[number], road_map.segment_to[number]
        trims = [BEND_SETBACK_M if node in through else SETBACK_M for node in (start, end)]
        lines = tuple(_trimmed(road_map.lane_points(k), *trims) for k in driven)
        builder.road(
            Road(
                name,
                start,
                end,
                lines,
                float(road_map.segment_speed_limit_mps[number]),
                road_map.segment_name[number],
                tuple(road_map.lane_allows[k] for k in driven),
            )
        )
        if states_ways_on:
            onward = road_map.successors_of(number).tolist()
            builder.onward[name] = frozenset(road_map.segment_ids[other] for other in onward)
    for head in road_map.signal_heads:
        builder.signalled[road_map.segment_to[road_map.index_of(head.segment_id)]] = 0.0
    return builder.network()


def _is_bend(road_map: RoadMap, node: str) -> bool:
    """Whether at most two roads meet: all segments there come from or go to two neighbours."""
    others = {
        other
        for one, other in (
            *zip(road_map.segment_from, road_map.segment_to, strict=True),
            *zip(road_map.segment_to, road_map.segment_from, strict=True),
        )
        if one == node
    }
    return len(others) <= 2


def _trimmed(line: FloatArray, start_m: float, end_m: float) -> FloatArray:
    along_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    total_m = float(along_m[-1])
    low_m, high_m = min(start_m, MOST_SHARE * total_m), max(total_m - end_m, 0.65 * total_m)
    inner = along_m[(along_m > low_m) & (along_m < high_m)]
    at_m = np.concatenate([[low_m], inner, [high_m]])
    return np.column_stack([np.interp(at_m, along_m, line[:, axis]) for axis in (0, 1)])
