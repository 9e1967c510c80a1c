"""A pack of known capacity, resistance and weak cell, and the frames its logger writes.

Plain circuit: V = n OCV(z) - R I, z by exact coulomb counting of a current that is constant
between two frames. The display shows whole percents, rounded down, as cars do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.messages.record import LATE_IN_SUBJECT
from openvrc.detectors.battery_health.health import BatteryHealth, Health

START_NS = 1_767_225_600_000_000_000
S_PER_H = 3600.0


@dataclass
class Pack:
    """Its true figures, and the frames recorded so far (lists by column)."""

    vehicle_id: str = "bus1"
    capacity_ah: float = 120.0
    resistance_ohm: float = 0.080
    n_cells: int = 12
    weak_cell: int = 5
    weak_by_v: float = 0.030
    soc: float = 0.5
    step_s: float = 10.0
    seed: int = 1
    soh_displayed: float | None = None
    time_s: float = 0.0
    frames: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.offsets_v = self.rng.normal(0.0, 0.003, self.n_cells).clip(-0.006, 0.006)
        self.offsets_v[self.weak_cell - 1] = -self.weak_by_v

    def run(self, current_a: float, duration_s: float, **changed: Any) -> Pack:
        """Frames at a constant current; `changed` overwrites fields of each frame."""
        for _ in range(round(duration_s / self.step_s)):
            self.frame(current_a, **changed)
        return self

    def frame(self, current_a: float, **changed: Any) -> None:
        """One frame; the current has flowed since the one before."""
        self.time_s += self.step_s
        self.soc -= current_a * self.step_s / S_PER_H / self.capacity_ah
        cell_v = 3.2 + 0.8 * self.soc - self.resistance_ohm * current_a / self.n_cells
        cells_v = cell_v + self.offsets_v
        values = {
            "sampled_at_ns": START_NS + round(self.time_s * 1e9),
            "pack_voltage_v": round(float(cells_v.sum()), 2),
            "pack_current_a": round(current_a, 1),
            "soc_ratio": np.floor(self.soc * 100 + 1e-9) / 100,
            "soh_ratio": self.soh_displayed,
            "cell_voltages_v": np.round(cells_v, 3).tolist(),
            "lateness": 0,
        }
        self.frames.append(values | changed)

    def charge(self, to_soc: float, current_a: float = 60.0) -> Pack:
        """Parked, at a constant current."""
        hours = (to_soc - self.soc) * self.capacity_ah / current_a
        return self.run(-current_a, hours * S_PER_H)

    def discharge(self, to_soc: float) -> Pack:
        """Driven at a constant load, which ends a charge window."""
        return self.run(40.0, (self.soc - to_soc) * self.capacity_ah / 40.0 * S_PER_H)

    def drive(self, n_frames: int) -> Pack:
        """Loads from -60 to 150 A, drawn per frame."""
        for current_a in self.rng.uniform(-60.0, 150.0, n_frames):
            self.frame(float(current_a))
        return self

    def late(self, **values: Any) -> Pack:
        """A row that arrives behind newer ones of this vehicle."""
        at_ns = self.frames[-1]["sampled_at_ns"] - 5_000_000_000
        late = {"sampled_at_ns": at_ns, "lateness": LATE_IN_SUBJECT}
        self.frames.append(self.frames[-1] | late | values)
        return self


def frames_batch(frames: list[tuple[str, dict[str, Any]]]) -> Batch:
    """battery_state batch of (vehicle id, frame)."""
    names = frames[0][1].keys()
    columns: dict[str, Any] = {name: [frame[name] for _, frame in frames] for name in names}
    ids = [vehicle_id for vehicle_id, _ in frames]
    columns |= {"subject_id": ids, "source_id": ids, "id_kind": "permanent"}
    return from_columns(
        "battery_state",
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=len(frames),
        columns=columns,
    )


def profile(vehicle_id: str, rated_capacity_ah: float | None, at_s: float = 0.0) -> Batch:
    """vehicle_profile batch of one vehicle."""
    columns = {
        "subject_id": vehicle_id,
        "source_id": vehicle_id,
        "sampled_at_ns": START_NS + round(at_s * 1e9),
        "rated_capacity_ah": rated_capacity_ah if rated_capacity_ah is not None else np.nan,
    }
    return from_columns(
        "vehicle_profile", zone="z", run_id="r", origin="simulated", n_rows=1, columns=columns
    )


def folded(*packs: Pack, rated_ah: float | None = None, batch_rows: int = 500) -> BatteryHealth:
    """All frames of the packs, merged by time, folded in batches of so many rows."""
    health = BatteryHealth()
    if rated_ah is not None:
        for pack in packs:
            health.fold(profile(pack.vehicle_id, rated_ah))
    frames = [(place, pack.vehicle_id, f) for pack in packs for place, f in enumerate(pack.frames)]
    ordered = [(vehicle_id, f) for _, vehicle_id, f in sorted(frames, key=lambda row: row[:2])]
    for start in range(0, len(ordered), batch_rows):
        health.fold(frames_batch(ordered[start : start + batch_rows]))
    return health


def health_of(pack: Pack, rated_ah: float | None = None) -> Health:
    """Health of one pack."""
    (row,) = folded(pack, rated_ah=rated_ah).rows()
    return row
