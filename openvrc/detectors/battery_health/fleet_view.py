"""The fleet side by side: cohorts of packs, packs apart from theirs, cohorts that drift together.

A pure function of what is known of each pack (`Health`, `vehicle_profile`). A cohort is a value of
one trait: model, chemistry, mileage (steps of 50,000 km), warmth of the packs (mean of their hours
by temperature, steps of 10 degC), and model with mileage, in which outliers are looked for. A
cohort under five packs has no statistics.

- An **outlier** lies 4 robust sds and 4 points of SoH below the middle of its model and mileage,
  and its whole 90 % interval does; or 15 % and 4 robust sds above in resistance.
- A cohort **drifts** when its packs lie lower together than the packs of the same model in other
  cohorts of the same trait: 3 points and 3 standard errors of the medians. That is what a batch of
  bad cells looks like before single packs stand out.
- **Energy per km** is what the pack gave out less what it took in while not parked to charge. What
  it costs in range: rated capacity x SoH x mean voltage, over it. A driver is known as a vehicle.
  By kind of road (`road_energy.py`) it is the median of the model's packs that drove 20 km of it,
  and the range that is left on it beside the model's own over all roads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.detectors.battery_health.health import Health
from openvrc.detectors.battery_health.road_energy import ROADS
from openvrc.detectors.battery_health.usage import DEGC_EDGES

LEAST_PACKS = 5
MILEAGE_STEP_M, WARMTH_STEP_K = 5e7, 10.0
OUTLIER_SDS, OUTLIER_SOH, OUTLIER_OHM_RATIO = 4.0, 0.04, 0.15
NOISE_SOH = 0.01
DRIFT_ERRORS, DRIFT_SOH = 3.0, 0.03
LEAST_DRIVEN_M, LEAST_ROAD_M = 100_000.0, 20_000.0
SD_PER_MAD = 1.4826
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean
_MIDDLE_DEGC = np.array([DEGC_EDGES[0] - 5, *np.add(DEGC_EDGES[:-1], 5.0), DEGC_EDGES[-1] + 5])

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pack:
    """One pack as the fleet sees it."""

    health: Health
    model: str
    chemistry: str
    rated_capacity_ah: float | None = None


@dataclass(frozen=True)
class Cohort:
    """Packs of one value of a trait; None where fewer than five packs tell."""

    trait: str
    value: str
    packs: int
    soh_median_ratio: float | None
    soh_low_ratio: float | None
    soh_high_ratio: float | None
    """Tenth and ninetieth of a hundred packs."""
    resistance_median_ohm: float | None
    energy_wh_per_km: float | None
    range_km: float | None
    """With a full pack at that consumption."""


@dataclass(frozen=True)
class Outlier:
    """A pack apart from its model and mileage."""

    vehicle_id: str
    cohort: str
    reason: str
    value: float
    cohort_median: float
    sds: float


@dataclass(frozen=True)
class Drift:
    """Packs that lie low together."""

    trait: str
    value: str
    model: str
    packs: int
    soh_median_ratio: float
    others_median_ratio: float
    errors: float
    """Difference over its standard error."""


@dataclass(frozen=True)
class RoadCost:
    """A model on one kind of road; None where fewer than five packs tell."""

    model: str
    road: str
    packs: int
    energy_wh_per_km: float | None
    range_km: float | None
    range_change_ratio: float | None
    """Against the model's range over all its roads."""


@dataclass(frozen=True)
class FleetView:
    """All of it, each list in order of trait and value."""

    cohorts: tuple[Cohort, ...]
    outliers: tuple[Outlier, ...]
    drifts: tuple[Drift, ...]
    roads: tuple[RoadCost, ...]


def warmth_degc(health: Health) -> float | None:
    """Mean temperature of a pack's hours; None without any."""
    hours = np.array(health.usage.hours_by_temperature)
    total = float(hours.sum())
    return float((hours * _MIDDLE_DEGC).sum()) / total if total > 0 else None


def _mileage(pack: Pack) -> str:
    metres = pack.health.usage.odometer_m
    if metres is None:
        return ""
    step = int(metres // MILEAGE_STEP_M)
    return f"{step * 50}-{step * 50 + 50} thousand km"


def _warmth(pack: Pack) -> str:
    degc = warmth_degc(pack.health)
    if degc is None:
        return ""
    step = int(np.floor(degc / WARMTH_STEP_K)) * 10
    return f"{step} to {step + 10} degC"


def packs_of(rows: Sequence[Health], traits: Mapping[str, tuple[str, str, float]]) -> list[Pack]:
    """Rows of health with model, chemistry and rated capacity by vehicle; "" where unknown."""
    return [
        Pack(row, *traits[row.vehicle_id]) if row.vehicle_id in traits else Pack(row, "", "")
        for row in rows
    ]


TRAITS: Mapping[str, Callable[[Pack], str]] = {
    "model": lambda pack: pack.model,
    "chemistry": lambda pack: pack.chemistry,
    "mileage": _mileage,
    "warmth": _warmth,
    "model and mileage": lambda pack: f"{pack.model}, {_mileage(pack)}" if pack.model else "",
}


def fleet_view(packs: Sequence[Pack], batches: Mapping[str, str] | None = None) -> FleetView:
    """Cohorts, outliers and drifts. `batches` gives the production batch of vehicles, if known.

    A trait without a value ("") puts a pack into no cohort of it.
    """
    traits = dict(TRAITS)
    if batches is not None:
        traits["batch"] = lambda pack: batches.get(pack.health.vehicle_id, "")
    cohorts: list[Cohort] = []
    outliers: list[Outlier] = []
    drifts: list[Drift] = []
    for trait, of in traits.items():
        groups = _grouped(packs, of)
        cohorts += [_cohort(trait, value, members) for value, members in groups.items()]
        if trait == "model and mileage":
            for value, members in groups.items():
                outliers += _outliers(value, members)
        if trait in ("warmth", "batch"):
            drifts += _drifts(trait, groups)
    by_model = _grouped(packs, TRAITS["model"])
    roads = [cost for model, members in by_model.items() for cost in _roads(model, members)]
    return FleetView(tuple(cohorts), tuple(outliers), tuple(drifts), tuple(roads))


def _roads(model: str, packs: list[Pack]) -> list[RoadCost]:
    """What each kind of road costs the model, against all roads of the same packs."""
    costs = []
    for road in ROADS:
        energy, ranges, changes = [], [], []
        for pack in packs:
            use, all_of_it = pack.health.roads.get(road), energy_wh_per_km(pack)
            if use is None or use.driven_m < LEAST_ROAD_M or use.energy_kwh <= 0:
                continue
            wh_per_km = use.energy_kwh * 1e6 / use.driven_m
            energy.append(wh_per_km)
            reach = _range_km(pack, wh_per_km)
            ranges += [reach] if reach is not None else []
            changes += [all_of_it / wh_per_km - 1] if all_of_it else []
        if energy:
            middles = [_quantile(np.array(v), 0.5) for v in (energy, ranges, changes)]
            costs.append(RoadCost(model, road, len(energy), *middles))
    return costs


def _grouped(packs: Sequence[Pack], of: Callable[[Pack], str]) -> dict[str, list[Pack]]:
    groups: dict[str, list[Pack]] = {}
    for pack in packs:
        value = of(pack)
        if value:
            groups.setdefault(value, []).append(pack)
    return dict(sorted(groups.items()))


def _soh(packs: Sequence[Pack]) -> FloatArray:
    """Measured states of health only: what a BMS displays is no evidence of its pack."""
    return np.array(
        [
            p.health.soh_ratio
            for p in packs
            if p.health.soh_ratio is not None and p.health.soh_low_ratio is not None
        ],
        np.float64,
    )


def energy_wh_per_km(pack: Pack) -> float | None:
    """Net energy of driving; None under 100 km."""
    usage = pack.health.usage
    if usage.driven_m is None or usage.driven_m < LEAST_DRIVEN_M:
        return None
    return (usage.energy_out_kwh - usage.energy_recovered_kwh) * 1e6 / usage.driven_m


def _range_km(pack: Pack, wh_per_km: float) -> float | None:
    usage, soh = pack.health.usage, pack.health.soh_ratio
    if pack.rated_capacity_ah is None or soh is None or usage.charge_out_ah <= 0:
        return None
    mean_v = usage.energy_out_kwh * 1000 / usage.charge_out_ah
    return pack.rated_capacity_ah * soh * mean_v / wh_per_km


def _cohort(trait: str, value: str, packs: list[Pack]) -> Cohort:
    soh = _soh(packs)
    ohm = np.array([p.health.resistance_ohm for p in packs if p.health.resistance_ohm], np.float64)
    energy, ranges = [], []
    for pack in packs:
        wh_per_km = energy_wh_per_km(pack)
        if wh_per_km:
            energy.append(wh_per_km)
            reach = _range_km(pack, wh_per_km)
            ranges += [reach] if reach is not None else []
    low, middle, high = (_quantile(soh, q) for q in (0.1, 0.5, 0.9))
    return Cohort(
        trait,
        value,
        len(packs),
        middle,
        low,
        high,
        _quantile(ohm, 0.5),
        _quantile(np.array(energy), 0.5),
        _quantile(np.array(ranges), 0.5),
    )


def _quantile(values: FloatArray, q: float) -> float | None:
    return float(np.quantile(values, q)) if len(values) >= LEAST_PACKS else None


def _outliers(value: str, packs: list[Pack]) -> list[Outlier]:
    found = []
    soh = _soh(packs)
    if len(soh) >= LEAST_PACKS:
        middle, sd = _middle(soh, NOISE_SOH)
        for pack in packs:
            high, own = pack.health.soh_high_ratio, pack.health.soh_ratio
            if high is None or own is None:
                continue
            apart = (middle - own) / sd
            if apart >= OUTLIER_SDS and own <= middle - OUTLIER_SOH and high < middle:
                name = pack.health.vehicle_id
                found.append(Outlier(name, value, "state of health", own, middle, apart))
    ohms = [(p, p.health.resistance_ohm) for p in packs if p.health.resistance_ohm]
    if len(ohms) >= LEAST_PACKS:
        middle, sd = _middle(np.array([ohm for _, ohm in ohms], np.float64), 0.0)
        for pack, ohm in ohms:
            apart = ((ohm or 0.0) - middle) / max(sd, 0.02 * middle)
            if apart >= OUTLIER_SDS and (ohm or 0.0) >= middle * (1 + OUTLIER_OHM_RATIO):
                name = pack.health.vehicle_id
                found.append(Outlier(name, value, "resistance", ohm or 0.0, middle, apart))
    return found


def _middle(values: FloatArray, least_sd: float) -> tuple[float, float]:
    middle = float(np.median(values))
    return middle, max(SD_PER_MAD * float(np.median(np.abs(values - middle))), least_sd)


def _drifts(trait: str, groups: Mapping[str, list[Pack]]) -> list[Drift]:
    found = []
    for value, members in groups.items():
        for model, packs in _grouped(members, lambda pack: pack.model).items():
            others = [
                pack
                for other, group in groups.items()
                if other != value
                for pack in group
                if pack.model == model
            ]
            mine, rest = _soh(packs), _soh(others)
            if min(len(mine), len(rest)) < LEAST_PACKS:
                continue
            (middle, sd), (other_middle, other_sd) = (_middle(x, NOISE_SOH) for x in (mine, rest))
            error = MEDIAN_ERROR * float(
                np.hypot(sd / len(mine) ** 0.5, other_sd / len(rest) ** 0.5)
            )
            lower = other_middle - middle
            if lower >= DRIFT_SOH and lower >= DRIFT_ERRORS * error:
                found.append(
                    Drift(trait, value, model, len(packs), middle, other_middle, lower / error)
                )
    return found
