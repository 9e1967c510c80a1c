"""What drivers do in a day: trips, where they charge, when they plug in.

A day runs from 04:00 to 04:00 local time, when the fewest cars are out. Times are s after its
start. Three kinds: commuters, people who drive now and then, and cabs that are out for hours and
live on fast chargers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from simulator.energy.charging import Site, Visit, served
from simulator.energy.driving import MEAN_SPEED_MPS
from simulator.energy.models import VehicleModel

DAY_S = 86_400
DAY_STARTS_HOUR = 4
S_PER_H = 3600.0
J_PER_KWH = 3.6e6

Kind = Literal["commuter", "occasional", "cab"]
Activity = Literal["drive", "ac_charge", "dc_charge", "stand"]
KINDS: tuple[Kind, ...] = ("commuter", "occasional", "cab")
KIND_SHARES = (0.70, 0.20, 0.10)
LEAST_GAP_S = 60
PARKED_RESERVE_RATIO = 0.06
"""Nobody sets out with less than this left after the trip."""


@dataclass(frozen=True)
class Driver:
    """One vehicle's driver."""

    kind: Kind
    has_home_charger: bool
    plugs_in_below_ratio: float
    charges_to_ratio: float
    pace: float
    """Traction power against the trace's: how the car is driven and loaded."""
    commute_s: float
    leaves_s: float
    road_shares: tuple[float, float, float]


@dataclass(frozen=True)
class Session:
    """One thing a vehicle does, `start_s` to `start_s + duration_s`."""

    activity: Activity
    start_s: int
    duration_s: int
    road: int = 0
    limit_w: float = 0.0
    target_ratio: float = 1.0

    @property
    def end_s(self) -> int:
        """When it is over."""
        return self.start_s + self.duration_s


def driver_of(model: VehicleModel, random: np.random.Generator) -> Driver:
    """A driver drawn for a car of this model; the model of cabs has cab drivers."""
    kind: Kind = (
        "cab"
        if "Cab" in model.name
        else ("commuter", "occasional")[
            int(random.random() < KIND_SHARES[1] / (KIND_SHARES[0] + KIND_SHARES[1]))
        ]
    )
    wants_full = model.chemistry == "lfp"  # makers of LFP ask for a full charge once a week
    return Driver(
        kind=kind,
        has_home_charger=kind != "cab" and bool(random.random() < 0.8),
        plugs_in_below_ratio=float(random.uniform(0.22, 0.55)),
        charges_to_ratio=1.0
        if wants_full or random.random() < 0.4
        else float(random.uniform(0.80, 0.95)),
        pace=float(np.clip(random.normal(1.0, 0.10), 0.75, 1.35)),
        commute_s=float(random.uniform(600, 2400)),
        leaves_s=float(random.normal(3.8, 0.7) * S_PER_H),
        road_shares=tuple(random.dirichlet((3.0, 2.0, 0.7)).tolist()),
    )


def _trip(
    driver: Driver, start_s: float, duration_s: float, random: np.random.Generator
) -> Session:
    shares = np.cumsum(driver.road_shares)
    road = min(int((shares < random.random()).sum()), len(shares) - 1)
    return Session("drive", int(start_s), int(np.clip(duration_s, 120, 4 * S_PER_H)), road=road)


def _commute(driver: Driver, random: np.random.Generator) -> list[Session]:
    out_s = driver.leaves_s + random.normal(0.0, 600.0)
    back_s = out_s + random.normal(9.3, 0.8) * S_PER_H
    lengths = driver.commute_s * random.uniform(0.85, 1.3, 2)
    return [_trip(driver, out_s, lengths[0], random), _trip(driver, back_s, lengths[1], random)]


def _errand(driver: Driver, random: np.random.Generator) -> list[Session]:
    out_s = random.uniform(5.0, 14.0) * S_PER_H
    length_s = random.lognormal(np.log(1100.0), 0.6)
    stay_s = random.uniform(0.4, 3.0) * S_PER_H
    back_s = out_s + length_s + stay_s
    return [_trip(driver, out_s, length_s, random), _trip(driver, back_s, length_s, random)]


def _cab_day(driver: Driver, random: np.random.Generator) -> list[Session]:
    trips = []
    now_s = random.uniform(2.0, 4.0) * S_PER_H
    until_s = now_s + random.uniform(8.0, 12.0) * S_PER_H
    while now_s < until_s:
        trip = _trip(driver, now_s, random.lognormal(np.log(1300.0), 0.5), random)
        trips.append(trip)
        now_s = trip.end_s + random.exponential(1500.0) + 120.0
    return trips


def trips_of(driver: Driver, weekday: int, random: np.random.Generator) -> list[Session]:
    """The day's trips in order (weekday 0 is Monday), apart by `LEAST_GAP_S` or more."""
    if driver.kind == "cab":
        trips = _cab_day(driver, random) if random.random() < 0.9 else []
    elif driver.kind == "commuter" and weekday < 5:
        trips = _commute(driver, random) if random.random() < 0.93 else []
        if random.random() < 0.2:
            trips += _errand(driver, random)
    else:
        trips = _errand(driver, random) if random.random() < 0.55 else []
    return in_order(trips)


def in_order(sessions: Sequence[Session]) -> list[Session]:
    """Sessions by start, each moved behind the one before; what leaves the day is dropped."""
    result: list[Session] = []
    free_s = LEAST_GAP_S
    for session in sorted(sessions, key=lambda s: s.start_s):
        start_s = max(session.start_s, free_s)
        duration_s = min(session.duration_s, DAY_S - LEAST_GAP_S - start_s)
        if duration_s < LEAST_GAP_S:
            continue
        result.append(replace(session, start_s=start_s, duration_s=duration_s))
        free_s = start_s + duration_s + LEAST_GAP_S
    return result


def used_ratio(trip: Session, model: VehicleModel, capacity_ah: float, climate_w: float) -> float:
    """Share of the charge that a driver expects a trip to take."""
    speed = MEAN_SPEED_MPS[trip.road]
    per_m = 360.0 + 0.45 * speed**2  # J/m at the pack: about what the traces take
    energy_j = trip.duration_s * (per_m * speed + model.auxiliary_w + climate_w)
    return energy_j / pack_energy_j(model, capacity_ah)


def pack_energy_j(model: VehicleModel, capacity_ah: float) -> float:
    """Energy in a full pack of this capacity, at its mean voltage."""
    return capacity_ah * S_PER_H * model.series * float(np.mean(model.cell.ocv_v[5:]))


@dataclass(frozen=True)
class Need:
    """A fast charge that somebody wants: after session `after` of a vehicle's day."""

    vehicle: int
    after: int
    visit: Visit
    target_ratio: float


def charges_of(
    driver: Driver,
    model: VehicleModel,
    trips: list[Session],
    *,
    soc_ratio: float,
    capacity_ah: float,
    climate_w: float,
    vehicle: int,
    random: np.random.Generator,
) -> tuple[list[Session], list[Need]]:
    """Trips that the charge allows with home charges between, and the fast charges wanted."""
    day: list[Session] = []
    needs: list[Need] = []
    energy_j = pack_energy_j(model, capacity_ah)
    for trip in trips:
        used = used_ratio(trip, model, capacity_ah, climate_w)
        if soc_ratio - used < PARKED_RESERVE_RATIO:
            break
        day.append(trip)
        soc_ratio -= used
        wants_fast = not driver.has_home_charger and soc_ratio < driver.plugs_in_below_ratio
        if wants_fast:
            target = 0.9 if driver.kind == "cab" else driver.charges_to_ratio
            missing_j = max(target - soc_ratio, 0.05) * energy_j
            most_w = 0.7 * model.fast_charge_w  # the taper's mean
            needs.append(
                Need(vehicle, len(day), Visit(trip.end_s + 120.0, missing_j, most_w), target)
            )
            soc_ratio = target
    if driver.has_home_charger and soc_ratio < driver.plugs_in_below_ratio:
        start_s = (day[-1].end_s if day else random.uniform(6, 12) * S_PER_H) + 180
        missing_j = (driver.charges_to_ratio - soc_ratio) * energy_j
        duration_s = 1.25 * missing_j / model.home_charge_w + 2400
        day.append(
            Session(
                "ac_charge",
                int(start_s),
                int(duration_s),
                limit_w=model.home_charge_w,
                target_ratio=driver.charges_to_ratio,
            )
        )
    elif not day and soc_ratio < 0.25:  # too empty to drive: a charger comes, or a slow socket
        needs.append(Need(vehicle, 0, Visit(6 * S_PER_H, 0.6 * energy_j, 40_000.0), 0.85))
    return day, needs


def with_fast_charges(
    days: dict[int, list[Session]], needs: Sequence[Need], site: Site
) -> dict[int, list[Session]]:
    """The days with a site's charges in them; what comes later in a day waits for them."""
    ordered = sorted(needs, key=lambda need: (need.visit.arrives_s, need.vehicle))
    services = served(site, [need.visit for need in ordered])
    result = {vehicle: list(sessions) for vehicle, sessions in days.items()}
    for need, service in zip(ordered, services, strict=True):
        wait = Session(
            "dc_charge",
            int(service.starts_s),
            int(1.3 * (service.ends_s - service.starts_s)) + 600,
            limit_w=service.power_w / 0.7,
            target_ratio=need.target_ratio,
        )
        result.setdefault(need.vehicle, []).append(wait)
    return {vehicle: in_order(sessions) for vehicle, sessions in result.items()}
