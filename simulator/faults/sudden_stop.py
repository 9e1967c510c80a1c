"""A sender that says it stopped on the spot, and stays there."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Stage
from simulator.faults.records import Affected, RecordFault
from simulator.faults.stuck_sensor import POSITION, Held


class SuddenStop:
    """The kind as a plug-in."""

    name = "sudden-stop"
    description = "a sender says it stopped on the spot and stands there"
    stage = Stage.SENDER
    parameters = VEHICLES

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        held = Held((*POSITION, "heading_deg"))

        def stopped(rows: Affected) -> dict[str, Any]:
            nothing = np.zeros(len(rows.rows))
            return held(rows) | {"speed_mps": nothing, "accel_long_mps2": nothing}

        return RecordFault(given, stopped, component="sudden_stop")


PLUGIN = SuddenStop()
