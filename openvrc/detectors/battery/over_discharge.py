"""`battery.over_discharge`: a cell is empty beyond empty, seen at rest.

Under load a low voltage may be resistance (`battery.under_voltage`); at |I| under 5 A it is
charge. Below the "empty at rest" voltage of `profiles.py` (2.50 V for nmc, the end of discharge
under load) for a minute is a warning; below the serious voltage under load it is serious: copper
dissolves and grows back as a short when charged. A cell 0.8 V below its mates is told by other
rules.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import EMPTY_V, LOW_V, Profiles, class_word
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.view import View

LONE_V = 0.8

RULE = Rule(
    name="battery.over_discharge",
    title="Cell discharged too deep",
    meaning="At rest a cell is below the voltage of an empty cell of its chemistry.",
    advice="Charge slowly and under supervision; a cell that was deep for long must be replaced.",
    recovering_for_s=60.0,
    actionable_for_s=86_400.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:
    cell_class = profiles.cell_class(view)
    is_rest = np.abs(view.current_a) < REST_CURRENT_A
    counts = is_rest & (view.lowest_deviation_v >= -LONE_V)
    level = ((view.lowest_v <= EMPTY_V[cell_class]) & counts).astype(np.int8)
    level += (view.lowest_v <= LOW_V[cell_class, 1]) & counts

    def describe(i: int, level: int) -> Told:
        cell = view.lowest_cell(i)
        limit_v = float(LOW_V[cell_class[i], 1] if level > 1 else EMPTY_V[cell_class[i]])
        evidence = {
            "cell_v": round(float(view.lowest_v[i]), 3),
            "limit_v": limit_v,
            "median_cell_v": round(float(view.median_v[i]), 3),
            "chemistry_class": class_word(int(cell_class[i])),
        }
        text = f"Cell {cell + 1} rests at {evidence['cell_v']} V; an empty one has {limit_v:.2f} V."
        return Told(text, evidence | workshop(1 if level > 1 else 7), 0.85, f"cell:{cell + 1}")

    return Judged(level, lambda: ~np.isnan(view.lowest_v) & is_rest, describe)


PLUGIN: Detector = FrameRule(RULE, _judge, Hold(frames=3, span_s=60.0), wants_profiles=True)
