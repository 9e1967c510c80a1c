"""A sender that says it stands while its positions go on."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Stage
from simulator.faults.records import Affected, RecordFault


class ZeroSpeed:
    """The kind as a plug-in."""

    name = "zero-speed"
    description = "a sender says it stands while its positions go on"
    stage = Stage.SENDER
    parameters = VEHICLES

    def make(self, given: Given) -> Fault:
        """See FaultKind."""

        def standing(rows: Affected) -> dict[str, Any]:
            nothing = np.zeros(len(rows.rows))
            return {"speed_mps": nothing, "accel_long_mps2": nothing}

        return RecordFault(given, standing, component="zero_speed")


PLUGIN = ZeroSpeed()
