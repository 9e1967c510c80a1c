"""Roadworks: a street's right lane is shut, the limit before it is lower, a unit warns of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from openvrc.contracts.units import NS_PER_S
from simulator.emission import Emitter
from simulator.faults.kind import Parameter
from simulator.roadside.equipment import EQUIPMENT
from simulator.scenarios.roads import ENDLESS_S, share_of_usual, traffic_world, values_of
from simulator.traffic import generators
from simulator.traffic.demand import TOWN_MIX, Flow
from simulator.traffic.events import Event, HardBrake, LaneClosure, SpeedLimit
from simulator.traffic.world import TrafficWorld
from simulator.world import Outgoing

USUAL_PER_H = 1800
WORKS, BEFORE = "n1_0-n2_0", "n0_0-n1_0"
WARN_EVERY_S = 10


@dataclass(frozen=True)
class WorksUnit:
    """The works' own roadside unit tells of them."""

    from_m: float
    from_s: float
    for_s: float
    limit_mps: float

    def __call__(
        self, emitter: Emitter, world: TrafficWorld, second: int, now_ns: int
    ) -> list[Outgoing]:
        """See Extra."""
        if second % WARN_EVERY_S or not self.from_s <= second < self.from_s + self.for_s:
            return []
        lane = world.network.lane(WORKS, 0)
        start, end = world.network.points_xy_m[lane][[0, -1]]
        at = start + (end - start) * self.from_m / world.network.length_m[lane]
        lat_deg, lon_deg = world.road_map.frame.to_lat_lon_deg(at[:1], at[1:])
        columns = {
            "sampled_at_ns": np.array([now_ns], np.int64),
            "kind": "roadworks",
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "segment_id": WORKS,
            "valid_from_ns": world.start_ns + round(self.from_s * NS_PER_S),
            "valid_to_ns": world.start_ns + round((self.from_s + self.for_s) * NS_PER_S),
            "cause": "right lane closed",
            "advised_speed_mps": self.limit_mps,
        }
        source = np.array([emitter.source("rsu", "rsu-works")], np.int64)
        return emitter.emit("road_event", source, (np.zeros(1, np.int32), ["works-1"]), columns)


class WorkZoneScenario:
    """The scenario as a plug-in."""

    name = "work-zone"
    description = "roadworks shut a lane of a street, with a lower limit and a unit that warns"
    parameters = (
        Parameter("works_s", 4.0, "when the lane is shut"),
        Parameter("works_for_s", ENDLESS_S, "for how long"),
        Parameter("limit_mps", 8.33, "limit before and beside the works", low=2.0, high=40.0),
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
        from_s, for_s, limit_mps = (
            float(values[name]) for name in ("works_s", "works_for_s", "limit_mps")
        )
        network = generators.arterial(junctions=3, spacing_m=400.0)
        flows = [
            Flow("in_w0", "out_e0", per_h * 0.6, mix=TOWN_MIX),
            Flow("in_e0", "out_w0", per_h * 0.3, mix=TOWN_MIX),
            Flow("in_n1", "out_e0", per_h * 0.1),
        ]
        events: list[Event] = [
            HardBrake(BEFORE, at_s=2.0),
            SpeedLimit((BEFORE, WORKS), limit_mps, from_s, for_s),
            LaneClosure(WORKS, lane=0, from_m=200.0, from_s=from_s, for_s=for_s),
        ]
        unit = WorksUnit(200.0, from_s, for_s, limit_mps)
        return traffic_world(
            "Work zone", network, flows, events, zone=zone, run_id=run_id, seed=seed,
            duration_s=duration_s, start_ns=start_ns, extras=[unit], flags=values,
        )  # fmt: skip


PLUGIN = WorkZoneScenario()
