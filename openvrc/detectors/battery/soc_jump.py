"""`battery.soc_jump`: the displayed state of charge jumps, and the charge did not.

Between two frames up to 60 s apart the displayed SoC may change by what flowed: the current of
both frames times the time, over the rated capacity (10 C where nobody told it). A step of 4 points
more is a jump once it has stayed for ten minutes: a buffer that is sent again steps back sooner.
A correction in the hour after a silence of ten minutes, or above 97 %, is the BMS's right.

Over a silence of up to a day the charge may step by 12 points at most (BMS correct themselves by 2
on average and 6 at most) while the cells, at rest before and after, moved by less than 10 mV: what
was charged or driven unseen would show in them. The episode ends after a day without another.
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
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, chained, usable_rows
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.battery_health.previous import previous_values
from openvrc.detectors.keyed import Keyed

JUMP_RATIO = 0.04
SPAN_NS, STAY_NS, OVER_NS = 60 * NS_PER_S, 600 * NS_PER_S, 86_400 * NS_PER_S
AFTER_SILENCE_NS, SILENCE_NS = 3600 * NS_PER_S, 600 * NS_PER_S
FULL_RATIO = 0.97
SLEEP_JUMP_RATIO, SLEEP_V, LONGEST_SLEEP_NS = 0.12, 0.010, 86_400 * NS_PER_S
UNKNOWN_RATE_PER_S = 10.0 / 3600.0
S_PER_H = 3600.0

RULE = Rule(
    name="battery.soc_jump",
    title="Displayed charge jumps",
    meaning="The displayed state of charge changed by far more than the current could move.",
    advice="Do not trust the displayed range; have the BMS's charge estimation checked.",
    actionable_for_s=86_400.0,
)

_FIELDS = {
    **SEEN,
    "soc_at_ns": (np.int64, NEVER_NS),
    "soc": (np.float64, np.nan),
    "amps": (np.float64, np.nan),
    "volts": (np.float32, np.nan),
    "woke_at_ns": (np.int64, NEVER_NS),
}


@dataclass
class _Jump:
    """A step that has not stayed long enough yet, or an open episode."""

    at_ns: int
    from_ratio: float
    to_ratio: float
    limit_ratio: float
    is_raised: bool = False
    last_at_ns: int = 0


@dataclass
class State:
    """Last SoC and current of each vehicle; jumps by vehicle."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    profiles: Profiles = field(default_factory=Profiles)
    jumps: dict[int, _Jump] = field(default_factory=dict)


@dataclass(frozen=True)
class _Steps:
    rows: Rows
    before: npt.NDArray[np.float64]
    soc: npt.NDArray[np.float64]
    excess: npt.NDArray[np.float64]
    """Change of SoC that the current does not explain, absolute (n,)."""
    is_jump: npt.NDArray[np.bool_]


class SocJump:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("vehicle_profile", "battery_state")
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames or profiles; only vehicles with a jump are looked at frame by frame."""
        if batch.message == "vehicle_profile":
            state.profiles.fold(batch)
            return state, []
        view = ordered(batch)
        steps = _steps(state, view)
        findings: list[Finding] = []
        if state.jumps or some(steps.is_jump):
            wanted = {*state.jumps, *steps.rows.slot[steps.is_jump].tolist()}
            is_wanted = np.isin(steps.rows.slot, np.array(sorted(wanted), np.int64))
            for i in np.flatnonzero(is_wanted).tolist():
                findings += _fold_row(state, view, steps, i)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: frames decide all."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        jumps = state.jumps.items()
        whole = [(slot, j.at_ns, int(j.is_raised), j.last_at_ns) for slot, j in jumps]
        ratios = [(j.from_ratio, j.to_ratio, j.limit_ratio) for _, j in jumps]
        return (
            state.vehicles.snapshot()
            | state.profiles.snapshot()
            | {
                "jumps": np.array(whole, np.int64).reshape(-1, 4),
                "ratios": np.array(ratios, np.float64).reshape(-1, 3),
            }
        )

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        jumps = {}
        for (slot, at_ns, is_raised, last_at_ns), ratios in zip(
            arrays["jumps"].tolist(), arrays["ratios"].tolist(), strict=True
        ):
            before, after, limit = ratios
            jumps[slot] = _Jump(at_ns, before, after, limit, bool(is_raised), last_at_ns)
        return State(Keyed.restore(_FIELDS, arrays), Profiles.restore(arrays), jumps)


def _steps(state: State, view: View) -> _Steps:
    vehicles = state.vehicles
    rows = usable_rows(view.batch, vehicles)
    has_soc = ~np.isnan(view.soc_ratio)
    rows = chained(rows.where(rows.of(has_soc)), vehicles, "soc_at_ns")
    soc = rows.of(view.soc_ratio).astype(np.float64)
    amps = rows.of(view.current_a).astype(np.float64)
    amps[np.isnan(amps)] = 0.0
    before = previous_values(rows, soc, vehicles, "soc")
    amps_before = previous_values(rows, amps, vehicles, "amps")
    gap_ns = rows.at_ns - np.maximum(rows.previous_at_ns, 0)
    gap_s = gap_ns / NS_PER_S
    change = np.abs(soc - before)
    is_jump = (change >= JUMP_RATIO) & (gap_ns <= SPAN_NS)
    excess = change
    if some(is_jump):
        rated_ah = rows.of(state.profiles.rated_ah(view))
        flowed = np.where(
            np.isnan(rated_ah),
            np.sign(soc - before) * UNKNOWN_RATE_PER_S * gap_s,
            -(amps + amps_before) / 2 * gap_s / S_PER_H / rated_ah,
        )
        excess = np.abs(soc - before - flowed)
        is_calm_top = (np.fmin(soc, before) >= FULL_RATIO - JUMP_RATIO) & (
            np.fmax(soc, before) >= FULL_RATIO
        )
        is_jump &= (excess >= JUMP_RATIO) & ~is_calm_top
    _note_waking(rows, gap_ns, vehicles)
    if some(is_jump):
        woke_ns = vehicles["woke_at_ns"][rows.slot]
        is_jump &= rows.at_ns - np.maximum(woke_ns, 0) > AFTER_SILENCE_NS
    volts = rows.of(view.median_v)
    volts_before = previous_values(rows, volts, vehicles, "volts")
    slept = (gap_ns > SPAN_NS) & (gap_ns <= LONGEST_SLEEP_NS) & (change >= SLEEP_JUMP_RATIO)
    if some(slept):
        slept &= (np.abs(amps) < REST_CURRENT_A) & (np.abs(amps_before) < REST_CURRENT_A)
        is_jump |= slept & (np.abs(volts - volts_before) < SLEEP_V)
    return _Steps(rows, before, soc, excess, is_jump)


def _note_waking(rows: Rows, gap_ns: npt.NDArray[np.int64], vehicles: Keyed) -> None:
    """Keep the time of the first frame after each vehicle's newest silence."""
    woke = (gap_ns > SILENCE_NS) & (rows.previous_at_ns != NEVER_NS)
    vehicles["woke_at_ns"][rows.slot[woke]] = rows.at_ns[woke]


def _fold_row(state: State, view: View, steps: _Steps, i: int) -> list[Finding]:
    rows, slot = steps.rows, int(steps.rows.slot[i])
    at_ns, soc = int(rows.at_ns[i]), float(steps.soc[i])
    jump = state.jumps.get(slot)
    if steps.is_jump[i]:
        if jump is not None and not jump.is_raised:
            is_back = abs(soc - jump.from_ratio) < JUMP_RATIO
            if is_back:
                del state.jumps[slot]
                return []
        if jump is not None and jump.is_raised:
            jump.last_at_ns = at_ns
            return []
        jump = state.jumps[slot] = _Jump(at_ns, float(steps.before[i]), soc, JUMP_RATIO)
        return []
    if jump is None:
        return []
    if not jump.is_raised and at_ns - jump.at_ns >= STAY_NS:
        jump.is_raised, jump.last_at_ns = True, jump.at_ns
        return [_finding(state, view, steps, i, jump, "raise")]
    if jump.is_raised and at_ns - jump.last_at_ns > OVER_NS:
        finding = _finding(state, view, steps, i, jump, "clear")
        del state.jumps[slot]
        return [finding]
    return []


def _finding(state: State, view: View, steps: _Steps, i: int, jump: _Jump, phase: Phase) -> Finding:
    rows = steps.rows
    step = jump.to_ratio - jump.from_ratio
    text = (
        f"The displayed charge went from {jump.from_ratio * 100:.1f} to "
        f"{jump.to_ratio * 100:.1f} % at once and stayed there; the current explains none of it."
        if phase == "raise"
        else "The displayed charge has not jumped for a day."
    )
    evidence: dict[str, Any] = {
        "text": text,
        "soc_before_ratio": round(jump.from_ratio, 4),
        "soc_ratio": round(jump.to_ratio, 4),
        "step_ratio": round(step, 4),
        "limit_step_ratio": jump.limit_ratio,
        **workshop(30),
        "span_started_at": iso_from_ns(jump.at_ns),
        "span_ended_at": iso_from_ns(int(rows.at_ns[i])),
        "bms_alarm_level": view.bms_alarm_level(int(rows.at[i])),
    }
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[int(rows.slot[i])],
        at_ns=int(rows.at_ns[i]),
        started_at_ns=jump.at_ns,
        severity=Severity.WARNING,
        confidence=0.85,
        evidence=evidence,
        is_late=bool(rows.is_late[i]),
    )


PLUGIN: Detector = SocJump()
