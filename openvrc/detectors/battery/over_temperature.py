"""`battery.over_temperature`: a pack is too hot, or on its way there.

Levels of the hottest believed probe, each left again only 3 K lower:

| severity | from | reason |
|---|---|---|
| warning | 55 degC | above every normal use; BMS usually derate from 50 to 55 |
| serious | 60 degC | usual end of the operating range; the field's thermal vote uses it too |
| critical | 70 degC | the SEI layer begins to decompose from about 70, which heats by itself |

Rise: 0.1 K/s (6 K/min, above 40 degC) is a warning before any level: a cell of 45 J/K under fast
charge warms under 4 K/min. 1 K/s above 50 degC is serious: GB 38031 takes it as a runaway's sign.

One frame of one probe is not enough: a second probe or the next frame must agree. A probe alone
that jumps as no heat can (probe_doubt.py) is a sensor's fault and does not count. A missing
frame or value neither confirms nor ends anything. One episode per vehicle, named after the probe
that was hottest when it began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.cleaning import FloatArray
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, chained, usable_rows
from openvrc.detectors.battery.probe_doubt import JUMP_K, Doubt, is_odd, largest_cell_deviation
from openvrc.detectors.battery.probe_trend import TREND, rise_rates
from openvrc.detectors.battery.view import ordered
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.battery_health.previous import previous_values
from openvrc.detectors.keyed import Keyed

LEVELS_DEGC = (55.0, 60.0, 70.0)
HYSTERESIS_K = 3.0
RISE_WARNING_KPS, RISE_FROM_DEGC = 0.1, 40.0
RISE_SERIOUS_KPS, RISE_SERIOUS_FROM_DEGC = 1.0, 50.0
RISE_HOLD_NS = 120 * NS_PER_S  # a rise that ended must stay ended before its warning goes
ONE_PROBE_CONFIDENCE, PROBES_CONFIDENCE, RISE_CONFIDENCE = 0.85, 0.97, 0.75

RULE = Rule(
    name="battery.over_temperature",
    title="Battery too hot",
    meaning="A probe in the pack is above the temperature of normal use, or heats towards it fast.",
    advice="Stop charging and reduce load; from critical on, stop, leave the vehicle, keep clear.",
    pending_for_s=0.0,
    recovering_for_s=60.0,
    actionable_for_s=86400.0,
)

_FIELDS = {
    **SEEN,
    **TREND,
    "probed_at_ns": (np.int64, NEVER_NS),
    "coldest_degc": (np.float32, np.nan),
    "is_open": (np.bool_, False),
    "started_at_ns": (np.int64, NEVER_NS),
    "probe": (np.int64, -1),
    "severity": (np.int64, 0),
    "hot_since_ns": (np.int64, NEVER_NS),  # first of the hot frames in a row
    "level": (np.int64, 0),  # of the frame before
    "held_level": (np.int64, 0),  # the same with the hysteresis
    "rise_at_ns": (np.int64, NEVER_NS),  # last frame that rose fast
    "rise_level": (np.int64, 0),
    "doubted_probe": (np.int64, -1),
    "doubted_others_degc": (np.float64, np.nan),  # hottest other probe when the doubt began
}
_TABLES = {"last_degc": (np.float32, np.nan)}


@dataclass
class State:
    """Per vehicle: anchors of the trend, the episode, the doubted probe, the last frame."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    last: Wide = field(default_factory=lambda: Wide(_TABLES))


@dataclass(frozen=True)
class _Frame:
    """One frame of one vehicle after doubt."""

    at_ns: int
    hottest_degc: float
    probe: int
    n_hot: int
    rise_kps: float
    is_late: bool
    bms_alarm_level: int | None

    @property
    def rise_level(self) -> int:
        if self.rise_kps >= RISE_SERIOUS_KPS and self.hottest_degc >= RISE_SERIOUS_FROM_DEGC:
            return int(Severity.SERIOUS)
        is_rising = self.rise_kps >= RISE_WARNING_KPS and self.hottest_degc >= RISE_FROM_DEGC
        return int(Severity.WARNING) if is_rising else 0


class OverTemperature:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; only vehicles with something odd are looked at frame by frame."""
        rows = usable_rows(batch, state.vehicles)
        view = ordered(batch)
        if view.probes_degc.shape[1] == 0:
            return state, []
        has_probe = ~np.isnan(rows.of(view.hottest_degc))
        rows = chained(rows.where(has_probe), state.vehicles, "probed_at_ns")
        if len(rows) == 0:
            return state, []
        probes_degc = rows.of(view.probes_degc)
        hottest_degc = rows.of(view.hottest_degc)
        rise_kps = rise_rates(rows, hottest_degc, state.vehicles)
        before_degc = _frames_before(rows, probes_degc, state)
        above_k = hottest_degc - rows.of(view.median_degc)
        coldest_degc = rows.of(view.coldest_degc)
        coldest_before = previous_values(rows, coldest_degc, state.vehicles, "coldest_degc")
        may_jump = ~(hottest_degc - coldest_before <= JUMP_K)
        odd = is_odd(rows, probes_degc, before_degc, above_k, may_jump)
        is_rising = (rise_kps >= RISE_WARNING_KPS) & (hottest_degc >= RISE_FROM_DEGC)
        is_hot = hottest_degc >= LEVELS_DEGC[0] - HYSTERESIS_K
        chosen = _rows_of_watched(rows, is_hot | is_rising | odd, state.vehicles)
        findings = []
        for i in chosen.tolist():
            finding = self._fold_row(
                state,
                rows,
                i,
                probes_degc[i],
                before_degc[i],
                view.cells_v[rows.at[i]],
                float(rise_kps[i]),
                view.bms_alarm_level(int(rows.at[i])),
            )
            findings += finding
        return state, findings

    def _fold_row(
        self,
        state: State,
        rows: Rows,
        i: int,
        probes_degc: FloatArray,
        before_degc: FloatArray,
        cells_v: FloatArray,
        rise_kps: float,
        alarm_level: int | None,
    ) -> list[Finding]:
        slot, vehicles = int(rows.slot[i]), state.vehicles
        doubt = Doubt(
            int(vehicles["doubted_probe"][slot]), float(vehicles["doubted_others_degc"][slot])
        ).after(
            probes_degc,
            before_degc,
            int(rows.at_ns[i] - max(rows.previous_at_ns[i], 0)),
            largest_cell_deviation(cells_v),
        )
        vehicles["doubted_probe"][slot] = doubt.probe
        vehicles["doubted_others_degc"][slot] = doubt.others_degc
        if doubt.probe >= 0:
            probes_degc = probes_degc.copy()
            probes_degc[doubt.probe] = np.nan
            rise_kps = 0.0  # the anchors hold the doubted probe's values
        if np.isnan(probes_degc).all():
            return []
        hottest_degc = float(np.nanmax(probes_degc))
        limit_degc = LEVELS_DEGC[0] if hottest_degc >= LEVELS_DEGC[0] else hottest_degc - 1.0
        frame = _Frame(
            at_ns=int(rows.at_ns[i]),
            hottest_degc=hottest_degc,
            probe=int(np.nanargmax(probes_degc)),
            n_hot=int((probes_degc >= limit_degc).sum()),
            rise_kps=rise_kps,
            is_late=bool(rows.is_late[i]),
            bms_alarm_level=alarm_level,
        )
        return _fold_frame(vehicles, slot, frame)

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a silent pack is not a cool one, and frames decide all else."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields and the last frames."""
        return state.vehicles.snapshot() | state.last.snapshot("last.")

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(Keyed.restore(_FIELDS, arrays), Wide.restore(_TABLES, arrays, "last."))


def _frames_before(rows: Rows, probes_degc: FloatArray, state: State) -> FloatArray:
    """The probes (n, p) of each vehicle's frame before; keeps the last for the next batch."""
    width = probes_degc.shape[1]
    state.last.fit(len(state.vehicles), width)
    last = state.last["last_degc"]
    if rows.is_single:
        alone: FloatArray = last[rows.slot, :width]
        last[rows.slot] = state.last.padded(probes_degc, np.nan)
        return alone
    before = np.empty_like(probes_degc)
    before[1:] = probes_degc[:-1]
    before[rows.is_first] = last[rows.slot[rows.is_first], :width]
    is_last = rows.is_last
    last[rows.slot[is_last]] = state.last.padded(probes_degc[is_last], np.nan)
    return before


def _rows_of_watched(
    rows: Rows, is_notable: npt.NDArray[np.bool_], vehicles: Keyed
) -> npt.NDArray[np.int64]:
    is_watched = (
        vehicles["is_open"] | (vehicles["level"] > 0) | (vehicles["doubted_probe"] >= 0)
    ).copy()
    is_watched[rows.slot[is_notable]] = True
    return np.flatnonzero(is_watched[rows.slot])


def _level(degc: float, hysteresis_k: float = 0.0) -> int:
    return sum(degc >= limit - hysteresis_k for limit in LEVELS_DEGC)


def _fold_frame(vehicles: Keyed, slot: int, frame: _Frame) -> list[Finding]:
    level = max(_level(frame.hottest_degc), frame.rise_level)
    if frame.rise_level:
        vehicles["rise_at_ns"][slot] = frame.at_ns
        vehicles["rise_level"][slot] = frame.rise_level
    held = max(_level(frame.hottest_degc, HYSTERESIS_K), _held_rise(vehicles, slot, frame))
    level_before, held_before = int(vehicles["level"][slot]), int(vehicles["held_level"][slot])
    if level == 0:
        vehicles["hot_since_ns"][slot] = NEVER_NS
    elif level_before == 0:
        vehicles["hot_since_ns"][slot] = frame.at_ns
    vehicles["level"][slot], vehicles["held_level"][slot] = level, held
    agreed = level if frame.n_hot > 1 else min(level, level_before)
    if not vehicles["is_open"][slot]:
        return _open(vehicles, slot, frame, agreed) if agreed else []
    severity = int(vehicles["severity"][slot])
    wanted = max(agreed, min(severity, max(held, held_before)))
    if wanted == severity:
        return []
    if wanted == 0:
        vehicles["is_open"][slot] = False
        return [_finding(vehicles, slot, frame, "clear")]
    vehicles["severity"][slot] = wanted
    return [_finding(vehicles, slot, frame, "raise")]


def _held_rise(vehicles: Keyed, slot: int, frame: _Frame) -> int:
    is_held = frame.at_ns - max(int(vehicles["rise_at_ns"][slot]), 0) < RISE_HOLD_NS
    return int(vehicles["rise_level"][slot]) if is_held else 0


def _open(vehicles: Keyed, slot: int, frame: _Frame, severity: int) -> list[Finding]:
    vehicles["is_open"][slot] = True
    vehicles["started_at_ns"][slot] = vehicles["hot_since_ns"][slot]
    vehicles["probe"][slot] = frame.probe
    vehicles["severity"][slot] = severity
    return [_finding(vehicles, slot, frame, "raise")]


def _finding(vehicles: Keyed, slot: int, frame: _Frame, phase: Phase) -> Finding:
    severity = int(vehicles["severity"][slot])
    started_at_ns = int(vehicles["started_at_ns"][slot])
    by_level = _level(frame.hottest_degc) > 0
    confidence = RISE_CONFIDENCE
    if by_level:
        confidence = PROBES_CONFIDENCE if frame.n_hot > 1 else ONE_PROBE_CONFIDENCE
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[slot],
        component=f"probe:{int(vehicles['probe'][slot]) + 1}",
        at_ns=frame.at_ns,
        started_at_ns=started_at_ns,
        severity=Severity(severity),
        confidence=confidence,
        evidence={
            "text": _text(frame, phase, by_level),
            **_measured(frame, severity),
            "span_started_at": iso_from_ns(started_at_ns),
            "span_ended_at": iso_from_ns(frame.at_ns),
        },
        is_late=frame.is_late,
    )


def _measured(frame: _Frame, severity: int) -> dict[str, Any]:
    return {
        "hottest_degc": round(frame.hottest_degc, 1),
        "hottest_probe": frame.probe + 1,
        "limit_degc": LEVELS_DEGC[max(severity, 1) - 1],
        "rise_kps": round(frame.rise_kps, 3),
        "rise_limit_kps": RISE_WARNING_KPS,
        "probes_over_limit": frame.n_hot if frame.hottest_degc >= LEVELS_DEGC[0] else 0,
        "bms_alarm_level": frame.bms_alarm_level,
    }


def _text(frame: _Frame, phase: Phase, by_level: bool) -> str:
    where = f"Probe {frame.probe + 1} is at {frame.hottest_degc:.0f} degC"
    if phase == "clear":
        return f"The pack has cooled: its hottest probe is at {frame.hottest_degc:.0f} degC."
    if frame.rise_kps >= RISE_WARNING_KPS:
        return f"{where} and rises by {frame.rise_kps * 60:.0f} K per minute."
    if by_level:
        limit = LEVELS_DEGC[_level(frame.hottest_degc) - 1]
        probes = "1 probe is" if frame.n_hot == 1 else f"{frame.n_hot} probes are"
        return f"{where}, over the limit of {limit:.0f}; {probes} that hot."
    return f"{where}, less than before."


PLUGIN: Detector = OverTemperature()
