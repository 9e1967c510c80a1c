"""A vehicle that stands where it obstructs, told from queues, bus stops and congestion.

A vehicle in a queue has a reason to stand in front of it: the next vehicle, the stop line, slow
traffic. An obstruction has none: its lane is free ahead, traffic ahead flows, others drive past.
Each second of event time, for every standing vehicle:

1. for 5 s on end it looks like no queue: over 25 m free to the next vehicle in its lane and to the
   segment's end, nobody standing within 30 m ahead on any lane, traffic ahead over 5 m/s;
2. a queue we do not see is unlikely: if a share p of vehicles is connected, one over `d` m of lane
   goes unseen with probability (1 - p)^(d / 7.5 m). p is learned from queues (`_penetration`);
3. and then one of: *passed* (stands 8 s, two vehicles drove past at over 5 m/s; 45 s if it blinked
   to change lanes), *quiet* (60 s, far from a signal, nobody stands ahead: needs no passers, but
   then how little may be known of p yet counts: the expectation over what p can be),
   *long* (120 s, longer than a red phase: what is unseen ahead would have moved).

Buses and trams stand at stops; they need longer than a dwell. A vehicle must have been seen
driving first: one that is first seen standing may be parked. It clears when it moves on.
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
from openvrc.detectors.keyed import Keyed
from openvrc.detectors.traffic import _fleet
from openvrc.detectors.traffic._penetration import Penetration
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._seconds import Columns, SecondsBuffer
from openvrc.detectors.traffic._slow_places import SlowPlaces
from openvrc.detectors.traffic._standing import (
    FLOWING_MPS,
    QUEUE_SPACING_M,
    Standing,
    count_passers,
    look_around,
)
from openvrc.detectors.traffic._surroundings import unseen_queue_probability
from openvrc.detectors.traffic._view import BUS_LIKE, view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NAME = "traffic.stopped_vehicle"

PASSED_STANDING_S = 8.0  # queues discharge past a driver's start delay (2 s) well before
BLINKED_STANDING_S = 45.0  # waiting for a gap to change lanes; critical gaps come within this
BLINKED_BEFORE_S = 10.0  # indicators on shortly before the stop belong to it
QUIET_STANDING_S = 60.0  # nobody stops on a lane this long to look at a phone or let one out
LONG_STANDING_S = 120.0  # beyond the longest red of common signal plans (cycles of 60 to 120 s)
BUS_STANDING_S = 300.0  # dwell is mostly below 60 s, timing points hold buses for minutes
FREE_AHEAD_M = 25.0  # three places in a queue: a driver closes up sooner
HELD_S = 5.0  # a queue that moves off opens gaps, but not for this long
PASSERS = 2  # one may be the gap a driver waits for
MAX_UNSEEN_QUEUE = 0.001  # thousands of vehicles stand at signals in a zone each hour
MAX_UNKNOWN_QUEUE = 0.01  # a minute's stand away from signals is far rarer than a stop at one
MAX_UNSEEN_QUEUE_LONG = 0.1  # a stand of LONG_STANDING_S is evidence by itself
HISTORY_M = 100.0  # how far ahead a queue's history is looked for
MAX_UNSEEN_IN_HISTORY = 1e-4  # below, we would see that queue: history need not be asked
QUIET_FROM_SIGNAL_M = 100.0  # 13 vehicles a lane, more than one red collects off-peak
SERIOUS_LIMIT_MPS = 19.4  # 70 km/h: above, a standing vehicle is hit at a deadly speed
UNKNOWN_AFTER_S = 10


@dataclass
class State:
    """All of one zone and run."""

    context: Context
    buffer: SecondsBuffer = field(default_factory=lambda: SecondsBuffer(_fleet.EMPTY_ROWS))
    fleet: Keyed = field(default_factory=lambda: Keyed(_fleet.SPEC))
    evaluated_s: int = -1
    penetration: Penetration = field(default_factory=Penetration)
    roads: Roads | None = None
    slow: SlowPlaces | None = None
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)


class StoppedVehicle:
    """`traffic.stopped_vehicle`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Stopped vehicle",
        meaning="A vehicle stands on a lane that is free ahead of it, so others must go around it.",
        advice="Look at the camera of the place, warn upstream traffic, send the road service.",
        recovering_for_s=5.0,
        actionable_for_s=600.0,
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
        """Hold the batch back; a zone without a map has no lanes to obstruct."""
        if state.roads is not None and batch.n_rows:
            _fleet.hold_back(state.buffer, state.fleet, view_of(batch, state.roads))
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Fold second by second what is complete."""
        road_map = state.context.road_map
        findings: list[Finding] = []
        if road_map is None:
            return state, findings
        for second, rows in state.buffer.closed(state.evaluated_s, watermark_ns):
            findings += _silenced(state, second - 1)
            findings += _second(state, road_map, second, rows)
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
            "pairs": np.array([state.penetration.adjacent, state.penetration.pairs]),
            "slow_s": state.slow.last_s.copy() if state.slow else np.empty(0, np.int64),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.fleet = Keyed.restore(_fleet.SPEC, arrays, "fleet_")
        state.buffer.restore(arrays, "rows_")
        state.evaluated_s = int(arrays["evaluated_s"][0])
        state.penetration = Penetration(*arrays["pairs"].tolist())
        if state.slow is not None:
            state.slow.last_s[:] = arrays["slow_s"]
        return state


def _second(state: State, road_map: RoadMap, second: int, rows: Columns) -> list[Finding]:
    fleet = state.fleet
    slot = rows["slot"]
    count_passers(fleet, rows)
    _fleet.fold(fleet, rows)
    findings = _moved_on(fleet, road_map, slot)
    if state.evaluated_s >= 0:
        state.penetration.forget(second - state.evaluated_s)
    stands = slot[(fleet["standing_since_ns"][slot] != ABSENT_I64) & (fleet["segment"][slot] >= 0)]
    if not len(stands):
        return findings
    around = look_around(fleet, state.penetration, road_map, second, stands, FREE_AHEAD_M)
    free_since_ns = fleet["free_since_ns"][around.slot]
    fleet["free_since_ns"][stands] = ABSENT_I64
    chosen = _obstructs(fleet, road_map, around, free_since_ns)
    if len(chosen):
        chosen = chosen[~_comes_each_time(state, second, around, chosen)]
    _learn_slow_places(state, second, stands)
    return findings + _raised(fleet, road_map, around, chosen)


def _comes_each_time(state: State, second: int, around: Standing, chosen: IndexArray) -> BoolArray:
    """Whether each of these stands where a queue has been lately that would hide from us now."""
    fleet, slow = state.fleet, state.slow
    assert slow is not None
    slot = around.slot[chosen]
    segment, lane, offset_m = (fleet[name][slot] for name in ("segment", "lane", "offset_m"))
    hidden = unseen_queue_probability(
        np.minimum(around.to_end_m[chosen], HISTORY_M), state.penetration.share, QUEUE_SPACING_M
    )
    queues = slow.slow_ahead(segment, lane, offset_m, second) | fleet["creeps"][slot]
    return np.asarray(queues & (hidden > MAX_UNSEEN_IN_HISTORY), np.bool_)


def _learn_slow_places(state: State, second: int, stands: IndexArray) -> None:
    fleet, slow = state.fleet, state.slow
    assert slow is not None
    driven = stands[fleet["has_driven"][stands]]
    segment, lane, offset_m = (fleet[name][driven] for name in ("segment", "lane", "offset_m"))
    slow.learn(segment, lane, offset_m, second)


def _held_s(fleet: Keyed, road_map: RoadMap, around: Standing, since_ns: IndexArray) -> FloatArray:
    """For how long the place around each has looked like no queue, without a break; -1 if not."""
    slot, at_ns = around.slot, fleet["at_ns"][around.slot]
    holds = ~(around.speed_ahead_mps <= FLOWING_MPS) & ~(around.lane_speed_mps <= FLOWING_MPS)
    holds &= around.standing_close_ahead == 0
    holds &= around.unseen_queue < MAX_UNSEEN_QUEUE_LONG
    holds &= fleet["has_driven"][slot] & ~road_map.segment_is_internal[fleet["segment"][slot]]
    since_ns = np.where(since_ns == ABSENT_I64, at_ns, since_ns)
    fleet["free_since_ns"][slot] = np.where(holds, since_ns, ABSENT_I64)
    return np.where(holds, (at_ns - since_ns) / NS_PER_S, -1.0)


def _obstructs(
    fleet: Keyed, road_map: RoadMap, around: Standing, free_since_ns: IndexArray
) -> IndexArray:
    """Which of them (indexes) stand for no reason that lies ahead."""
    held = np.flatnonzero(_held_s(fleet, road_map, around, free_since_ns) >= HELD_S)
    if not len(held):
        return held
    slot, standing_s = around.slot[held], around.standing_s[held]
    blinked_ns = fleet["blinked_ns"][slot]
    blinked = blinked_ns >= fleet["standing_since_ns"][slot] - int(BLINKED_BEFORE_S * NS_PER_S)
    is_bus = BUS_LIKE[fleet["vehicle_class"][slot]]
    is_seen = around.unseen_queue[held] < MAX_UNSEEN_QUEUE
    is_passed = fleet["passers"][slot] >= PASSERS
    is_first = around.standing_ahead[held] == 0
    needed_s = np.where(blinked, BLINKED_STANDING_S, PASSED_STANDING_S)
    passed = is_passed & is_seen & (standing_s >= needed_s)
    signal = road_map.segment_ends_at_signal[fleet["segment"][slot]]
    far = ~signal | (around.to_end_m[held] > QUIET_FROM_SIGNAL_M)
    is_known = around.unknown_queue[held] < MAX_UNKNOWN_QUEUE
    quiet = far & is_known & is_first & (standing_s >= QUIET_STANDING_S)
    long = is_passed & is_first & (standing_s >= LONG_STANDING_S)
    waited = ~is_bus | (standing_s >= BUS_STANDING_S)
    obstructs: IndexArray = held[waited & (passed | quiet | long)]
    return obstructs


def _raised(fleet: Keyed, road_map: RoadMap, around: Standing, chosen: IndexArray) -> list[Finding]:
    """Open what is not open, and say again what had gone silent."""
    news = [
        row
        for row in chosen.tolist()
        if fleet["open_since_ns"][around.slot[row]] == ABSENT_I64
        or fleet["is_unknown"][around.slot[row]]
    ]
    findings = []
    for row in sorted(news, key=lambda row: fleet.keys[int(around.slot[row])]):
        slot = int(around.slot[row])
        if fleet["open_since_ns"][slot] == ABSENT_I64:
            fleet["open_since_ns"][slot] = fleet["standing_since_ns"][slot]
            fleet["open_lane"][slot] = fleet["lane"][slot]
            fleet["open_segment"][slot] = fleet["segment"][slot]
        fleet["is_unknown"][slot] = False
        findings.append(_raise_finding(fleet, road_map, around, row))
    return findings


def _raise_finding(fleet: Keyed, road_map: RoadMap, around: Standing, row: int) -> Finding:
    slot = int(around.slot[row])
    limit_mps = float(road_map.segment_speed_limit_mps[fleet["segment"][slot]])
    severity = Severity.SERIOUS if limit_mps > SERIOUS_LIMIT_MPS else Severity.WARNING
    free_m = round(float(min(around.gap_m[row], around.to_end_m[row])), 1)
    standing_s = round(float(around.standing_s[row]), 1)
    passers = int(fleet["passers"][slot])
    speed_mps = float(around.speed_ahead_mps[row])
    evidence = {
        "text": f"Stands for {standing_s:.0f} s with {free_m:.0f} m of lane free ahead; "
        f"{passers} vehicles drove past.",
        "standing_s": standing_s,
        "free_ahead_m": free_m,
        "passers": passers,
        "speed_ahead_mps": None if np.isnan(speed_mps) else round(speed_mps, 2),
        "to_segment_end_m": round(float(around.to_end_m[row]), 1),
        "unseen_queue_probability": round(float(around.unseen_queue[row]), 6),
        "has_hazard_lights": bool(fleet["has_hazard_lights"][slot]),
        "limit_standing_s": PASSED_STANDING_S,
        "limit_free_ahead_m": FREE_AHEAD_M,
    }
    return _finding(
        fleet,
        road_map,
        slot,
        "raise",
        int(fleet["at_ns"][slot]),
        severity=severity,
        confidence=round(1.0 - float(around.unseen_queue[row]), 3),
        evidence=evidence,
    )


def _moved_on(fleet: Keyed, road_map: RoadMap, slot: IndexArray) -> list[Finding]:
    """Clear the episodes of vehicles that no longer stand where they stood."""
    since_ns = fleet["open_since_ns"][slot]
    over = slot[(since_ns != ABSENT_I64) & (fleet["standing_since_ns"][slot] != since_ns)]
    findings = []
    for one in sorted(over.tolist(), key=lambda one: fleet.keys[one]):
        findings.append(_finding(fleet, road_map, one, "clear", int(fleet["at_ns"][one])))
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
    return [_finding(fleet, road_map, o, "unknown", int(unknown_ns[o])) for o in order]


def _finding(
    fleet: Keyed, road_map: RoadMap, slot: int, phase: Any, at_ns: int, **more: Any
) -> Finding:
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=fleet.keys[slot],
        at_ns=at_ns,
        started_at_ns=int(fleet["open_since_ns"][slot]),
        component=f"lane:{fleet['open_lane'][slot]}",
        segment_id=road_map.segment_ids[fleet["open_segment"][slot]],
        lat_deg=float(fleet["lat_deg"][slot]),
        lon_deg=float(fleet["lon_deg"][slot]),
        **more,
    )


PLUGIN: Detector = StoppedVehicle()
