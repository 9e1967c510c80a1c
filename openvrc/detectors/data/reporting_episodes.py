"""Gaps and alarm windows that wait for re-issues: a few of each vehicle, as plain fields.

A gap is a span without reports; re-issues close it from its older end, from its newer one, or from
both. A window is 61 seconds around the onset of an alarm, a bit each. When a vehicle has more than
its places, the oldest is given up and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed

NEVER = ABSENT_I64
MOST_GAPS, MOST_WINDOWS = 6, 3
WINDOW_S = 30
WHOLE = (1 << (2 * WINDOW_S + 1)) - 1
"""A bit for each second from 30 before the onset to 30 after it."""
_GAP = ("from_ns", "to_ns", "front_ns", "back_ns")
_WINDOW = ("alarm_ns", "first_ns", "seconds")

FIELDS: dict[str, tuple[Any, Any]] = {
    **{f"gap{i}.{name}": (np.int64, NEVER) for i in range(MOST_GAPS) for name in _GAP},
    **{f"window{i}.{name}": (np.int64, NEVER) for i in range(MOST_WINDOWS) for name in _WINDOW},
    "lost_gaps": (np.int64, 0),
    "lost_windows": (np.int64, 0),
}


class View:
    """The fields of one vehicle as Python values."""

    def __init__(self, vehicles: Keyed, slot: int) -> None:
        self._vehicles, self._slot = vehicles, slot

    def __getitem__(self, name: str) -> Any:
        return self._vehicles[name][self._slot].item()

    def set(self, **values: Any) -> None:
        """Fields by name."""
        for name, value in values.items():
            self._vehicles[name][self._slot] = value

    def put(self, prefix: str, names: Sequence[str], places: int, rows: Sequence[Any]) -> None:
        """Rows into numbered places; what is behind them is empty."""
        for place in range(places):
            for name in names:
                value = getattr(rows[place], name) if place < len(rows) else NEVER
                self._vehicles[f"{prefix}{place}.{name}"][self._slot] = value


@dataclass
class Gap:
    """No report between two; `front_ns` and `back_ns` are its ends as re-issues left them."""

    from_ns: int
    to_ns: int
    front_ns: int
    back_ns: int

    def take(self, at_ns: int, limit_ns: int) -> bool:
        """A re-issue that fell into it; whether it is closed now."""
        if self.front_ns < at_ns < self.back_ns:
            if at_ns - self.front_ns <= limit_ns:
                self.front_ns = at_ns
            elif self.back_ns - at_ns <= limit_ns:
                self.back_ns = at_ns
        return self.back_ns - self.front_ns <= limit_ns

    @property
    def missing_s(self) -> float:
        """What is still not there."""
        return (self.back_ns - self.front_ns) / NS_PER_S


@dataclass
class Window:
    """The seconds around an onset that have come."""

    alarm_ns: int
    first_ns: int
    """The vehicle's first report: seconds before it are not asked for."""
    seconds: int

    def take(self, at_ns: int) -> None:
        """A report, if it falls into it."""
        second = (at_ns - self.alarm_ns) // NS_PER_S + WINDOW_S
        if 0 <= second <= 2 * WINDOW_S:
            self.seconds |= 1 << second

    @property
    def missing(self) -> int:
        """Seconds that are not there."""
        from_s = max(0, WINDOW_S - (self.alarm_ns - self.first_ns) // NS_PER_S)
        return int((WHOLE >> from_s << from_s) & ~self.seconds).bit_count()


def gaps_of(view: View) -> list[Gap]:
    """Those that are open, oldest first."""
    return [
        Gap(*(view[f"gap{i}.{name}"] for name in _GAP))
        for i in range(MOST_GAPS)
        if view[f"gap{i}.from_ns"] != NEVER
    ]


def windows_of(view: View) -> list[Window]:
    """Those that are watched, oldest first."""
    return [
        Window(*(view[f"window{i}.{name}"] for name in _WINDOW))
        for i in range(MOST_WINDOWS)
        if view[f"window{i}.alarm_ns"] != NEVER
    ]


def keep_gaps(view: View, gaps: Sequence[Gap]) -> None:
    """The newest that have a place; others are given up."""
    lost = max(0, len(gaps) - MOST_GAPS)
    view.set(lost_gaps=view["lost_gaps"] + lost)
    view.put("gap", _GAP, MOST_GAPS, gaps[lost:])


def keep_windows(view: View, windows: Sequence[Window]) -> None:
    """The newest that have a place; others are given up."""
    lost = max(0, len(windows) - MOST_WINDOWS)
    view.set(lost_windows=view["lost_windows"] + lost)
    view.put("window", _WINDOW, MOST_WINDOWS, windows[lost:])
