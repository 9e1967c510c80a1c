"""Electrical power of a car on the road: inertia, rolling, air, regeneration, climate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.energy.models import VehicleModel

FloatArray = NDArray[np.float64]

AIR_KG_PER_M3 = 1.2
GRAVITY_MPS2 = 9.81
COMFORT_DEGC = 21.0
COMFORT_BAND_K = 4.0
CLIMATE_W_PER_K = 90.0
"""Steady power of heating or cooling a cabin, per K beyond the band: 2 kW at -5 degC."""
CLIMATE_MOST_W = 3500.0


def traction_power_w(
    speed_mps: FloatArray, accel_mps2: FloatArray, model: VehicleModel
) -> FloatArray:
    """Power at the pack for the wheels alone (n,), positive out of it.

    Braking gives back up to the model's limit, at the same efficiency.
    """
    rolling_n = np.where(speed_mps > 0.1, model.rolling_ratio * model.mass_kg * GRAVITY_MPS2, 0.0)
    air_n = 0.5 * AIR_KG_PER_M3 * model.drag_area_m2 * speed_mps**2
    wheel_w = (model.mass_kg * accel_mps2 + rolling_n + air_n) * speed_mps
    return np.where(
        wheel_w > 0,
        wheel_w / model.efficiency_ratio,
        np.maximum(wheel_w * model.efficiency_ratio, -model.regeneration_w),
    )


def climate_power_w(ambient_degc: FloatArray) -> FloatArray:
    """Power of the cabin's heating or cooling, same shape as `ambient_degc`."""
    beyond_k = np.maximum(np.abs(ambient_degc - COMFORT_DEGC) - COMFORT_BAND_K, 0.0)
    return np.asarray(np.minimum(CLIMATE_W_PER_K * beyond_k, CLIMATE_MOST_W))
