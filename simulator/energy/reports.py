"""What a vehicle's terminal says of its frames: read, rounded and saturated by its instruments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy import bms, pack
from simulator.energy.fault_effects import Frames
from simulator.energy.models import VehicleModel

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

NOT_CHARGING, PARKED_CHARGING, DRIVING_CHARGING, COMPLETE = range(4)
"""Codes of `battery_state.charging_state`."""
INSULATION_STEP_OHM = 1000.0
ODOMETER_STEP_M = 100.0
MOST_MV = 65_535


@dataclass
class Reports:
    """n records of one vehicle, in the order they are sent. Dirt changes these arrays in place."""

    time_s: IntArray  # (n,) whole seconds after the run's start
    pack_voltage_v: Float32Array
    pack_current_a: Float32Array
    soc_ratio: Float32Array
    soh_ratio: Float32Array  # NaN where the model says none
    cells_mv: NDArray[np.uint16]  # (n, n_cells)
    probes_degc: NDArray[np.int16]  # (n, n_probes)
    insulation_ohm: Float32Array
    charging_state: NDArray[np.int8]
    odometer_m: FloatArray
    speed_mps: Float32Array
    alarm_level: NDArray[np.int8]
    alarm_bits: NDArray[np.int32]

    def take(self, rows: IntArray) -> Reports:
        """Copies of the given records."""
        return Reports(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Seen:
    """What beside the frames a report needs, each array (n,)."""

    sensed_a: Float32Array
    believed_soh_ratio: float
    charging_state: NDArray[np.int8]
    odometer_m: FloatArray
    speed_mps: Float32Array
    pack_gain: float


def reported(
    frames: Frames,
    seen: Seen,
    model: VehicleModel,
    *,
    noise: Float32Array,
    random: np.random.Generator,
) -> Reports:
    """The records of these frames; `noise` (n, n_cells) standard normal, for the monitor."""
    n = len(frames.time_s)
    read = noise * np.float32(pack.CELL_NOISE_V)
    read += frames.read_cells_v
    read *= np.float32(1 / pack.CELL_STEP_V)
    read += np.float32(0.5)
    cells_mv = np.clip(read, 0, MOST_MV, out=read).astype(np.uint16)
    probes = frames.probes_degc
    probes = probes + random.standard_normal(probes.shape, np.float32) * pack.PROBE_NOISE_K
    probes = np.clip(np.rint(probes), -40, 210).astype(np.float32)
    ones = np.ones(frames.true_cells_v.shape[1], np.float32)
    voltage = (frames.true_cells_v @ ones) * seen.pack_gain
    displayed = bms.displayed(frames.displayed_ratio, model.soc_step_ratio)
    insulation = np.minimum(frames.insulation_ohm, model.insulation_top_ohm)
    insulation = np.rint(insulation / INSULATION_STEP_OHM) * INSULATION_STEP_OHM
    level, bits = bms.alarms(
        bms.AlarmLimits(),
        cells_v=frames.read_cells_v,
        probes_degc=probes,
        displayed_ratio=displayed,
        insulation_ohm_per_v=insulation / np.maximum(voltage, 1.0),
        charge_limit_v=model.cell.charge_limit_v,
        discharge_limit_v=model.cell.discharge_limit_v,
    )
    level = np.maximum(level, np.where(displayed < 0.3, model.idle_alarm_level, 0))
    soh = round(min(seen.believed_soh_ratio, 1.0), 2) if model.says_soh else np.nan
    return Reports(
        time_s=np.rint(frames.time_s).astype(np.int64),
        pack_voltage_v=_stepped(voltage, pack.PACK_STEP_V),
        pack_current_a=_stepped(seen.sensed_a, pack.CURRENT_STEP_A),
        soc_ratio=np.round(displayed, 4).astype(np.float32),
        soh_ratio=np.full(n, soh, np.float32),
        cells_mv=cells_mv,
        probes_degc=probes.astype(np.int16),
        insulation_ohm=insulation.astype(np.float32),
        charging_state=seen.charging_state,
        odometer_m=np.floor(seen.odometer_m / ODOMETER_STEP_M) * ODOMETER_STEP_M,
        speed_mps=_stepped(seen.speed_mps, 0.01),
        alarm_level=level.astype(np.int8),
        alarm_bits=bits.astype(np.int32),
    )


def _stepped(values: FloatArray | Float32Array, step: float) -> Float32Array:
    return (np.rint(values / step) * step).astype(np.float32)
