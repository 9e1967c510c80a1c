"""What a BMS believes of its pack's charge, and the alarms it sets by itself.

It counts coulombs of its own sensor against the capacity it believes in, looks at the rested
voltage after a long sleep, and calls a finished charge full. Its look at the voltage is off by an
error over charge that all cars of a model share and by one of its own: real ones are off by two
points on average and six at most.

Alarm bits as GB/T 32960.3 numbers them, bit 0 least significant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

S_PER_H = 3600.0
LONG_SLEEP_S = 1.5 * 3600.0
"""Asleep this long the voltage counts as rested."""
CAPACITY_SPREAD, OWN_BIAS_SPREAD = 0.02, 0.018
"""Sd of the capacity a BMS believes in, and of its own look at the rested voltage."""
BELIEF_AT_REST = 0.5
"""Weight of a look at the rested voltage where the open-circuit curve is steep."""
STEEP_V = 0.5
"""Volts per unit of charge from which the curve counts as steep: LFP is below it mostly."""
FULL_SLEW = 0.05
"""Share of the distance to 1 made up for in each frame at the end of a full charge."""


@dataclass(frozen=True)
class BmsErrors:
    """Each BMS's own errors (n,)."""

    capacity_ratio: FloatArray
    """The capacity it believes in, to the true one."""
    own_bias_ratio: FloatArray
    model_bias_ratio: FloatArray
    model_phase: FloatArray
    current_gain: FloatArray
    current_offset_a: FloatArray

    def rows(self, rows: slice | IntArray) -> BmsErrors:
        """The given vehicles."""
        return BmsErrors(**{name: values[rows] for name, values in vars(self).items()})


def drawn_errors(model: IntArray, model_bias: FloatArray, random: np.random.Generator) -> BmsErrors:
    """Errors of n healthy BMS; `model_bias` (n_models,) is the amplitude of each model's."""
    n = len(model)
    phases = random.uniform(0.0, 2 * np.pi, len(model_bias))
    return BmsErrors(
        capacity_ratio=1.0 + random.normal(0.0, CAPACITY_SPREAD, n),
        own_bias_ratio=random.normal(0.0, OWN_BIAS_SPREAD, n),
        model_bias_ratio=model_bias[model],
        model_phase=phases[model],
        current_gain=random.normal(0.0, 0.003, n),
        current_offset_a=random.normal(0.0, 0.08, n),
    )


def sensed_a(current_a: Float32Array, errors: BmsErrors) -> Float32Array:
    """The pack current that the BMS measures (n,)."""
    return np.asarray(current_a * (1 + errors.current_gain) + errors.current_offset_a, np.float32)


def counted(
    believed: FloatArray, sensed: Float32Array, dt_s: Float32Array, capacity_ah: FloatArray
) -> FloatArray:
    """Charge believed (n,) after `dt_s` of a sensed pack current."""
    return believed - sensed * dt_s / (S_PER_H * capacity_ah)


def looked(
    believed: FloatArray,
    true_ratio: FloatArray,
    slope_v: Float32Array,
    dt_s: Float32Array,
    errors: BmsErrors,
) -> FloatArray:
    """Charge believed (n,) after a sleep: drawn to what the rested voltage seems to say."""
    wave = np.sin(2 * np.pi * true_ratio + errors.model_phase)
    seems = true_ratio + errors.own_bias_ratio + errors.model_bias_ratio * wave
    weight = BELIEF_AT_REST * np.minimum(slope_v / STEEP_V, 1.0) ** 2
    return np.where(dt_s >= LONG_SLEEP_S, believed + weight * (seems - believed), believed)


def at_the_end(believed: FloatArray, is_full: NDArray[np.bool_]) -> FloatArray:
    """Charge believed (n,) where a full charge ends: it slews to 1."""
    return np.where(is_full, believed + FULL_SLEW * (1.0 - believed), believed)


def displayed(believed: FloatArray, step_ratio: FloatArray | float) -> FloatArray:
    """Charge as displayed: within 0 and 1, in the model's steps."""
    return np.clip(np.round(believed / step_ratio) * step_ratio, 0.0, 1.0)


BIT_TEMPERATURE_SPREAD, BIT_OVER_TEMPERATURE = 0, 1
BIT_LOW_CHARGE, BIT_CELL_HIGH, BIT_CELL_LOW, BIT_CONSISTENCY, BIT_INSULATION = 4, 5, 6, 10, 11


@dataclass(frozen=True)
class AlarmLimits:
    """Where this BMS speaks up: late, as many do. Levels 1 to 3 by the table."""

    spread_k: float = 15.0
    hot_degc: tuple[float, float, float] = (52.0, 58.0, 65.0)
    cell_above_limit_v: float = 0.05
    cell_below_limit_v: float = 0.15
    inconsistent_v: tuple[float, float, float] = (0.15, 0.25, 0.40)
    low_charge_ratio: float = 0.12
    insulation_ohm_per_v: tuple[float, float] = (500.0, 100.0)


def alarms(
    limits: AlarmLimits,
    *,
    cells_v: Float32Array,
    probes_degc: Float32Array,
    displayed_ratio: FloatArray,
    insulation_ohm_per_v: FloatArray,
    charge_limit_v: float,
    discharge_limit_v: float,
) -> tuple[IntArray, IntArray]:
    """Level and bits (n_frames,) of frames with cells (n_frames, n) and probes (n_frames, m)."""
    highest, lowest = cells_v.max(axis=1), cells_v.min(axis=1)
    spread = highest - lowest
    hottest, coldest = probes_degc.max(axis=1), probes_degc.min(axis=1)
    found = (
        (BIT_TEMPERATURE_SPREAD, (hottest - coldest > limits.spread_k) * 1),
        (BIT_OVER_TEMPERATURE, np.searchsorted(limits.hot_degc, hottest)),
        (BIT_LOW_CHARGE, (displayed_ratio < limits.low_charge_ratio) * 1),
        (BIT_CELL_HIGH, (highest > charge_limit_v + limits.cell_above_limit_v) * 2),
        (BIT_CELL_LOW, (lowest < discharge_limit_v - limits.cell_below_limit_v) * 2),
        (BIT_CONSISTENCY, np.searchsorted(limits.inconsistent_v, spread)),
        (
            BIT_INSULATION,
            (insulation_ohm_per_v < limits.insulation_ohm_per_v[0]) * 1
            + (insulation_ohm_per_v < limits.insulation_ohm_per_v[1]) * 2,
        ),
    )
    level = np.zeros(len(spread), np.int64)
    bits = np.zeros(len(spread), np.int64)
    for bit, of_bit in found:
        level = np.maximum(level, of_bit)
        bits |= (np.asarray(of_bit) > 0).astype(np.int64) << bit
    return level, bits
