"""A sender whose speed is off, each time by another amount."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault


class RandomSpeedOffset:
    """The kind as a plug-in."""

    name = "random-speed-offset"
    description = "a sender's speed is off, each time by another amount"
    stage = Stage.SENDER
    parameters = (
        *VEHICLES,
        Parameter("within_mps", 8.0, "evenly up to this, either way, never below 0", high=100.0),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        within_mps = given.number("within_mps")

        def off(rows: Affected) -> dict[str, Any]:
            offset_mps = within_mps * (2.0 * rows.uniform() - 1.0)
            return {"speed_mps": np.maximum(rows.column("speed_mps") + offset_mps, 0.0)}

        return RecordFault(given, off, component="random_speed_offset")


PLUGIN = RandomSpeedOffset()
