"""Which lanes of a road have emptied while others carry traffic: the trace of a shut lane.

Lanes are cut into cells of 50 m. Every second second is looked at; a vehicle counts once it has
been matched to one lane at three looks on end, so that a fix on the lane beside is nothing. Each
cell knows which share of those who passed its place used its lane, and how many have passed on
other lanes since somebody was in it. If drivers chose as before, it would stay empty over n of them
with probability (1 - share)^n; that is what tells an empty lane from a quiet one. Lanes are not
chosen independently (a phase of a signal sends one movement, platoons keep their lane), so a lane
must also have been empty for longer than a cycle, and over twice as many others as ever
between two of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.detection import Arrays
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic import _fleet
from openvrc.detectors.traffic._seconds import Columns, SecondsBuffer
from openvrc.detectors.traffic._view import View

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CELL_M = 50.0
SEEN_EVERY_S = 2
SURE_SAMPLES = 3
SURE_GAP_S = 5  # samples further apart are not on end: one may be lost
EMPTY_S = 90  # the longest common red, and what a cycle sends one way
MAX_CHANCE = 1e-6  # hundreds of lanes are looked at, each for hours
LONGER = 2.0
LEARNED = 12  # vehicles on a lane before its share means something
FADE_S = 900.0  # shares of lanes change over a quarter of an hour
FLOWS_S = 20  # somebody has just driven past the empty lane
NEAR_END_M = 50.0  # vehicles sort themselves for their turns
STANDS_MPS = 1.0
STOOD_S = 30
NEVER_S = -(2**40)
LOOK_S = 5

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "at_ns": (np.int64, ABSENT_I64),
    "segment": (np.int64, -1),
    "lane": (np.int64, -1),
    "samples": (np.int64, 0),
    "cell": (np.int64, -1),
    "open_since_ns": (np.int64, ABSENT_I64),
}


class LaneCells:
    """A map's lanes in cells, `first[segment] + lane * n_cells + place`; places without lanes."""

    def __init__(self, road_map: RoadMap) -> None:
        self.n_lanes = road_map.segment_lane_count.astype(np.int64)
        self.n_cells = np.ceil(road_map.segment_length_m / CELL_M).astype(np.int64)
        self.first = np.concatenate(([0], np.cumsum(self.n_lanes * self.n_cells)))
        self.first_place = np.concatenate(([0], np.cumsum(self.n_cells)))
        segments = np.arange(road_map.n_segments)
        self.segment = np.repeat(segments, self.n_lanes * self.n_cells)
        within = np.arange(int(self.first[-1])) - self.first[self.segment]
        self.lane = within // self.n_cells[self.segment]
        self.number = within - self.lane * self.n_cells[self.segment]
        self.place = self.first_place[self.segment] + self.number
        end_m = (self.number + 1) * CELL_M
        self.is_open = end_m <= (road_map.segment_length_m - NEAR_END_M)[self.segment]
        self.is_open &= ~road_map.segment_is_internal[self.segment]
        self.is_open &= (self.n_lanes >= 2)[self.segment]
        motor = np.array(["motor" in allows for allows in road_map.lane_allows], np.bool_)
        first_lane = np.searchsorted(road_map.lane_segment, segments)
        self.is_open &= motor[first_lane[self.segment] + self.lane]
        self.matters = np.zeros(road_map.n_segments + 1, np.bool_)
        """Segments that have a cell which may be told of; the last is off the map."""
        self.matters[self.segment[self.is_open]] = True

    def of(self, segment: IndexArray, lane: IndexArray, offset_m: FloatArray) -> IndexArray:
        """Cell of each place on the map, all (n,)."""
        place = (offset_m / CELL_M).astype(np.int64)
        place = np.maximum(np.minimum(place, self.n_cells[segment] - 1), 0)
        cell: IndexArray = self.first[segment] + lane * self.n_cells[segment] + place
        return cell


@dataclass(frozen=True)
class Emptied:
    """A stretch of lane that nobody uses any more."""

    first: int
    last: int
    since_s: int
    raised_s: int
    is_unknown: bool = False


@dataclass
class LaneUse:
    """The memory of one zone; arrays per cell or per place."""

    cells: LaneCells
    fleet: Keyed = field(default_factory=lambda: Keyed(SPEC))
    buffer: SecondsBuffer = field(default_factory=lambda: SecondsBuffer(_fleet.EMPTY_ROWS))
    evaluated_s: int = -1
    faded_s: int = -1
    per_cell: dict[str, NDArray[Any]] = field(default_factory=dict)
    per_place: dict[str, NDArray[Any]] = field(default_factory=dict)
    open: dict[int, Emptied] = field(default_factory=dict)
    """Episodes by the first cell of each."""
    ended_s: dict[tuple[int, int], int] = field(default_factory=dict)
    """When somebody drove through a stretch of (segment, lane) again."""
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)

    def __post_init__(self) -> None:
        """Nobody was anywhere."""
        n_cells, n_places = len(self.cells.segment), int(self.cells.first_place[-1])
        self.per_cell = {
            "seen_s": np.full(n_cells, NEVER_S, np.int64),
            "stood_s": np.full(n_cells, NEVER_S, np.int64),
            "passed": np.zeros(n_cells),  # fading
            "share": np.zeros(n_cells),  # of all who passed, less its standard error
            "passed_before": np.zeros(n_cells, np.int64),  # all of its place, when last seen
            "rate_per_s": np.zeros(n_cells),  # of all past its place, when last seen
            "longest": np.zeros(n_cells),  # most others between two of its own, fading
        }
        self.per_place = {
            "passed": np.zeros(n_places),  # fading
            "total": np.zeros(n_places, np.int64),
            "last_s": np.full(n_places, NEVER_S, np.int64),
            "begun_s": np.full(n_places, NEVER_S, np.int64),
        }

    def hold_back(self, view: View) -> None:
        """Keep a batch's rows until their second is complete."""
        _fleet.hold_back(self.buffer, self.fleet, view, SEEN_EVERY_S)

    def fold(self, second: int, rows: Columns) -> None:
        """One second's rows, one a vehicle."""
        self._fade(second)
        sure = self._sure(rows)
        if not len(sure):
            return
        fleet, cells, per_cell = self.fleet, self.cells, self.per_cell
        slot = rows["slot"][sure]
        cell = cells.of(rows["segment"][sure], rows["lane"][sure], rows["offset_m"][sure])
        entered = cell[fleet["cell"][slot] != cell]
        fleet["cell"][slot] = cell
        since = self.per_place["total"][cells.place[cell]] - per_cell["passed_before"][cell]
        np.maximum.at(per_cell["longest"], cell, since)
        per_cell["seen_s"][cell] = second
        per_cell["stood_s"][cell[rows["speed_mps"][sure] < STANDS_MPS]] = second
        np.add.at(per_cell["passed"], entered, 1.0)
        place = cells.place[entered]
        np.add.at(self.per_place["passed"], place, 1.0)
        np.add.at(self.per_place["total"], place, 1)
        self.per_place["last_s"][place] = second
        fresh = place[self.per_place["begun_s"][place] == NEVER_S]
        self.per_place["begun_s"][fresh] = second
        here = cells.place[cell]
        per_cell["passed_before"][cell] = self.per_place["total"][here]
        n = np.maximum(self.per_place["passed"][here], 1.0)
        known_s = second - self.per_place["begun_s"][here] + 1.0
        weight_s = FADE_S * -np.expm1(-known_s / FADE_S)
        per_cell["rate_per_s"][cell] = self.per_place["passed"][here] / weight_s
        share = np.minimum(per_cell["passed"][cell] / n, 1.0)
        low = share - np.sqrt(share * (1.0 - share) / n)
        per_cell["share"][cell] = np.where(per_cell["passed"][cell] >= LEARNED, low, 0.0)

    def _sure(self, rows: Columns) -> IndexArray:
        """Rows of vehicles that have been on their lane for long enough, (n,)."""
        fleet, slot = self.fleet, rows["slot"]
        segment, lane = rows["segment"], rows["lane"]
        on = self.cells.matters[segment] & (lane >= 0)
        on &= lane < self.cells.n_lanes[segment]
        same = (fleet["segment"][slot] == segment) & (fleet["lane"][slot] == lane)
        same &= rows["at_ns"] - fleet["at_ns"][slot] <= SURE_GAP_S * NS_PER_S
        fleet["samples"][slot] = np.where(same, fleet["samples"][slot] + 1, 1)
        for name in ("segment", "lane", "at_ns"):
            fleet[name][slot] = rows[name]
        return np.flatnonzero(on & (fleet["samples"][slot] >= SURE_SAMPLES))

    def _fade(self, second: int) -> None:
        """Let counts fade, once a minute of event time."""
        if self.faded_s < 0:
            self.faded_s = second
        steps = (second - self.faded_s) // 60
        if steps:
            keep = float(np.exp(-60.0 * steps / FADE_S))
            self.per_cell["passed"] *= keep
            self.per_cell["longest"] *= keep
            self.per_place["passed"] *= keep
            self.faded_s += 60 * steps

    def empty(self, second: int) -> BoolArray:
        """Cells that are empty against all expectation, (n_cells,)."""
        per_cell, per_place, cells = self.per_cell, self.per_place, self.cells
        n_cells = len(cells.segment)
        found = np.zeros(n_cells, np.bool_)
        flows = per_place["last_s"][cells.place] > second - FLOWS_S
        one = np.flatnonzero(flows & cells.is_open & (per_cell["seen_s"] <= second - EMPTY_S))
        one = one[per_cell["share"][one] > 0.0]
        others = per_place["total"][cells.place[one]] - per_cell["passed_before"][one]
        chance = (1.0 - per_cell["share"][one]) ** others
        is_new = others >= LONGER * per_cell["longest"][one]
        found[one[(chance < MAX_CHANCE) & is_new]] = True
        return found

    def others_since(self, cell: int) -> int:
        """Vehicles that passed a cell on other lanes since somebody was in it."""
        total = int(self.per_place["total"][self.cells.place[cell]])
        return total - int(self.per_cell["passed_before"][cell])

    def stretches(self, second: int) -> list[Emptied]:
        """Each stretch of two empty cells or more in one lane."""
        cell = np.flatnonzero(self.empty(second))
        if not len(cell):
            return []
        road = self.cells.segment[cell] * 128 + self.cells.lane[cell]
        breaks = np.flatnonzero((np.diff(cell) != 1) | (np.diff(road) != 0)) + 1
        seen_s = self.per_cell["seen_s"]
        found = [
            Emptied(int(part[0]), int(part[-1]), int(seen_s[part].max()), second)
            for part in np.split(cell, breaks)
            if len(part) >= 2
        ]
        # Who drives through a lane again does not reach all of it at once.
        return [
            one
            for one in found
            if self.ended_s.get(self.lane_of(one.first), NEVER_S) <= second - EMPTY_S
        ]

    def lane_of(self, cell: int) -> tuple[int, int]:
        """Segment and lane of a cell."""
        return int(self.cells.segment[cell]), int(self.cells.lane[cell])

    def stands_before(self, first: int, second: int) -> bool:
        """Whether somebody has just stood in the lane, up to two cells before this one."""
        number = int(self.cells.number[first])
        before = self.per_cell["stood_s"][first - min(number, 2) : first]
        return bool(len(before)) and int(before.max()) > second - STOOD_S

    def have_changed_over(self, one: Emptied) -> bool:
        """Whether those who would have used it are on the other lanes.

        Where the flow past it fell by over half of what the lane carried, they have not come.
        """
        share, rate_per_s = (float(self.per_cell[n][one.first]) for n in ("share", "rate_per_s"))
        empty_s = one.raised_s - int(self.per_cell["seen_s"][one.first])
        return self.others_since(one.first) >= (1.0 - share / 2.0) * rate_per_s * empty_s

    def is_used_again(self, one: Emptied) -> bool:
        """Whether somebody has driven through it: was in two of its cells since it was raised."""
        seen_s = self.per_cell["seen_s"][one.first : one.last + 1]
        return int((seen_s >= one.raised_s).sum()) >= 2

    def silent_since_s(self, one: Emptied) -> int:
        """When the last vehicle passed it, on any lane."""
        return int(self.per_place["last_s"][self.cells.place[one.first : one.last + 1]].max())

    def forget(self, watermark_ns: int) -> None:
        """Drop who has been silent for long."""
        if self.forgetting.is_due(watermark_ns):
            _fleet.evict_idle(self.fleet, self.buffer, watermark_ns)

    def snapshot(self) -> Arrays:
        """Everything but the map."""
        opened = [
            (e.first, e.last, e.since_s, e.raised_s, e.is_unknown) for e in self.open.values()
        ]
        return {
            **self.fleet.snapshot("fleet_"),
            **self.buffer.snapshot("rows_"),
            **{f"cell_{name}": values.copy() for name, values in self.per_cell.items()},
            **{f"place_{name}": values.copy() for name, values in self.per_place.items()},
            "seconds": np.array([self.evaluated_s, self.faded_s]),
            "ended": np.array([(*k, v) for k, v in self.ended_s.items()], np.int64).reshape(-1, 3),
            "open": np.array(opened, np.int64).reshape(-1, 5),
        }

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `snapshot` wrote, on the same map."""
        self.fleet = Keyed.restore(SPEC, arrays, "fleet_")
        self.buffer.restore(arrays, "rows_")
        for prefix, values in (("cell_", self.per_cell), ("place_", self.per_place)):
            for name, array in values.items():
                array[:] = arrays[prefix + name]
        self.evaluated_s, self.faded_s = arrays["seconds"].tolist()
        self.ended_s = {(one, lane): at_s for one, lane, at_s in arrays["ended"].tolist()}
        for first, last, since_s, raised_s, is_unknown in arrays["open"].tolist():
            self.open[first] = Emptied(first, last, since_s, raised_s, bool(is_unknown))
