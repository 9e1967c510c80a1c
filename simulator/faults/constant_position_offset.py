"""A sender that says it is elsewhere: so far away in one direction, for ever the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault


class ConstantPositionOffset:
    """The kind as a plug-in."""

    name = "constant-position-offset"
    description = "a sender says it is elsewhere, always by the same offset"
    stage = Stage.SENDER
    parameters = (*VEHICLES, Parameter("offset_m", 70.0, "how far, in a drawn direction"))

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        offset_m = given.number("offset_m")

        def elsewhere(rows: Affected) -> dict[str, Any]:
            angle = 2.0 * np.pi * rows.own()
            return dict(rows.moved(offset_m * np.cos(angle), offset_m * np.sin(angle)))

        return RecordFault(given, elsewhere, component="const_pos_offset")


PLUGIN = ConstantPositionOffset()
