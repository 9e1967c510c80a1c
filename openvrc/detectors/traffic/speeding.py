"""A vehicle drives much faster than its road allows, and does so for seconds.

Speedometers, tolerances and a good flow make a tenth over the limit ordinary; this rule means
what is dangerous: over 1.3 of the limit and over 20 km/h above it, for 4 s on end, outside
junctions, whose lanes have limits of turning. Speeds are those vehicles state; a false one is
`security.misbehaviour`. Judged at once, sample by sample; over 5 s after the last such sample.
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
from openvrc.detectors.traffic import _fleet
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._view import CLASSES, View, view_of

NAME = "traffic.speeding"

SHARE = 1.3  # of the limit
ABOVE_MPS = 5.6  # 20 km/h: where fines become heavy and deaths frequent
SERIOUS_SHARE = 1.6
HELD_S = 4.0  # one fix on a slower road beside it is nothing
SAMPLES = 3
OVER_S = 5.0
IDLE_S = 60
EMERGENCY = CLASSES.index("emergency")  # may

SPEC: Spec = {
    "last_ns": (np.int64, ABSENT_I64),
    "since_ns": (np.int64, ABSENT_I64),
    "samples": (np.int64, 0),
    "open_since_ns": (np.int64, ABSENT_I64),
    "open_segment": (np.int64, -1),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
}


@dataclass
class State:
    """The fast vehicles of one zone and run."""

    context: Context
    roads: Roads | None = None
    vehicles: Keyed = field(default_factory=lambda: Keyed(SPEC))
    forgetting: _fleet.Forgetting = field(default_factory=_fleet.Forgetting)


class Speeding:
    """`traffic.speeding`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Speeding",
        meaning="A vehicle drives much faster than its road allows.",
        advice="Look whether it is one driver or the place; adapt signs or control.",
        actionable_for_s=60.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Nobody is fast; without a map nobody can be too fast."""
        road_map = context.road_map
        return State(context, roads_of(road_map) if road_map else None)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Judge the samples above the limits; those of one vehicle in the batch's order."""
        if state.roads is None or not batch.n_rows:
            return state, []
        view = view_of(batch, state.roads)
        fast = _fast(view)
        return state, _judge(state, view, fast) if len(fast) else []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """End the episodes of who has slowed down or gone, forget the others."""
        vehicles, road_map = state.vehicles, state.context.road_map
        if road_map is None or not len(vehicles):
            return state, []
        end_ns = vehicles["last_ns"] + int(OVER_S * NS_PER_S)
        ended = _fleet.ended_episodes(vehicles, end_ns, watermark_ns)
        findings = [_finding(state, road_map, one, "clear", int(end_ns[one])) for one in ended]
        vehicles["open_since_ns"][ended] = ABSENT_I64
        if state.forgetting.is_due(watermark_ns):
            vehicles.evict_if_many(vehicles["last_ns"] < watermark_ns - IDLE_S * NS_PER_S)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """All fast vehicles."""
        return state.vehicles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(SPEC, arrays)
        return state


def _fast(view: View) -> NDArray[np.int64]:
    """The rows above what is tolerated where they are."""
    limit_mps = view.limit_mps
    tolerated_mps = np.maximum(SHARE * limit_mps, limit_mps + ABOVE_MPS)
    fast = (view.speed_mps > tolerated_mps) & ~view.is_internal
    fast &= view.is_in_order & (view.vehicle_class != EMERGENCY)
    return np.flatnonzero(fast)


def _judge(state: State, view: View, rows: NDArray[np.int64]) -> list[Finding]:
    vehicles, findings, road_map = state.vehicles, [], state.context.road_map
    assert road_map is not None
    slot, at_ns = view.slots(vehicles, rows), view.at_ns[rows]
    segment, speed_mps = view.segment[rows], view.speed_mps[rows]
    for turn in view.rounds_of(slot):
        part = turn[at_ns[turn] > vehicles["last_ns"][slot[turn]]]
        mine, now_ns, last_ns = slot[part], at_ns[part], vehicles["last_ns"][slot[part]]
        fresh = (last_ns == ABSENT_I64) | (now_ns - last_ns >= int(OVER_S * NS_PER_S))
        for one in mine[fresh & (vehicles["open_since_ns"][mine] != ABSENT_I64)].tolist():
            end_ns = int(vehicles["last_ns"][one]) + int(OVER_S * NS_PER_S)
            findings.append(_finding(state, road_map, one, "clear", end_ns))
            vehicles["open_since_ns"][one] = ABSENT_I64
        vehicles["since_ns"][mine[fresh]] = now_ns[fresh]
        vehicles["samples"][mine[fresh]] = 0
        vehicles["samples"][mine] += 1
        vehicles["last_ns"][mine] = now_ns
        vehicles["lat_deg"][mine] = view.lat_deg[rows[part]]
        vehicles["lon_deg"][mine] = view.lon_deg[rows[part]]
        held = now_ns - vehicles["since_ns"][mine] >= int(HELD_S * NS_PER_S)
        held &= vehicles["samples"][mine] >= SAMPLES
        held &= vehicles["open_since_ns"][mine] == ABSENT_I64
        for row in np.flatnonzero(held).tolist():
            number, fast_mps = int(segment[part[row]]), float(speed_mps[part[row]])
            findings.append(_raised(state, road_map, int(mine[row]), number, fast_mps))
    return findings


def _raised(state: State, road_map: RoadMap, one: int, segment: int, speed_mps: float) -> Finding:
    vehicles = state.vehicles
    vehicles["open_since_ns"][one] = vehicles["since_ns"][one]
    vehicles["open_segment"][one] = segment
    limit_mps = float(road_map.segment_speed_limit_mps[segment])
    is_serious = speed_mps > SERIOUS_SHARE * limit_mps
    evidence = {
        "text": f"Drives {speed_mps * 3.6:.0f} km/h where {limit_mps * 3.6:.0f} are allowed.",
        "speed_mps": round(speed_mps, 2),
        "limit_mps": round(limit_mps, 2),
        "samples": int(vehicles["samples"][one]),
    }
    return _finding(
        state,
        road_map,
        one,
        "raise",
        int(vehicles["last_ns"][one]),
        severity=Severity.WARNING if is_serious else Severity.INFO,
        evidence=evidence,
    )


def _finding(
    state: State, road_map: RoadMap, one: int, phase: Any, at_ns: int, **more: Any
) -> Finding:
    vehicles = state.vehicles
    lat_deg, lon_deg = float(vehicles["lat_deg"][one]), float(vehicles["lon_deg"][one])
    has_place = bool(np.isfinite(lat_deg) and np.isfinite(lon_deg))
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[one],
        at_ns=at_ns,
        started_at_ns=int(vehicles["open_since_ns"][one]),
        segment_id=road_map.segment_ids[vehicles["open_segment"][one]],
        lat_deg=lat_deg if has_place else None,
        lon_deg=lon_deg if has_place else None,
        **more,
    )


PLUGIN: Detector = Speeding()
