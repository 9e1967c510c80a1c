"""A vehicle drives over the stop line of a signal that has shown red for a while.

A vehicle is followed from its last report on the approach to the first one that is certainly
behind the line: 8 m into the junction, five standard deviations of a good fix, or beyond it, and
moving. When it crossed follows from the distance to the line and the speed between. Then every
signal of its lane, and of the lanes beside it (lanes are matched wrongly in 1 of 20 reports), must
have shown red from 1.5 s before to 1.5 s after: drivers clear a junction late, start early, and
clocks differ. A lane without a signal, a controller not heard for 15 s, and a map without signals
say nothing. Buses and trams have signals of their own; emergency vehicles may.

Judged once the watermark is 1.5 s past the crossing. Over 10 s later.
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
from openvrc.detectors.traffic import _fleet
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._seconds import Columns, SecondsBuffer
from openvrc.detectors.traffic._signals import Signals
from openvrc.detectors.traffic._view import BUS_LIKE, CLASSES, View, view_of

IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.red_light"

NEAR_M = 60.0  # two reports at 1 Hz and 100 km/h
BEHIND_M = 8.0
MOVES_MPS = 3.0
WITHIN_S = 5  # from the last report before the line to the first behind it
MARGIN_NS = 3 * NS_PER_S // 2
SERIOUS_RED_S, SERIOUS_MPS = 3.0, 8.3  # 30 km/h into crossing traffic that has its green
OVER_NS = 10 * NS_PER_S
MAY = np.append(np.isin(CLASSES, ("emergency",)), False) | BUS_LIKE

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "at_ns": (np.int64, ABSENT_I64),  # of the last report on an approach
    "segment": (np.int64, -1),
    "lane_low": (np.int64, -1),  # over its reports near the line
    "lane_high": (np.int64, -1),
    "lane": (np.int64, -1),
    "to_line_m": (np.float64, np.nan),
    "speed_mps": (np.float64, np.nan),
    # The crossing that waits for its judgement, or the episode that is open.
    "crossed_ns": (np.int64, ABSENT_I64),
    "crossed_segment": (np.int64, -1),
    "crossed_low": (np.int64, -1),
    "crossed_high": (np.int64, -1),
    "crossed_lane": (np.int64, -1),
    "crossed_mps": (np.float64, np.nan),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
    "open_since_ns": (np.int64, ABSENT_I64),
}
ROWS: Columns = {
    "at_ns": np.empty(0, np.int64),
    "slot": np.empty(0, np.int64),
    "segment": np.empty(0, np.int64),
    "lane": np.empty(0, np.int64),
    "offset_m": np.empty(0, np.float64),
    "speed_mps": np.empty(0, np.float64),
    "lat_deg": np.empty(0, np.float64),
    "lon_deg": np.empty(0, np.float64),
    "accuracy_m": np.empty(0, np.float64),
}


@dataclass
class State:
    """The vehicles near signals of one zone and run."""

    context: Context
    roads: Roads | None = None
    signals: Signals | None = None
    is_behind: BoolArray = field(default_factory=lambda: np.zeros(1, np.bool_))
    """(n_segments + 1,) whether an approach leads there."""
    vehicles: Keyed = field(default_factory=lambda: Keyed(SPEC))
    buffer: SecondsBuffer = field(default_factory=lambda: SecondsBuffer(ROWS))
    evaluated_s: int = -1
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)


class RedLight:
    """`traffic.red_light`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Red light run",
        meaning="A vehicle drove over the stop line though its signal showed red.",
        advice="Warn crossing traffic; many at one signal call for a look at its amber and view.",
        actionable_for_s=60.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state", "signal_state")
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Nobody near a signal; without a map there are none."""
        road_map = context.road_map
        if road_map is None or not road_map.signal_heads:
            return State(context)
        roads, behind = roads_of(road_map), np.zeros(road_map.n_segments + 1, np.bool_)
        for segment in np.flatnonzero(road_map.segment_ends_at_signal).tolist():
            behind[road_map.successors_of(segment)] = True
        return State(context, roads, Signals(road_map), behind)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold back phases, and the reports near signals."""
        if state.roads is None or state.signals is None or not batch.n_rows:
            return state, []
        if batch.message == "signal_state":
            state.signals.hold_back(batch)
        else:
            _hold_back(state, view_of(batch, state.roads))
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Follow the vehicles second by second, judge the crossings that are due."""
        findings: list[Finding] = []
        if state.roads is None or state.signals is None:
            return state, findings
        for second, rows in state.buffer.closed(state.evaluated_s, watermark_ns):
            findings += _judge(state, (second - 1) * NS_PER_S)
            _follow(state, state.roads, rows)
            state.evaluated_s = second
        findings += _judge(state, watermark_ns)
        if state.forgetting.is_due(watermark_ns):
            _fleet.evict(state.vehicles, state.buffer, _idle(state.vehicles, watermark_ns))
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """Everything but the map."""
        return {
            **state.vehicles.snapshot("vehicle_"),
            **state.buffer.snapshot("rows_"),
            **(state.signals.snapshot() if state.signals else {}),
            "evaluated_s": np.array([state.evaluated_s]),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(SPEC, arrays, "vehicle_")
        state.buffer.restore(arrays, "rows_")
        state.evaluated_s = int(arrays["evaluated_s"][0])
        if state.signals is not None:
            state.signals.restore(arrays)
        return state


def _hold_back(state: State, view: View) -> None:
    roads = view.roads
    assert roads is not None
    segment, offset_m = view.on_lane, view.offset_m
    near = roads.ends_at_signal[segment] & (roads.length_m[segment] - offset_m < NEAR_M)
    near |= state.is_behind[segment] & (offset_m < NEAR_M)
    near &= view.is_in_time & view.has_place & view.is_motor & ~MAY[view.vehicle_class]
    rows = np.flatnonzero(near & np.isfinite(view.speed_mps))
    if not len(rows):
        return
    slot, at_ns = view.slots(state.vehicles, rows), view.at_ns[rows]
    np.maximum.at(state.vehicles["newest_ns"], slot, at_ns)
    columns: Columns = {
        "at_ns": at_ns,
        "slot": slot,
        "segment": segment[rows],
        "lane": view.lane[rows],
        "offset_m": offset_m[rows],
        "speed_mps": view.speed_mps[rows],
        "lat_deg": view.lat_deg[rows],
        "lon_deg": view.lon_deg[rows],
        "accuracy_m": view.accuracy_m[rows],
    }
    state.buffer.add(columns, is_of_one_row_each=view.is_of_one_row_each)


def _follow(state: State, roads: Roads, rows: Columns) -> None:
    """Note who is before a line, and who has come over it since."""
    vehicles, slot, segment = state.vehicles, rows["slot"], rows["segment"]
    before = vehicles["segment"][slot]
    elapsed_ns = rows["at_ns"] - vehicles["at_ns"][slot]
    behind = rows["offset_m"] >= np.where(roads.is_internal[segment], BEHIND_M, 0.0)
    behind &= roads.leads_to(before, segment) & (rows["speed_mps"] > MOVES_MPS)
    behind &= elapsed_ns <= WITHIN_S * NS_PER_S
    _cross(vehicles, {name: values[behind] for name, values in rows.items()})
    approach = roads.ends_at_signal[segment]
    mine, lane = slot[approach], rows["lane"][approach]
    stays = before[approach] == segment[approach]
    low, high = vehicles["lane_low"][mine], vehicles["lane_high"][mine]
    vehicles["lane_low"][mine] = np.where(stays, np.minimum(low, lane), lane)
    vehicles["lane_high"][mine] = np.where(stays, np.maximum(high, lane), lane)
    vehicles["to_line_m"][mine] = (roads.length_m[segment] - rows["offset_m"])[approach]
    for name in ("at_ns", "segment", "lane", "speed_mps"):
        vehicles[name][mine] = rows[name][approach]


def _cross(vehicles: Keyed, rows: Columns) -> None:
    """These rows (one a vehicle) are the first behind the line."""
    free = vehicles["crossed_ns"][rows["slot"]] == ABSENT_I64
    slot, speed_mps = rows["slot"][free], rows["speed_mps"][free]
    mean_mps = np.maximum((vehicles["speed_mps"][slot] + speed_mps) / 2.0, 1.0)
    to_line_s = np.maximum(vehicles["to_line_m"][slot], 0.0) / mean_mps
    at_ns = vehicles["at_ns"][slot] + (to_line_s * NS_PER_S).astype(np.int64)
    vehicles["crossed_ns"][slot] = np.minimum(at_ns, rows["at_ns"][free])
    vehicles["crossed_segment"][slot] = vehicles["segment"][slot]
    vehicles["crossed_low"][slot] = vehicles["lane_low"][slot]
    vehicles["crossed_high"][slot] = vehicles["lane_high"][slot]
    vehicles["crossed_lane"][slot] = vehicles["lane"][slot]
    vehicles["crossed_mps"][slot] = speed_mps
    vehicles["lat_deg"][slot], vehicles["lon_deg"][slot] = (
        rows["lat_deg"][free],
        rows["lon_deg"][free],
    )
    vehicles["segment"][slot] = -1  # it has left this approach


def _judge(state: State, upto_ns: int) -> list[Finding]:
    """Judge the crossings that are due, end the episodes that are over."""
    vehicles, signals = state.vehicles, state.signals
    assert signals is not None
    findings: list[Finding] = []
    waiting = np.flatnonzero(vehicles["crossed_ns"] != ABSENT_I64)
    due_ns = vehicles["crossed_ns"][waiting] + MARGIN_NS
    for one in waiting[np.argsort(due_ns, kind="stable")].tolist():
        crossed_ns = int(vehicles["crossed_ns"][one])
        if crossed_ns + MARGIN_NS > upto_ns:
            break
        if vehicles["open_since_ns"][one] == ABSENT_I64:
            signals.tell(crossed_ns + MARGIN_NS)
            red_s = _red_s(state, one, crossed_ns)
            if red_s is None:
                vehicles["crossed_ns"][one] = ABSENT_I64
                continue
            vehicles["open_since_ns"][one] = crossed_ns
            findings.append(_raised(state, one, red_s))
        if crossed_ns + OVER_NS <= upto_ns:
            findings.append(_finding(state, one, "clear", crossed_ns + OVER_NS))
            vehicles["crossed_ns"][one] = vehicles["open_since_ns"][one] = ABSENT_I64
    signals.tell(upto_ns // NS_PER_S * NS_PER_S)  # else what is known would depend on the ticks
    return sorted(findings, key=lambda f: (f.at_ns, f.subject_id))


def _red_s(state: State, one: int, at_ns: int) -> float | None:
    """For how long all signals that may be the vehicle's had been red; None if one was not."""
    vehicles, signals, roads = state.vehicles, state.signals, state.roads
    assert signals is not None
    assert roads is not None
    segment = int(vehicles["crossed_segment"][one])
    low = max(int(vehicles["crossed_low"][one]) - 1, 0)
    high = min(int(vehicles["crossed_high"][one]) + 1, int(roads.lane_count[segment]) - 1)
    since: list[int] = []
    for lane in range(low, high + 1):
        heads = signals.of_lane.get((segment, lane))
        if heads is None:
            return None
        for head in heads:
            since_ns = signals.red_since_ns(head, at_ns, at_ns + MARGIN_NS)
            if since_ns == ABSENT_I64 or since_ns > at_ns - MARGIN_NS:
                return None  # most cross with green: the first head tells
            since.append(since_ns)
    if not since:
        return None
    return (at_ns - max(since)) / NS_PER_S


def _raised(state: State, one: int, red_s: float) -> Finding:
    vehicles = state.vehicles
    speed_mps = float(vehicles["crossed_mps"][one])
    evidence = {
        "text": f"Crossed the stop line at {speed_mps * 3.6:.0f} km/h after {red_s:.1f} s of red.",
        "red_s": round(red_s, 1),
        "speed_mps": round(speed_mps, 2),
        "limit_red_s": MARGIN_NS / NS_PER_S,
    }
    is_serious = red_s >= SERIOUS_RED_S and speed_mps >= SERIOUS_MPS
    severity = Severity.SERIOUS if is_serious else Severity.WARNING
    at_ns = int(vehicles["crossed_ns"][one])
    return _finding(state, one, "raise", at_ns, severity=severity, evidence=evidence)


def _finding(state: State, one: int, phase: Any, at_ns: int, **more: Any) -> Finding:
    vehicles, road_map = state.vehicles, state.context.road_map
    assert road_map is not None
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[one],
        at_ns=at_ns,
        started_at_ns=int(vehicles["open_since_ns"][one]),
        component=f"lane:{max(int(vehicles['crossed_lane'][one]), 0)}",
        segment_id=road_map.segment_ids[int(vehicles["crossed_segment"][one])],
        lat_deg=float(vehicles["lat_deg"][one]),
        lon_deg=float(vehicles["lon_deg"][one]),
        **more,
    )


def _idle(vehicles: Keyed, watermark_ns: int) -> BoolArray:
    gone = vehicles["newest_ns"] < watermark_ns - _fleet.IDLE_S * NS_PER_S
    idle: BoolArray = gone & (vehicles["crossed_ns"] == ABSENT_I64)
    return idle


PLUGIN: Detector = RedLight()
