"""`battery.sampling`: a cell is measured wrong: broken or loose sampling wire, stuck channel.

- Mirror: two neighbours are the highest and the lowest cell, 20 mV and more above and below their
  pack, equal within 25 %, and no other cell stands off by two thirds as much. The wire between two
  cells is common to both, so its error is added to one and taken from the other; nothing in the
  cells can do that. Where a whole pack fans out (LFP near full or empty) two neighbours are its
  ends by chance, but not alone.
- Cut: one or two cells give no measurement (0.1 V or less, 5 V or more) while all others do. More
  at once is a module's dropout, which is dirt of the data and no finding here.
- Frozen (frozen_cell.py): one cell keeps its value to the millivolt while its pack moves.

Mirror and cut must hold six frames in a row over a minute, and as long without to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule
from openvrc.detectors.battery import frame_rule
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.cleaning import BoolArray, is_cell_measured
from openvrc.detectors.battery.deviation import LEAST_CELLS
from openvrc.detectors.battery.frame_rule import FrameRule, Hold, Judged, Told
from openvrc.detectors.battery.frozen_cell import FrozenCells
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.view import View, ordered

MIRROR_V, MIRROR_RATIO = 0.020, 0.25
OTHERS_SHARE = 2.0 / 3.0
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
    asked = np.flatnonzero(maybe)
    if len(asked):
        is_mirror[asked] = _are_mirrors(view, asked)
    n_cut = view.n_told_wrong
    is_cut = (n_cut >= 1) & (n_cut <= MOST_CUT)
    level = (is_mirror | is_cut).astype(np.int8)

    def describe(i: int, level: int) -> Told:  # noqa: ARG001 - there is one level
        if is_cut[i]:
            return _told_cut(view, i)
        return _told_mirror(view, i, float(up_v[i]), float(down_v[i]))

    return Judged(level, lambda: view.n_measured >= LEAST_CELLS, describe)


def _are_mirrors(view: View, asked: npt.NDArray[np.int64]) -> BoolArray:
    """Whether the ends of each row asked are neighbours that stand out alone."""
    deviation_v = np.nan_to_num(view.cells_v[asked] - view.median_v[asked][:, None])
    low, high = deviation_v.argmin(axis=1), deviation_v.argmax(axis=1)
    each = np.arange(len(asked))
    least_v = np.minimum(-deviation_v[each, low], deviation_v[each, high])
    deviation_v[each, low] = deviation_v[each, high] = 0.0
    others_v = np.abs(deviation_v).max(axis=1)
    are_mirrors: BoolArray = (np.abs(low - high) == 1) & (others_v < OTHERS_SHARE * least_v)
    return are_mirrors


def _told_mirror(view: View, i: int, up_v: float, down_v: float) -> Told:
    low, high = view.lowest_cell(i), view.highest_cell(i)
    evidence = {
        "kind": "mirror",
        "low_cell": low + 1,
        "high_cell": high + 1,
        "low_deviation_v": round(-down_v, 4),
        "high_deviation_v": round(up_v, 4),
        "limit_v": MIRROR_V,
    }
    text = (
        f"Cells {low + 1} and {high + 1} are neighbours and mirror one another: "
        f"{-down_v * 1e3:.0f} and {up_v * 1e3:+.0f} mV."
    )
    component = f"cells:{min(low, high) + 1}-{max(low, high) + 1}"
    return Told(text, evidence | workshop(14), 0.85, component)


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


@dataclass
class State:
    """Episodes of mirrors and cuts, and cells that may be frozen."""

    frames: frame_rule.State
    frozen: FrozenCells


_FRAMES = FrameRule(RULE, _judge, Hold(frames=6, span_s=60.0, fine_frames=6, fine_span_s=60.0))


class Sampling:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:
        """Nothing seen."""
        return State(_FRAMES.initial(context), FrozenCells(RULE.name))

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; only cells that stand off are looked at one by one."""
        state.frames, findings = _FRAMES.update(state.frames, batch)
        return state, findings + state.frozen.fold(ordered(batch))

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: only frames open or end an episode."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """Episodes and watched cells."""
        return _FRAMES.snapshot(state.frames) | state.frozen.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:
        """What `snapshot` wrote."""
        return State(_FRAMES.restore(context, arrays), FrozenCells.restore(RULE.name, arrays))


PLUGIN: Detector = Sampling()
