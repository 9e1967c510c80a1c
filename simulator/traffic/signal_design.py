"""Signal groups and fixed-time plans for junctions that come without: two or four stages.

A group is an approach's left turn, or its other movements (even and odd numbers, by approach). The
approaches of one axis are green together; where all of them have a lane of their own for the left
turn it gets a stage of its own, else it waits for a gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.traffic.signals import AMBER, GREEN, GREEN_YIELD, RED

GREEN_S, LEFT_GREEN_S = 26.0, 9.0
AMBER_S, ALL_RED_S = 3.0, 2.0  # RiLSA for 50 km/h, and a usual clearing time
LEFT_RAD = np.radians(35.0)

Key = tuple[str, int, str, int]
Plan = tuple[float, list[tuple[float, list[int]]]]


def design(
    movements: Sequence[Any], signalled: Mapping[str, float]
) -> tuple[dict[Key, int], dict[str, Plan]]:
    """Group of each movement of signalled junctions, and their plans with their offsets in s.

    Movements have road, lane, goal, goal_lane and bend_rad; the key of one is (road id, lane,
    goal id, goal lane).
    """
    at: dict[str, list[Any]] = defaultdict(list)
    for movement in movements:
        if movement.road.to_id in signalled:
            at[movement.road.to_id].append(movement)
    groups: dict[Key, int] = {}
    plans: dict[str, Plan] = {}
    for junction, members in sorted(at.items()):
        approaches = sorted({m.road.id for m in members}, key=lambda name: _course(members, name))
        place = {name: 2 * number for number, name in enumerate(approaches)}
        for m in members:
            group = place[m.road.id] + int(m.bend_rad > LEFT_RAD)
            groups[m.road.id, m.lane, m.goal.id, m.goal_lane] = group
        plans[junction] = (signalled[junction], _plan(members, approaches))
    return groups, plans


def _course(members: Sequence[Any], road_id: str) -> float:
    """Direction an approach drives in, rad, anticlockwise from east."""
    line = next(m.road.lines[0] for m in members if m.road.id == road_id)
    step = line[-1] - line[-2]
    return float(np.arctan2(step[1], step[0]))


def _plan(members: Sequence[Any], approaches: Sequence[str]) -> list[tuple[float, list[int]]]:
    axes: dict[int, list[int]] = defaultdict(list)
    for number, name in enumerate(approaches):
        axis = round((_course(members, name) % np.pi) / (np.pi / 2)) % 2
        axes[axis].append(number)
    n_groups = 2 * len(approaches)
    phases: list[tuple[float, list[int]]] = []
    for axis in sorted(axes):
        numbers = axes[axis]
        own_lane = all(_has_left_lane(members, approaches[k]) for k in numbers)
        through = {2 * k: GREEN for k in numbers}
        lefts = {2 * k + 1: GREEN for k in numbers}
        if own_lane:
            phases += _stage(through, GREEN_S, n_groups) + _stage(lefts, LEFT_GREEN_S, n_groups)
        else:
            waits = dict.fromkeys(lefts, GREEN_YIELD)
            phases += _stage(through | waits, GREEN_S + LEFT_GREEN_S, n_groups)
    return phases


def _stage(
    green: Mapping[int, int], green_s: float, n_groups: int
) -> list[tuple[float, list[int]]]:
    open_ = [green.get(group, RED) for group in range(n_groups)]
    ending = [AMBER if group in green else RED for group in range(n_groups)]
    return [(green_s, open_), (AMBER_S, ending), (ALL_RED_S, [RED] * n_groups)]


def _has_left_lane(members: Sequence[Any], road_id: str) -> bool:
    """Whether an approach turns left, and from a lane nobody else uses."""
    left = {m.lane for m in members if m.road.id == road_id and m.bend_rad > LEFT_RAD}
    other = {m.lane for m in members if m.road.id == road_id and m.bend_rad <= LEFT_RAD}
    return bool(left) and not left & other
