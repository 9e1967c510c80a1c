"""A sender that says it is elsewhere: somewhere else each time."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault
from simulator.sampling import mixed, uniform


class RandomPositionOffset:
    """The kind as a plug-in."""

    name = "random-position-offset"
    description = "a sender says it is elsewhere, each time by another offset"
    stage = Stage.SENDER
    parameters = (*VEHICLES, Parameter("within_m", 70.0, "evenly over a disc of this radius"))

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        within_m = given.number("within_m")

        def elsewhere(rows: Affected) -> dict[str, Any]:
            angle = 2.0 * np.pi * rows.uniform()
            second = uniform(mixed(rows.hashes, rows.at_ns + 1))
            radius_m = within_m * np.sqrt(second)  # evenly by area
            return dict(rows.moved(radius_m * np.cos(angle), radius_m * np.sin(angle)))

        return RecordFault(given, elsewhere, component="random_pos_offset")


PLUGIN = RandomPositionOffset()
