"""One row of health per vehicle, folded from `battery_state` and `vehicle_profile` of one run.

`soh_method` says what `soh_ratio` rests on, or why it is empty:

| soh_method | soh_ratio |
|---|---|
| `charge_windows` | measured capacity over rated capacity, with a 90 % interval |
| `windows_and_anchors` | the same, with rest anchors on the open-circuit curve of fleet-mates |
| `bms` | what the BMS displays, taken only where nothing was measured; no interval |
| `rated_capacity_unknown` | empty: a capacity was measured, the profile has none to compare with |
| `rated_capacity_contradicted` | empty: measured 1.2 times the rated one, or more |
| `no_charge_window` | empty: no charge of at least 30 % was seen |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.units import iso_from_ns
from openvrc.contracts.words import words_of
from openvrc.detectors.battery.cleaning import clean_frames, clean_scalar, row_median
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, usable_rows
from openvrc.detectors.battery_health.capacity import CapacitySums, fused
from openvrc.detectors.battery_health.charge_windows import (
    CHARGE_FIELDS,
    PARKED_CHARGING,
    closed_windows,
    open_windows,
)
from openvrc.detectors.battery_health.fleet_mates import anchored
from openvrc.detectors.battery_health.previous import last_of_vehicle
from openvrc.detectors.battery_health.remaining_life import RemainingLife, remaining_life
from openvrc.detectors.battery_health.resistance import RESISTANCE_FIELDS, LoadSteps
from openvrc.detectors.battery_health.rest_anchors import ANCHOR_FIELDS, RestAnchors
from openvrc.detectors.battery_health.road_energy import ROAD_FIELDS, RoadEnergy, RoadUse
from openvrc.detectors.battery_health.usage import USAGE_FIELDS, Usage, UsageSums
from openvrc.detectors.battery_health.weakest_cell import RestDeviations
from openvrc.detectors.keyed import Keyed

SohMethod = Literal[
    "charge_windows",
    "windows_and_anchors",
    "bms",
    "rated_capacity_unknown",
    "rated_capacity_contradicted",
    "no_charge_window",
]

HIGHEST_SOH_RATIO = column_of("battery_state", "soh_ratio").high or 1.2
"""New packs hold a few percent more than rated; 20 % more is another pack than the profile's."""

_FIELDS = {
    **SEEN,
    **CHARGE_FIELDS,
    **RESISTANCE_FIELDS,
    **ANCHOR_FIELDS,
    **USAGE_FIELDS,
    **ROAD_FIELDS,
    "bms_soh_ratio": (np.float64, np.nan),
}
_CHEMISTRIES = column_of("vehicle_profile", "chemistry").values
_RATED = {
    "at_ns": (np.int64, NEVER_NS),
    "rated_capacity_ah": (np.float64, np.nan),
    "model": (np.int64, -1),
}


@dataclass(frozen=True)
class Health:
    """One vehicle; None where the frames do not tell."""

    vehicle_id: str
    soh_ratio: float | None
    soh_low_ratio: float | None
    soh_high_ratio: float | None
    soh_method: SohMethod
    capacity_ah: float | None
    """Measured, whether or not there is a rated one."""
    n_charge_windows: int
    resistance_ohm: float | None
    resistance_ratio: float | None
    """Of the later load steps against the vehicle's first 500."""
    weakest_cell: int | None
    """From 1."""
    usage: Usage
    roads: dict[str, RoadUse]
    """Energy and way by kind of road."""
    remaining: RemainingLife
    as_of: str
    """ISO 8601 time of the last frame."""


class BatteryHealth:
    """Folds the batches of one run in the order they come."""

    def __init__(self) -> None:
        self._vehicles = Keyed(_FIELDS)
        self._profiles = Keyed(_RATED)
        self._capacity = CapacitySums()
        self._steps = LoadSteps()
        self._rest = RestDeviations()
        self._anchors = RestAnchors()
        self._usage = UsageSums()
        self._roads = RoadEnergy()
        self._models: dict[str, int] = {}
        self.traits: dict[str, tuple[str, str, float]] = {}
        """Model, chemistry ("" where not told) and rated capacity of vehicles with a profile."""

    def fold(self, batch: Batch) -> None:
        """Take in a batch; other messages than the two are left aside."""
        if batch.message == "battery_state":
            self._fold_frames(batch)
        elif batch.message == "vehicle_profile":
            self._fold_profiles(batch)

    def _fold_frames(self, batch: Batch) -> None:
        vehicles = self._vehicles
        rows = usable_rows(batch, vehicles)
        frames = clean_frames(batch)
        is_nonsense, cells_v = frames.is_nonsense, frames.cells_v[rows.row]
        degc = row_median(frames.probes_degc)[rows.row]
        current_a, soc_ratio, voltage_v, odometer_m, speed_mps = (
            clean_scalar(batch, name, is_nonsense)[rows.row]
            for name in (
                *("pack_current_a", "soc_ratio", "pack_voltage_v", "odometer_m"),
                "vehicle_speed_mps",
            )
        )
        is_parked_charging = batch.column("charging_state")[rows.row] == PARKED_CHARGING
        self._capacity.fit(len(vehicles))
        self._capacity.add(closed_windows(batch, rows, is_nonsense, vehicles))
        self._steps.fold(batch, rows, is_nonsense, vehicles, degc)
        self._rest.fold(rows, cells_v, current_a, len(vehicles))
        self._anchors.fold(
            rows,
            vehicles,
            median_v=row_median(cells_v),
            current_a=current_a,
            soc_ratio=soc_ratio,
            is_charging=is_parked_charging,
        )
        self._usage.fold(
            rows,
            vehicles,
            current_a=current_a,
            voltage_v=voltage_v,
            soc_ratio=soc_ratio,
            degc=degc,
            odometer_m=odometer_m,
            is_parked_charging=is_parked_charging,
        )
        self._roads.fold(
            rows,
            vehicles,
            current_a=current_a,
            voltage_v=voltage_v,
            speed_mps=speed_mps,
            is_parked_charging=is_parked_charging,
        )
        soh = clean_scalar(batch, "soh_ratio", is_nonsense)[rows.row]
        told = rows.where(np.isfinite(soh) & (soh > 0))  # 0 is a field nobody filled
        told = told.where(last_of_vehicle(told))
        vehicles["bms_soh_ratio"][told.slot] = batch.column("soh_ratio")[told.row]

    def _fold_profiles(self, batch: Batch) -> None:
        """The newest profile with a rated capacity counts; of one moment the later one."""
        rated = batch.column("rated_capacity_ah")
        batch = batch.filter(np.isfinite(rated) & (rated > 0))
        slots = self._profiles.batch_slots(batch)
        at_ns, rated = batch.column("sampled_at_ns"), batch.column("rated_capacity_ah")
        models, chemistry = batch.texts("model"), batch.column("chemistry")
        ids = batch.texts("subject_id")
        for row, slot in enumerate(slots.tolist()):  # a profile comes once a session
            if at_ns[row] >= self._profiles["at_ns"][slot]:
                self._profiles["at_ns"][slot] = at_ns[row]
                self._profiles["rated_capacity_ah"][slot] = rated[row]
                number = self._models.setdefault(models[row], len(self._models))
                self._profiles["model"][slot] = number if models[row] else -1
                word = _CHEMISTRIES[chemistry[row]] if chemistry[row] >= 0 else ""
                self.traits[ids[row]] = (models[row], word, float(rated[row]))

    def rows(self) -> list[Health]:
        """Health of every vehicle that sent frames, by id; changes nothing, may be asked often."""
        vehicles = self._vehicles
        rated_ah, model = self._of_profiles()
        sums = self._capacity.with_windows(open_windows(vehicles))
        mates = anchored(self._anchors.pairs(vehicles), model, sums.capacity_ah())
        estimate = fused(sums, mates, rated_ah)
        columns = (
            rated_ah.tolist(),
            estimate.capacity_ah.tolist(),
            estimate.half_width_ratio.tolist(),
            estimate.has_anchors.tolist(),
            sums.n_windows.tolist(),
            vehicles["bms_soh_ratio"].tolist(),
            self._steps.resistance_ohm().tolist(),
            self._steps.resistance_ratio().tolist(),
            self._rest.weakest_cell().tolist(),
            [self._usage.of(vehicles, slot, rated) for slot, rated in enumerate(rated_ah.tolist())],
            [self._roads.of(slot) for slot in range(len(vehicles))],
            vehicles["last_at_ns"].tolist(),
        )
        found = [_health(*values) for values in zip(vehicles.keys, *columns, strict=True)]
        return sorted(found, key=lambda health: health.vehicle_id)

    def _of_profiles(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Rated capacity (n_vehicles,), NaN where unknown, and number of the model, -1 likewise."""
        place = self._profiles.keys.find(words_of(self._vehicles.keys))
        if len(self._profiles) == 0:
            return np.full(len(place), np.nan), np.full(len(place), -1, np.int64)
        rated = np.where(place >= 0, self._profiles["rated_capacity_ah"][place], np.nan)
        return rated, np.where(place >= 0, self._profiles["model"][place], -1)


def _health(
    vehicle_id: str,
    rated_ah: float,
    capacity_ah: float,
    half_width: float,
    has_anchors: bool,
    n_windows: int,
    bms_soh: float,
    resistance_ohm: float,
    resistance_ratio: float,
    weakest_cell: int,
    usage: Usage,
    roads: dict[str, RoadUse],
    last_at_ns: int,
) -> Health:
    method, soh = _soh(rated_ah, capacity_ah, bms_soh)
    is_measured = soh is not None and method == "charge_windows"
    if is_measured and has_anchors:
        method = "windows_and_anchors"
    low = max(soh - half_width, 0.0) if soh is not None and is_measured else None
    high = soh + half_width if soh is not None and is_measured else None
    return Health(
        vehicle_id=vehicle_id,
        soh_ratio=soh,
        soh_low_ratio=low,
        soh_high_ratio=high,
        soh_method=method,
        capacity_ah=_known(capacity_ah),
        n_charge_windows=n_windows,
        resistance_ohm=_known(resistance_ohm),
        resistance_ratio=_known(resistance_ratio),
        weakest_cell=weakest_cell or None,
        usage=usage,
        roads=roads,
        remaining=remaining_life(low, high, usage.odometer_m, usage.driven_m, usage.observed_days),
        as_of=iso_from_ns(last_at_ns),
    )


def _soh(rated_ah: float, capacity_ah: float, bms_soh: float) -> tuple[SohMethod, float | None]:
    measured = _known(capacity_ah / rated_ah)
    if measured is not None and measured < HIGHEST_SOH_RATIO:
        return "charge_windows", measured
    displayed = _known(bms_soh)
    if displayed is not None:
        return "bms", displayed
    if measured is not None:
        return "rated_capacity_contradicted", None
    return ("no_charge_window" if _known(capacity_ah) is None else "rated_capacity_unknown"), None


def _known(value: float) -> float | None:
    return None if value != value else value
