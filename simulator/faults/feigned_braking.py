"""A sender that says it brakes hard, again and again, while its positions go on."""

from __future__ import annotations

from typing import Any

import numpy as np

from openvrc.contracts.units import NS_PER_S
from simulator.faults.kind import VEHICLES, Fault, FaultError, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault


class FeignedBraking:
    """The kind as a plug-in."""

    name = "feigned-braking"
    description = "a sender says again and again that it brakes hard"
    stage = Stage.SENDER
    parameters = (
        *VEHICLES,
        Parameter("decel_mps2", 7.5, "how hard", high=20.0),
        Parameter("brakes_s", 2.0, "how long", low=0.001),
        Parameter("every_s", 15.0, "from one to the next", low=0.001),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        decel_mps2, every_s = given.number("decel_mps2"), given.number("every_s")
        brakes_s = given.number("brakes_s")
        if brakes_s > every_s:
            raise FaultError(
                f"fault feigned-braking: brakes_s is {brakes_s:g}, expected at most every_s"
            )

        def braking(rows: Affected) -> dict[str, Any]:
            since_s = np.mod((rows.at_ns - rows.from_ns) / NS_PER_S, every_s)
            is_on = since_s < brakes_s
            true_mps, true_mps2 = rows.column("speed_mps"), rows.column("accel_long_mps2")
            slowed_mps = np.maximum(true_mps - decel_mps2 * since_s, 0.0)
            return {
                "speed_mps": np.where(is_on, slowed_mps, true_mps),
                "accel_long_mps2": np.where(is_on, -decel_mps2, true_mps2),
                "brake_on": np.where(is_on, 1, rows.column("brake_on")).astype(np.int8),
            }

        return RecordFault(given, braking, component="feigned_braking")


PLUGIN = FeignedBraking()
