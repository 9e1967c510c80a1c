"""`battery.internal_short`: a cell falls far below its mates from one frame to the next, and stays.

| step | condition |
|---|---|
| fall | the lowest cell falls by 80 mV + 0.5 mV per ampere of change, to 100 mV under its pack |
| alone | the next cell is within 50 mV of the pack: a module's harness moves several |
| not a wire | no neighbour stands up by half as much (`battery.sampling`) |
| not the knee | at 10 % of displayed charge or more: an empty weak cell falls by itself |
| stays | the same cell is under 60 % of that depth in two more frames |

After a silence of over ten minutes the fall must be 150 mV, both frames at |I| under 5 A. From
0.5 V it is critical: such a cell heats. A slow descent is `battery.self_discharge`. The episode
ends when the cell has been within 30 mV for an hour and 30 frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.action import stop_and_leave, workshop
from openvrc.detectors.battery.deviation import LEAST_CELLS
from openvrc.detectors.battery.drops import DROP_FIELDS, Drops, fold_drops, watched_rows
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.keyed import Keyed

FALL_V, FALL_V_PER_A, DEPTH_V = 0.080, 0.0005, 0.100
SILENCE_NS, FALL_AFTER_SILENCE_V = 600 * NS_PER_S, 0.150
ALONE_V, MIRROR_SHARE = 0.050, 0.5
KNEE_SOC = 0.10
STAY_SHARE, FRAMES_TO_STAY = 0.6, 3
CRITICAL_V = 0.5
BACK_V, BACK_FRAMES, BACK_NS = 0.030, 30, 3600 * NS_PER_S

RULE = Rule(
    name="battery.internal_short",
    title="Sudden internal short of a cell",
    meaning="One cell lost voltage from one moment to the next and did not get it back.",
    advice="Stop in the open and keep away from the car until the cell's voltage is understood.",
    actionable_for_s=86_400.0,
)


@dataclass
class Fallen:
    """A cell that fell, from its first frame on."""

    cell: int
    started_at_ns: int
    depth_uv: int
    """How far under its pack it was, positive, in microvolt."""
    before_uv: int
    frames: int = 1
    severity: int = -1
    """-1: not raised yet."""
    back_frames: int = 0
    back_since_ns: int = 0


@dataclass
class State:
    """Last lowest deviation of each vehicle; cells that fell, one per vehicle."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(DROP_FIELDS))
    fallen: dict[int, Fallen] = field(default_factory=dict)


class InternalShort:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; only vehicles with a fall are looked at frame by frame."""
        view = ordered(batch)
        if view.cells_v.shape[1] < LEAST_CELLS:
            return state, []
        drops = fold_drops(view, state.vehicles)
        if len(drops.rows) == 0:
            return state, []
        is_candidate = _is_fall(drops, view)
        findings: list[Finding] = []
        for i in watched_rows(drops, is_candidate, set(state.fallen)).tolist():
            slot = int(drops.rows.slot[i])
            if slot in state.fallen:
                findings += _follow(state, view, drops, i, slot)
            if is_candidate[i] and slot not in state.fallen:
                _begin(state, view, drops, i, slot)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: frames decide all."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        fallen = [(slot, *vars(f).values()) for slot, f in state.fallen.items()]
        return state.vehicles.snapshot() | {"fallen": np.array(fallen, np.int64).reshape(-1, 9)}

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        fallen = {slot: Fallen(*values) for slot, *values in arrays["fallen"].tolist()}
        return State(Keyed.restore(DROP_FIELDS, arrays), fallen)


def _is_fall(drops: Drops, view: View) -> npt.NDArray[np.bool_]:
    rows, drop_v = drops.rows, drops.drop_v
    is_deep = (drops.low_v <= -DEPTH_V) & (drop_v >= FALL_V + FALL_V_PER_A * np.abs(drops.step_a))
    if not some(is_deep):
        return is_deep
    amps = rows.of(view.current_a)
    is_quiet = (np.abs(amps) < REST_CURRENT_A) & (np.abs(amps - drops.step_a) < REST_CURRENT_A)
    is_deep &= (drops.gap_ns <= SILENCE_NS) | (is_quiet & (drop_v >= FALL_AFTER_SILENCE_V))
    soc = rows.of(view.soc_ratio)
    is_deep &= ~(soc < KNEE_SOC)
    for i in np.flatnonzero(is_deep).tolist():
        is_deep[i] = _is_alone(view, int(rows.at[i]))
    return is_deep


def _is_alone(view: View, at: int) -> bool:
    """Whether only one cell of the row is low and no neighbour mirrors it."""
    deviation_v = view.cells_v[at] - view.median_v[at]
    cell = int(np.nanargmin(deviation_v))
    others_v = np.delete(deviation_v, cell)
    mates_v = deviation_v[max(cell - 1, 0) : cell + 2]
    is_mirrored = float(np.nanmax(mates_v)) >= -MIRROR_SHARE * float(deviation_v[cell])
    return float(np.nanmin(others_v)) >= -ALONE_V and not is_mirrored


def _begin(state: State, view: View, drops: Drops, i: int, slot: int) -> None:
    state.fallen[slot] = Fallen(
        view.lowest_cell(int(drops.rows.at[i])),
        int(drops.rows.at_ns[i]),
        round(-float(drops.low_v[i]) * 1e6),
        round(float(drops.before_v[i]) * 1e6),
    )


def _follow(state: State, view: View, drops: Drops, i: int, slot: int) -> list[Finding]:
    fallen, at = state.fallen[slot], int(drops.rows.at[i])
    if fallen.cell >= view.cells_v.shape[1] or np.isnan(view.cells_v[at, fallen.cell]):
        return []
    low_v = float(view.median_v[at] - view.cells_v[at, fallen.cell])
    if fallen.severity < 0:
        if low_v * 1e6 < STAY_SHARE * fallen.depth_uv:
            del state.fallen[slot]  # it came back: a spike, or the load
            return []
        fallen.frames += 1
        if fallen.frames < FRAMES_TO_STAY:
            return []
        return [_raise(state, view, drops, i, slot, low_v)]
    is_worse = low_v >= CRITICAL_V and fallen.severity < Severity.CRITICAL
    if is_worse:
        return [_raise(state, view, drops, i, slot, low_v)]
    if low_v > BACK_V:
        fallen.back_frames = 0
        return []
    if fallen.back_frames == 0:
        fallen.back_since_ns = int(drops.rows.at_ns[i])
    fallen.back_frames += 1
    span_ns = int(drops.rows.at_ns[i]) - fallen.back_since_ns
    if fallen.back_frames < BACK_FRAMES or span_ns < BACK_NS:
        return []
    finding = _finding(state, view, drops, i, slot, low_v, "clear")
    del state.fallen[slot]
    return [finding]


def _raise(state: State, view: View, drops: Drops, i: int, slot: int, low_v: float) -> Finding:
    is_critical = low_v >= CRITICAL_V
    state.fallen[slot].severity = int(Severity.CRITICAL if is_critical else Severity.SERIOUS)
    return _finding(state, view, drops, i, slot, low_v, "raise")


def _finding(
    state: State, view: View, drops: Drops, i: int, slot: int, low_v: float, phase: Phase
) -> Finding:
    fallen, rows = state.fallen[slot], drops.rows
    at, at_ns, cell = int(rows.at[i]), int(rows.at_ns[i]), fallen.cell + 1
    text = (
        f"Cell {cell} fell by {(fallen.depth_uv + fallen.before_uv) / 1e3:.0f} mV at once and is "
        f"{low_v * 1e3:.0f} mV below its pack."
        if phase == "raise"
        else f"Cell {cell} has been back with its pack for an hour."
    )
    is_critical = fallen.severity >= Severity.CRITICAL
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[slot],
        component=f"cell:{cell}",
        at_ns=at_ns,
        started_at_ns=fallen.started_at_ns,
        severity=Severity(fallen.severity),
        confidence=0.9 if is_critical else 0.8,
        evidence={
            "text": text,
            "deviation_v": round(-low_v, 4),
            "deviation_before_v": round(fallen.before_uv / 1e6, 4),
            "limit_fall_v": FALL_V,
            "median_cell_v": round(float(view.median_v[at]), 3),
            "pack_current_a": round(float(view.current_a[at]), 1),
            **(stop_and_leave() if is_critical else workshop(1, "Park in the open.")),
            "span_started_at": iso_from_ns(fallen.started_at_ns),
            "span_ended_at": iso_from_ns(at_ns),
            "bms_alarm_level": view.bms_alarm_level(at),
        },
        is_late=bool(rows.is_late[i]),
    )


PLUGIN: Detector = InternalShort()
