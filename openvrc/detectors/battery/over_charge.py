"""`battery.over_charge`: current still flows in though a cell is past its end of charge.

A charger ends, or holds the voltage, at the end of charge of its chemistry. Past the voltages
"charging past" of `profiles.py` with more than 2 A flowing in for a minute is a warning, serious
from the second. Short recuperation does not last a minute. A cell 0.25 V apart from its mates is a
wire's fault in nmc; in lfp it is a full cell among others, so it counts there.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.battery.action import stop_and_leave, workshop
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import FULL_V, LFP, PAST_V, Profiles, class_word
from openvrc.detectors.battery.view import View

CHARGING_A = 2.0
LONE_V = 0.25

RULE = Rule(
    name="battery.over_charge",
    title="Charging goes on past the end",
    meaning="A cell is above its end of charge and current still flows in.",
    advice="End the charge; have the charger's and the BMS's voltage limits checked.",
    recovering_for_s=60.0,
    actionable_for_s=21_600.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:
    cell_class = profiles.cell_class(view)
    past_v, far_past_v = PAST_V[cell_class].T
    is_charging = view.current_a <= -CHARGING_A
    counts = is_charging & ((view.highest_v - view.median_v <= LONE_V) | (cell_class == LFP))
    level = ((view.highest_v >= past_v) & counts).astype(np.int8)
    level += (view.highest_v >= far_past_v) & counts

    def describe(i: int, level: int) -> Told:
        cell = view.highest_cell(i)
        end_v, amps = float(FULL_V[cell_class[i]]), float(view.current_a[i])
        evidence = {
            "cell_v": round(float(view.highest_v[i]), 3),
            "end_of_charge_v": end_v,
            "limit_v": float(PAST_V[cell_class[i], level - 1]),
            "pack_current_a": round(amps, 1),
            "chemistry_class": class_word(int(cell_class[i])),
        }
        text = (
            f"Cell {cell + 1} is at {evidence['cell_v']} V, past its end of charge of "
            f"{end_v:.2f} V, and {-amps:.0f} A still flow in."
        )
        advice = stop_and_leave("End the charge.") if level > 1 else workshop(7, "End the charge.")
        return Told(text, evidence | advice, 0.85, f"cell:{cell + 1}")

    return Judged(level, lambda: ~np.isnan(view.highest_v) & ~np.isnan(view.current_a), describe)


PLUGIN: Detector = FrameRule(RULE, _judge, Hold(frames=3, span_s=60.0), wants_profiles=True)
