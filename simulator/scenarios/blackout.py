"""The crossroads' edge is cut off: nobody is heard for half a minute, then everything at once.

Senders keep what they have to say, as a gateway does whose line is down. What comes late tells of
the past: its alerts are historical where newer data contradicts them.
"""

from __future__ import annotations

from typing import Any

from openvrc.contracts.plugins import discover
from simulator.faults.faulty_world import FaultyWorld
from simulator.faults.kind import Parameter
from simulator.faults.spec import parse
from simulator.scenarios.roads import values_of


class BlackoutScenario:
    """The scenario as a plug-in."""

    name = "blackout"
    description = "the crossroads cut off from their edge for 30 s; the backlog is sent after it"
    parameters = (
        Parameter("cut_s", 12.0, "when nobody is heard any more"),
        Parameter("cut_for_s", 30.0, "for how long", low=0.001),
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
        """See Scenario."""
        values = values_of(self.parameters, more)
        world = discover("simulator.scenarios")["crossroads"].make(
            zone=zone,
            run_id=run_id,
            seed=seed,
            duration_s=duration_s,
            vehicles=vehicles,
            start_ns=start_ns,
        )
        world.title = "Blackout"
        cut = f"from_s={values['cut_s']},away_s={values['cut_for_s']}"
        return FaultyWorld(world, [parse(f"disconnects:every_s=0,together=yes,{cut}")], seed)


PLUGIN = BlackoutScenario()
