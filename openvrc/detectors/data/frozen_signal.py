"""`data.frozen_signal`: a signal repeats itself although what it depends on changes.

| component | frozen when it stays equal, bit for bit, over | because |
|---|---|---|
| `cell_voltages_v` | 5 current steps of 10 A or more | 10 A at 0.4 mohm: 4 mV, read to 1 mV |
| `pack_voltage_v` | 5 current steps of 30 A or more | 30 A at 39 mohm: 1.2 V, read to 1 V |
| `position` | 5 frames and 5 s at 2 m/s or more | 10 m of road, read to 1 cm |

Equal values at rest are normal and no finding. Cells and pack voltage count per frame of a
`battery_state`, position per `vehicle_state`. Temperatures are left out: a pack keeps its
temperature to 1 K for hours. A frame without the signal or its drive is stepped over; a gap of
over two minutes starts anew. The first different value clears.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.cleaning import dense
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, chained, usable_rows
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.keyed import Keyed

LONGEST_GAP_NS = 120 * NS_PER_S


@dataclass(frozen=True)
class _Signal:
    component: str
    message: str
    drive: str
    drive_step: float
    """Least step of the current, or least speed."""
    least_count: int
    least_span_ns: int
    unit: str


SIGNALS = (
    _Signal("cell_voltages_v", "battery_state", "pack_current_a", 10.0, 5, 0, "a"),
    _Signal("pack_voltage_v", "battery_state", "pack_current_a", 30.0, 5, 0, "a"),
    _Signal("position", "vehicle_state", "speed_mps", 2.0, 5, 5 * NS_PER_S, "mps"),
)

RULE = Rule(
    name="data.frozen_signal",
    title="A signal is frozen",
    meaning="A signal repeats the same value while the vehicle's state visibly changes.",
    advice="Do not rely on this signal; check the sensor or the gateway that buffers it.",
    pending_for_s=0.0,
    recovering_for_s=10.0,
    actionable_for_s=3600.0,
)

_SIGNAL_FIELDS = {
    "at_ns": (np.int64, NEVER_NS),  # last frame that had the signal
    "drive": (np.float32, np.nan),
    "since_ns": (np.int64, NEVER_NS),  # first of the equal frames
    "count": (np.int64, 0),  # of them that should have differed
}
_FIELDS: dict[str, tuple[Any, Any]] = SEEN | {
    f"{signal.component}.{name}": spec
    for signal in SIGNALS
    for name, spec in _SIGNAL_FIELDS.items()
}
_MESSAGES = ("battery_state", "vehicle_state")
_TABLES: dict[str, tuple[Any, Any]] = {
    "cell_voltages_v": (np.float32, np.nan),
    "pack_voltage_v": (np.float32, np.nan),
    "position": (np.float64, np.nan),  # 1e-7 deg needs it
}


@dataclass
class State:
    """Per message and vehicle: the runs of equal frames; per vehicle and signal: the last value."""

    vehicles: dict[str, Keyed] = field(
        default_factory=lambda: {message: Keyed(_FIELDS) for message in _MESSAGES}
    )
    last: dict[str, Wide] = field(
        default_factory=lambda: {name: Wide({name: spec}) for name, spec in _TABLES.items()}
    )


class FrozenSignal:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = _MESSAGES
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames of either message."""
        vehicles = state.vehicles[batch.message]
        rows = usable_rows(batch, vehicles)
        findings = []
        for signal in SIGNALS:
            if signal.message == batch.message:
                findings += _fold_signal(state, vehicles, rows, batch, signal)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: silence is not sameness."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All runs and last values."""
        arrays: Arrays = {}
        for message, vehicles in state.vehicles.items():
            arrays |= vehicles.snapshot(f"{message}.")
        for table in state.last.values():
            arrays |= table.snapshot("last.")
        return arrays

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(
            {m: Keyed.restore(_FIELDS, arrays, f"{m}.") for m in _MESSAGES},
            {n: Wide.restore({n: spec}, arrays, "last.") for n, spec in _TABLES.items()},
        )


def _values(batch: Batch, signal: _Signal) -> npt.NDArray[Any]:
    """The signal as a matrix (n_rows, k); a row without any number has no signal."""
    if signal.component == "cell_voltages_v":
        return dense(batch, "cell_voltages_v")
    if signal.component == "position":
        return np.stack([batch.column("lat_deg"), batch.column("lon_deg")], axis=1)
    return batch.column(signal.component)[:, None]


def _fold_signal(
    state: State, vehicles: Keyed, rows: Rows, batch: Batch, signal: _Signal
) -> list[Finding]:
    values = _values(batch, signal)
    drive = batch.column(signal.drive)
    has_signal = ~np.isnan(values).all(axis=1) & ~np.isnan(drive)
    name = signal.component
    rows = chained(rows.where(has_signal[rows.row]), vehicles, f"{name}.at_ns")
    if len(rows) == 0:
        return []
    table = state.last[name]
    table.fit(len(vehicles), values.shape[1])
    is_equal = _equals_before(rows, values[rows.row], table, name)
    is_equal &= rows.at_ns - np.maximum(rows.previous_at_ns, 0) <= LONGEST_GAP_NS
    drive, drive_before = _drive_and_before(rows, drive[rows.row], vehicles, f"{name}.drive")
    if signal.message == "vehicle_state":
        is_equal &= drive >= signal.drive_step
        counts = is_equal
    else:
        counts = is_equal & (np.abs(drive - drive_before) >= signal.drive_step)
    return _fold_runs(vehicles, rows, signal, is_equal, counts, drive)


def _equals_before(
    rows: Rows, values: npt.NDArray[Any], table: Wide, name: str
) -> npt.NDArray[np.bool_]:
    last = table[name]
    is_equal = np.zeros(len(rows), np.bool_)
    is_equal[1:] = _is_same(values[1:], values[:-1])
    heads = np.flatnonzero(rows.is_first)
    wide = table.padded(values[heads], np.nan)
    is_equal[heads] = _is_same(wide, last[rows.slot[heads]])
    is_last = rows.is_last
    last[rows.slot[is_last]] = table.padded(values[is_last], np.nan)
    return is_equal


def _is_same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(n,) rows equal in all elements, a missing one being equal to a missing one."""
    differs = a != b
    if bool(np.isnan(a).any()):
        differs &= ~(np.isnan(a) & np.isnan(b))
    same: npt.NDArray[np.bool_] = ~differs.any(axis=1)
    return same


def _drive_and_before(
    rows: Rows, drive: npt.NDArray[np.float32], vehicles: Keyed, name: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    before = np.empty_like(drive)
    before[1:] = drive[:-1]
    before[rows.is_first] = vehicles[name][rows.slot[rows.is_first]]
    is_last = rows.is_last
    vehicles[name][rows.slot[is_last]] = drive[is_last]
    return drive, before


def _fold_runs(
    vehicles: Keyed,
    rows: Rows,
    signal: _Signal,
    is_equal: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.bool_],
    drive: npt.NDArray[np.float32],
) -> list[Finding]:
    name = signal.component
    since, stored = vehicles[f"{name}.since_ns"], vehicles[f"{name}.count"]
    index = np.arange(len(rows))
    first = np.maximum.accumulate(np.where(rows.is_first, index, 0))
    run = np.maximum.accumulate(np.where(~is_equal, index, -1))  # row where the run began
    is_own = run >= first
    since_ns = np.where(is_own, rows.at_ns[run], since[rows.slot])
    total = np.cumsum(counts)
    base = np.where(is_own, total[run] - counts[run], total[first] - counts[first])
    count = total - base + np.where(is_own, 0, stored[rows.slot])
    span_ns = rows.at_ns - since_ns
    is_frozen = (count >= signal.least_count) & (span_ns >= signal.least_span_ns)
    count_before = np.where(rows.is_first, stored[rows.slot], np.roll(count, 1))
    since_before = np.where(rows.is_first, since[rows.slot], np.roll(since_ns, 1))
    span_before = rows.previous_at_ns - since_before
    was_frozen = (count_before >= signal.least_count) & (span_before >= signal.least_span_ns)
    is_last = rows.is_last
    since[rows.slot[is_last]], stored[rows.slot[is_last]] = since_ns[is_last], count[is_last]
    found = []
    for i in np.flatnonzero((is_frozen & ~was_frozen) | (was_frozen & ~is_equal)).tolist():
        phase: Phase = "raise" if is_frozen[i] else "clear"
        n_frames = int(count[i] if phase == "raise" else count_before[i])
        started = int(since_ns[i] if phase == "raise" else since_before[i])
        found.append(_finding(vehicles, rows, signal, i, phase, n_frames, started, drive))
    return found


def _finding(
    vehicles: Keyed,
    rows: Rows,
    signal: _Signal,
    i: int,
    phase: Phase,
    n_frames: int,
    started_at_ns: int,
    drive: npt.NDArray[np.float32],
) -> Finding:
    at_ns = int(rows.at_ns[i])
    span_s = (at_ns - started_at_ns) / NS_PER_S
    what = (
        f"speed was {signal.drive_step:.0f} m/s or more"
        if signal.unit == "mps"
        else f"the current stepped by {signal.drive_step:.0f} A or more"
    )
    text = (
        f"{signal.component} changes again after {span_s:.0f} s."
        if phase == "clear"
        else f"{signal.component} has not changed for {span_s:.0f} s, "
        f"though in {n_frames} frames {what}."
    )
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[int(rows.slot[i])],
        component=signal.component,
        at_ns=at_ns,
        started_at_ns=started_at_ns,
        severity=Severity.INFO,
        evidence={
            "text": text,
            "frames": n_frames,
            "limit_frames": signal.least_count,
            f"drive_limit_{signal.unit}": signal.drive_step,
            f"drive_{signal.unit}": round(float(drive[i]), 2),
            "span_started_at": iso_from_ns(started_at_ns),
            "span_ended_at": iso_from_ns(at_ns),
            "span_s": round(span_s, 1),
        },
        is_late=bool(rows.is_late[i]),
    )


PLUGIN: Detector = FrozenSignal()
