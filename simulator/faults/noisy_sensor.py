"""Sensors with more noise than they say: white, normal, each record for itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault


class NoisySensor:
    """The kind as a plug-in."""

    name = "noisy-sensor"
    description = "position, speed and heading with white noise"
    stage = Stage.SENSOR
    parameters = (
        *VEHICLES,
        Parameter("position_m", 10.0, "standard deviation of the position on each axis"),
        Parameter("speed_mps", 2.0, "standard deviation of the speed"),
        Parameter("heading_deg", 15.0, "standard deviation of the heading"),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        position_m, speed_mps = given.number("position_m"), given.number("speed_mps")
        heading_deg = given.number("heading_deg")

        def noisy(rows: Affected) -> dict[str, Any]:
            east, north = rows.normal()
            faster, turned = rows.normal(draw=1)
            speed = np.maximum(rows.column("speed_mps") + speed_mps * faster, 0.0)
            heading = np.mod(rows.column("heading_deg") + heading_deg * turned, 360.0)
            return rows.moved(position_m * east, position_m * north) | {
                "speed_mps": speed,
                "heading_deg": heading,
            }

        return RecordFault(given, noisy, rule="fault.noisy-sensor")


PLUGIN = NoisySensor()
