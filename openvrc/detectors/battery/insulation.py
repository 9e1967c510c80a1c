"""`battery.insulation`: the high-voltage net is no longer insulated from the chassis.

Ohm per volt of pack voltage, the measure of GB 18384 and GB 38031 (UN R100 has the same values):
500 ohm/V for a circuit with AC parts, under which we warn; 100 ohm/V for a DC circuit, under
which it is serious (a person touching chassis and one pole could carry over 10 mA).

Not measurements, and left aside: top-of-range values that differ by model (5, 1000, 11520: the
instrument says "at least that", often in a unit of its own, and a reader that takes them as ohm
would see a fault), and 0 from a channel that has never said anything else (not fitted). Frames of
nonsense do not count. The pack voltage is the frame's own, else the sum of its cells, else the
last one known.

Three measured frames in a row over at least 5 s raise, three above the limit + 20 % lower or
clear: insulation monitors take 10 s and more for one reading and dip when contactors switch. A
missing value neither confirms nor resets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.cleaning import FloatArray
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, usable_rows
from openvrc.detectors.battery.masks import every, some
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.keyed import Keyed

WARNING_OHM_PER_V = 500.0
SERIOUS_OHM_PER_V = 100.0
HYSTERESIS_RATIO = 1.2
FRAMES_TO_AGREE = 3
LEAST_SPAN_NS = 5 * NS_PER_S
LEAST_PACK_V = 60.0  # below it is no high-voltage net (class B starts at 60 V DC)
SATURATED_OHM = (5.0, 1000.0, 11520.0, 5e3, 5e6, 1e6, 11.52e6)
"""Top-of-range readings seen in real logs, as they come in ohm, kohm or Mohm."""
_TOPS_OHM = tuple(np.float32(top_ohm) for top_ohm in SATURATED_OHM)
CONFIDENCE = 0.9  # one instrument, debounced; it cannot tell a wet connector from a broken cable

RULE = Rule(
    name="battery.insulation",
    title="Insulation of the high-voltage net is low",
    meaning="The resistance between the high-voltage net and the chassis is below the safe limit.",
    advice="Do not touch high-voltage parts; park, do not charge, have the insulation measured.",
    pending_for_s=0.0,
    recovering_for_s=60.0,
    actionable_for_s=86400.0,
)

_FIELDS = {
    **SEEN,
    "pack_v": (np.float32, np.nan),  # last known
    "is_alive": (np.bool_, False),  # has said something else than 0
    "severity": (np.int64, 0),  # 0: no episode
    "started_at_ns": (np.int64, NEVER_NS),
    **{
        f"{level}_{name}": spec
        for level in ("warning", "serious")
        for name, spec in {
            "is_on": (np.bool_, False),
            "low_frames": (np.int64, 0),  # in a row under the limit
            "low_since_ns": (np.int64, NEVER_NS),
            "high_frames": (np.int64, 0),  # in a row above the limit + 20 %
        }.items()
    },
}
_LIMITS = {"warning": WARNING_OHM_PER_V, "serious": SERIOUS_OHM_PER_V}


@dataclass
class State:
    """Per vehicle: voltage, streaks, episode."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))


@dataclass(frozen=True)
class _Frame:
    at_ns: int
    insulation_ohm: float
    pack_v: float
    is_late: bool
    bms_alarm_level: int | None

    @property
    def ohm_per_v(self) -> float:
        return self.insulation_ohm / self.pack_v


class Insulation:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; only vehicles near the limit are looked at frame by frame."""
        vehicles = state.vehicles
        rows = usable_rows(batch, vehicles)
        view = ordered(batch)
        insulation_ohm = rows.of(view.scalar("insulation_ohm"))
        pack_v = _pack_voltage(rows, view, vehicles)
        is_measured = _is_measured(rows, insulation_ohm, vehicles) & (pack_v >= LEAST_PACK_V)
        is_low = is_measured & (insulation_ohm < WARNING_OHM_PER_V * HYSTERESIS_RATIO * pack_v)
        is_watched = (vehicles["severity"] > 0) | (vehicles["warning_low_frames"] > 0)
        is_watched[rows.slot[is_low]] = True
        findings = []
        for i in np.flatnonzero(is_watched[rows.slot] & is_measured).tolist():
            frame = _Frame(
                int(rows.at_ns[i]),
                float(insulation_ohm[i]),
                float(pack_v[i]),
                bool(rows.is_late[i]),
                view.bms_alarm_level(int(rows.at[i])),
            )
            findings += _fold_frame(vehicles, int(rows.slot[i]), frame)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: frames decide all."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        return state.vehicles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(Keyed.restore(_FIELDS, arrays))


def _pack_voltage(rows: Rows, view: View, vehicles: Keyed) -> FloatArray:
    """Pack voltage (n,) to divide by, NaN where nothing is known; keeps the last one."""
    pack_v = rows.of(view.scalar("pack_voltage_v")).copy()
    missing = ~(pack_v >= LEAST_PACK_V)
    if some(missing):
        cells_v = rows.of(view.cells_v)[missing]
        n_given = rows.of(view.n_given)[missing]
        is_whole = (~np.isnan(cells_v)).sum(axis=1) == np.maximum(n_given, 1)
        pack_v[missing] = np.where(is_whole, np.nansum(cells_v, axis=1), np.nan)
        if rows.is_single:
            pack_v = np.where(np.isnan(pack_v), vehicles["pack_v"][rows.slot], pack_v)
    if rows.is_single:
        vehicles["pack_v"][rows.slot] = pack_v
        return pack_v
    index = np.arange(len(rows))
    known = np.maximum.accumulate(np.where(~np.isnan(pack_v), index, -1))
    first = np.maximum.accumulate(np.where(rows.is_first, index, 0))
    is_own = known >= first
    pack_v = np.where(is_own, pack_v[known], vehicles["pack_v"][rows.slot])
    if len(rows):
        is_last = rows.is_last
        vehicles["pack_v"][rows.slot[is_last]] = pack_v[is_last]
    return pack_v


def _is_measured(rows: Rows, insulation_ohm: FloatArray, vehicles: Keyed) -> npt.NDArray[np.bool_]:
    """(n,) values that are readings; moves `is_alive` on."""
    is_given = ~np.isnan(insulation_ohm)
    speaks = is_given & (insulation_ohm > 0)
    if every(speaks):  # all are alive, and none of them says 0
        vehicles["is_alive"][rows.slot] = True
        return ~is_saturated(insulation_ohm)
    index = np.arange(len(rows))
    spoke = np.maximum.accumulate(np.where(speaks, index, -1))
    first = np.maximum.accumulate(np.where(rows.is_first, index, 0))
    is_alive = (spoke >= first) | vehicles["is_alive"][rows.slot]
    vehicles["is_alive"][rows.slot[speaks]] = True
    is_measured: npt.NDArray[np.bool_] = is_given & ~is_saturated(insulation_ohm) & is_alive
    return is_measured


def is_saturated(insulation_ohm: FloatArray) -> npt.NDArray[np.bool_]:
    """(n,) readings that are the top of an instrument's range."""
    is_top = np.zeros(len(insulation_ohm), np.bool_)
    for top_ohm in _TOPS_OHM:
        is_top |= insulation_ohm == top_ohm
    return is_top


def _fold_frame(vehicles: Keyed, slot: int, frame: _Frame) -> list[Finding]:
    for level, limit in _LIMITS.items():
        _fold_level(vehicles, slot, frame, level, limit)
    severity = int(vehicles["severity"][slot])
    wanted = 0
    if vehicles["warning_is_on"][slot]:
        is_serious = bool(vehicles["serious_is_on"][slot])
        wanted = int(Severity.SERIOUS if is_serious else Severity.WARNING)
    if wanted == severity:
        return []
    if severity == 0:
        vehicles["started_at_ns"][slot] = vehicles["warning_low_since_ns"][slot]
    finding = _finding(vehicles, slot, frame, "raise" if wanted else "clear", wanted or severity)
    vehicles["severity"][slot] = wanted
    return [finding]


def _fold_level(vehicles: Keyed, slot: int, frame: _Frame, level: str, limit: float) -> None:
    """Latch one level: on after enough low frames in a row, off after enough high ones."""
    low_frames = vehicles[f"{level}_low_frames"]
    high_frames = vehicles[f"{level}_high_frames"]
    if frame.ohm_per_v < limit:
        if low_frames[slot] == 0:
            vehicles[f"{level}_low_since_ns"][slot] = frame.at_ns
        low_frames[slot] += 1
        high_frames[slot] = 0
        span_ns = frame.at_ns - int(vehicles[f"{level}_low_since_ns"][slot])
        if low_frames[slot] >= FRAMES_TO_AGREE and span_ns >= LEAST_SPAN_NS:
            vehicles[f"{level}_is_on"][slot] = True
        return
    low_frames[slot] = 0
    high_frames[slot] = high_frames[slot] + 1 if frame.ohm_per_v >= limit * HYSTERESIS_RATIO else 0
    if high_frames[slot] >= FRAMES_TO_AGREE:
        vehicles[f"{level}_is_on"][slot] = False


def _finding(vehicles: Keyed, slot: int, frame: _Frame, phase: Phase, severity: int) -> Finding:
    started_at_ns = int(vehicles["started_at_ns"][slot])
    limit = SERIOUS_OHM_PER_V if severity >= Severity.SERIOUS else WARNING_OHM_PER_V
    word = "has come back to" if phase == "clear" else "is"
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[slot],
        at_ns=frame.at_ns,
        started_at_ns=started_at_ns,
        severity=Severity(severity),
        confidence=CONFIDENCE,
        evidence={
            "text": (
                f"Insulation {word} {frame.insulation_ohm / 1e3:.0f} kohm at "
                f"{frame.pack_v:.0f} V, {frame.ohm_per_v:.0f} ohm/V; the limit is {limit:.0f}."
            ),
            "insulation_ohm": round(frame.insulation_ohm),
            "pack_voltage_v": round(frame.pack_v, 1),
            "insulation_ohm_per_v": round(frame.ohm_per_v, 1),
            "limit_ohm_per_v": limit,
            "span_started_at": iso_from_ns(started_at_ns),
            "span_ended_at": iso_from_ns(frame.at_ns),
            "bms_alarm_level": frame.bms_alarm_level,
        },
        is_late=frame.is_late,
    )


PLUGIN: Detector = Insulation()
