"""A vehicle brakes harder than drivers do by choice: the first trace of a near miss.

Comfortable braking stays above -3.5 m/s2, hard but planned braking above -4.5 m/s2 (where the
SUMO car-following model clips); below -5.5 m/s2 it is an emergency manoeuvre on a dry road, at
about -8 m/s2 the tyres' limit. The vehicle's own acceleration is used where it is sent; else the
change of speed over 0.5 to 2 s: at 10 Hz a speed noise of 0.1 m/s is already 1.4 m/s2 from one
sample to the next, over 0.5 s it is 0.3 m/s2.

Judged at once, sample by sample in each vehicle's order. An episode ends 3 s of event time after
its last hard sample. Finding times depend on the samples only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import (
    Arrays,
    Context,
    Detector,
    Finding,
    Rule,
    Severity,
    pack_words,
)
from openvrc.contracts.messages.record import LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic._fleet import Forgetting
from openvrc.detectors.traffic._roads import Roads, roads_of
from openvrc.detectors.traffic._view import View, view_of

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

NAME = "traffic.hard_braking"

HARD_MPS2 = -5.5
EMERGENCY_MPS2 = -8.0  # what ABS and dry asphalt give
# Slower than this an acceleration is a kerb, a bump or a jerk at the end of a stop, no braking.
MIN_SPEED_MPS = 2.5
BASELINE_S = (0.5, 2.0)  # shorter is noise, longer averages a short braking away
RECENT_NS = int(BASELINE_S[1] * NS_PER_S)  # an older sample tells nothing about a braking
CLEAR_AFTER_S = 3.0  # a driver who eases off for a moment is still in the same manoeuvre
IDLE_S = 60.0

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),
    "speed_mps": (np.float64, np.nan),  # of the newest sample
    "before_mps": (np.float64, np.nan),  # of the one before it
    "base_ns": (np.int64, ABSENT_I64),  # the sample that speed differences are taken from
    "base_mps": (np.float64, np.nan),
    "hard_ns": (np.int64, ABSENT_I64),  # last hard sample of the open episode
    "heard_ns": (np.int64, ABSENT_I64),  # watermark when that sample came, if it came late
    "since_ns": (np.int64, ABSENT_I64),
    "worst_mps2": (np.float64, 0.0),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
    "is_late": (np.bool_, False),
}
Rows = dict[str, NDArray[Any]]


@dataclass
class State:
    """Every vehicle of one zone and run."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(SPEC))
    segment_of: dict[str, str] = field(default_factory=dict)
    """Where on the map each open episode began, by vehicle."""
    watermark_ns: int = ABSENT_I64
    roads: Roads | None = None
    """Not needed; the map that the view of a batch is shared by."""
    forgetting: Forgetting = field(default_factory=Forgetting)


class HardBraking:
    """`traffic.hard_braking`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Hard braking",
        meaning="A vehicle brakes as drivers do only in an emergency.",
        advice="Warn the traffic behind; several at one place within minutes point to a danger.",
        actionable_for_s=30.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """No vehicle yet."""
        return State(roads=roads_of(context.road_map) if context.road_map else None)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Judge every sample; those of one vehicle in the batch's order."""
        if not batch.n_rows:
            return state, []
        view = view_of(batch, state.roads)
        rows = _rows(state, view)
        rows["accel_mps2"] = _in_order(state.vehicles, rows, view.rounds)
        hard = np.flatnonzero(_is_hard(rows))
        findings: list[Finding] = []
        for row in hard[np.argsort(rows["slot"][hard], kind="stable")].tolist():
            findings += _braked(state, view, rows, row)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """End the episodes that have been calm, forget the silent."""
        vehicles, state.watermark_ns = state.vehicles, watermark_ns
        opened = np.flatnonzero(vehicles["since_ns"] != ABSENT_I64)
        # A late braking is over long ago, but the rest of it may still be on its way.
        hard_ns = np.maximum(vehicles["hard_ns"][opened], vehicles["heard_ns"][opened])
        ended = opened[_end_ns(hard_ns) <= watermark_ns]
        findings = [_clear(state, int(slot)) for slot in ended]
        findings.sort(key=lambda finding: (finding.at_ns, finding.subject_id))
        if state.forgetting.is_due(watermark_ns):
            idle_ns = watermark_ns - int(IDLE_S * NS_PER_S)
            gone = (vehicles["newest_ns"] < idle_ns) & (vehicles["since_ns"] == ABSENT_I64)
            vehicles.evict_if_many(gone)
        return state, findings

    def snapshot(self, state: State) -> Arrays:
        """All vehicles and the places of open episodes."""
        return {
            **state.vehicles.snapshot(),
            "open_vehicle": pack_words(list(state.segment_of)),
            "open_segment_id": pack_words(list(state.segment_of.values())),
            "watermark_ns": np.array([state.watermark_ns]),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(SPEC, arrays)
        words = arrays["open_vehicle"].tolist(), arrays["open_segment_id"].tolist()
        state.segment_of = dict(zip(*words, strict=True))
        state.watermark_ns = int(arrays["watermark_ns"][0])
        return state


def _rows(state: State, view: View) -> Rows:
    return {
        "slot": view.slots(state.vehicles),
        "at_ns": view.at_ns,
        "speed_mps": view.speed_mps,
        "sent_mps2": view.batch.column("accel_long_mps2").astype(np.float64),
        "lateness": view.lateness,
    }


def _in_order(vehicles: Keyed, rows: Rows, rounds: list[IndexArray]) -> FloatArray:
    """Acceleration of each row, NaN where unknown, and every vehicle brought forward.

    An acceleration that was sent is judged whatever its order: a copy says the same again.
    Speed differences need a past, so only samples newer than all before give one.
    """
    accel_mps2 = rows["sent_mps2"].copy()
    before_mps = np.full(len(accel_mps2), np.nan)
    for part in rounds:
        slot, at_ns = rows["slot"][part], rows["at_ns"][part]
        newest_ns = vehicles["newest_ns"][slot]
        is_newer = at_ns > newest_ns
        is_recent = (newest_ns != ABSENT_I64) & (at_ns - newest_ns <= RECENT_NS)
        last_mps = np.where(is_recent, vehicles["speed_mps"][slot], np.nan)
        earlier_mps = vehicles["before_mps"][slot]
        copied_mps = np.where(at_ns == newest_ns, earlier_mps, np.nan)
        before_mps[part] = np.where(is_newer, last_mps, copied_mps)
        new = part[is_newer]
        slot, at_ns, speed_mps = slot[is_newer], at_ns[is_newer], rows["speed_mps"][new]
        from_speeds = _from_speeds(vehicles, slot, at_ns, speed_mps)
        accel_mps2[new] = np.where(np.isnan(accel_mps2[new]), from_speeds, accel_mps2[new])
        vehicles["newest_ns"][slot] = at_ns
        vehicles["before_mps"][slot] = last_mps[is_newer]
        vehicles["speed_mps"][slot] = speed_mps
    rows["before_mps"] = before_mps
    return accel_mps2


def _from_speeds(
    vehicles: Keyed, slot: IndexArray, at_ns: IndexArray, speed_mps: FloatArray
) -> FloatArray:
    """Mean acceleration since each vehicle's base sample; NaN until the baseline is long enough."""
    base_ns = vehicles["base_ns"][slot]
    elapsed_s = np.where(base_ns == ABSENT_I64, np.inf, (at_ns - base_ns) / NS_PER_S)
    known = (elapsed_s >= BASELINE_S[0]) & (elapsed_s <= BASELINE_S[1])
    change_mps = speed_mps - vehicles["base_mps"][slot]
    accel_mps2 = np.where(known, change_mps / np.maximum(elapsed_s, BASELINE_S[0]), np.nan)
    # A sample without a speed is no base; the old one lasts.
    moves = (elapsed_s >= BASELINE_S[0]) & np.isfinite(speed_mps)
    vehicles["base_ns"][slot[moves]] = at_ns[moves]
    vehicles["base_mps"][slot[moves]] = speed_mps[moves]
    return accel_mps2


def _is_hard(rows: Rows) -> NDArray[np.bool_]:
    faster_mps = np.fmax(rows["before_mps"], rows["speed_mps"])
    return (rows["accel_mps2"] < HARD_MPS2) & ~(faster_mps < MIN_SPEED_MPS)


def _end_ns(hard_ns: Any) -> Any:
    return hard_ns + int(CLEAR_AFTER_S * NS_PER_S)


def _braked(state: State, view: View, rows: Rows, row: int) -> list[Finding]:
    """Open an episode, go on with one, or raise its severity."""
    vehicles, slot = state.vehicles, int(rows["slot"][row])
    at_ns, accel_mps2 = int(rows["at_ns"][row]), float(rows["accel_mps2"][row])
    findings = []
    is_open = vehicles["since_ns"][slot] != ABSENT_I64
    if is_open and at_ns >= _end_ns(int(vehicles["hard_ns"][slot])):
        findings.append(_clear(state, slot))
        is_open = False
    is_late = bool(rows["lateness"][row] & LATE_IN_ZONE)
    vehicles["heard_ns"][slot] = state.watermark_ns if is_late else ABSENT_I64
    worst_mps2 = float(vehicles["worst_mps2"][slot]) if is_open else 0.0
    if is_open and accel_mps2 >= worst_mps2:
        vehicles["hard_ns"][slot] = max(at_ns, int(vehicles["hard_ns"][slot]))
        return findings
    if not is_open:
        vehicles["since_ns"][slot] = vehicles["hard_ns"][slot] = at_ns
        vehicles["is_late"][slot] = is_late
        batch = view.batch
        segment_id = batch.dictionary("segment_id")[batch.codes("segment_id")[row]]
        state.segment_of[vehicles.keys[slot]] = segment_id
    vehicles["hard_ns"][slot] = max(at_ns, int(vehicles["hard_ns"][slot]))
    vehicles["worst_mps2"][slot] = accel_mps2
    vehicles["lat_deg"][slot] = view.lat_deg[row]
    vehicles["lon_deg"][slot] = view.lon_deg[row]
    if not is_open or _severity(accel_mps2) > _severity(worst_mps2):
        findings.append(_raise(state, rows, row, slot))
    return findings


def _severity(accel_mps2: float) -> Severity:
    return Severity.SERIOUS if accel_mps2 < EMERGENCY_MPS2 else Severity.WARNING


def _raise(state: State, rows: Rows, row: int, slot: int) -> Finding:
    accel_mps2 = round(float(rows["accel_mps2"][row]), 2)
    speed_mps, before_mps = float(rows["speed_mps"][row]), float(rows["before_mps"][row])
    is_sent = bool(np.isfinite(rows["sent_mps2"][row]))
    evidence = {
        "text": f"Brakes with {-accel_mps2:.1f} m/s2 (limit {-HARD_MPS2} m/s2).",
        "accel_long_mps2": accel_mps2,
        "limit_mps2": HARD_MPS2,
        "speed_mps": round(speed_mps, 2) if np.isfinite(speed_mps) else None,
        "speed_before_mps": round(before_mps, 2) if np.isfinite(before_mps) else None,
        "measured_by": "vehicle" if is_sent else "speed_difference",
    }
    return _finding(
        state,
        slot,
        "raise",
        int(rows["at_ns"][row]),
        severity=_severity(accel_mps2),
        evidence=evidence,
    )


def _clear(state: State, slot: int) -> Finding:
    vehicles = state.vehicles
    worst_mps2 = round(float(vehicles["worst_mps2"][slot]), 2)
    at_ns = int(_end_ns(vehicles["hard_ns"][slot]))
    evidence = {"worst_accel_long_mps2": worst_mps2}
    finding = _finding(
        state, slot, "clear", at_ns, severity=_severity(worst_mps2), evidence=evidence
    )
    del state.segment_of[vehicles.keys[slot]]
    vehicles["since_ns"][slot] = ABSENT_I64
    return finding


def _finding(state: State, slot: int, phase: Any, at_ns: int, **more: Any) -> Finding:
    vehicles = state.vehicles
    subject_id = vehicles.keys[slot]
    lat_deg, lon_deg = float(vehicles["lat_deg"][slot]), float(vehicles["lon_deg"][slot])
    has_place = bool(np.isfinite(lat_deg) and np.isfinite(lon_deg))
    return Finding(
        rule=NAME,
        phase=phase,
        subject_type="vehicle",
        subject_id=subject_id,
        at_ns=at_ns,
        started_at_ns=int(vehicles["since_ns"][slot]),
        segment_id=state.segment_of[subject_id],
        lat_deg=lat_deg if has_place else None,
        lon_deg=lon_deg if has_place else None,
        is_late=bool(vehicles["is_late"][slot]),
        **more,
    )


PLUGIN: Detector = HardBraking()
