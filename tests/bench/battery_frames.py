"""Frames of healthy packs for measuring speed; what all battery rules keep of 100,000 vehicles."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloud.snapshot import pack_snapshot, unpack_snapshot
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.units import NS_PER_S, ns_from_iso
from tests.bench.battery_fleet import CONTEXT, rules

START_NS = ns_from_iso("2026-03-02T08:00:00Z")
N_CELLS, N_PROBES, STEPS = 96, 24, 48
VEHICLES_A_BATCH = 5000
LONGER, LONGER_STEPS, LONGER_STEP_S = 100, 600, 120
"""The last vehicles are told of for 20 h: then every table of every rule has its full size."""


def fleet_frames(
    n_vehicles: int, seed: int = 0, *, first: int = 0, steps: int = STEPS, step_s: int = 10
) -> Iterator[Batch]:
    """Healthy packs, one frame of each vehicle a batch; ten driving and ten resting in turn."""
    rng = np.random.default_rng(seed)
    offset_v = rng.normal(0, 3e-3, (n_vehicles, N_CELLS)).astype(np.float32)
    ids = [f"ev{first + i:06d}" for i in range(n_vehicles)]
    soc = np.full(n_vehicles, 0.8)
    cell_offsets = np.arange(n_vehicles + 1, dtype=np.int32)
    for step in range(steps):
        is_driven = (step // 10) % 2 == 0
        amps = rng.uniform(-60, 150, n_vehicles) if is_driven else rng.uniform(-1, 1, n_vehicles)
        noise = rng.normal(0, 1e-3, (n_vehicles, N_CELLS))
        cells_v = (3.7 + offset_v - amps[:, None] * 4e-4 + noise).round(3).astype(np.float32)
        probes = (25 + rng.integers(0, 3, (n_vehicles, N_PROBES))).astype(np.float32)
        soc = soc - amps * 10 / 3600 / 150
        yield from_columns(
            "battery_state",
            zone="z",
            run_id="bench",
            origin="simulated",
            n_rows=n_vehicles,
            columns={
                "source_id": ids,
                "subject_id": ids,
                "id_kind": "permanent",
                "lateness": 0,
                "sampled_at_ns": START_NS
                + step * step_s * NS_PER_S
                + rng.integers(0, 10**9, n_vehicles),
                "pack_voltage_v": cells_v.sum(axis=1).round(1),
                "pack_current_a": amps.round(1),
                "soc_ratio": soc.round(3),
                "cell_voltages_v": (cells_v.ravel(), cell_offsets * N_CELLS),
                "probe_temperatures_degc": (probes.ravel(), cell_offsets * N_PROBES),
                "insulation_ohm": 2e6,
                "odometer_m": 5e7,
                "bms_alarm_level": 0,
                "charging_state": "not_charging",
                "vehicle_speed_mps": 10.0 if is_driven else 0.0,
            },
        )


@dataclass(frozen=True)
class Kept:
    """Of all rules together."""

    state_bytes: int
    checkpoint_bytes: int
    checkpoint_s: float
    """CPU time from the states to bytes."""
    restore_s: float
    """CPU time from bytes to states."""


def kept(n_vehicles: int) -> Kept:
    """State of so many vehicles, and its checkpoint as the cloud writes it. Exact, or it raises."""
    found = rules()
    states: dict[str, Any] = {name: rule.initial(CONTEXT) for name, rule in found.items()}
    for batch in _frames_of_all(n_vehicles):
        for name, rule in found.items():
            states[name], _ = rule.update(states[name], batch)
    began_s = time.process_time()
    arrays = {
        f"{name}/{field}": array
        for name, rule in found.items()
        for field, array in rule.snapshot(states[name]).items()
    }
    state_bytes = sum(array.nbytes for array in arrays.values())
    data = pack_snapshot({}, arrays)
    checkpoint_s = time.process_time() - began_s
    began_s = time.process_time()
    back = unpack_snapshot(data)[1]
    for name, rule in found.items():
        own = {key.split("/", 1)[1]: a for key, a in back.items() if key.startswith(f"{name}/")}
        states[name] = rule.restore(CONTEXT, own)
    restore_s = time.process_time() - began_s
    for name, rule in found.items():
        for field, array in rule.snapshot(states[name]).items():
            np.testing.assert_array_equal(array, arrays[f"{name}/{field}"])
    return Kept(state_bytes, len(data), checkpoint_s, restore_s)


def _frames_of_all(n_vehicles: int) -> Iterator[Batch]:
    for first in range(0, n_vehicles, VEHICLES_A_BATCH):
        n = min(VEHICLES_A_BATCH, n_vehicles - first)
        yield from fleet_frames(n, first=first, steps=2)
    n = min(LONGER, n_vehicles)
    frames = fleet_frames(n, seed=1, first=n_vehicles - n, steps=LONGER_STEPS, step_s=LONGER_STEP_S)
    for step, batch in enumerate(frames):
        if step >= 2:
            yield batch
