"""A motorway with two interchanges: a car breaks down, another crawls, somebody brakes hard."""

from __future__ import annotations

from typing import Any

from simulator.faults.kind import Parameter
from simulator.roadside.equipment import EQUIPMENT
from simulator.scenarios.roads import share_of_usual, traffic_world, values_of
from simulator.traffic import generators
from simulator.traffic.demand import Flow
from simulator.traffic.events import Event, HardBrake, SlowVehicle, StoppedVehicle
from simulator.traffic.world import TrafficWorld

USUAL_PER_H = 3600
MIX = {"car": 0.85, "truck": 0.15}
THROUGH, ON = 0.8, 0.1  # of all vehicles an hour, ON at each of the entries
SPACING_M = 1200.0


class FreewayIncidentScenario:
    """The scenario as a plug-in."""

    name = "freeway-incident"
    description = "a motorway with two interchanges; a breakdown in the left lane, a crawler"
    parameters = (
        Parameter("incident_s", 5.0, "when a vehicle breaks down"),
        Parameter("incident_for_s", 300.0, "how long it stands"),
        Parameter("incident_lane", 1.0, "in which lane, 0 is the right one", high=1.0),
        *EQUIPMENT,
    )

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
    ) -> TrafficWorld:
        """See Scenario; `vehicles` are those of an hour."""
        values = values_of(self.parameters, more)
        per_h = USUAL_PER_H * share_of_usual(vehicles, USUAL_PER_H)
        network = generators.motorway(ramps=2, spacing_m=SPACING_M)
        flows = [
            Flow("main_0", "main_2", per_h * THROUGH, mix=MIX),
            Flow("on_0", "main_2", per_h * ON, mix=MIX),
            Flow("on_1", "main_2", per_h * ON, mix=MIX),
        ]
        events: list[Event] = [
            HardBrake("main_0", at_s=2.0),
            StoppedVehicle(
                "main_1",
                lane=int(values["incident_lane"]),
                at_m=900.0,
                from_s=float(values["incident_s"]),
                for_s=float(values["incident_for_s"]),
            ),
            SlowVehicle("main_0", mps=12.0, from_s=90.0, for_s=120.0),
        ]
        return traffic_world(
            "Freeway incident", network, flows, events, zone=zone, run_id=run_id, seed=seed,
            duration_s=duration_s, start_ns=start_ns, warm_up_s=60.0, flags=values,
        )  # fmt: skip


PLUGIN = FreewayIncidentScenario()
