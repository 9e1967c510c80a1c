"""`battery.cell_capacity`: one cell is empty before its mates and full with them.

A cell that lost capacity is balanced with its pack near full and falls behind as charge is taken
out: its rest deviation grows with depth of discharge. A leaking cell (`battery.self_discharge`)
lies low at every charge. Rest frames (|I| under 5 A), one in half an hour of a vehicle, go into a
running mean of each cell's deviation (weight 1/16 for the newest) of their class of displayed
charge: low, 30 to 55 %, or high, 80 % and more. After 12 frames of both a cell counts when

- it lies 20 mV and 5.5 robust sds below its pack in the low class, and
- at most 8 mV or 0.35 of that below it in the high class.

One episode per cell; over at less than 10 mV. In the flat middle of LFP a charge makes no voltage,
so a small LFP cell shows only where others show it too: as under-voltage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.deviation import LEAST_CELLS, low_outliers
from openvrc.detectors.battery.frames import SEEN, Rows, opens_period, usable_rows
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.view import COUNTS_PER_V, View, ordered
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.keyed import Keyed

SAMPLE_NS = 1800 * NS_PER_S
LOW_SOC, HIGH_SOC = (0.30, 0.55), 0.80
WEIGHT = 1.0 / 16.0
LEAST_FRAMES = 12
LIMIT_V, LEAST_Z = 0.020, 5.5
HIGH_V, HIGH_SHARE = 0.008, 0.35
OVER_V, SERIOUS_V = 0.010, 0.100

RULE = Rule(
    name="battery.cell_capacity",
    title="A cell holds less than its pack",
    meaning="One cell falls behind its mates as the pack empties; when full it is level with them.",
    advice="Have the cell's capacity measured; the pack's range ends with this cell.",
    actionable_for_s=604_800.0,
)

_FIELDS = {**SEEN, "n_low": (np.int64, 0), "n_high": (np.int64, 0)}
_CELLS = {"low": (np.float32, 0.0), "high": (np.float32, 0.0)}
CountArray = npt.NDArray[np.int16]


@dataclass
class State:
    """Running means, in 0.1 mV, and open episodes: (slot, cell) to start."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    cells: Wide = field(default_factory=lambda: Wide(_CELLS))
    episodes: dict[tuple[int, int], int] = field(default_factory=dict)


class CellCapacity:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; few of them count."""
        view = ordered(batch)
        if view.cells_v.shape[1] < LEAST_CELLS:
            return state, []
        rows = usable_rows(batch, state.vehicles)
        keep = opens_period(rows, SAMPLE_NS) & (np.abs(rows.of(view.current_a)) < REST_CURRENT_A)
        if not some(keep):
            return state, []
        soc = rows.of(view.soc_ratio)
        is_low = (soc >= LOW_SOC[0]) & (soc <= LOW_SOC[1])
        keep &= is_low | (soc >= HIGH_SOC)
        keep &= rows.of(view.n_measured) >= np.maximum(LEAST_CELLS, rows.of(view.n_given))
        rows, is_low = rows.where(keep), is_low[keep]
        if len(rows) == 0:
            return state, []
        state.cells.fit(len(state.vehicles), view.cells_v.shape[1])
        return state, self._fold_rows(state, rows, view, is_low)

    def _fold_rows(
        self, state: State, rows: Rows, view: View, is_low: npt.NDArray[np.bool_]
    ) -> list[Finding]:
        """Each vehicle's first row, then each one's second, and so on: mostly one round."""
        deviation = rows.of(view.deviation)
        begins = np.flatnonzero(rows.is_first)
        rank = np.arange(len(rows)) - np.repeat(begins, np.diff(np.append(begins, len(rows))))
        findings: list[tuple[int, Finding]] = []
        for turn in range(int(rank.max()) + 1):
            now = np.flatnonzero(rank == turn)
            for name, of in (("low", is_low), ("high", ~is_low)):
                chosen = now[of[now]]
                _learn(state, name, rows.slot[chosen], deviation[chosen])
            for i in self._suspects(state, rows, now).tolist():
                findings += [(i, f) for f in _judge(state, rows, view, i)]
        findings.sort(key=lambda pair: pair[0])
        return [finding for _, finding in findings]

    def _suspects(
        self, state: State, rows: Rows, now: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Rows of vehicles with a cell that may count, or with an episode."""
        slot = rows.slot[now]
        known = state.vehicles["n_low"][slot] >= LEAST_FRAMES
        known &= state.vehicles["n_high"][slot] >= LEAST_FRAMES
        is_deep = state.cells["low"][slot].min(axis=1) <= -OVER_V * COUNTS_PER_V
        watched = np.isin(slot, [at for at, _ in state.episodes])
        suspects: npt.NDArray[np.int64] = now[known & (is_deep | watched)]
        return suspects

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: only frames tell of cells."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All means and episodes."""
        episodes = [(*key, started_ns) for key, started_ns in state.episodes.items()]
        return (
            state.vehicles.snapshot()
            | state.cells.snapshot("cells.")
            | {"episodes": np.array(episodes, np.int64).reshape(-1, 3)}
        )

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        episodes = {(slot, cell): at for slot, cell, at in arrays["episodes"].tolist()}
        cells = Wide.restore(_CELLS, arrays, "cells.")
        return State(Keyed.restore(_FIELDS, arrays), cells, episodes)


def _learn(state: State, name: str, slot: npt.NDArray[np.int64], deviation: CountArray) -> None:
    if len(slot) == 0:
        return
    n = state.vehicles[f"n_{name}"]
    n[slot] += 1
    weight = np.maximum(1.0 / n[slot], WEIGHT).astype(np.float32)[:, None]
    mean = state.cells[name]
    padded = state.cells.padded(deviation, 0)
    mean[slot] += weight * (padded.astype(np.float32) - mean[slot])


def _judge(state: State, rows: Rows, view: View, i: int) -> list[Finding]:
    slot, n_cells = int(rows.slot[i]), int(view.n_given[rows.at[i]])
    low = state.cells["low"][slot][None, :n_cells].astype(np.float64) / COUNTS_PER_V
    high_v = state.cells["high"][slot][:n_cells].astype(np.float64) / COUNTS_PER_V
    is_low, centred, noise = low_outliers(
        low, np.array([n_cells]), limit_v=LIMIT_V, least_z=LEAST_Z
    )
    low_v, high_v = centred[0], high_v - np.median(high_v)
    is_level = high_v >= -np.maximum(HIGH_V, HIGH_SHARE * np.abs(low_v))
    counts = is_low[0] & is_level
    findings = []
    for cell in np.flatnonzero(counts).tolist():
        if (slot, cell) not in state.episodes:
            state.episodes[slot, cell] = int(rows.at_ns[i])
            values = (low_v[cell], high_v[cell], float(noise[0]))
            findings.append(_finding(state, rows, view, i, cell, "raise", values))
    for at, cell in [key for key in state.episodes if key[0] == slot and key[1] < n_cells]:
        if low_v[cell] > -OVER_V:
            values = (low_v[cell], high_v[cell], float(noise[0]))
            findings.append(_finding(state, rows, view, i, cell, "clear", values))
            del state.episodes[at, cell]
    return findings


def _finding(
    state: State,
    rows: Rows,
    view: View,
    i: int,
    cell: int,
    phase: Phase,
    values: tuple[float, float, float],
) -> Finding:
    slot, at_ns = int(rows.slot[i]), int(rows.at_ns[i])
    low_v, high_v, noise_v = values
    is_serious = low_v <= -SERIOUS_V
    text = (
        f"Cell {cell + 1} is {-low_v * 1e3:.0f} mV below its pack at 30 to 55 % of charge and "
        f"{-high_v * 1e3:.0f} mV above 80 %: it holds less than its mates."
    )
    if phase == "clear":
        text = f"Cell {cell + 1} is back within {OVER_V * 1e3:.0f} mV of its pack at low charge."
    evidence: dict[str, Any] = {
        "deviation_low_charge_v": round(low_v, 4),
        "deviation_high_charge_v": round(high_v, 4),
        "limit_v": round(-max(LIMIT_V, LEAST_Z * noise_v), 4),
        "cell_spread_v": round(noise_v, 4),
    }
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[slot],
        component=f"cell:{cell + 1}",
        at_ns=at_ns,
        started_at_ns=state.episodes[slot, cell],
        severity=Severity.SERIOUS if is_serious else Severity.WARNING,
        confidence=0.75,
        evidence={
            "text": text,
            **evidence,
            **workshop(14 if is_serious else 30),
            "span_started_at": iso_from_ns(state.episodes[slot, cell]),
            "span_ended_at": iso_from_ns(at_ns),
            "bms_alarm_level": view.bms_alarm_level(int(rows.at[i])),
        },
        is_late=bool(rows.is_late[i]),
    )


PLUGIN: Detector = CellCapacity()
