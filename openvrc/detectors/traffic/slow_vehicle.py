"""A vehicle that crawls where traffic flows: a moving obstruction, told from queues.

A vehicle in a queue is slow because of the one ahead, or because of a bottleneck at which others
were slow before it. A slow vehicle is slow by itself: its lane is free ahead, nobody was slow
there lately (`_slow_places`), and others overtake it at more than half the limit.

Zones are looked at every 5 s of event time: what lasts 15 s needs no more, and overtaking shows
as a change of order between two looks. A vehicle is found when at four looks on end it drives
steadily below 0.4 of the limit with nobody slow within 40 m ahead and no stop line or junction
within reach, and when two others have overtaken it since. It is over when it is faster than 0.6
of the limit, or stands (then `stopped_vehicle` has it), and unknown when it is silent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule, Severity
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic import _fleet, _surroundings
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._seconds import Columns, SecondsBuffer
from openvrc.detectors.traffic._slow_places import SlowPlaces
from openvrc.detectors.traffic._view import view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.slow_vehicle"

LOOK_S = 5
SLOW_SHARE = 0.4  # of the limit: below half of it, where congestion begins (HCM), with a margin
OVER_SHARE = 0.6
MOVES_MPS = 1.0  # slower stands
STEADY_MPS = 2.0  # who speeds up by more between two looks is starting, not slow
HELD_LOOKS = 4  # 15 s on end: starting from a stand takes ten
PASSERS = 2  # one may have been about to overtake anyway
PASSING_SHARE = 0.5  # of the limit: those who pass flow
FREE_AHEAD_M = 40.0  # 8 s behind the next at 5 m/s: nobody follows at that
END_M = 40.0  # drivers slow down for a junction
SIGNAL_M = 120.0  # or for a queue at a stop line: one red's worth of vehicles
MIN_LIMIT_MPS = 8.0  # on slower streets there is nothing to be slower than
UNKNOWN_AFTER_S = 15
SERIOUS_LIMIT_MPS = 19.4  # as for stopped_vehicle

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "at_ns": (np.int64, ABSENT_I64),
    "segment": (np.int64, -1),
    "lane": (np.int64, -1),
    "offset_m": (np.float64, np.nan),
    "speed_mps": (np.float64, np.nan),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
    "slow_since_ns": (np.int64, ABSENT_I64),
    "looks": (np.int64, 0),
    "passers": (np.int64, 0),
    "open_since_ns": (np.int64, ABSENT_I64),
    "open_segment": (np.int64, -1),
    "open_lane": (np.int64, -1),
    "is_unknown": (np.bool_, False),
}


@dataclass
class State:
    """All of one zone and run."""

    context: Context
    buffer: SecondsBuffer = field(default_factory=lambda: SecondsBuffer(_fleet.EMPTY_ROWS))
    fleet: Keyed = field(default_factory=lambda: Keyed(SPEC))
    evaluated_s: int = -1
    roads: Roads | None = None
    slow: SlowPlaces | None = None
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)


class SlowVehicle:
    """`traffic.slow_vehicle`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Slow vehicle",
        meaning="A vehicle crawls although its lane is free ahead, and others overtake it.",
        advice="Warn the traffic behind; look whether it is defective, oversized or at work.",
        recovering_for_s=10.0,
        actionable_for_s=300.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """A zone without vehicles."""
        road_map = context.road_map
        if road_map is None:
            return State(context)
        return State(context, roads=roads_of(road_map), slow=SlowPlaces(road_map))

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold back the rows of the seconds that are looked at."""
        if state.roads is not None and batch.n_rows:
            _fleet.hold_back(state.buffer, state.fleet, view_of(batch, state.roads), LOOK_S)
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Look at every fifth second that is complete."""
        road_map = state.context.road_map
        findings: list[Finding] = []
        if road_map is None:
            return state, findings
        for second, rows in state.buffer.closed(state.evaluated_s, watermark_ns):
            findings += _silenced(state, second - 1)
            findings += _look(state, road_map, second, rows)
            state.evaluated_s = second
        findings += _silenced(state, watermark_ns // NS_PER_S)
        if state.forgetting.is_due(watermark_ns):
            _fleet.evict_idle(state.fleet, state.buffer, watermark_ns)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """Everything but the map."""
        return {
            **state.fleet.snapshot("fleet_"),
            **state.buffer.snapshot("rows_"),
            "evaluated_s": np.array([state.evaluated_s]),
            "slow_s": state.slow.last_s.copy() if state.slow else np.empty(0, np.int64),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.fleet = Keyed.restore(SPEC, arrays, "fleet_")
        state.buffer.restore(arrays, "rows_")
        state.evaluated_s = int(arrays["evaluated_s"][0])
        if state.slow is not None:
            state.slow.last_s[:] = arrays["slow_s"]
        return state


def _look(state: State, road_map: RoadMap, second: int, rows: Columns) -> list[Finding]:
    fleet = state.fleet
    on_map = (rows["segment"] >= 0) & np.isfinite(rows["speed_mps"])
    rows = {name: values[on_map] for name, values in rows.items()}
    slot = rows["slot"]
    _count_passers(fleet, road_map, rows)
    is_slow = _is_slow(state, road_map, second, rows)
    begins = slot[is_slow & (fleet["slow_since_ns"][slot] == ABSENT_I64)]
    fleet["looks"][slot] = np.where(is_slow, fleet["looks"][slot] + 1, 0)
    fleet["slow_since_ns"][slot[~is_slow]] = ABSENT_I64
    fleet["passers"][begins] = 0
    at_ns = np.zeros(len(fleet), np.int64)
    at_ns[slot] = rows["at_ns"]
    fleet["slow_since_ns"][begins] = at_ns[begins]
    for name in ("at_ns", "segment", "lane", "offset_m", "speed_mps", "lat_deg", "lon_deg"):
        fleet[name][slot] = rows[name]
    findings = _over(state, road_map, slot)
    news = (fleet["looks"][slot] >= HELD_LOOKS) & (fleet["passers"][slot] >= PASSERS)
    news &= (fleet["open_since_ns"][slot] == ABSENT_I64) | fleet["is_unknown"][slot]
    return findings + [
        _raised(state, road_map, one)
        for one in sorted(slot[news].tolist(), key=lambda one: fleet.keys[one])
    ]


def _is_slow(state: State, road_map: RoadMap, second: int, rows: Columns) -> BoolArray:
    """Who is slow by itself at this look, (n_rows,)."""
    fleet, slow = state.fleet, state.slow
    assert slow is not None
    slot, segment, speed_mps = rows["slot"], rows["segment"], rows["speed_mps"]
    limit_mps = road_map.segment_speed_limit_mps[segment]
    below = (speed_mps < SLOW_SHARE * limit_mps) & (limit_mps > MIN_LIMIT_MPS)
    below &= ~road_map.segment_is_internal[segment]
    to_end_m = road_map.segment_length_m[segment] - rows["offset_m"]
    room_m = np.where(road_map.segment_ends_at_signal[segment], SIGNAL_M, END_M)
    before_mps = fleet["speed_mps"][slot]
    steady = ~(speed_mps - before_mps > STEADY_MPS)
    chosen = below & steady & (speed_mps > MOVES_MPS) & (to_end_m > room_m)
    one = np.flatnonzero(chosen)
    lane = segment * 128 + rows["lane"] + 1
    place_m = _surroundings.place_m(lane, rows["offset_m"])
    # Who has just overtaken may be close ahead, but it is leaving.
    hindering = np.flatnonzero(speed_mps < OVER_SHARE * limit_mps)
    order = hindering[np.argsort(place_m[hindering])]
    gap_m, _ = _surroundings.gaps_ahead(place_m[one], place_m[order], rows["length_m"][order])
    history = slow.slow_ahead(segment[one], rows["lane"][one], rows["offset_m"][one], second)
    chosen[one] = (gap_m > FREE_AHEAD_M) & ~history
    slow.learn(segment[below], rows["lane"][below], rows["offset_m"][below], second)
    return np.asarray(chosen, np.bool_)


def _count_passers(fleet: Keyed, road_map: RoadMap, rows: Columns) -> None:
    """Add who overtook each slow vehicle since the last look, at half the limit or more."""
    slot, road = rows["slot"], rows["segment"]
    askers = np.flatnonzero(fleet["looks"][slot] > 0)
    recent = rows["at_ns"] - fleet["at_ns"][slot] <= (LOOK_S + 1) * NS_PER_S
    stays = recent & (fleet["segment"][slot] == road)
    flows = rows["speed_mps"] > PASSING_SHARE * road_map.segment_speed_limit_mps[road]
    askers, movers = askers[stays[askers]], np.flatnonzero(stays & flows)
    if not len(askers) or not len(movers):
        return
    before_m = fleet["offset_m"][slot]
    # In the moving frame of each asker: who was behind it and is ahead of it now. Askers are few.
    for asker in askers.tolist():
        same = movers[road[movers] == road[asker]]
        overtook = (before_m[same] < before_m[asker]) & (
            rows["offset_m"][same] > rows["offset_m"][asker]
        )
        fleet["passers"][slot[asker]] += int(overtook.sum())


def _over(state: State, road_map: RoadMap, slot: IndexArray) -> list[Finding]:
    """Clear the episodes of vehicles that are fast again, or stand."""
    fleet = state.fleet
    mine = slot[fleet["open_since_ns"][slot] != ABSENT_I64]
    limit_mps = road_map.segment_speed_limit_mps[fleet["segment"][mine]]
    speed_mps = fleet["speed_mps"][mine]
    over = mine[(speed_mps > OVER_SHARE * limit_mps) | (speed_mps < MOVES_MPS)]
    findings = []
    for one in sorted(over.tolist(), key=lambda one: fleet.keys[one]):
        findings.append(_finding(state, road_map, one, "clear", int(fleet["at_ns"][one])))
        fleet["open_since_ns"][one] = ABSENT_I64
        fleet["is_unknown"][one] = False
    return findings


def _silenced(state: State, second: int) -> list[Finding]:
    """Say once of each open episode that its vehicle is no longer heard."""
    fleet, road_map = state.fleet, state.context.road_map
    assert road_map is not None
    is_open = (fleet["open_since_ns"] != ABSENT_I64) & ~fleet["is_unknown"]
    if not is_open.any():
        return []
    unknown_ns = fleet["at_ns"] + UNKNOWN_AFTER_S * NS_PER_S
    silent = np.flatnonzero(is_open & (unknown_ns <= second * NS_PER_S))
    fleet["is_unknown"][silent] = True
    order = sorted(silent.tolist(), key=lambda one: (unknown_ns[one], fleet.keys[one]))
    return [_finding(state, road_map, o, "unknown", int(unknown_ns[o])) for o in order]


def _raised(state: State, road_map: RoadMap, one: int) -> Finding:
    fleet = state.fleet
    if fleet["open_since_ns"][one] == ABSENT_I64:
        fleet["open_since_ns"][one] = fleet["slow_since_ns"][one]
        fleet["open_segment"][one] = fleet["segment"][one]
        fleet["open_lane"][one] = fleet["lane"][one]
    fleet["is_unknown"][one] = False
    limit_mps = float(road_map.segment_speed_limit_mps[fleet["segment"][one]])
    speed_mps, passers = float(fleet["speed_mps"][one]), int(fleet["passers"][one])
    evidence = {
        "text": f"Drives {speed_mps * 3.6:.0f} km/h where {limit_mps * 3.6:.0f} are allowed and "
        f"its lane is free; {passers} vehicles overtook it.",
        "speed_mps": round(speed_mps, 2),
        "limit_speed_mps": round(SLOW_SHARE * limit_mps, 2),
        "passers": passers,
        "slow_s": round(float(fleet["at_ns"][one] - fleet["open_since_ns"][one]) / NS_PER_S, 1),
    }
    severity = Severity.SERIOUS if limit_mps > SERIOUS_LIMIT_MPS else Severity.WARNING
    at_ns = int(fleet["at_ns"][one])
    return _finding(state, road_map, one, "raise", at_ns, severity=severity, evidence=evidence)


def _finding(
    state: State, road_map: RoadMap, one: int, phase: Any, at_ns: int, **more: Any
) -> Finding:
    fleet = state.fleet
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=fleet.keys[one],
        at_ns=at_ns,
        started_at_ns=int(fleet["open_since_ns"][one]),
        component=f"lane:{fleet['open_lane'][one]}",
        segment_id=road_map.segment_ids[fleet["open_segment"][one]],
        lat_deg=float(fleet["lat_deg"][one]),
        lon_deg=float(fleet["lon_deg"][one]),
        **more,
    )


PLUGIN: Detector = SlowVehicle()
