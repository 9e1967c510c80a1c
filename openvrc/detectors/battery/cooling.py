"""`battery.cooling`: a fast charge warms the pack as if nothing cooled it.

A parked charge from 0.35 C on makes heat I^2 R; what cooling leaves of it shows as temperature:

    kept = (T_end - T_begin) / (integral of I^2 R g(T) dt / C)

R is the pack's resistance from its first 200 load steps over 25 A (as at 25 degC), g its growth in
the cold (`battery_health.resistance`), C the heat capacity of its cells by chemistry: 9 J/K per A.h
and cell for nmc, nca and lmo, 22 for lfp (PyBaMM's LG M50, 45 J/K at 5 A.h; 110 for as much lfp).
Makers' specific heats lie within 20 % of each other, so a pack without any cooling comes to 0.9 and
more, and to 1.4 where the resistance of steps misses slow polarisation.

A charge counts when it began at 24 degC or more (below, cooling is off by design), lasted five
minutes with frames at most 70 s apart, and made 8 K of heat. Two of the last three that counted
at 0.80 or more raise, if they ended at 35 degC or more; two in a row under 0.60 clear. Cars let
their packs warm to some 30 degC before coolant runs: a sound cab that began at 24 and ended at 31
degC kept 7 of 8 K, for nothing was to be cooled yet, while packs without cooling went on to 35 to
69 degC. In 640 fast charges of healthy simulated cars (spring and July) none that counts kept more
than 0.86, all ended below 35 degC where they kept 0.8; with a twentieth to a fifth of the cooling
left they kept 0.8 to 1.6. LTO and unknown chemistries are not judged.
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
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, usable_rows
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.profiles import LFP, LTO, UNKNOWN, Profiles
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.battery_health.previous import previous_values
from openvrc.detectors.battery_health.resistance import temperature_factor
from openvrc.detectors.keyed import Keyed

FAST_RATE = 0.35
STEP_A, STEP_GAP_NS, ENOUGH_STEPS, LEAST_STEPS = 25.0, 10.5 * NS_PER_S, 200, 50
HEAT_J_PER_K_AH, HEAT_LFP_J_PER_K_AH = 9.0, 22.0
LEAST_BEGIN_DEGC, LEAST_HEAT_K, LEAST_SPAN_S = 24.0, 8.0, 300.0
LONGEST_GAP_NS = 70 * NS_PER_S
KEPT_LIMIT, KEPT_OVER = 0.80, 0.60
LEAST_END_DEGC = 35.0
"""Below, a car that cools from 30 to 33 degC on has hardly begun to."""
SERIOUS_DEGC = 50.0

RULE = Rule(
    name="battery.cooling",
    title="The battery is not cooled",
    meaning="In fast charges the pack keeps the heat it makes: pump, valve or coolant have failed.",
    advice="Charge slowly; have coolant level, pump and valves checked.",
    actionable_for_s=604_800.0,
)

_FIELDS: dict[str, tuple[Any, Any]] = {
    **SEEN,
    "last_a": (np.float32, np.nan),
    "last_v": (np.float32, np.nan),
    "n_steps": (np.int64, 0),
    "step_va": (np.float64, 0.0),
    "step_aa": (np.float64, 0.0),
    "is_open": (np.bool_, False),
    "begin_ns": (np.int64, 0),
    "at_ns": (np.int64, NEVER_NS),
    "begin_degc": (np.float64, np.nan),
    "degc": (np.float64, np.nan),
    "heat": (np.float64, 0.0),  # integral of I^2 g(T) dt, A^2 s
    "votes": (np.int64, 0),  # the last three charges, bit 0 the newest
    "n_calm": (np.int64, 0),
    "first_ns": (np.int64, NEVER_NS),  # of the oldest charge of the votes
    "is_raised": (np.bool_, False),
    "started_ns": (np.int64, 0),
}


@dataclass
class State:
    """Resistance, open charge and votes of each vehicle."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    profiles: Profiles = field(default_factory=Profiles)


class Cooling:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("vehicle_profile", "battery_state")
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; only vehicles in a fast charge are looked at frame by frame."""
        if batch.message == "vehicle_profile":
            state.profiles.fold(batch)
            return state, []
        view, vehicles = ordered(batch), state.vehicles
        rows = usable_rows(batch, vehicles)
        if len(rows) == 0:
            return state, []
        _learn_resistance(rows, view, vehicles)
        rate = -rows.of(view.current_a) / rows.of(state.profiles.rated_ah(view))
        is_fast = rows.of(view.is_parked_charging) & (rate >= FAST_RATE)
        is_fast &= ~np.isnan(rows.of(view.median_degc))
        if not (some(is_fast) or some(vehicles["is_open"])):
            return state, []
        is_watched = vehicles["is_open"].copy()
        is_watched[rows.slot[is_fast]] = True
        findings = []
        for i in np.flatnonzero(is_watched[rows.slot]).tolist():
            finding = _fold_row(state, rows, view, i, is_fast=bool(is_fast[i]))
            if finding is not None:
                findings.append(finding)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a charge ends with the vehicle's own next frame."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        return state.vehicles.snapshot() | state.profiles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(Keyed.restore(_FIELDS, arrays), Profiles.restore(arrays))


def _learn_resistance(rows: Rows, view: View, vehicles: Keyed) -> None:
    """The first load steps of each vehicle; one that has enough costs nothing more."""
    learns = vehicles["n_steps"][rows.slot] < ENOUGH_STEPS
    if not some(learns):
        return
    gap_ns = (rows.at_ns - np.maximum(rows.previous_at_ns, 0))[learns]
    few = rows.where(learns)
    amps, volts = few.of(view.current_a), few.of(view.scalar("pack_voltage_v"))
    change_a = amps - previous_values(few, amps, vehicles, "last_a")
    change_v = volts - previous_values(few, volts, vehicles, "last_v")
    is_step = (np.abs(change_a) >= STEP_A) & (gap_ns <= STEP_GAP_NS) & ~np.isnan(change_v)
    if not some(is_step):
        return
    slot = few.slot[is_step]
    step_a, step_v = change_a[is_step].astype(np.float64), change_v[is_step].astype(np.float64)
    factor = temperature_factor(few.of(view.median_degc)[is_step])
    np.add.at(vehicles["n_steps"], slot, 1)
    np.add.at(vehicles["step_va"], slot, -step_v * step_a / factor)
    np.add.at(vehicles["step_aa"], slot, step_a * step_a)


def _fold_row(state: State, rows: Rows, view: View, i: int, *, is_fast: bool) -> Finding | None:
    vehicles, slot, at_ns = state.vehicles, int(rows.slot[i]), int(rows.at_ns[i])
    is_open = bool(vehicles["is_open"][slot])
    gap_ns = at_ns - int(vehicles["at_ns"][slot]) if is_open else 0
    finding = None
    if is_open and (not is_fast or gap_ns > LONGEST_GAP_NS):
        finding = _close(state, rows, view, i)
        is_open = False
        vehicles["is_open"][slot] = False
    if not is_fast:
        return finding
    at = int(rows.at[i])
    degc = float(view.median_degc[at])
    if is_open:
        factor = float(temperature_factor(np.array([degc]))[0])
        vehicles["heat"][slot] += float(view.current_a[at]) ** 2 * factor * gap_ns / NS_PER_S
    else:
        vehicles["is_open"][slot] = True
        vehicles["begin_ns"][slot], vehicles["begin_degc"][slot] = at_ns, degc
        vehicles["heat"][slot] = 0.0
    vehicles["at_ns"][slot], vehicles["degc"][slot] = at_ns, degc
    return finding


def _heat_k(state: State, view: View, slot: int, at: int) -> float:
    """Temperature (K) that the charge's heat would give without cooling; NaN if not known."""
    vehicles = state.vehicles
    if vehicles["n_steps"][slot] < LEAST_STEPS:
        return np.nan
    cell_class = int(_one(state.profiles.cell_class(view), at))
    if cell_class in (LTO, UNKNOWN):
        return np.nan
    per_ah = HEAT_LFP_J_PER_K_AH if cell_class == LFP else HEAT_J_PER_K_AH
    n_cells = int(view.n_given[at])
    capacity = per_ah * float(_one(state.profiles.rated_ah(view), at)) * n_cells
    ohm = float(vehicles["step_va"][slot] / vehicles["step_aa"][slot])
    return float(vehicles["heat"][slot]) * ohm / capacity if capacity > 0 else np.nan


def _one(values: npt.NDArray[Any], at: int) -> Any:
    return values[at]


def _close(state: State, rows: Rows, view: View, i: int) -> Finding | None:
    """Judge the charge that has ended and vote."""
    vehicles, slot = state.vehicles, int(rows.slot[i])
    begin_ns, end_ns = int(vehicles["begin_ns"][slot]), int(vehicles["at_ns"][slot])
    begin_degc, end_degc = (float(vehicles[name][slot]) for name in ("begin_degc", "degc"))
    heat_k = _heat_k(state, view, slot, int(rows.at[i]))
    is_long = end_ns - begin_ns >= LEAST_SPAN_S * NS_PER_S
    if not (heat_k >= LEAST_HEAT_K and begin_degc >= LEAST_BEGIN_DEGC and is_long):
        return None
    kept = (end_degc - begin_degc) / heat_k
    votes = (int(vehicles["votes"][slot]) << 1) & 0b111 | int(
        kept >= KEPT_LIMIT and end_degc >= LEAST_END_DEGC
    )
    if votes == 1:
        vehicles["first_ns"][slot] = begin_ns
    vehicles["votes"][slot] = votes
    vehicles["n_calm"][slot] = vehicles["n_calm"][slot] + 1 if kept < KEPT_OVER else 0
    phase: Phase | None = None
    if not vehicles["is_raised"][slot] and votes.bit_count() >= 2:
        vehicles["is_raised"][slot], phase = True, "raise"
        vehicles["started_ns"][slot] = vehicles["first_ns"][slot]
    elif vehicles["is_raised"][slot] and vehicles["n_calm"][slot] >= 2:
        vehicles["is_raised"][slot], phase = False, "clear"
    if phase is None:
        return None
    evidence = {
        "kept_ratio": round(kept, 2),
        "limit_ratio": KEPT_LIMIT,
        "limit_end_degc": LEAST_END_DEGC,
        "rise_k": round(end_degc - begin_degc, 1),
        "rise_without_cooling_k": round(heat_k, 1),
        "begin_degc": round(begin_degc, 1),
        "end_degc": round(end_degc, 1),
    }
    return _finding(state, rows, view, i, phase, evidence)


def _finding(
    state: State, rows: Rows, view: View, i: int, phase: Phase, evidence: dict[str, Any]
) -> Finding:
    slot = int(rows.slot[i])
    is_hot = evidence["end_degc"] >= SERIOUS_DEGC
    started_ns, ended_ns = (int(state.vehicles[n][slot]) for n in ("started_ns", "at_ns"))
    text = (
        f"A fast charge warmed the pack by {evidence['rise_k']:.0f} K; without any cooling it "
        f"would have been {evidence['rise_without_cooling_k']:.0f} K."
    )
    if phase == "clear":
        text = "The pack loses its heat in fast charges again."
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[slot],
        at_ns=int(rows.at_ns[i]),
        started_at_ns=started_ns,
        severity=Severity.SERIOUS if is_hot else Severity.WARNING,
        confidence=0.75,
        evidence={
            "text": text,
            **evidence,
            **workshop(7 if is_hot else 14, "Charge slowly until then."),
            "span_started_at": iso_from_ns(started_ns),
            "span_ended_at": iso_from_ns(ended_ns),
            "bms_alarm_level": view.bms_alarm_level(int(rows.at[i])),
        },
        is_late=bool(rows.is_late[i]),
    )


PLUGIN: Detector = Cooling()
