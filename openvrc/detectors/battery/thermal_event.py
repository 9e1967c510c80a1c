"""`battery.thermal_event`: the pack burns, or is about to.

Two of six independent statements of one frame, after sentinel values have been masked:

| vote | limit | reason |
|---|---|---|
| cell | 0.3 V away from its pack | shorted cells were seen at 2 V among mates at 3.7 V |
| heat | a probe at 60 degC, or 25 K over the coldest | end of the operating range; GB 38031 |
| second probe | another one at 70 degC | one probe may lie, two do not |
| pack voltage | 5 % and 10 V off the sum of cells | cells that are read no longer carry the pack |
| insulation | under 100 ohm/V | vented electrolyte conducts |
| BMS | alarm level 4 | GB/T 32960.3-2025: thermal event |

A real runaway gave no sign before; its first frame had over 100 degC and cells of 2 to 5 V. So one
frame is enough, and a frame that arrives hours late is still news while no newer frame of the
vehicle shows a sound pack. A frame without cells or without probes says nothing about health. The
episode ends after an hour of sound frames.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule, Severity
from openvrc.detectors.battery.action import stop_and_leave
from openvrc.detectors.battery.cleaning import BoolArray, FloatArray
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.insulation import SATURATED_OHM, SERIOUS_OHM_PER_V
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.view import View

CELL_OUT_V = 0.3
HOT_DEGC, SPREAD_K, SECOND_HOT_DEGC = 60.0, 25.0, 70.0
SUM_RATIO, SUM_V, LEAST_PACK_V = 0.05, 10.0, 60.0
BMS_LEVEL = 4
VOTES = 2
CONFIDENCE = {2: 0.9, 3: 0.97}

RULE = Rule(
    name="battery.thermal_event",
    title="Thermal event in the battery",
    meaning="Cells, probes or insulation together say that the pack overheats by itself.",
    advice="Stop, get everybody out, keep 15 m away, call the fire brigade; do not charge or move.",
    recovering_for_s=0.0,
    actionable_for_s=86_400.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:  # noqa: ARG001 - no limit of a model here
    cell = (view.highest_v - view.median_v >= CELL_OUT_V) | (view.lowest_deviation_v <= -CELL_OUT_V)
    heat = (view.hottest_degc >= HOT_DEGC) | (view.hottest_degc - view.coldest_degc >= SPREAD_K)
    second = view.second_hottest_degc >= SECOND_HOT_DEGC
    bms = view.alarm_level == BMS_LEVEL
    votes = cell.astype(np.int8) + heat + second + bms
    level = np.zeros(len(view), np.int8)
    for i in np.flatnonzero(votes).tolist():
        voted = _votes(view, i, cell=bool(cell[i]), heat=bool(heat[i]), second=bool(second[i]))
        level[i] = int(Severity.CRITICAL) if len(voted) >= VOTES else 0

    def describe(i: int, level: int) -> Told:  # noqa: ARG001 - there is one level
        voted = _votes(view, i, cell=bool(cell[i]), heat=bool(heat[i]), second=bool(second[i]))
        return _told(view, i, voted)

    return Judged(level, lambda: _is_known(view), describe)


def _is_known(view: View) -> BoolArray:
    """(n,) frames whose silence would mean health: both cells and probes are there."""
    has_cells = ~np.isnan(view.median_v)
    is_known: BoolArray = ~view.is_nonsense & (
        (has_cells & ~np.isnan(view.hottest_degc)) | (view.alarm_level == BMS_LEVEL)
    )
    return is_known


def _votes(view: View, i: int, *, cell: bool, heat: bool, second: bool) -> list[str]:
    pack_v = float(view.scalar("pack_voltage_v")[i])
    insulation_ohm = float(view.scalar("insulation_ohm")[i])
    voted = {
        "cell": cell,
        "heat": heat,
        "second probe": second,
        "pack voltage": _is_off(pack_v, view.cells_v[i], int(view.n_given[i])),
        "insulation": 0 < insulation_ohm < SERIOUS_OHM_PER_V * max(pack_v, LEAST_PACK_V)
        and insulation_ohm not in SATURATED_OHM,
        "BMS": int(view.alarm_level[i]) == BMS_LEVEL,
    }
    return [name for name, is_so in voted.items() if is_so]


def _is_off(pack_v: float, cells_v: FloatArray, n_given: int) -> bool:
    """Whether the pack voltage contradicts its cells, all of them measured."""
    if n_given == 0 or not pack_v >= LEAST_PACK_V or np.isnan(cells_v[:n_given]).any():
        return False
    sum_v = float(cells_v[:n_given].sum())
    return abs(pack_v - sum_v) > max(SUM_RATIO * sum_v, SUM_V)


def _told(view: View, i: int, voted: list[str]) -> Told:
    lowest, hottest = view.lowest_cell(i), view.hottest_probe(i) if view.n_probes[i] else -1
    is_cell = "cell" in voted
    component = f"cell:{lowest + 1}" if is_cell or hottest < 0 else f"probe:{hottest + 1}"
    evidence = {
        "votes": voted,
        "hottest_degc": _rounded(view.hottest_degc[i], 1),
        "coldest_degc": _rounded(view.coldest_degc[i], 1),
        "hottest_probe": hottest + 1,
        "lowest_cell": lowest + 1,
        "lowest_cell_v": _rounded(view.lowest_v[i], 3),
        "highest_cell_v": _rounded(view.highest_v[i], 3),
        "median_cell_v": _rounded(view.median_v[i], 3),
        "pack_voltage_v": _rounded(view.scalar("pack_voltage_v")[i], 1),
        "insulation_ohm": _rounded(view.scalar("insulation_ohm")[i], 0),
        "limit_degc": HOT_DEGC,
        "limit_spread_k": SPREAD_K,
        "limit_cell_deviation_v": CELL_OUT_V,
    }
    text = (
        f"{len(voted)} of 6 signs of a thermal event ({', '.join(voted)}): hottest probe "
        f"{evidence['hottest_degc']} degC, lowest cell {lowest + 1} at "
        f"{evidence['lowest_cell_v']} V against {evidence['median_cell_v']} V."
    )
    confidence = CONFIDENCE.get(len(voted), 0.99)
    return Told(text, evidence | stop_and_leave(), confidence, component)


def _rounded(value: np.float32, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)


PLUGIN: Detector = FrameRule(
    RULE,
    _judge,
    Hold(frames=1, fine_frames=60, fine_span_s=3600.0),
    remembers_fine=True,
)
