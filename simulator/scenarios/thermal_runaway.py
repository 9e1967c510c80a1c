"""Two packs burn: one in a parked, silent car, one after a short in a car on the road.

The parked car's first frame, three seconds after the trigger, has it all: a probe over 100 degC,
cells at 2 V and less; insulation follows. The other one's short warms its cell for two minutes
before. Forty cars, records each second.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulator.energy.faults import Fault, drawn_fault
from simulator.energy.telling import Vehicle
from simulator.scenarios.fleet_world import FleetLiveWorld, make_world
from simulator.scenarios.roads import values_of

PARKED_S, SHORT_S, SHORT_LASTS_S = 5.0, 10.0, 120.0


class ThermalRunawayScenario:
    """The scenario as a plug-in."""

    name = "thermal-runaway"
    description = "40 electric cars; a parked one burns without warning, a driven one after a short"

    def make(
        self,
        *,
        zone: str,
        run_id: str,
        seed: int = 1,
        duration_s: float | None = None,
        vehicles: int | None = None,
        start_ns: int | None = None,
        **more: Any,
    ) -> FleetLiveWorld:
        """See Scenario."""
        values_of((), more)
        return make_world(
            "Thermal runaway",
            _drawn,
            zone=zone,
            run_id=run_id,
            seed=seed,
            duration_s=duration_s,
            vehicles=40 if vehicles is None else vehicles,
            least_vehicles=2,
            start_ns=start_ns,
            battery_every_s=1,
        )


def _drawn(vehicles: list[Vehicle], random: np.random.Generator) -> list[Fault]:
    parked, driven = random.permutation(len(vehicles))[:2].tolist()
    burning = drawn_fault(
        "thermal_event", parked, vehicles[parked].model, from_s=PARKED_S, random=random
    )
    short = drawn_fault(
        "internal_short",
        driven,
        vehicles[driven].model,
        from_s=SHORT_S,
        random=random,
        severity=0.5,
    )
    return [
        replace(burning, detail=burning.detail | {"parked": True}),
        replace(short, detail=short.detail | {"runaway_after_s": SHORT_LASTS_S}),
    ]


PLUGIN = ThermalRunawayScenario()
