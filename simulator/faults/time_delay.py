"""A sender that says now what was so a while ago."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from openvrc.contracts.units import NS_PER_S
from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault

MOTION = ("lat_deg", "lon_deg", "speed_mps", "heading_deg", "accel_long_mps2")
Moment = tuple[int, tuple[float, ...]]


class TimeDelay:
    """The kind as a plug-in."""

    name = "time-delay"
    description = "a sender says now what was so a while ago"
    stage = Stage.SENDER
    parameters = (*VEHICLES, Parameter("delay_s", 5.0, "how long ago", low=0.001))

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        past = Past(round(given.number("delay_s") * NS_PER_S))
        return RecordFault(given, past, component="time_delay")


class Past:
    """Each one's motion as it was; its oldest one until it is old enough."""

    def __init__(self, delay_ns: int) -> None:
        self._delay_ns = delay_ns
        self._known: dict[str, deque[Moment]] = {}

    def __call__(self, rows: Affected) -> dict[str, Any]:
        """See Change."""
        now = zip(*(rows.column(name).tolist() for name in MOTION), strict=True)
        told = [
            self._after(name, at_ns, values)
            for name, at_ns, values in zip(rows.who, rows.at_ns.tolist(), now, strict=True)
        ]
        table = np.array(told).reshape(-1, len(MOTION))
        return {name: table[:, place] for place, name in enumerate(MOTION)}

    def _after(self, name: str, at_ns: int, values: tuple[float, ...]) -> tuple[float, ...]:
        known = self._known.setdefault(name, deque())
        known.append((at_ns, values))
        while len(known) > 1 and known[1][0] <= at_ns - self._delay_ns:
            known.popleft()
        return known[0][1]


PLUGIN = TimeDelay()
