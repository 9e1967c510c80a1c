"""A cell whose value is frozen while its mates move: a stuck channel of the monitor.

A frozen cell is soon the highest or the lowest of its pack, so only such a cell is watched, from
the frame in which it is 30 mV off: the value that it then has, to the millivolt, and how far the
pack's middle cell has gone up and down since. Where the middle has moved by 50 mV over 12 frames
and a minute and the cell by nothing, it is frozen: at rest all stay, under load all move. Frames of
a parked charge do not count: a charger may hold the highest cell at its limit while others rise.
Another value of the cell ends the watch; three frames with another value end the episode.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Arrays, Finding, Phase, Severity, pack_words
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.deviation import LEAST_CELLS
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.view import View

OFF_V = 0.030
MOVED_UV = 50_000
LEAST_FRAMES, LEAST_SPAN_NS = 12, 60 * NS_PER_S
FRAMES_TO_END = 3
_UV_PER_V = 1e6
_RESOLUTION_UV = 500  # of a value told in whole millivolts, as float32


@dataclass
class Watch:
    """A cell that has not changed since `since_ns`. Volts as whole microvolts."""

    cell: int
    value_uv: int
    since_ns: int
    last_at_ns: int
    low_uv: int
    high_uv: int
    frames: int = 1
    is_raised: int = 0
    others: int = 0
    """Frames in a row with another value, of a raised one."""


class FrozenCells:
    """One watched cell per vehicle, of vehicles that have one."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self.watched: dict[str, Watch] = {}

    def fold(self, view: View) -> list[Finding]:
        """Fold the frames that came in order; what froze or came back."""
        if len(view) == 0 or view.cells_v.shape[1] < LEAST_CELLS:
            return []
        up_v, down_v = view.highest_v - view.median_v, -view.lowest_deviation_v
        is_off = np.fmax(up_v, down_v) >= OFF_V
        if not (self.watched or some(is_off)):
            return []
        is_watched = view.is_one_of(list(self.watched))
        is_watched[view.place[is_off]] = True
        counts = is_watched[view.place]
        counts &= (view.n_measured >= LEAST_CELLS) & ~view.is_parked_charging
        findings: list[Finding] = []
        for i in np.flatnonzero(counts).tolist():
            is_high = bool(up_v[i] >= down_v[i])
            findings += self._fold_row(view, i, is_off=bool(is_off[i]), is_high=is_high)
        return findings

    def _fold_row(self, view: View, i: int, *, is_off: bool, is_high: bool) -> list[Finding]:
        vehicle, at_ns = view.vehicle(i), int(view.at_ns[i])
        watch = self.watched.get(vehicle)
        if watch is not None and at_ns <= watch.last_at_ns:
            return []
        middle_uv = round(float(view.median_v[i]) * _UV_PER_V)
        if watch is not None:
            value_v = _value(view.cells_v[i], watch.cell)
            if np.isnan(value_v):
                return []
            if abs(value_v * _UV_PER_V - watch.value_uv) <= _RESOLUTION_UV:
                return self._same(view, i, watch, middle_uv)
            if watch.is_raised:
                return self._other(view, i, watch)
            del self.watched[vehicle]
        if is_off:
            cell = view.highest_cell(i) if is_high else view.lowest_cell(i)
            value_uv = round(float(view.cells_v[i, cell]) * _UV_PER_V)
            self.watched[vehicle] = Watch(cell, value_uv, at_ns, at_ns, middle_uv, middle_uv)
        return []

    def _same(self, view: View, i: int, watch: Watch, middle_uv: int) -> list[Finding]:
        watch.last_at_ns, watch.others = int(view.at_ns[i]), 0
        watch.frames += 1
        watch.low_uv = min(watch.low_uv, middle_uv)
        watch.high_uv = max(watch.high_uv, middle_uv)
        is_long = watch.last_at_ns - watch.since_ns >= LEAST_SPAN_NS
        has_moved = watch.high_uv - watch.low_uv >= MOVED_UV
        if watch.is_raised or not (is_long and has_moved and watch.frames >= LEAST_FRAMES):
            return []
        watch.is_raised = 1
        return [self._finding(view, i, watch, "raise")]

    def _other(self, view: View, i: int, watch: Watch) -> list[Finding]:
        watch.last_at_ns = int(view.at_ns[i])
        watch.others += 1
        if watch.others < FRAMES_TO_END:
            return []
        del self.watched[view.vehicle(i)]
        return [self._finding(view, i, watch, "clear")]

    def _finding(self, view: View, i: int, watch: Watch, phase: Phase) -> Finding:
        value_v = watch.value_uv / _UV_PER_V
        moved_v = (watch.high_uv - watch.low_uv) / _UV_PER_V
        text = (
            f"Cell {watch.cell + 1} has read {value_v:.3f} V in {watch.frames} frames while its "
            f"pack's middle cell moved by {moved_v * 1e3:.0f} mV."
        )
        evidence: dict[str, Any] = {
            "text": text if phase == "raise" else f"Cell {watch.cell + 1} moves again.",
            "kind": "frozen",
            "cell_v": round(value_v, 3),
            "pack_moved_v": round(moved_v, 3),
            "limit_v": MOVED_UV / _UV_PER_V,
            "frames": watch.frames,
        }
        return Finding(
            rule=self._rule,
            phase=phase,
            subject_type="vehicle",
            subject_id=view.vehicle(i),
            component=f"cell:{watch.cell + 1}",
            at_ns=int(view.at_ns[i]),
            started_at_ns=watch.since_ns,
            severity=Severity.WARNING,
            confidence=0.85,
            evidence={
                **evidence,
                **workshop(14),
                "span_started_at": iso_from_ns(watch.since_ns),
                "span_ended_at": iso_from_ns(watch.last_at_ns),
                "bms_alarm_level": view.bms_alarm_level(i),
            },
            is_late=bool(view.is_late[i]),
        )

    def snapshot(self) -> Arrays:
        """All that is watched."""
        numbers = [[getattr(watch, name) for name in _NAMES] for watch in self.watched.values()]
        return {
            "frozen.vehicles": pack_words(list(self.watched)),
            "frozen.numbers": np.array(numbers, np.int64).reshape(-1, len(_NAMES)),
        }

    @classmethod
    def restore(cls, rule: str, arrays: Arrays) -> FrozenCells:
        """What `snapshot` wrote."""
        cells = cls(rule)
        if "frozen.vehicles" not in arrays:  # a checkpoint from before this was looked for
            return cells
        vehicles, numbers = arrays["frozen.vehicles"].tolist(), arrays["frozen.numbers"].tolist()
        for vehicle, values in zip(vehicles, numbers, strict=True):
            cells.watched[vehicle] = Watch(*values)
        return cells


_NAMES = tuple(field.name for field in fields(Watch))


def _value(cells_v: npt.NDArray[np.float32], cell: int) -> float:
    return float(cells_v[cell]) if cell < len(cells_v) else float("nan")
