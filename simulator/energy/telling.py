"""From the mean cell's frames of a vehicle to the records its terminal sends, faults included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy import drivers, fault_effects, faults
from simulator.energy import pack as packs
from simulator.energy.chemistry import chemistry_code
from simulator.energy.models import VehicleModel
from simulator.energy.reports import Reports, Seen, reported

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

INSULATION_NOISE = 0.06  # sd of its logarithm
Noise = Callable[[tuple[int, ...]], Float32Array]
"""Standard normal numbers of a shape."""


@dataclass(frozen=True)
class Vehicle:
    """What belongs to one vehicle for good."""

    number: int
    vehicle_id: str
    model: VehicleModel
    climate: int
    driver: drivers.Driver
    spread: packs.Spread
    insulation_ohm: float
    fault: faults.Fault | None


@dataclass(frozen=True)
class Shown:
    """What a vehicle's pack and motion were in n frames, each array (n,)."""

    time_s: FloatArray
    mean: packs.MeanFrames
    current_a: Float32Array
    sensed_a: Float32Array
    believed_ratio: FloatArray
    charging_state: NDArray[np.int8]
    odometer_m: FloatArray
    speed_mps: Float32Array
    cell_ah: float
    """Capacity and resistance at once of the mean cell, as old as it is."""
    cell_ohm: float
    believed_capacity_ratio: float
    """The capacity that the BMS believes in, to the true one."""


def told(
    vehicle: Vehicle,
    shown: Shown,
    struck: Sequence[tuple[faults.Fault, fault_effects.Memory]],
    *,
    noise: Noise,
    random: np.random.Generator,
) -> Reports:
    """The records of these frames, with the vehicle's faults in them."""
    model = vehicle.model
    chemistry = chemistry_code(model.chemistry)
    true_v = packs.cells_v(shown.mean, vehicle.spread, chemistry)
    leaks = np.exp(random.normal(0.0, INSULATION_NOISE, len(shown.time_s)))
    frames = fault_effects.Frames(
        time_s=shown.time_s,
        current_a=shown.current_a,
        soc_ratio=shown.mean.soc_ratio.astype(np.float64),
        capacity_ah=shown.cell_ah * model.parallel,
        group_ohm=shown.cell_ohm / model.parallel,
        chemistry=chemistry,
        true_cells_v=true_v,
        read_cells_v=true_v.copy() if struck else true_v,
        probes_degc=packs.probes_degc(shown.mean, vehicle.spread),
        insulation_ohm=vehicle.insulation_ohm * leaks,
        displayed_ratio=shown.believed_ratio.astype(np.float64),
    )
    for fault, memory in struck:
        fault_effects.apply(frames, fault, memory, random)
    capacity_ratio = shown.cell_ah / model.cell.capacity_ah
    seen = Seen(
        sensed_a=shown.sensed_a,
        believed_soh_ratio=capacity_ratio * shown.believed_capacity_ratio,
        charging_state=shown.charging_state,
        odometer_m=shown.odometer_m,
        speed_mps=shown.speed_mps,
        pack_gain=vehicle.spread.pack_gain,
    )
    return reported(frames, seen, model, noise=noise(true_v.shape), random=random)
