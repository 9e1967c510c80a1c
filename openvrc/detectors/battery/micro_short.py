"""`battery.micro_short`: one cell dips for a frame or a few, again and again.

A dendrite that touches and burns away costs a cell 20 to 80 mV for a moment (arXiv 2506.13394).
A dip: the lowest cell falls by 15 mV and more from one frame to the next (60 s apart at most),
two minutes after the last load of 5 A or step of the charging current (cells are scanned one
after the other, so that a changing load makes dips of its own), the next cell is 10 mV higher,
no neighbour mirrors it, and within a minute the cell is back within 5 mV of where the lowest one
was. Three dips of one cell within a day raise, or four within a week: a car that drives little is
seldom calm and awake. (The sound cells of two real cars made none in a month, a weak one three.)
Each eight more are told. A week without one clears.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.deviation import LEAST_CELLS
from openvrc.detectors.battery.drops import DROP_FIELDS, Drops, fold_drops, watched_rows
from openvrc.detectors.battery.frames import NEVER_NS, newest_event_ns
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.keyed import Keyed

DIP_V, LONGEST_NS = 0.015, 60 * NS_PER_S
STEADY_A, CALM_NS = 1.0, 120 * NS_PER_S
ALONE_V, BACK_V, MIRROR_SHARE = 0.010, 0.005, 0.5
DAY_NS, WEEK_NS = 86_400 * NS_PER_S, 7 * 86_400 * NS_PER_S
DIPS_A_DAY, DIPS_A_WEEK, MOST_KEPT = 3, 4, 200
DIPS_TO_TELL_AGAIN = 8
SERIOUS_DIPS = 20  # a day: the spot does not burn away any more

RULE = Rule(
    name="battery.micro_short",
    title="A cell dips again and again",
    meaning="One cell loses tens of millivolts for moments: a micro-short that may become a short.",
    advice="Have the cell examined; do not fast charge until then.",
    actionable_for_s=86_400.0,
)

_FIELDS = {**DROP_FIELDS, "load_at_ns": (np.int64, NEVER_NS)}


@dataclass
class _Dip:
    """A dip that may still end."""

    cell: int
    at_ns: int
    before_v: float
    depth_v: float


@dataclass
class _Cell:
    """Dips of one cell."""

    times_ns: list[int]
    depths_v: list[float]
    started_at_ns: int = -1
    """-1: not raised."""
    severity: int = 0
    told_at_dips: int = 0
    n_dips: int = 0

    @property
    def n_of_day(self) -> int:
        """Dips in the 24 h up to the newest."""
        return sum(self.times_ns[-1] - time_ns <= DAY_NS for time_ns in self.times_ns)


@dataclass
class State:
    """Last lowest deviation of each vehicle, open dips by vehicle, dips by vehicle and cell."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    open: dict[int, _Dip] = field(default_factory=dict)
    cells: dict[tuple[int, int], _Cell] = field(default_factory=dict)


class MicroShort:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; only vehicles with a dip are looked at frame by frame."""
        view = ordered(batch)
        if view.cells_v.shape[1] < LEAST_CELLS:
            return state, []
        drops = fold_drops(view, state.vehicles)
        if len(drops.rows) == 0:
            return state, []
        is_dip = (drops.drop_v >= DIP_V) & (drops.low_v <= -DIP_V)
        is_dip &= (drops.gap_ns <= LONGEST_NS) & _is_calm(drops, view, state.vehicles)
        raised = {slot for slot, cell in state.cells if state.cells[slot, cell].started_at_ns >= 0}
        findings: list[Finding] = []
        for i in watched_rows(drops, is_dip, set(state.open) | raised).tolist():
            slot = int(drops.rows.slot[i])
            if slot in raised:
                findings += _clear_quiet(state, view, drops, i, slot)
            if slot in state.open:
                findings += _follow(state, view, drops, i, slot)
            if is_dip[i] and slot not in state.open:
                _begin(state, view, drops, i, slot)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: frames decide all."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        dips = [(slot, d.cell, d.at_ns, d.before_v, d.depth_v) for slot, d in state.open.items()]
        cells = [
            (*key, c.started_at_ns, c.severity, c.told_at_dips, c.n_dips, len(c.times_ns))
            for key, c in state.cells.items()
        ]
        times = [at_ns for c in state.cells.values() for at_ns in c.times_ns]
        depths = [depth_v for c in state.cells.values() for depth_v in c.depths_v]
        return state.vehicles.snapshot() | {
            "open": np.array([d[:3] for d in dips], np.int64).reshape(-1, 3),
            "open_v": np.array([d[3:] for d in dips], np.float64).reshape(-1, 2),
            "cells": np.array(cells, np.int64).reshape(-1, 7),
            "times_ns": np.array(times, np.int64),
            "depths_v": np.array(depths, np.float64),
        }

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        state = State(Keyed.restore(_FIELDS, arrays))
        for (slot, cell, at_ns), volts in zip(
            arrays["open"].tolist(), arrays["open_v"].tolist(), strict=True
        ):
            state.open[slot] = _Dip(cell, at_ns, *volts)
        times, depths = arrays["times_ns"].tolist(), arrays["depths_v"].tolist()
        begin = 0
        for slot, cell, *values, length in arrays["cells"].tolist():
            part = slice(begin, begin + length)
            state.cells[slot, cell] = _Cell(times[part], depths[part], *values)
            begin += length
        return state


def _is_calm(drops: Drops, view: View, vehicles: Keyed) -> npt.NDArray[np.bool_]:
    """(n,) frames without a load in the last two minutes, nor a step of a steady charge."""
    rows = drops.rows
    is_charging = rows.of(view.is_parked_charging)
    is_load = (np.abs(rows.of(view.current_a)) >= REST_CURRENT_A) & ~is_charging
    is_load |= is_charging & (np.abs(drops.step_a) >= STEADY_A)
    load_at_ns = newest_event_ns(rows, is_load, vehicles, "load_at_ns")
    is_calm: npt.NDArray[np.bool_] = rows.at_ns - np.maximum(load_at_ns, 0) > CALM_NS
    return is_calm


def _begin(state: State, view: View, drops: Drops, i: int, slot: int) -> None:
    at = int(drops.rows.at[i])
    deviation_v = view.cells_v[at] - view.median_v[at]
    cell = int(np.nanargmin(deviation_v))
    others_v = np.delete(deviation_v, cell)
    low_v, before_v = float(drops.low_v[i]), float(drops.before_v[i])
    mates_v = deviation_v[max(cell - 1, 0) : cell + 2]
    is_mirrored = float(np.nanmax(mates_v)) >= -MIRROR_SHARE * (low_v - before_v) + ALONE_V
    if float(np.nanmin(others_v)) - low_v >= ALONE_V and not is_mirrored:
        state.open[slot] = _Dip(cell, int(drops.rows.at_ns[i]), before_v, before_v - low_v)


def _follow(state: State, view: View, drops: Drops, i: int, slot: int) -> list[Finding]:
    dip, at, at_ns = state.open[slot], int(drops.rows.at[i]), int(drops.rows.at_ns[i])
    if at_ns - dip.at_ns > LONGEST_NS or dip.cell >= view.cells_v.shape[1]:
        del state.open[slot]  # it stayed: not a moment's dip
        return []
    deviation_v = float(view.cells_v[at, dip.cell] - view.median_v[at])
    if not deviation_v >= dip.before_v - BACK_V:
        return []
    del state.open[slot]
    cell = state.cells.setdefault((slot, dip.cell), _Cell([], []))
    kept = [k for k, time_ns in enumerate(cell.times_ns) if dip.at_ns - time_ns <= WEEK_NS]
    kept = kept[1 - MOST_KEPT :]
    cell.times_ns = [*(cell.times_ns[k] for k in kept), dip.at_ns]
    cell.depths_v = [*(cell.depths_v[k] for k in kept), dip.depth_v]
    cell.n_dips += 1
    return _tell(state, view, drops, i, (slot, dip.cell))


def _tell(state: State, view: View, drops: Drops, i: int, key: tuple[int, int]) -> list[Finding]:
    cell = state.cells[key]
    is_open = cell.started_at_ns >= 0
    severity = int(Severity.SERIOUS if cell.n_of_day >= SERIOUS_DIPS else Severity.WARNING)
    if not is_open:
        if cell.n_of_day < DIPS_A_DAY and len(cell.times_ns) < DIPS_A_WEEK:
            return []
        cell.started_at_ns = cell.times_ns[0]
    elif severity <= cell.severity and cell.n_dips - cell.told_at_dips < DIPS_TO_TELL_AGAIN:
        return []
    cell.severity, cell.told_at_dips = max(severity, cell.severity), cell.n_dips
    return [_finding(state, view, drops, i, key, "raise")]


def _clear_quiet(state: State, view: View, drops: Drops, i: int, slot: int) -> list[Finding]:
    at_ns = int(drops.rows.at_ns[i])
    findings = []
    for key in [key for key in state.cells if key[0] == slot]:
        cell = state.cells[key]
        if cell.started_at_ns >= 0 and at_ns - cell.times_ns[-1] > WEEK_NS:
            findings.append(_finding(state, view, drops, i, key, "clear"))
            del state.cells[key]
    return findings


def _finding(
    state: State, view: View, drops: Drops, i: int, key: tuple[int, int], phase: Phase
) -> Finding:
    cell, rows = state.cells[key], drops.rows
    at, at_ns = int(rows.at[i]), int(rows.at_ns[i])
    text = (
        f"Cell {key[1] + 1} dipped {cell.n_of_day} times within a day and {len(cell.times_ns)} "
        f"within a week, by up to {max(cell.depths_v) * 1e3:.0f} mV, while the current stood still."
        if phase == "raise"
        else f"Cell {key[1] + 1} has not dipped for a week."
    )
    is_serious = cell.severity >= Severity.SERIOUS
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[key[0]],
        component=f"cell:{key[1] + 1}",
        at_ns=at_ns,
        started_at_ns=cell.started_at_ns,
        severity=Severity(cell.severity),
        confidence=min(0.95, 0.6 + 0.05 * len(cell.times_ns)),
        evidence={
            "text": text,
            "n_dips": cell.n_of_day,
            "n_dips_week": len(cell.times_ns),
            "deepest_v": round(max(cell.depths_v), 4),
            "limit_v": DIP_V,
            "dips_at": [iso_from_ns(time_ns) for time_ns in cell.times_ns[-10:]],
            **workshop(3 if is_serious else 14, "Do not fast charge."),
            "span_started_at": iso_from_ns(cell.started_at_ns),
            "span_ended_at": iso_from_ns(at_ns),
            "bms_alarm_level": view.bms_alarm_level(at),
        },
        is_late=bool(rows.is_late[i]),
    )


PLUGIN: Detector = MicroShort()
