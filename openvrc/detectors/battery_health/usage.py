"""How a pack was used: charge, energy, charges, and hours by charge, temperature and current.

Between two frames up to 70 s apart the pack carried the current of the later one; a longer gap of
up to twelve hours that begins and ends at rest is sleep, which counts for hours by charge and by
temperature (a pack ages while parked) but carries no current. What no frame tells is not made up:
`known_h` says how much was seen. Sums are integers (0.1 V x 0.01 A x ms), exact in any order.

A charge is counted when a parked vehicle begins to take current in after it gave some out or slept.
Odometers are reset and hold zeros: the highest value counts, and it never falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import NS_PER_MS, NS_PER_S
from openvrc.detectors.battery.cleaning import BoolArray, FloatArray
from openvrc.detectors.battery.frames import NEVER_NS, Rows, chained
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.battery_health.previous import previous_values
from openvrc.detectors.battery_health.rest_anchors import LONGEST_STEP_NS
from openvrc.detectors.keyed import Keyed

SOC_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
DEGC_EDGES = (-20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
CURRENT_EDGES_A = (-150.0, -80.0, -30.0, -5.0, 5.0, 30.0, 80.0, 150.0, 300.0)
"""Each table has a class below the first edge and one from the last edge on."""
LONGEST_SLEEP_NS = 12 * 3600 * NS_PER_S
CHARGE_A = 1.0
MOST_ODOMETER_M = 4e9  # of nonsense frames that use no reserved code

_MS_PER_H = 3_600_000
_PER_V, _PER_A = 10, 100
USAGE_FIELDS = {
    "use_at_ns": (np.int64, NEVER_NS),
    "use_a": (np.float32, np.nan),
    "was_charging": (np.bool_, False),
    "out_ams": (np.int64, 0),
    "in_ams": (np.int64, 0),
    "out_vams": (np.int64, 0),
    "in_vams": (np.int64, 0),
    "recovered_vams": (np.int64, 0),  # of it, while not parked to charge
    "known_ms": (np.int64, 0),
    "n_charges": (np.int64, 0),
    "first_at_ns": (np.int64, NEVER_NS),
    "odometer_first_m": (np.float64, np.nan),
    "odometer_high_m": (np.float64, np.nan),
}
_TABLES = {"soc": SOC_EDGES, "degc": DEGC_EDGES, "current": CURRENT_EDGES_A}


@dataclass(frozen=True)
class Usage:
    """One vehicle since its first frame."""

    known_h: float
    observed_days: float
    charges: int
    charge_out_ah: float
    charge_in_ah: float
    energy_out_kwh: float
    energy_in_kwh: float
    energy_recovered_kwh: float
    """Taken in on the way, which is part of what came in."""
    full_cycles: float | None
    """Charge given out over rated capacity; None without a rated one."""
    odometer_m: float | None
    """The highest ever seen."""
    driven_m: float | None
    hours_by_soc: tuple[float, ...]
    hours_by_temperature: tuple[float, ...]
    hours_by_current: tuple[float, ...]


class UsageSums:
    """Sums in `USAGE_FIELDS` and hours by class."""

    def __init__(self) -> None:
        self._hours = {name: Wide({"ms": (np.int64, 0)}) for name in _TABLES}

    def fold(
        self,
        rows: Rows,
        vehicles: Keyed,
        *,
        current_a: FloatArray,
        voltage_v: FloatArray,
        soc_ratio: FloatArray,
        degc: FloatArray,
        odometer_m: FloatArray,
        is_parked_charging: BoolArray,
    ) -> None:
        """Take in frames: arrays (n,) of `rows`, NaN where not measured."""
        for name, edges in _TABLES.items():
            self._hours[name].fit(len(vehicles), len(edges) + 1)
        _fold_odometer(rows, odometer_m, vehicles)
        known = np.isfinite(current_a)
        rows = chained(rows.where(known), vehicles, "use_at_ns")
        if len(rows) == 0:
            return
        amps, volts = current_a[known], voltage_v[known]
        before = previous_values(rows, amps, vehicles, "use_a")
        is_new = rows.previous_at_ns == NEVER_NS
        vehicles["first_at_ns"][rows.slot[is_new]] = rows.at_ns[is_new]
        gap_ns = np.where(is_new, 0, rows.at_ns - rows.previous_at_ns)
        flows = gap_ns <= LONGEST_STEP_NS
        is_calm = (np.abs(amps) < REST_CURRENT_A) & (np.abs(before) < REST_CURRENT_A)
        ms = np.where(flows | (is_calm & (gap_ns <= LONGEST_SLEEP_NS)), gap_ns // NS_PER_MS, 0)
        np.add.at(vehicles["known_ms"], rows.slot, ms)
        _fold_flow(rows, amps, volts, np.where(flows, ms, 0), is_parked_charging[known], vehicles)
        is_charging = amps <= -CHARGE_A
        was = previous_values(rows, is_charging, vehicles, "was_charging")
        began = is_charging & (~was | ~flows)
        np.add.at(vehicles["n_charges"], rows.slot[began & ~(np.abs(before) >= 5 * CHARGE_A)], 1)
        of_table = {"soc": soc_ratio[known], "degc": degc[known], "current": amps}
        for name, values in of_table.items():
            self._count(
                name, rows.slot, values, np.where(flows, ms, 0) if name == "current" else ms
            )

    def _count(
        self, name: str, slot: npt.NDArray[np.int64], values: FloatArray, ms: npt.NDArray[np.int64]
    ) -> None:
        told = np.isfinite(values) & (ms > 0)
        place = np.searchsorted(_TABLES[name], values[told], side="right")
        np.add.at(self._hours[name]["ms"], (slot[told], place), ms[told])

    def of(self, vehicles: Keyed, slot: int, rated_ah: float) -> Usage:
        """One vehicle's figures."""
        number = {name: vehicles[name][slot] for name in USAGE_FIELDS}
        per_ah, per_kwh = _PER_A * _MS_PER_H, _PER_V * _PER_A * _MS_PER_H * 1000
        out_ah = float(number["out_ams"]) / per_ah
        first, high = float(number["odometer_first_m"]), float(number["odometer_high_m"])
        hours = {
            name: tuple(round(ms / _MS_PER_H, 2) for ms in table["ms"][slot].tolist())
            for name, table in self._hours.items()
        }
        began_ns = int(number["first_at_ns"])
        span_ns = 0 if began_ns == NEVER_NS else int(number["use_at_ns"]) - began_ns
        return Usage(
            known_h=float(number["known_ms"]) / _MS_PER_H,
            observed_days=span_ns / (86_400 * NS_PER_S),
            charges=int(number["n_charges"]),
            charge_out_ah=out_ah,
            charge_in_ah=float(number["in_ams"]) / per_ah,
            energy_out_kwh=float(number["out_vams"]) / per_kwh,
            energy_in_kwh=float(number["in_vams"]) / per_kwh,
            energy_recovered_kwh=float(number["recovered_vams"]) / per_kwh,
            full_cycles=out_ah / rated_ah if rated_ah > 0 else None,
            odometer_m=None if np.isnan(high) else high,
            driven_m=None if np.isnan(high) else high - first,
            hours_by_soc=hours["soc"],
            hours_by_temperature=hours["degc"],
            hours_by_current=hours["current"],
        )


def _fold_flow(
    rows: Rows,
    amps: FloatArray,
    volts: FloatArray,
    ms: npt.NDArray[np.int64],
    is_parked_charging: BoolArray,
    vehicles: Keyed,
) -> None:
    charge = np.rint(amps.astype(np.float64) * _PER_A).astype(np.int64) * ms
    energy = charge * np.rint(np.nan_to_num(volts).astype(np.float64) * _PER_V).astype(np.int64)
    gives = charge > 0
    for name, values in (("ams", charge), ("vams", energy)):
        np.add.at(vehicles[f"out_{name}"], rows.slot[gives], values[gives])
        np.add.at(vehicles[f"in_{name}"], rows.slot[~gives], -values[~gives])
    recovers = ~gives & ~is_parked_charging
    np.add.at(vehicles["recovered_vams"], rows.slot[recovers], -energy[recovers])


def _fold_odometer(rows: Rows, odometer_m: FloatArray, vehicles: Keyed) -> None:
    told = (odometer_m > 0) & (odometer_m < MOST_ODOMETER_M)
    slot, value = rows.slot[told], odometer_m[told].astype(np.float64)
    if len(slot) == 0:
        return
    is_first = np.append(True, slot[1:] != slot[:-1])
    new = np.isnan(vehicles["odometer_first_m"][slot]) & is_first
    vehicles["odometer_first_m"][slot[new]] = value[new]
    np.fmax.at(vehicles["odometer_high_m"], slot, value)
