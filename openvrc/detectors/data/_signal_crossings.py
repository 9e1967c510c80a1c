"""Vehicles that have just passed a signal's stop line, and those of them that did so on red."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, pack_words
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._view import view_of

JUST_S = 1.05
"""Since the line was passed: a sample a second finds every vehicle once."""
MIN_SPEED_MPS = 3.0
"""Who crawls may stand at the line and be matched behind it."""
MIN_INSIDE_M = 3.0
"""Two standard deviations of a position."""
WINDOW_S = 600.0
MIN_ON_RED = 5
WRONG_RATIO, RIGHT_RATIO = 0.5, 0.25
"""Of those who pass: a lane that may turn on red, or drivers who do, stay below a quarter."""
RED_FOR_S = 3.0
"""Who passes sooner after red has begun is a driver's matter, or a clock's second."""


class Crossing(NamedTuple):
    """A vehicle seen just behind a stop line; tuples sort by time."""

    at_ns: int
    vehicle: str
    segment: int
    passed_ns: int


@dataclass
class Approach:
    """A segment that ends at a signal: who passed its line in the last ten minutes."""

    passed: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """Vehicle to when, and whether on red; oldest first."""
    open_since_ns: int | None = None
    is_unknown: bool = False
    """Nobody has passed for so long that nothing is known of the open episode."""

    @property
    def newest_ns(self) -> int:
        """When somebody passed last, of those who are booked."""
        return max((at_ns for at_ns, _ in self.passed.values()), default=ABSENT_I64)

    def take(self, crossing: Crossing, is_red: bool) -> bool:
        """Book a vehicle; False for one that is booked already."""
        oldest_ns = crossing.at_ns - int(WINDOW_S * NS_PER_S)
        while self.passed and self.passed[first := next(iter(self.passed))][0] < oldest_ns:
            del self.passed[first]
        if crossing.vehicle in self.passed:
            return False
        self.passed[crossing.vehicle] = (crossing.passed_ns, is_red)
        return True

    @property
    def on_red_ns(self) -> list[int]:
        """When vehicles passed on red."""
        return [at_ns for at_ns, is_red in self.passed.values() if is_red]


class StopLines:
    """What a map says of signals: the groups of each approach, and what lies behind its line."""

    def __init__(self, road_map: RoadMap) -> None:
        self.roads: Roads = roads_of(road_map)
        self.groups: dict[int, set[str]] = defaultdict(set)
        for head in road_map.signal_heads:
            name = f"{head.intersection_id}:{head.signal_group}"
            self.groups[road_map.index_of(head.segment_id)].add(name)
        self._approach_of = self._approaches(road_map)

    def _approaches(self, road_map: RoadMap) -> npt.NDArray[np.int64]:
        """Of each segment inside a junction the one approach that leads to it, else -1."""
        n = road_map.n_segments
        owner = np.repeat(np.arange(n), np.diff(road_map.successor_offsets))
        found = np.full(n + 1, -1, np.int64)
        many = np.zeros(n + 1, np.int64)
        np.add.at(many, road_map.successor_segments, 1)
        found[road_map.successor_segments] = owner
        has_signal = np.zeros(n + 1, np.bool_)
        has_signal[list(self.groups)] = True
        is_one = (many == 1) & self.roads.is_internal & has_signal[found]
        is_one[-1] = False
        return np.where(is_one, found, -1)

    def crossings(self, batch: Batch) -> list[Crossing]:
        """Rows of vehicles that passed a line within the last second."""
        view = view_of(batch, self.roads)
        approach = self._approach_of[view.segment]
        rows = np.flatnonzero(approach >= 0)
        if not rows.size:
            return []
        offset_m, speed_mps = view.offset_m[rows], view.speed_mps[rows]
        is_just = (offset_m >= MIN_INSIDE_M) & (offset_m < JUST_S * speed_mps)
        is_just &= (speed_mps > MIN_SPEED_MPS) & view.is_in_time[rows] & view.is_motor[rows]
        rows = rows[is_just]
        ago_ns = (offset_m[is_just] / speed_mps[is_just] * NS_PER_S).astype(np.int64)
        at_ns = view.at_ns[rows]
        words = batch.dictionary("subject_id")
        vehicles = [words[code] for code in batch.codes("subject_id")[rows].tolist()]
        return [
            Crossing(*values)
            for values in zip(
                at_ns.tolist(), vehicles, approach[rows].tolist(), (at_ns - ago_ns).tolist(),
                strict=True,
            )
        ]  # fmt: skip


def pack_approaches(approaches: dict[int, Approach]) -> Arrays:
    """Approaches, and who passed them, as arrays."""
    rows = [
        (segment, vehicle, at_ns, is_red)
        for segment, one in approaches.items()
        for vehicle, (at_ns, is_red) in one.passed.items()
    ]
    opened = [
        (s, one.open_since_ns, one.is_unknown) for s, one in approaches.items() if one.open_since_ns
    ]
    return {
        "passed.segment": np.array([row[0] for row in rows], np.int64),
        "passed.vehicle": pack_words([row[1] for row in rows]),
        "passed.at_ns": np.array([row[2] for row in rows], np.int64),
        "passed.is_red": np.array([row[3] for row in rows], np.bool_),
        "open.segment": np.array([row[0] for row in opened], np.int64),
        "open.since_ns": np.array([row[1] for row in opened], np.int64),
        "open.is_unknown": np.array([row[2] for row in opened], np.bool_),
    }


def unpack_approaches(arrays: Arrays) -> dict[int, Approach]:
    """What `pack_approaches` made."""
    approaches: dict[int, Approach] = defaultdict(Approach)
    names = ("segment", "vehicle", "at_ns", "is_red")
    columns: list[list[Any]] = [arrays[f"passed.{name}"].tolist() for name in names]
    for segment, vehicle, at_ns, is_red in zip(*columns, strict=True):
        approaches[segment].passed[vehicle] = (at_ns, is_red)
    since_ns = arrays["open.since_ns"]
    is_unknown = arrays.get("open.is_unknown", np.zeros(len(since_ns), np.bool_))  # not always told
    for segment, begun_ns, silent in zip(
        arrays["open.segment"].tolist(), since_ns.tolist(), is_unknown.tolist(), strict=True
    ):
        approaches[segment].open_since_ns, approaches[segment].is_unknown = begun_ns, silent
    return approaches
