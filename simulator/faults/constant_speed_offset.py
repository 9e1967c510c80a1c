"""A sender that says it is faster or slower than it is, always by as much."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault


class ConstantSpeedOffset:
    """The kind as a plug-in."""

    name = "constant-speed-offset"
    description = "a sender's speed is off, always by as much"
    stage = Stage.SENDER
    parameters = (
        *VEHICLES,
        Parameter("offset_mps", 8.0, "by how much, never below 0", low=-100.0, high=100.0),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        offset_mps = given.number("offset_mps")

        def faster(rows: Affected) -> dict[str, Any]:
            return {"speed_mps": np.maximum(rows.column("speed_mps") + offset_mps, 0.0)}

        return RecordFault(given, faster, component="const_speed_offset")


PLUGIN = ConstantSpeedOffset()
