"""A sender that says it drives the other way."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Stage
from simulator.faults.records import Affected, RecordFault


class ReversedHeading:
    """The kind as a plug-in."""

    name = "reversed-heading"
    description = "a sender's heading is turned round"
    stage = Stage.SENDER
    parameters = VEHICLES

    def make(self, given: Given) -> Fault:
        """See FaultKind."""

        def turned(rows: Affected) -> dict[str, Any]:
            return {"heading_deg": np.mod(rows.column("heading_deg") + 180.0, 360.0)}

        return RecordFault(given, turned, component="reversed_heading")


PLUGIN = ReversedHeading()
