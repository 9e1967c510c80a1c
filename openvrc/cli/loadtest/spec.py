"""What a load test is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from simulator.load.faulty import check
from simulator.load.schedule import Schedule, schedule_of
from simulator.load.sender import LoadPlan
from simulator.load.traffic import units_of

TIMED_BRAKINGS = 40
"""Alerts to be timed: fewer than the 50 a minute that fold into an alert storm."""


@dataclass(frozen=True)
class LoadSpec:
    """See the options of `vrc load`."""

    run_id: str
    zone: str
    broker_url: str
    vehicles: int = 1000
    rate_hz: float = 1.0
    batch: int = 50
    codec: str = "json"
    qos: int = 1
    connections: int = 4
    processes: int = 1
    seconds: float = 60.0
    ramp_s: float = 0.0
    steps: tuple[float, ...] = field(default=())
    seed: int = 1
    faults: tuple[str, ...] = field(default=())
    """Of senders and network, as for `--fault`."""
    is_timed: bool = True
    """Whether vehicles brake, for alerts to be timed."""

    def __post_init__(self) -> None:
        """Raises ValueError and FaultError, which say what was expected."""
        check(self.faults, self.run_id)
        if self.vehicles < self.processes:
            raise ValueError(
                f"{self.vehicles} vehicles for {self.processes} processes, expected at least one "
                "each"
            )
        if self.connections < self.processes:
            raise ValueError(
                f"{self.connections} connections for {self.processes} processes, expected at "
                "least one each"
            )
        if self.schedule.share(self.processes).records < 1:
            raise ValueError(
                f"{self.schedule.records} records in all, expected at least one of each of "
                f"{self.processes} processes: a higher rate or a longer time"
            )

    @property
    def schedule(self) -> Schedule:
        """When records are due, all processes together."""
        rate = self.vehicles * self.rate_hz
        return schedule_of(rate, self.seconds, self.ramp_s, self.steps)

    def plans(self) -> list[LoadPlan]:
        """What each process sends."""
        part = self.schedule.share(self.processes)
        spans = [[span.seconds, span.from_rate, span.to_rate] for span in part.spans]
        # Shares of the rate are equal, those of vehicles differ by one at most.
        counts = [
            (self.vehicles + number) // self.processes for number in reversed(range(self.processes))
        ]
        firsts = [0, *accumulate(map(units_of, counts))]
        return [
            LoadPlan(
                broker_url=self.broker_url,
                run_id=self.run_id,
                zone=self.zone,
                vehicles=counts[number],
                first_rsu=firsts[number],
                spans=spans,
                batch=self.batch,
                codec=self.codec,
                qos=self.qos,
                connections=self.connections // self.processes,
                seed=self.seed + number,
                faults=list(self.faults),
                brakings=TIMED_BRAKINGS // self.processes if self.is_timed else 0,
            )
            for number in range(self.processes)
        ]
