"""`battery.under_voltage`: a cell falls below what its chemistry stands under load.

Limits by chemistry are in `profiles.py` (2.50 V a warning and 2.20 V serious for nmc). Three
frames in a row over 2 s. A cell 0.8 V below its mates is shorted or cut off and told by
`battery.internal_short`, `battery.thermal_event` or `battery.sampling`. Hysteresis 50 mV: a cell
springs back when the load goes.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import LOW_V, Profiles, class_word
from openvrc.detectors.battery.view import View

LONE_V = 0.8
HYSTERESIS_V = 0.050

RULE = Rule(
    name="battery.under_voltage",
    title="Cell voltage too low",
    meaning="A cell is below the voltage its chemistry stands: empty, weak, or overloaded.",
    advice="Reduce load and charge soon; if it comes back, have the cell measured.",
    recovering_for_s=60.0,
    actionable_for_s=21_600.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:
    cell_class = profiles.cell_class(view)
    warning_v, serious_v = LOW_V[cell_class].T
    lowest_v = view.lowest_v
    is_cell = view.lowest_deviation_v >= -LONE_V
    level = ((lowest_v <= warning_v) & is_cell).astype(np.int8)
    level += (lowest_v <= serious_v) & is_cell

    def describe(i: int, level: int) -> Told:
        cell, limit_v = view.lowest_cell(i), float(LOW_V[cell_class[i], max(level, 1) - 1])
        evidence = {
            "cell_v": round(float(lowest_v[i]), 3),
            "limit_v": limit_v,
            "median_cell_v": round(float(view.median_v[i]), 3),
            "pack_current_a": round(float(np.nan_to_num(view.current_a[i])), 1),
            "chemistry_class": class_word(int(cell_class[i])),
        }
        text = (
            f"Cell {cell + 1} is at {evidence['cell_v']} V under {evidence['pack_current_a']} A; "
            f"the limit is {limit_v:.2f} V."
        )
        return Told(text, evidence | workshop(3 if level > 1 else 14), 0.9, f"cell:{cell + 1}")

    return Judged(
        level,
        lambda: ~np.isnan(lowest_v) & ((level > 0) | (lowest_v > warning_v + HYSTERESIS_V)),
        describe,
    )


PLUGIN: Detector = FrameRule(RULE, _judge, Hold(frames=3, span_s=2.0), wants_profiles=True)
