"""A storm over a town: slippery roads, bad sensors, and a network that loses and delays.

Rain lowers friction and speeds and lengthens headways; positions get noisy, clocks drift, messages
are lost in bursts, delayed, doubled, overtaken, cut off, and senders drop out for seconds.
"""

from __future__ import annotations

from typing import Any

from simulator.faults.faulty_world import FaultyWorld
from simulator.faults.kind import Parameter
from simulator.faults.spec import parse_all
from simulator.roadside.equipment import EQUIPMENT
from simulator.scenarios.roads import ENDLESS_S, share_of_usual, traffic_world, values_of
from simulator.traffic import generators
from simulator.traffic.demand import TOWN_MIX, Flow
from simulator.traffic.events import Event, HardBrake, StoppedVehicle, Weather

USUAL_PER_H = 2400
CHAOS = (
    "noisy-sensor:vehicles_ratio=0.2,position_m=6,speed_mps=1,heading_deg=8",
    "stuck-sensor:vehicles_ratio=0.03",
    "clock:senders_ratio=0.1,skew_ms=-900,drift_ppm=300",
    "malformed:messages_ratio=0.01",
    "loss:messages_ratio=0.05,burst_messages=4",
    "delay:median_ms=150,p99_ms=3000",
    "duplicates:messages_ratio=0.03,after_ms=1000",
    "reordering:messages_ratio=0.03",
    "disconnects:senders_ratio=0.2,away_s=8,every_s=40",
)


class StormScenario:
    """The scenario as a plug-in."""

    name = "storm"
    description = "a town in heavy rain with bad sensors and a network that loses, delays, doubles"
    parameters = (
        Parameter("storm_s", 3.0, "when it begins"),
        Parameter("storm_for_s", ENDLESS_S, "how long it lasts", low=1.0),
        Parameter("friction_ratio", 0.5, "of dry asphalt", low=0.1, high=1.0),
        *(flag for flag in EQUIPMENT if flag.name != "weather"),
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
    ) -> FaultyWorld:
        """See Scenario; `vehicles` are those of an hour."""
        values = {name: float(value) for name, value in values_of(self.parameters, more).items()}
        flags = values | {"weather": "heavy-rain"}
        per_h = USUAL_PER_H * share_of_usual(vehicles, USUAL_PER_H)
        from_s, for_s = values["storm_s"], values["storm_for_s"]
        network = generators.grid(columns=3, rows=2, spacing_m=300.0)
        ways = [("in_w0", "out_e0"), ("in_e0", "out_w0"), ("in_w1", "out_e1"), ("in_e1", "out_w1")]
        ways += [(f"in_n{k}", f"out_s{k}") for k in range(3)]
        flows = [Flow(start, end, per_h / len(ways), mix=TOWN_MIX) for start, end in ways]
        events: list[Event] = [
            HardBrake("n0_0-n1_0", at_s=2.0, least_mps=5.0),
            HardBrake("n1_1-n0_1", at_s=2.0, least_mps=5.0),
            StoppedVehicle("n1_0-n2_0", lane=0, at_m=120.0, from_s=40.0, for_s=120.0),
            Weather(from_s, for_s, friction_ratio=values["friction_ratio"], speed_ratio=0.8),
        ]
        world = traffic_world(
            "Storm", network, flows, events, zone=zone, run_id=run_id, seed=seed,
            duration_s=duration_s, start_ns=start_ns, flags=flags,
        )  # fmt: skip
        window = f",from_s={from_s},for_s={for_s}"
        return FaultyWorld(world, parse_all([text + window for text in CHAOS]), seed)


PLUGIN = StormScenario()
