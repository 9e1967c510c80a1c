"""A street before a school: children cross it in groups, one runs out before a car.

At the crossing a group waits until everybody who comes can stop, then walks; vehicles wait at it.
A camera unit tells of the children (`rsu_objects`); they carry nothing that talks. One child runs
onto the first lane before a vehicle, which brakes for an emergency, and turns back.
"""

from __future__ import annotations

from typing import Any

from simulator.faults.kind import Parameter
from simulator.roadside.crossing import Crossing
from simulator.roadside.equipment import EQUIPMENT
from simulator.scenarios.roads import ENDLESS_S, share_of_usual, traffic_world, values_of
from simulator.traffic import generators
from simulator.traffic.demand import TOWN_MIX, Flow
from simulator.traffic.events import SpeedLimit
from simulator.traffic.world import TrafficWorld

USUAL_PER_H = 1400
STREETS = ("n0_0-n1_0", "n1_0-n0_0")
CROSSING_M = 180.0  # from the first street's start


class SchoolZoneScenario:
    """The scenario as a plug-in."""

    name = "school-zone"
    description = "children cross before a school, seen by a camera unit; one runs before a car"
    parameters = (
        Parameter("every_s", 25.0, "from one group of children to the next", low=5.0),
        Parameter("group", 5.0, "children in a group", low=1.0, high=40.0),
        Parameter("runs_at_s", 3.0, "when a child runs out, before the next car"),
        Parameter("limit_mps", 8.33, "limit before the school", low=2.0, high=20.0),
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
        network = generators.grid(2, 1, spacing_m=400.0, lanes=1, signals=False)
        flows = [
            Flow("in_w0", "out_e0", per_h * 0.5, mix=TOWN_MIX),
            Flow("in_e0", "out_w0", per_h * 0.5, mix=TOWN_MIX),
        ]
        children = Crossing(
            STREETS, CROSSING_M, every_s=float(values["every_s"]), group=int(values["group"]),
            runs_at_s=float(values["runs_at_s"]),
        )  # fmt: skip
        return traffic_world(
            "School zone", network, flows,
            [SpeedLimit(STREETS, float(values["limit_mps"]), 0.0, ENDLESS_S)],
            zone=zone, run_id=run_id, seed=seed, duration_s=duration_s, start_ns=start_ns,
            flags=values, walkers=[children],
        )  # fmt: skip


PLUGIN = SchoolZoneScenario()
