"""The packs of the crossroads' cars: circuit and heat by the second, faults, rendered messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Lists
from openvrc.contracts.columns import column_of
from openvrc.contracts.units import NS_PER_S
from simulator.physics import battery
from simulator.scenarios.crossroads_events import EventTimes
from simulator.world import TruthEvent

FloatArray = NDArray[np.float64]

PROBES = 8
AMBIENT_DEGC = 22.0
CELL_SPREAD_V = 0.004  # sd of static offsets, as in a healthy fleet
PROBE_SPREAD_K = 0.4
CELL_NOISE_V = 0.0005  # resolution of a cell monitor
WEAK_CELL, WEAK_CELL_V = 36, -0.080
HOT_PROBE, NEXT_PROBE_SHARE = 3, 0.6  # the probe beside the hot one feels most of it
HOT_POWER_W = 1600.0
"""A hard internal short of one parallel group: 2.5 K/s at first. A field case takes minutes; here
it must show within a demo."""
HEALTHY_OHM = 2.0e6
LEAKING_OHM, LEAK_TAKES_S = 15_000.0, 10.0  # 43 ohm/V at 350 V
CHARGE_A = -50.0

CHARGING_CODES = {
    word: n for n, word in enumerate(column_of("battery_state", "charging_state").values)
}
PROFILE = {
    "model": "VRC Compact",
    "chemistry": "nmc",
    "rated_capacity_ah": 70.0,
    "cells_in_series": battery.PACK_SERIES,
    "probe_count": PROBES,
    "mass_kg": battery.Car().mass_kg,
}


@dataclass(frozen=True)
class Faults:
    """Vehicle numbers of the faulty packs."""

    hot: int
    weak: int
    leaking: int


@dataclass
class Packs:
    """n packs; `charging` are those plugged in."""

    n: int
    charging: NDArray[np.bool_]  # (n,)
    full: NDArray[np.bool_]  # (n,) plugged in and done
    faults: Faults
    times: EventTimes
    random: np.random.Generator
    state: battery.PackState = field(init=False)
    heat: battery.LocalHeat = field(init=False)
    current_a: FloatArray = field(init=False)
    odometer_m: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        soc = self.random.uniform(0.35, 0.85, self.n)
        # Some have rested, some come from a drive; none is far from the air's temperature.
        self.state = battery.rested(soc, AMBIENT_DEGC + self.random.uniform(0.0, 6.0, self.n))
        self.heat = battery.LocalHeat(np.zeros(self.n))
        self.current_a = np.zeros(self.n)
        self.odometer_m = np.round(self.random.uniform(5e6, 9e7, self.n))
        self._resistance = self.random.uniform(1.0, 1.25, self.n)
        self._cell_offset_v = self.random.normal(0.0, CELL_SPREAD_V, (self.n, battery.PACK_SERIES))
        self._cell_offset_v -= self._cell_offset_v.mean(axis=1, keepdims=True)
        self._cell_offset_v[self.faults.weak, WEAK_CELL - 1] = WEAK_CELL_V
        self._probe_offset_k = self.random.normal(0.0, PROBE_SPREAD_K, (self.n, PROBES))
        self._insulation_ohm = HEALTHY_OHM * self.random.uniform(0.8, 1.2, self.n)

    def step(
        self, dt_s: float, time_s: float, speed_mps: FloatArray, accel_mps2: FloatArray
    ) -> None:
        """`dt_s` up to `time_s`; the current is that of the power at the voltage before."""
        power_w = battery.road_power_w(speed_mps, accel_mps2, battery.Car())
        current_a = power_w / battery.pack_voltage_v(self.state)
        current_a = np.where(self.charging, np.where(self.full, 0.0, CHARGE_A), current_a)
        self.current_a = current_a
        self.state = battery.step(
            self.state,
            current_a,
            dt_s,
            ambient_degc=AMBIENT_DEGC,
            cell=battery.Cell(),
            resistance_ratio=self._resistance,
        )
        is_hot = self.times.hot_pack_s <= time_s < self.times.hot_pack_s + self.times.hot_pack_for_s
        power = np.zeros(self.n)
        power[self.faults.hot] = HOT_POWER_W if is_hot else 0.0
        self.heat = battery.step_local_heat(self.heat, power, dt_s)
        self.odometer_m = self.odometer_m + speed_mps * dt_s

    def columns(
        self, rows: NDArray[np.int64], time_s: float, speed_mps: FloatArray
    ) -> dict[str, Any]:
        """`battery_state` columns of these packs."""
        cells_v = self.state.cell_voltage_v[rows, None] + self._cell_offset_v[rows]
        cells_v = cells_v + self.random.normal(0.0, CELL_NOISE_V, cells_v.shape)
        probes = self.state.temperature_degc[rows, None] + self._probe_offset_k[rows]
        probes[:, HOT_PROBE - 1] += self.heat.excess_k[rows]
        probes[:, HOT_PROBE] += NEXT_PROBE_SHARE * self.heat.excess_k[rows]
        plugged = np.where(
            self.full, CHARGING_CODES["charge_complete"], CHARGING_CODES["parked_charging"]
        )
        code = np.where(self.charging, plugged, CHARGING_CODES["not_charging"])
        return {
            "pack_voltage_v": cells_v.sum(axis=1),
            "pack_current_a": self.current_a[rows],
            "soc_ratio": self.state.soc_ratio[rows],
            "cell_voltages_v": _lists(cells_v),
            "probe_temperatures_degc": _lists(probes),
            "insulation_ohm": self._insulation(time_s)[rows],
            "charging_state": code[rows].astype(np.int8),
            "odometer_m": self.odometer_m[rows],
            "vehicle_speed_mps": speed_mps[rows],
            "bms_alarm_level": np.zeros(len(rows), np.int64),  # this BMS notices nothing
        }

    def _insulation(self, time_s: float) -> FloatArray:
        """Resistance (n,); the leak falls exponentially from healthy to its end."""
        insulation = self._insulation_ohm.copy()
        share = np.clip((time_s - self.times.insulation_s) / LEAK_TAKES_S, 0.0, 1.0)
        leaking = self.faults.leaking
        insulation[leaking] *= (LEAKING_OHM / insulation[leaking]) ** share
        return insulation

    def truth(self, vehicle_ids: list[str], start_ns: int) -> list[TruthEvent]:
        """The faulty packs."""

        def at(time_s: float) -> int:
            return start_ns + round(time_s * NS_PER_S)

        faults, times = self.faults, self.times
        return [
            TruthEvent(
                "battery.over_temperature",
                vehicle_ids[faults.hot],
                at(times.hot_pack_s),
                component=f"probe {HOT_PROBE}",
            ),
            TruthEvent(
                "battery.self_discharge",
                vehicle_ids[faults.weak],
                at(0.0),
                component=f"cell {WEAK_CELL}",
            ),
            TruthEvent("battery.insulation", vehicle_ids[faults.leaking], at(times.insulation_s)),
        ]


def _lists(values: FloatArray) -> Lists:
    n_rows, n_items = values.shape
    offsets = np.arange(0, n_rows * n_items + 1, n_items, dtype=np.int32)
    return values.ravel(), offsets  # type: ignore[return-value]  # rounded before it is narrowed
