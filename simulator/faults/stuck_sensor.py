"""A sensor that says the same for ever: what it measured when it stuck."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import Affected, RecordFault

SIGNALS = {
    "speed_mps": "vehicle_state",
    "heading_deg": "vehicle_state",
    "accel_long_mps2": "vehicle_state",
    "position": "vehicle_state",
    "pack_voltage_v": "battery_state",
    "pack_current_a": "battery_state",
    "soc_ratio": "battery_state",
    "insulation_ohm": "battery_state",
}
POSITION = ("lat_deg", "lon_deg")
FINDABLE = frozenset({"position", "pack_voltage_v"})
"""What `data.frozen_signal` judges; that another signal stands still proves nothing to a rule."""


class StuckSensor:
    """The kind as a plug-in."""

    name = "stuck-sensor"
    description = "a sensor says for ever what it measured when it stuck"
    stage = Stage.SENSOR
    parameters = (
        *VEHICLES,
        Parameter("signal", "speed_mps", "which one", choices=tuple(SIGNALS)),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        signal = given.word("signal")
        columns = POSITION if signal == "position" else (signal,)
        rule = "data.frozen_signal" if signal in FINDABLE else f"fault.{self.name}"
        return RecordFault(
            given, Held(columns), messages=(SIGNALS[signal],), rule=rule, component=signal
        )


class Held:
    """Each one's first values of some columns, for ever."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self._first: dict[str, tuple[float, ...]] = {}

    def __call__(self, rows: Affected) -> dict[str, Any]:
        """See Change."""
        now = zip(*(rows.column(name).tolist() for name in self._columns), strict=True)
        held = [self._first.setdefault(name, values)
                for name, values in zip(rows.who, now, strict=True)]  # fmt: skip
        table = np.array(held).reshape(-1, len(self._columns))
        return {name: table[:, place] for place, name in enumerate(self._columns)}


PLUGIN = StuckSensor()
