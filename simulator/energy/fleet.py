"""A fleet: vehicles, drivers, packs and faults drawn from a seed, and its days one by one.

Every vehicle draws from generators of its own, named by the seed, the vehicle and the day, so a
vehicle does the same in a small fleet and in a large one unless it queues at a charger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from simulator.energy import ageing, bms, cell, day, dirt, drivers, fault_effects, faults, incidents
from simulator.energy import pack as packs
from simulator.energy.charging import Site
from simulator.energy.chemistry import chemistry_code
from simulator.energy.driving import traces_of
from simulator.energy.models import MODELS
from simulator.energy.plan import AC, Steps, steps_of, told_frames
from simulator.energy.prepare import Prepared, Vehicles, prepared
from simulator.energy.reports import COMPLETE, NOT_CHARGING, PARKED_CHARGING, Reports
from simulator.energy.road_load import climate_power_w
from simulator.energy.telling import Shown, Vehicle, told
from simulator.energy.weather import CLIMATES, ambient_degc, anomalies_k

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

MODEL_SHARES = (0.65, 0.25, 0.10)
MOST_YEARS = 5.0
VEHICLES_PER_SITE = 40
SITE = Site(stalls=8, grid_w=480_000.0)
FAULTS_BETWEEN = (0.15, 0.70)
"""Share of the run within which faults begin, so that what comes slowly has time to show."""
NOISE_POOL = 1 << 22
"""Standard normal numbers drawn once: each vehicle's day reads them from a place of its own."""
CAPACITY_SPREAD = 0.006  # sd between new packs of a model
_STATIC, _DAY, _SHARED = range(3)  # what a generator is for


@dataclass(frozen=True, kw_only=True)
class FleetParameters:
    """What can be chosen; the same parameters give the same bytes."""

    vehicles: int
    days: int
    faulty: int = 0
    seed: int = 1
    start_ns: int
    """When day 0 begins, 04:00 local time."""
    dirt_rate: float = 1.0


@dataclass(frozen=True)
class Health:
    """The truth about the packs at a day's end, each array (n,)."""

    capacity_ah: FloatArray
    soh_ratio: FloatArray
    resistance_ratio: FloatArray
    soc_ratio: FloatArray
    full_cycles: FloatArray
    odometer_m: FloatArray


@dataclass(frozen=True)
class FleetDay:
    """One day's records, vehicle by vehicle, and the truth about it."""

    number: int
    reports: Iterator[tuple[Vehicle, Reports, list[dirt.Dirt]]]
    health: Health


class Fleet:
    """A fleet in its newest state; `run_day` takes it on by a day."""

    def __init__(self, parameters: FleetParameters) -> None:
        self.parameters = parameters
        self.only: frozenset[int] | None = None
        """Vehicles that move and report, by number, where not all do: the others stay parked and
        silent. What is left does as in the whole fleet, but for queues at chargers and the places
        of its trips in the speed traces."""
        n = parameters.vehicles
        shared = self._random(_SHARED)
        self.model = shared.choice(len(MODELS), n, p=MODEL_SHARES)
        self._climate = shared.integers(0, len(CLIMATES), n)
        self._anomaly_k = anomalies_k(parameters.days + 1, shared)
        self.errors = bms.drawn_errors(
            self.model, np.array([m.soc_bias_ratio for m in MODELS]), shared
        )
        self.series, self.parallel, self.auxiliary_w = (
            np.array([float(getattr(m, name)) for m in MODELS], np.float32)[self.model]
            for name in ("series", "parallel", "auxiliary_w")
        )
        self.traces = tuple(traces_of(model, shared) for model in MODELS)
        self._noise = shared.standard_normal(NOISE_POOL, np.float32)
        self.vehicles = self._drawn_vehicles(shared)
        self.charge_limit_v = np.array(
            [
                v.model.cell.charge_limit_v - packs.highest_v(v.spread, v.model)
                for v in self.vehicles
            ],
            np.float32,
        )
        self._memories = {v.number: fault_effects.Memory() for v in self.vehicles if v.fault}
        self._age(shared)
        self._rest(shared)
        self.day_number = 0

    def _random(self, *names: int) -> np.random.Generator:
        return np.random.default_rng([self.parameters.seed, *names])

    def _drawn_vehicles(self, shared: np.random.Generator) -> list[Vehicle]:
        result = []
        for number, model_number in enumerate(self.model.tolist()):
            random = self._random(_STATIC, number)
            model = MODELS[model_number]
            vehicle = Vehicle(
                number=number,
                vehicle_id=f"ev-{number + 1:05d}",
                model=model,
                climate=int(self._climate[number]),
                driver=drivers.driver_of(model, random),
                spread=packs.drawn_spread(model, random),
                insulation_ohm=float(np.exp(random.uniform(np.log(3e6), np.log(4e7)))),
                fault=None,
            )
            result.append(vehicle)
        for fault in self._drawn_faults(result, shared):
            result[fault.vehicle] = replace(result[fault.vehicle], fault=fault)
        return result

    def _drawn_faults(
        self, vehicles: list[Vehicle], shared: np.random.Generator
    ) -> Iterator[faults.Fault]:
        free = shared.permutation(len(vehicles)).tolist()
        span_s = self.parameters.days * faults.S_PER_DAY
        for mode in faults.mix(self.parameters.faulty):
            fits = free
            if mode in faults.NEEDS_FAST_CHARGES:
                fits = [v for v in free if not vehicles[v].driver.has_home_charger] or free
            chosen = fits[0]
            free.remove(chosen)
            from_s = span_s * float(shared.uniform(*FAULTS_BETWEEN))
            yield faults.drawn_fault(
                mode, chosen, vehicles[chosen].model, from_s=round(from_s), random=shared
            )

    def strike(self, fault: faults.Fault) -> None:
        """Give its vehicle this fault, in place of one it may have."""
        self.vehicles[fault.vehicle] = replace(self.vehicles[fault.vehicle], fault=fault)
        self._memories[fault.vehicle] = fault_effects.Memory()

    def _age(self, shared: np.random.Generator) -> None:
        """Packs of up to `MOST_YEARS`, each month at its climate's and its driver's means."""
        n = self.parameters.vehicles
        years = shared.uniform(0.0, MOST_YEARS, n)
        is_cab = np.array([v.driver.kind == "cab" for v in self.vehicles])
        per_day = np.where(is_cab, 0.45, 0.08) * shared.uniform(0.7, 1.3, n)
        warm = np.array([c.mean_degc for c in CLIMATES])[self._climate] + 4.0
        losses = ageing.new_losses(n)
        for month in range(int(12 * MOST_YEARS)):
            days = np.clip(years * 365.0 - month * 30.4, 0.0, 30.4)
            losses = ageing.aged(
                losses,
                self._chemistry,
                days=days,
                full_cycles=days * per_day,
                temperature_degc=warm,
                soc_ratio=np.full(n, 0.6),
                discharge_c_rate=np.full(n, 0.25),
            )
        self._losses = losses
        self._own_capacity = np.clip(1.0 + shared.normal(0.0, CAPACITY_SPREAD, n), 0.98, 1.02)
        self._plated = np.zeros(n)
        self._first_odometer_m = years * 365.0 * np.where(is_cab, 180e3, 32e3) + 2e3
        self._first_cycles = years * 365.0 * per_day

    @property
    def _chemistry(self) -> IntArray:
        codes = np.array([chemistry_code(m.chemistry) for m in MODELS], np.int64)
        return codes[self.model]

    def _capacity_ratio(self) -> FloatArray:
        return self._own_capacity * (self._losses.capacity_ratio - self._plated)

    def cells(self) -> cell.CellArrays:
        """Every pack's mean cell as old as it is."""
        return cell.cells_of(self._chemistry, self._capacity_ratio(), self._losses.resistance_ratio)

    def _rest(self, shared: np.random.Generator) -> None:
        n = self.parameters.vehicles
        ambient = ambient_degc(
            self._climate, self._day_of_year(0), np.full(n, 4.0), self._anomaly_k[0]
        )
        soc = shared.uniform(0.35, 0.9, n)
        state = day.rested(self.cells(), soc, ambient + 1.0)
        self.state = replace(
            state,
            believed_ratio=soc + self.errors.own_bias_ratio,
            odometer_m=self._first_odometer_m,
        )

    def _day_of_year(self, number: int) -> int:
        return self._date(number).timetuple().tm_yday - 1

    def _date(self, number: int) -> datetime:
        start_s = self.parameters.start_ns / 1e9 + drivers.DAY_STARTS_HOUR * 3600
        return datetime.fromtimestamp(start_s + number * faults.S_PER_DAY, UTC)

    def run_day(self) -> FleetDay:
        """The next day: packs first, then records as they are asked for."""
        number = self.day_number
        anomaly_k = self._anomaly_k[number]
        steps = self.planned_day()
        hour = (steps.end_s / 3600.0 + drivers.DAY_STARTS_HOUR) % 24.0
        ambient = ambient_degc(
            self._climate[steps.order],
            self._day_of_year(number),
            hour.astype(np.float64),
            anomaly_k,
        ).astype(np.float32)
        before = self.state
        static = self.static_day()
        own = static.rows(steps.order)
        ready = prepared(own, steps, self.traces, ambient)
        after, trace = day.run(before.rows(steps.order), own, ready)
        self.state = after.rows(np.argsort(steps.order))
        cells = static.cells
        health = self._age_a_day(before)
        self.day_number += 1
        return FleetDay(number, self._reports(number, ready, trace, cells), health)

    def planned_day(self) -> Steps:
        """The next day's steps: what drivers do from the charge their cars show."""
        number = self.day_number
        anomaly_k = self._anomaly_k[number]
        start_s = number * faults.S_PER_DAY
        weekday = self._date(number).weekday()
        noon = ambient_degc(
            self._climate, self._day_of_year(number), np.full(len(self.vehicles), 12.0), anomaly_k
        )
        climate_w = climate_power_w(noon)
        capacity = self._capacity_ratio()
        days: dict[int, list[drivers.Session]] = {}
        needs: dict[int, list[drivers.Need]] = {}
        for v in self.vehicles:
            silent_s = None if v.fault is None else incidents.silent_from_s(v.fault)
            is_silent = silent_s is not None and silent_s < start_s
            if is_silent or (self.only is not None and v.number not in self.only):
                days[v.number] = []
                continue
            random = self._random(_DAY, v.number, number)
            days[v.number], wanted = drivers.charges_of(
                v.driver,
                v.model,
                drivers.trips_of(v.driver, weekday, random),
                soc_ratio=float(self.state.believed_ratio[v.number]),
                capacity_ah=float(capacity[v.number]) * v.model.rated_capacity_ah,
                climate_w=float(climate_w[v.number]),
                vehicle=v.number,
                random=random,
            )
            needs.setdefault(v.number // VEHICLES_PER_SITE, []).extend(wanted)
        for wanted in needs.values():
            concerned = {need.vehicle: days[need.vehicle] for need in wanted}
            days |= drivers.with_fast_charges(concerned, wanted, SITE)
        return self._steps(days, number)

    def _steps(self, days: dict[int, list[drivers.Session]], number: int) -> Steps:
        ordered = []
        for v in self.vehicles:
            sessions = drivers.in_order(days[v.number])
            if v.fault is not None and self._is_day_of(v.fault, number):
                sessions = incidents.with_incident(sessions, v.fault, number * faults.S_PER_DAY)
            ordered.append(sessions)
        return steps_of(ordered, [v.model for v in self.vehicles], self._random(_SHARED, number))

    def _is_day_of(self, fault: faults.Fault, number: int) -> bool:
        """Whether an incident's own hours touch this day."""
        until_s = incidents.silent_from_s(fault)
        start_s = number * faults.S_PER_DAY
        return until_s is not None and (
            fault.from_s - incidents.BEFORE_S < start_s + faults.S_PER_DAY and until_s > start_s
        )

    def static_day(self) -> Vehicles:
        """What does not change within the next day, its faults included."""
        n = len(self.vehicles)
        start_s = self.day_number * faults.S_PER_DAY

        gain, offset, cooling = np.zeros(n), np.zeros(n), np.ones(n)
        sensor_from, cooling_from = np.full(n, np.inf), np.full(n, np.inf)
        charges_cold = np.zeros(n, np.bool_)
        for v in self.vehicles:
            fault = v.fault
            if fault is None or fault.from_s >= start_s + faults.S_PER_DAY:
                continue
            if fault.mode == "current_sensor":
                by_gain = fault.detail["how"] == "gain"
                (gain if by_gain else offset)[v.number] = fault.severity
                sensor_from[v.number] = fault.from_s - start_s
            elif fault.mode == "cooling":
                cooling[v.number] = fault.severity
                cooling_from[v.number] = fault.from_s - start_s
            elif fault.mode == "plating":
                charges_cold[v.number] = True
        return Vehicles(
            model=self.model,
            series=self.series,
            parallel=self.parallel,
            pace=np.array([v.driver.pace for v in self.vehicles], np.float32),
            auxiliary_w=self.auxiliary_w,
            charge_limit_v=self.charge_limit_v,
            cells=self.cells(),
            errors=self.errors,
            sensor_gain=gain,
            sensor_offset_a=offset,
            sensor_from_s=sensor_from,
            cooling_ratio=cooling,
            cooling_from_s=cooling_from,
            charges_cold=charges_cold,
        )

    def _age_a_day(self, before: day.PackState) -> Health:
        rated = np.array([m.rated_capacity_ah for m in MODELS])[self.model]
        capacity = self._capacity_ratio() * rated
        discharged = self.state.discharged_ah - before.discharged_ah
        self._losses = ageing.aged(
            self._losses,
            self._chemistry,
            days=np.ones(len(rated)),
            full_cycles=discharged / capacity,
            temperature_degc=0.5
            * (before.cell.temperature_degc + self.state.cell.temperature_degc).astype(np.float64),
            soc_ratio=0.5 * (before.cell.soc_ratio + self.state.cell.soc_ratio),
            discharge_c_rate=np.full(len(rated), 0.25),
        )
        for v in self.vehicles:
            if v.fault is not None and v.fault.mode == "plating":
                cold = self.state.cold_charged_ah - before.cold_charged_ah
                if self._static_plating(v.fault):
                    self._plated[v.number] += v.fault.severity * cold[v.number] / rated[v.number]
        ratio = self._capacity_ratio()
        # The charge in a cell stays when its capacity shrinks: so does not its share.
        return Health(
            capacity_ah=ratio * rated,
            soh_ratio=ratio,
            resistance_ratio=self._losses.resistance_ratio,
            soc_ratio=self.state.cell.soc_ratio,
            full_cycles=self._first_cycles + self.state.discharged_ah / rated,
            odometer_m=self.state.odometer_m,
        )

    def _static_plating(self, fault: faults.Fault) -> bool:
        return (self.day_number + 1) * faults.S_PER_DAY > fault.from_s

    def _reports(
        self, number: int, ready: Prepared, trace: day.Trace, cells: cell.CellArrays
    ) -> Iterator[tuple[Vehicle, Reports, list[dirt.Dirt]]]:
        start_s = number * faults.S_PER_DAY
        steps = ready.steps
        column_of = np.argsort(steps.order)
        shown = (steps.is_frame & trace.is_told).T
        for v in self.vehicles:
            if self.only is not None and v.number not in self.only:
                continue
            column = int(column_of[v.number])
            rows = np.flatnonzero(shown[column])
            if v.fault is not None and (silent := incidents.silent_from_s(v.fault)) is not None:
                rows = rows[steps.end_s[rows, column] + start_s < silent]
            if not len(rows):
                continue
            random = self._random(_DAY, v.number, number, 1)
            records = self._vehicle_reports(v, start_s, ready, trace, rows, column, cells, random)
            yield (
                v,
                *dirt.dirtied(records, v.number, v.model, random, rate=self.parameters.dirt_rate),
            )

    def _vehicle_reports(
        self,
        v: Vehicle,
        start_s: float,
        ready: Prepared,
        trace: day.Trace,
        rows: IntArray,
        column: int,
        cells: cell.CellArrays,
        random: np.random.Generator,
    ) -> Reports:
        frames_of = told_frames(ready.steps, rows, column)
        shown, at = frames_of.of, (frames_of.rows, column)
        mean = packs.MeanFrames(
            voltage_v=shown(trace.voltage_v),
            overvoltage_v=shown(trace.overvoltage_v),
            soc_ratio=shown(trace.soc_ratio).astype(np.float32),
            temperature_degc=shown(trace.temperature_degc),
        )
        charging = ready.steps.mode[at] >= AC
        state = np.where(charging, PARKED_CHARGING, NOT_CHARGING)
        state = np.where(charging & trace.is_complete[at], COMPLETE, state)
        frames = Shown(
            time_s=start_s + frames_of.end_s,
            mean=mean,
            current_a=shown(trace.current_a),
            sensed_a=shown(trace.sensed_a),
            believed_ratio=shown(trace.believed_ratio),
            charging_state=state.astype(np.int8),
            odometer_m=shown(trace.odometer_m),
            speed_mps=ready.speed_mps[at],
            cell_ah=float(cells.capacity_ah[v.number]),
            cell_ohm=float(cells.r0_ohm[v.number]),
            believed_capacity_ratio=float(self.errors.capacity_ratio[v.number]),
        )
        struck = [(v.fault, self._memories[v.number])] if v.fault else []

        def noise(shape: tuple[int, ...]) -> Float32Array:
            size = int(np.prod(shape))
            place = int(random.integers(0, NOISE_POOL - size)) if size < NOISE_POOL else 0
            return np.resize(self._noise[place : place + size], shape)

        return told(v, frames, struck, noise=noise, random=random)
