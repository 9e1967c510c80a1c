"""A street over five signals with a green wave eastwards, against it westwards, and side streets.

A vehicle breaks down in the middle of it and spoils the wave; somebody brakes hard at the start.
"""

from __future__ import annotations

from typing import Any

from simulator.faults.kind import Parameter
from simulator.roadside.equipment import EQUIPMENT
from simulator.scenarios.roads import BUS_STOPS, crossings, share_of_usual, traffic_world, values_of
from simulator.traffic import generators
from simulator.traffic.demand import TOWN_MIX, Flow
from simulator.traffic.events import Event, HardBrake, StoppedVehicle
from simulator.traffic.world import TrafficWorld

JUNCTIONS, SPACING_M = 5, 350.0
USUAL_PER_H = 2400
MAIN_SHARE, SIDE_SHARE = 0.33, 0.034  # of all vehicles an hour, each way


class CorridorScenario:
    """The scenario as a plug-in."""

    name = "corridor"
    description = "a street of five signals with a green wave; a breakdown spoils it"
    parameters = (
        Parameter("wave_mps", 13.0, "speed of the green wave eastwards, 0 none", high=40.0),
        Parameter("breakdown_s", 60.0, "when a vehicle breaks down in the third block"),
        Parameter("breakdown_for_s", 120.0, "how long it stands"),
        Parameter("crossing_every_s", 0.0, "people cross in the second block, 0 nobody"),
        *BUS_STOPS,
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
        network = generators.arterial(JUNCTIONS, SPACING_M, wave_mps=float(values["wave_mps"]))
        flows = [
            Flow(start, end, per_h * MAIN_SHARE, mix=TOWN_MIX)
            for start, end in (("in_w0", "out_e0"), ("in_e0", "out_w0"))
        ]
        flows += [
            Flow(f"in_{one}{k}", f"out_{other}{k}", per_h * SIDE_SHARE)
            for k in range(JUNCTIONS)
            for one, other in (("n", "s"), ("s", "n"))
        ]
        events: list[Event] = [
            HardBrake("n0_0-n1_0", at_s=2.0),
            StoppedVehicle(
                "n2_0-n3_0",
                lane=0,
                at_m=200.0,
                from_s=float(values["breakdown_s"]),
                for_s=float(values["breakdown_for_s"]),
            ),
            HardBrake("in_e0", at_s=2.0, least_mps=5.0),
        ]
        return traffic_world(
            "Corridor", network, flows, events, zone=zone, run_id=run_id, seed=seed,
            duration_s=duration_s, start_ns=start_ns, flags=values,
            walkers=crossings(("n1_0-n2_0", "n2_0-n1_0"), float(values["crossing_every_s"])),
        )  # fmt: skip


PLUGIN = CorridorScenario()
