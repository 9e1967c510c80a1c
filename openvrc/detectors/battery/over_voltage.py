"""`battery.over_voltage`: a cell is above what its chemistry stands.

Limits by chemistry are in `profiles.py` (4.25 V a warning and 4.35 V serious for nmc). The same
cell or its mates must show it in three frames in a row over 2 s. A cell that stands 0.25 V apart
from its mates is a wire's fault (`battery.sampling`): charge cannot lift one cell of a series
string like that. Hysteresis 20 mV.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.battery.action import stop_and_leave, workshop
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import HIGH_V, Profiles, class_word
from openvrc.detectors.battery.view import View

LONE_V = 0.25
HYSTERESIS_V = 0.020

RULE = Rule(
    name="battery.over_voltage",
    title="Cell voltage too high",
    meaning="A cell is above the voltage its chemistry stands: it ages fast and may plate lithium.",
    advice="Stop charging; have charger, balancing and BMS limits checked.",
    recovering_for_s=60.0,
    actionable_for_s=21_600.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:
    cell_class = profiles.cell_class(view)
    warning_v, serious_v = HIGH_V[cell_class].T
    highest_v = view.highest_v
    is_cell = highest_v - view.median_v <= LONE_V
    level = ((highest_v >= warning_v) & is_cell).astype(np.int8)
    level += (highest_v >= serious_v) & is_cell

    def describe(i: int, level: int) -> Told:
        cell, limit_v = view.highest_cell(i), float(HIGH_V[cell_class[i], max(level, 1) - 1])
        evidence = {
            "cell_v": round(float(highest_v[i]), 3),
            "limit_v": limit_v,
            "median_cell_v": round(float(view.median_v[i]), 3),
            "chemistry_class": class_word(int(cell_class[i])),
        }
        text = f"Cell {cell + 1} is at {evidence['cell_v']} V; the limit is {limit_v:.2f} V."
        advice = stop_and_leave("Do not charge.") if level > 1 else workshop(7, "Do not charge.")
        return Told(text, evidence | advice, 0.9, f"cell:{cell + 1}")

    return Judged(
        level,
        lambda: ~np.isnan(highest_v) & ((level > 0) | (highest_v < warning_v - HYSTERESIS_V)),
        describe,
    )


PLUGIN: Detector = FrameRule(RULE, _judge, Hold(frames=3, span_s=2.0), wants_profiles=True)
