"""The benchmark's traffic at the times of a schedule."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S
from simulator.load.schedule import Schedule
from simulator.load.traffic import BenchWorld, TrafficPlan
from simulator.world import Frame, Outgoing

Ints = npt.NDArray[np.int64]
HARD_MPS2 = -5.5
"""What the rule `traffic.hard_braking` calls hard."""


class LoadWorld(BenchWorld):
    """Vehicles whose next records are sampled when the schedule says that they are due."""

    title = "load test"

    def __init__(self, plan: TrafficPlan, schedule: Schedule) -> None:
        super().__init__(plan)
        self.start_ns = plan.start_ns
        self._schedule = schedule
        self._n_vehicles = plan.vehicles

    def _times_ns(self, second: int) -> Ints:
        numbers = second * self._n_vehicles + np.arange(self._n_vehicles)
        return self.start_ns + (self._schedule.due_s(numbers) * NS_PER_S).astype(np.int64)

    def due_frames(self) -> Iterator[Frame]:
        """Frames until the schedule is at its end; `final_frame` follows."""
        rest = self._schedule.records
        self.records_per_frame = min(self.records_per_frame, rest)
        for frame in self.frames():
            yield frame
            rest -= sum(message.n_rows for message in frame.messages)
            self.records_per_frame = min(self.records_per_frame, rest)
            if not rest:
                self.stop()
                return

    def final_frame(self, zone_time_ns: int) -> Frame:
        """Every sender's count."""
        return self._emitter.final_frame(zone_time_ns)


def published(whole: Batch, messages: list[Outgoing]) -> tuple[Batch, Ints]:
    """The batch with `published_at_ns`, and when each of its messages is due (n_messages,).

    A message is due with its last record, whatever it waits for after that.
    """
    sampled_ns = whole.column("sampled_at_ns")
    starts = np.array([message.bounds[0] for message in messages])
    sizes = np.array([message.n_rows for message in messages])
    order = np.argsort(starts)
    due_ns = np.empty(len(messages), np.int64)
    due_ns[order] = np.maximum.reduceat(sampled_ns, starts[order])
    of_row = np.repeat(due_ns[order], sizes[order])
    return whole.with_columns({"published_at_ns": of_row}), due_ns


def brakings(whole: Batch) -> dict[str, int]:
    """Vehicles that tell of a hard braking, and when (published, ns)."""
    if "accel_long_mps2" not in whole.data.schema.names:
        return {}
    rows = np.flatnonzero(whole.column("accel_long_mps2") < HARD_MPS2)
    if not rows.size:
        return {}
    hard = whole.take(rows)
    return dict(zip(hard.texts("subject_id"), hard.column("published_at_ns").tolist(), strict=True))
