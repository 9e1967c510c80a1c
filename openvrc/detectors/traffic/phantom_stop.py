"""A vehicle brakes to a stop or to walking pace on a free road: for nobody that can be seen.

Drivers brake so for somebody ahead, a line to wait at, or a turn. A driver assistance that takes a
shadow for an obstacle, a driver who falls ill, an animal on the road: these brake without, and who
follows does not expect it. Each second of event time, for who drove at over 0.6 of the limit within
the last 10 s and does no longer: is somebody close ahead in its lane, or slow within 100 m ahead on
any lane? Once was enough to explain the braking; so is a blinker. When it falls below walking pace
unexplained, it is one if it braked hard, if neither the segment's end, a junction nor a bus stop is
near, and if nobody else was at walking pace there lately: drivers have reasons that no map holds,
but these are at places.

The one ahead may be there and not be connected. How many of those who brake to walking pace away
from stop lines have somebody right ahead tells whether nearly all are seen; below 0.95, or before
enough have braked, the rule is silent.

Over when the vehicle drives at over 0.6 of the limit again, else after 60 s: then it stands
(`stopped_vehicle`) or crawls (`slow_vehicle`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule, Severity
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic import _fleet, _surroundings
from openvrc.detectors.traffic._open_lanes import Cells
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._seconds import Columns, SecondsBuffer
from openvrc.detectors.traffic._view import BUS_LIKE, ONE_BLINKER, view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.phantom_stop"

FAST_SHARE = 0.6  # of the limit: traffic flows
FAST_MPS = 8.0
PACE_MPS = 4.2  # 15 km/h, the most that courts take for walking pace
WITHIN_NS = 10 * NS_PER_S  # slower changes are planned
BRAKES_MPS2 = 2.5  # a stop that is planned is gentler
CLOSE_M = 15.0  # a second behind at FAST_MPS, and the vehicle's own length
SLOW_AHEAD_M = 100.0  # the distance in which 22 m/s are braked away comfortably
FREE_END_M = 100.0  # what is ahead on the next segment is not looked at
HEARD_S = 3  # who was heard within this is still about there
REMEMBERED_S = 600
LINE_M = 30.0  # further from the segment's end somebody stands before one in a queue
QUEUE_M = 25.0  # who falls below walking pace behind somebody is as close: three places
MIN_SEEN = 0.95
PRIOR_SEEN, PRIOR_ALL = 2.0, 4.0  # Beta(2, 2), as in `_penetration`
MEMORY_S = 3600.0
OVER_NS = 60 * NS_PER_S
NEVER_S = -(2**40)
SERIOUS_LIMIT_MPS = 19.4  # 70 km/h, as for stopped_vehicle

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "at_ns": (np.int64, ABSENT_I64),
    "segment": (np.int64, -1),
    "lane": (np.int64, -1),
    "offset_m": (np.float64, np.nan),
    "speed_mps": (np.float64, np.nan),
    "length_m": (np.float64, 5.0),
    "fast_ns": (np.int64, ABSENT_I64),  # when it was fast last; absent once judged
    "fast_mps": (np.float64, np.nan),
    "ahead_m": (np.float64, np.inf),  # gap to the next slow one, on any lane
    "is_explained": (np.bool_, False),
    "has_blinked": (np.bool_, False),
    "open_since_ns": (np.int64, ABSENT_I64),
    "open_segment": (np.int64, -1),
    "open_lane": (np.int64, -1),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
}


@dataclass
class State:
    """All of one zone and run."""

    context: Context
    roads: Roads | None = None
    cells: Cells | None = None
    fleet: Keyed = field(default_factory=lambda: Keyed(SPEC))
    buffer: SecondsBuffer = field(default_factory=lambda: SecondsBuffer(_fleet.EMPTY_ROWS))
    evaluated_s: int = -1
    paced_s: IndexArray = field(default_factory=lambda: np.empty(0, np.int64))
    """Per cell: when somebody was at walking pace in it last."""
    explained: float = 0.0
    braked: float = 0.0
    """Fading counts of who braked to walking pace away from stop lines."""
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)

    @property
    def seen_ratio(self) -> float:
        """Share of vehicles that are seen, as far as is known."""
        return (self.explained + PRIOR_SEEN) / (self.braked + PRIOR_ALL)


class PhantomStop:
    """`traffic.phantom_stop`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Phantom stop",
        meaning="A vehicle braked to walking pace or to a stop though its road was free.",
        advice="Warn the traffic behind; several of one model point to its assistance, several "
        "at one place to something the map does not know.",
        actionable_for_s=120.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Nobody has braked yet; without a map no road is known to be free."""
        if context.road_map is None:
            return State(context)
        roads = roads_of(context.road_map)
        cells = Cells(roads)
        never = np.full(len(cells.segment), NEVER_S, np.int64)
        return State(context, roads, cells, paced_s=never)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold the batch back."""
        if state.roads is not None and batch.n_rows:
            _fleet.hold_back(state.buffer, state.fleet, view_of(batch, state.roads))
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Fold second by second what is complete."""
        findings: list[Finding] = []
        if state.roads is None or state.cells is None:
            return state, findings
        for second, rows in state.buffer.closed(state.evaluated_s, watermark_ns):
            findings += _over(state, (second - 1) * NS_PER_S)
            findings += _second(state, state.roads, state.cells, second, rows)
            state.evaluated_s = second
        findings += _over(state, watermark_ns)
        if state.forgetting.is_due(watermark_ns):
            _fleet.evict_idle(state.fleet, state.buffer, watermark_ns)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """Everything but the map."""
        return {
            **state.fleet.snapshot("fleet_"),
            **state.buffer.snapshot("rows_"),
            "evaluated_s": np.array([state.evaluated_s]),
            "paced_s": state.paced_s.copy(),
            "counts": np.array([state.explained, state.braked]),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.fleet = Keyed.restore(SPEC, arrays, "fleet_")
        state.buffer.restore(arrays, "rows_")
        state.evaluated_s = int(arrays["evaluated_s"][0])
        state.paced_s = arrays["paced_s"].copy()
        state.explained, state.braked = arrays["counts"].tolist()
        return state


def _second(state: State, roads: Roads, cells: Cells, second: int, rows: Columns) -> list[Finding]:
    fleet = state.fleet
    if state.evaluated_s >= 0:
        keep = float(np.exp((state.evaluated_s - second) / MEMORY_S))
        state.explained, state.braked = state.explained * keep, state.braked * keep
    findings = _move(fleet, roads, rows)
    on_road = (rows["segment"] >= 0) & np.isfinite(rows["speed_mps"])
    slow = np.flatnonzero(on_road & (rows["speed_mps"] < PACE_MPS))
    brakes = _braking(fleet, rows)
    _explain(fleet, roads, second, rows["slot"][brakes])
    fallen = brakes[rows["speed_mps"][brakes] < PACE_MPS]
    if len(fallen):
        findings += _judge(state, roads, cells, second, {n: v[fallen] for n, v in rows.items()})
    places = (rows[name][slow] for name in ("segment", "lane", "offset_m"))
    state.paced_s[cells.of(*places)] = second
    return findings


def _move(fleet: Keyed, roads: Roads, rows: Columns) -> list[Finding]:
    """Bring every vehicle forward; note who is fast, and who blinks while it brakes."""
    slot, at_ns, speed_mps = rows["slot"], rows["at_ns"], rows["speed_mps"]
    limit_mps = roads.limit_mps[rows["segment"]]
    is_fast = (speed_mps >= FAST_SHARE * limit_mps) & (speed_mps >= FAST_MPS)
    is_fast &= rows["segment"] >= 0
    fast, blinks = slot[is_fast], slot[rows["blinker"] == ONE_BLINKER]
    broken = (rows["segment"] < 0) | (at_ns - fleet["at_ns"][slot] > HEARD_S * NS_PER_S)
    fleet["fast_ns"][slot[broken]] = ABSENT_I64
    fleet["fast_ns"][fast], fleet["fast_mps"][fast] = at_ns[is_fast], speed_mps[is_fast]
    fleet["is_explained"][fast] = fleet["has_blinked"][fast] = False
    fleet["has_blinked"][blinks] = True
    for name in ("at_ns", "segment", "lane", "offset_m", "speed_mps", "length_m"):
        fleet[name][slot] = rows[name]
    again = fast[fleet["open_since_ns"][fast] != ABSENT_I64]
    return [_clear(fleet, roads, one, int(fleet["at_ns"][one])) for one in again.tolist()]


def _braking(fleet: Keyed, rows: Columns) -> IndexArray:
    """Rows of who was fast lately and is no longer."""
    slot, at_ns = rows["slot"], rows["at_ns"]
    fast_ns = fleet["fast_ns"][slot]
    brakes = (fast_ns != ABSENT_I64) & (fast_ns < at_ns) & (at_ns - fast_ns <= WITHIN_NS)
    brakes &= ~BUS_LIKE[rows["vehicle_class"]]
    return np.flatnonzero(brakes)


def _explain(fleet: Keyed, roads: Roads, second: int, slot: IndexArray) -> None:
    """Note which of these vehicles have somebody close ahead, or slow within reach."""
    if not len(slot):
        return
    segment = fleet["segment"]
    matters = np.zeros(len(roads.length_m), np.bool_)
    matters[segment[slot]] = True
    matters[-1] = False
    others = np.flatnonzero(matters[segment] & (fleet["at_ns"] > (second - HEARD_S) * NS_PER_S))
    is_slow = fleet["speed_mps"][others] < FAST_SHARE * roads.limit_mps[segment[others]]
    lane = segment * 128 + fleet["lane"] + 1
    close_m = _gap_m(fleet, lane, slot, others)
    slow_m = _gap_m(fleet, segment, slot, others[is_slow])
    fleet["is_explained"][slot] |= (close_m < CLOSE_M) | (slow_m < SLOW_AHEAD_M)
    fleet["ahead_m"][slot] = slow_m


def _gap_m(fleet: Keyed, road: IndexArray, slot: IndexArray, others: IndexArray) -> FloatArray:
    """To the next of `others` ahead on each one's road (numbered by slot), (n,)."""
    offset_m = fleet["offset_m"]
    place_m = _surroundings.place_m(road[others], offset_m[others])
    order = np.lexsort((fleet["length_m"][others], place_m))  # settled by values, never by slots
    asker_m = _surroundings.place_m(road[slot], offset_m[slot])
    ahead = place_m[order], fleet["length_m"][others][order]
    return _surroundings.gaps_ahead(asker_m, *ahead)[0]


def _judge(state: State, roads: Roads, cells: Cells, second: int, rows: Columns) -> list[Finding]:
    """These (one a vehicle) have come down to walking pace: learn from them, tell of some."""
    fleet, slot, segment = state.fleet, rows["slot"], rows["segment"]
    explained, blinked = fleet["is_explained"][slot], fleet["has_blinked"][slot]
    to_end_m = roads.length_m[segment] - rows["offset_m"]
    cell = cells.of(segment, rows["lane"], rows["offset_m"])
    braked_s = (rows["at_ns"] - fleet["fast_ns"][slot]) / NS_PER_S
    decel_mps2 = (fleet["fast_mps"][slot] - rows["speed_mps"]) / braked_s
    found = ~explained & ~blinked & (decel_mps2 >= BRAKES_MPS2) & (to_end_m > FREE_END_M)
    found &= cells.is_open[cell] & ~cells.slow_since(state.paced_s, cell, second - REMEMBERED_S)
    found &= state.seen_ratio >= MIN_SEEN
    findings = [
        _raised(state, roads, {n: v[row] for n, v in rows.items()}, float(decel_mps2[row]))
        for row in sorted(np.flatnonzero(found).tolist(), key=lambda r: fleet.keys[int(slot[r])])
    ]
    asked = ~blinked & (to_end_m > LINE_M) & ~roads.is_internal[segment]
    state.braked += float(asked.sum())
    state.explained += float((asked & (fleet["ahead_m"][slot] < QUEUE_M)).sum())
    fleet["fast_ns"][slot] = ABSENT_I64
    return findings


def _raised(state: State, roads: Roads, row: dict[str, Any], decel_mps2: float) -> Finding:
    fleet, one = state.fleet, int(row["slot"])
    segment, at_ns = int(row["segment"]), int(row["at_ns"])
    before_mps, speed_mps = float(fleet["fast_mps"][one]), float(row["speed_mps"])
    braked_s = (at_ns - int(fleet["fast_ns"][one])) / NS_PER_S
    fleet["open_since_ns"][one] = fleet["fast_ns"][one]
    for name in ("segment", "lane"):
        fleet[f"open_{name}"][one] = row[name]
    fleet["lat_deg"][one], fleet["lon_deg"][one] = row["lat_deg"], row["lon_deg"]
    limit_mps = float(roads.limit_mps[segment])
    evidence = {
        "text": f"Braked from {before_mps * 3.6:.0f} to {speed_mps * 3.6:.0f} km/h within "
        f"{braked_s:.0f} s with nobody slow in {SLOW_AHEAD_M:.0f} m ahead.",
        "speed_before_mps": round(before_mps, 2),
        "speed_mps": round(speed_mps, 2),
        "braked_s": round(braked_s, 1),
        "decel_mps2": round(decel_mps2, 2),
        "seen_ratio": round(state.seen_ratio, 3),
        "limit_mps2": BRAKES_MPS2,
        "limit_free_ahead_m": SLOW_AHEAD_M,
    }
    severity = Severity.SERIOUS if limit_mps > SERIOUS_LIMIT_MPS else Severity.WARNING
    confidence = round(state.seen_ratio, 3)
    more = {"severity": severity, "confidence": confidence, "evidence": evidence}
    return _finding(fleet, roads, one, "raise", at_ns, **more)


def _over(state: State, upto_ns: int) -> list[Finding]:
    """End the episodes that are a minute old."""
    fleet, roads = state.fleet, state.roads
    assert roads is not None
    end_ns = fleet["open_since_ns"] + OVER_NS
    ended = _fleet.ended_episodes(fleet, end_ns, upto_ns)
    return [_clear(fleet, roads, one, int(end_ns[one])) for one in ended]


def _clear(fleet: Keyed, roads: Roads, one: int, at_ns: int) -> Finding:
    finding = _finding(fleet, roads, one, "clear", at_ns)
    fleet["open_since_ns"][one] = ABSENT_I64
    return finding


def _finding(fleet: Keyed, roads: Roads, one: int, phase: Any, at_ns: int, **more: Any) -> Finding:
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=fleet.keys[one],
        at_ns=at_ns,
        started_at_ns=int(fleet["open_since_ns"][one]),
        component=f"lane:{max(int(fleet['open_lane'][one]), 0)}",
        segment_id=roads.road_map.segment_ids[int(fleet["open_segment"][one])],
        lat_deg=float(fleet["lat_deg"][one]),
        lon_deg=float(fleet["lon_deg"][one]),
        **more,
    )


PLUGIN: Detector = PhantomStop()
