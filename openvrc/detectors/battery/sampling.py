"""`battery.sampling`: a cell is measured wrong: broken or loose sampling wire.

- Mirror: two neighbours stand 40 mV and more above and below their pack, equal within 25 %. The
  wire between two cells is common to both, so its error is added to one and taken from the other;
  nothing in the cells can do that.
- Cut: one or two cells give no measurement (0.1 V or less, 5 V or more) while all others do. More
  at once is a module's dropout, which is dirt of the data and no finding here.

Six frames in a row over a minute, and as long without to end it.
"""

from __future__ import annotations

import numpy as np

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.cleaning import is_cell_measured
from openvrc.detectors.battery.deviation import LEAST_CELLS
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.view import View

MIRROR_V, MIRROR_RATIO = 0.040, 0.25
MOST_CUT = 2

RULE = Rule(
    name="battery.sampling",
    title="A cell is measured wrong",
    meaning="The wire that measures a cell is loose or broken; the BMS works with wrong voltages.",
    advice="Have the sampling harness and its plug checked; balancing is misled meanwhile.",
    recovering_for_s=600.0,
    actionable_for_s=86_400.0,
)


def _judge(view: View, profiles: Profiles) -> Judged:  # noqa: ARG001 - no limit of a model here
    up_v, down_v = view.highest_v - view.median_v, -view.lowest_deviation_v
    larger_v = np.fmax(up_v, down_v)
    maybe = (np.fmin(up_v, down_v) >= MIRROR_V) & (np.abs(up_v - down_v) <= MIRROR_RATIO * larger_v)
    is_mirror = np.zeros(len(view), np.bool_)
    for i in np.flatnonzero(maybe).tolist():
        is_mirror[i] = abs(view.lowest_cell(i) - view.highest_cell(i)) == 1
    n_cut = view.n_told_wrong
    is_cut = (n_cut >= 1) & (n_cut <= MOST_CUT)
    level = (is_mirror | is_cut).astype(np.int8)
    is_known = view.n_measured >= LEAST_CELLS

    def describe(i: int, level: int) -> Told:  # noqa: ARG001 - there is one level
        if is_cut[i]:
            return _told_cut(view, i)
        low, high = view.lowest_cell(i), view.highest_cell(i)
        evidence = {
            "kind": "mirror",
            "low_cell": low + 1,
            "high_cell": high + 1,
            "low_deviation_v": round(-float(down_v[i]), 4),
            "high_deviation_v": round(float(up_v[i]), 4),
            "limit_v": MIRROR_V,
        }
        text = (
            f"Cells {low + 1} and {high + 1} are neighbours and mirror one another: "
            f"{-down_v[i] * 1e3:.0f} and {up_v[i] * 1e3:+.0f} mV."
        )
        return Told(
            text, evidence | workshop(14), 0.85, f"cells:{min(low, high) + 1}-{max(low, high) + 1}"
        )

    return Judged(level, is_known, describe)


def _told_cut(view: View, i: int) -> Told:
    raw_v = view.raw_cells_v(i)
    wrong = np.flatnonzero(~np.isnan(raw_v) & ~is_cell_measured(raw_v))
    if len(wrong) == 0:
        return Told("A cell gave no measurement.", {"kind": "cut"} | workshop(14), 0.8)
    evidence = {
        "kind": "cut",
        "cells": (wrong + 1).tolist(),
        "cell_v": round(float(raw_v[wrong[0]]), 3),
    }
    text = f"Cell {wrong[0] + 1} reads {evidence['cell_v']} V while its mates are measured."
    return Told(text, evidence | workshop(14), 0.8, f"cell:{wrong[0] + 1}")


PLUGIN: Detector = FrameRule(
    RULE, _judge, Hold(frames=6, span_s=60.0, fine_frames=6, fine_span_s=60.0)
)
