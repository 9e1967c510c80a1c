"""`data.saturated_insulation`: the insulation channel says the top of its range, not a resistance.

Instruments of real models stop at 5, 1000 or 11520 (in ohm, kohm or Mohm, as their mappings have
it; `battery/insulation.py`). Such a reading is "at least so much" and no measurement: a fall above
it cannot be seen, and in the wrong unit it would look like a dead short. One finding per vehicle,
of severity info, from its first such reading; over with the first reading after a week without
(measured or silent). Frames that say nothing of the insulation neither begin nor end it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, chained, usable_rows
from openvrc.detectors.battery.insulation import is_saturated
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.data.quiet_episodes import episode_fields, fold_episodes
from openvrc.detectors.keyed import Keyed

SIGNAL = "insulation_ohm"
QUIET_NS = 7 * 86_400 * NS_PER_S  # a car that stands for a week is told of again

RULE = Rule(
    name="data.saturated_insulation",
    title="Insulation is told as the top of its range",
    meaning="The instrument reads no further: a fall above this value cannot be seen.",
    advice="Nothing, if the model is known for it; else check the unit in the mapping.",
    pending_for_s=0.0,
    recovering_for_s=0.0,
    actionable_for_s=3600.0,
    tells_a_trait=True,
)

_FIELDS: dict[str, tuple[Any, Any]] = {
    **SEEN,
    **episode_fields(SIGNAL),
    "given_at_ns": (np.int64, NEVER_NS),
}


@dataclass
class State:
    """Per vehicle: its episode and its newest reading's time."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))


class SaturatedInsulation:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames that say something of the insulation."""
        view, vehicles = ordered(batch), state.vehicles
        rows = usable_rows(batch, vehicles)
        rows = rows.where(rows.of(~np.isnan(view.scalar(SIGNAL))))
        rows = chained(rows, vehicles, "given_at_ns")
        told_ohm = rows.of(view.scalar(SIGNAL))
        turns = fold_episodes(rows, is_saturated(told_ohm), vehicles, SIGNAL, QUIET_NS)
        found = [
            (i, _finding(vehicles, rows, view, i, started_ns, "clear"))
            for i, started_ns in zip(
                turns.clears.tolist(), turns.cleared_started_ns.tolist(), strict=True
            )
        ]
        found += [
            (i, _finding(vehicles, rows, view, i, int(rows.at_ns[i]), "raise"))
            for i in turns.opens.tolist()
        ]
        # In order of the rows: alerting must see a clear before the raise that follows it.
        found.sort(key=lambda pair: (pair[0], pair[1].phase))
        return state, [finding for _, finding in found]

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: only frames end an episode."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        return state.vehicles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote."""
        return State(Keyed.restore(_FIELDS, arrays))


def _finding(
    vehicles: Keyed, rows: Rows, view: View, i: int, started_ns: int, phase: Phase
) -> Finding:
    at = int(rows.at[i])
    told_ohm = float(view.scalar(SIGNAL)[at])
    text = (
        f"Insulation is told as {told_ohm:g} ohm, the top of its instrument's range."
        if phase == "raise"
        else "Insulation has not been told as the top of its instrument's range for a week."
    )
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[int(rows.slot[i])],
        component=SIGNAL,
        at_ns=int(rows.at_ns[i]),
        started_at_ns=started_ns,
        severity=Severity.INFO,
        evidence={
            "text": text,
            "reason": "insulation_saturated",
            "insulation_ohm": told_ohm,
            "limit_quiet_s": QUIET_NS // NS_PER_S,
            "span_started_at": iso_from_ns(started_ns),
            "span_ended_at": iso_from_ns(int(rows.at_ns[i])),
            "bms_alarm_level": view.bms_alarm_level(at),
        },
        is_late=bool(rows.is_late[i]),
    )


PLUGIN: Detector = SaturatedInsulation()
