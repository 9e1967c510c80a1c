"""Electric cars drive and queue at fast chargers, and seven have something wrong with their packs.

Faults begin within the first minute and last. Records come each second of the motion and each ten
seconds of the battery; a parked car falls silent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.energy.charging import Site
from simulator.energy.faults import Fault, drawn_fault
from simulator.energy.telling import Vehicle
from simulator.scenarios.fleet_world import FleetLiveWorld, make_world
from simulator.scenarios.roads import values_of

FAULTS_S = {
    "connection": 4.0,
    "sampling": 6.0,
    "insulation": 8.0,
    "micro_short": 20.0,
    "module_offset": 30.0,
    "current_sensor": 40.0,
    "self_discharge": 50.0,
}
"""When each fault begins, s after the start."""
SOON_S = 30.0
"""What takes days elsewhere is complete after so many seconds, so that it can be seen live."""
SITES = (Site(stalls=6, grid_w=240_000.0), Site(stalls=8, grid_w=320_000.0))


class FleetScenario:
    """The scenario as a plug-in."""

    name = "fleet"
    description = "80 electric cars, two charging stations with queues, seven faulty packs"

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
            "Fleet",
            _drawn,
            zone=zone,
            run_id=run_id,
            seed=seed,
            duration_s=duration_s,
            vehicles=80 if vehicles is None else vehicles,
            least_vehicles=len(FAULTS_S),
            start_ns=start_ns,
            sites=SITES,
        )


def _drawn(vehicles: list[Vehicle], random: np.random.Generator) -> list[Fault]:
    chosen = random.permutation(len(vehicles)).tolist()
    result = []
    for (mode, from_s), number in zip(FAULTS_S.items(), chosen, strict=False):
        model = vehicles[number].model
        fault = drawn_fault(mode, number, model, from_s=from_s, random=random)
        for name in ("grows_for_s", "falls_for_s"):
            if name in fault.detail:
                fault.detail[name] = SOON_S
        result.append(fault)
    return result


PLUGIN = FleetScenario()
