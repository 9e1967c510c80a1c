"""Shorts and bad connections put into sound cells: how early each is found, and nothing else.

python -m tests.bench.battery_injected

Leaks of 1 and 3 kohm into cells of simulated cars of 60 days (dirt as in real data) and into sound
cells of car3; 0.1 mohm into cars at 30 s (car3 and simulated ones, thinned) and 0.02 mohm at 1 s
(car1's day and a half, told ten times over). A leak takes V / R from its cell; what the cell then
lacks shows by the simulator's open-circuit curve, and in car3 by the pack's own: its middle cell
at rest over displayed charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Finding
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import NS_PER_S
from simulator.energy.faults import drawn_fault
from simulator.energy.fleet import Fleet, FleetParameters
from simulator.energy.telling import Vehicle
from simulator.fleet.make import first_day_ns
from tests.bench.battery_fleet import CONTEXT, batch_of
from tests.support.fleet_csv import recording

FloatArray = npt.NDArray[np.float64]
RULES = ("battery.self_discharge", "battery.connection", "battery.cell_capacity")
DAY_NS = 86_400 * NS_PER_S
CAR3_SOUND = (5, 20, 37, 45, 60, 70, 84)
"""Cells of car3 without a finding, from 1, over the pack's length."""
CAR3_AH, CAR3_LEAK_DAY = 140.0, 4.0
CAR1_SOUND = (8, 33, 57, 74)
REST_A = 2.0


@dataclass(frozen=True)
class Found:
    """What became of one injected fault."""

    where: str
    day: float | None
    """Days after it began until its cell was named; None if it was not."""
    lost_ratio: float | None
    """Charge its cell had lost by then; None for resistance."""
    false_cells: tuple[str, ...]


def findings_of(batches: Iterable[Batch], names: tuple[str, ...] = RULES) -> list[Finding]:
    """What these rules raise."""
    known = discover("openvrc.detectors")
    states: dict[str, Any] = {name: known[name].initial(CONTEXT) for name in names}
    findings: list[Finding] = []
    for batch in batches:
        for name in names:
            states[name], told = known[name].update(states[name], batch)
            findings += told
    return [finding for finding in findings if finding.phase == "raise"]


def _judged(
    where: str,
    findings: list[Finding],
    cell: int,
    from_ns: int,
    *,
    leak_ratio_per_day: float | None = None,
    known: frozenset[str] = frozenset(),
) -> Found:
    mine = [f.at_ns for f in findings if f.component == f"cell:{cell}" and f.at_ns >= from_ns]
    others = {f.component for f in findings} - {f"cell:{cell}"} - known
    day = (min(mine) - from_ns) / DAY_NS if mine else None
    lost = None if day is None or leak_ratio_per_day is None else day * leak_ratio_per_day
    return Found(where, day, lost, tuple(sorted(others)))


# --- simulated cars


def simulated(
    faults: dict[int, tuple[str, float]],
    *,
    vehicles: int,
    days: int,
    seed: int,
    from_day: float = 15.0,
    every: int = 1,
) -> list[Found]:
    """Faults (mode, severity) by vehicle of a healthy fleet; one frame in `every` is told."""
    start_ns = first_day_ns("2026-03-01")
    fleet = Fleet(FleetParameters(vehicles=vehicles, days=days, seed=seed, start_ns=start_ns))
    random = np.random.default_rng(seed)
    struck = {}
    for number, (mode, severity) in faults.items():
        model = fleet.vehicles[number].model
        fault = drawn_fault(
            mode, number, model, from_s=from_day * 86_400.0, random=random, severity=severity
        )
        fleet.strike(fault)
        struck[fleet.vehicles[number].vehicle_id] = (fault, fleet.vehicles[number])
    findings = findings_of(_fleet_batches(fleet, days, start_ns, every))
    result = []
    for vehicle_id, (fault, vehicle) in struck.items():
        own = [f for f in findings if f.subject_id == vehicle_id]
        where = f"{vehicle.model.chemistry} {fault.severity:g} {fault.unit} {vehicle_id}"
        result.append(
            _judged(
                where,
                own,
                fault.cells[0],
                start_ns + round(fault.from_s) * NS_PER_S,
                leak_ratio_per_day=_leak_per_day(vehicle, fault.severity)
                if fault.mode == "self_discharge"
                else None,
            )
        )
    untouched = {f.component for f in findings if f.subject_id not in struck}
    return [*result, Found("untouched cars", None, None, tuple(sorted(untouched)))]


def _leak_per_day(vehicle: Vehicle, ohm: float) -> float:
    volts = vehicle.model.cell.ocv_v[60]
    return float(24.0 * volts / ohm / vehicle.model.rated_capacity_ah)


def _fleet_batches(fleet: Fleet, days: int, start_ns: int, every: int) -> Iterator[Batch]:
    for _ in range(days):
        for vehicle, reports, _dirt in fleet.run_day().reports:
            if len(reports.time_s):
                batch = batch_of(vehicle.vehicle_id, reports, start_ns)
                yield batch if every == 1 else batch.take(np.arange(0, batch.n_rows, every))


# --- real cars


@dataclass(frozen=True)
class Recording:
    """A real car's frames in one piece."""

    batch: Batch
    cells_v: FloatArray  # (n, c)

    @classmethod
    def of(cls, car: str) -> Recording:
        """`car1` or `car3`."""
        (batch,) = recording(car, batch_rows=10**9)
        values, offsets = batch.lists("cell_voltages_v")
        width = int(offsets[1])
        return cls(batch, values.reshape(batch.n_rows, width).astype(np.float64))

    def batches(self, shift_v: FloatArray, cell: int, every: int = 1) -> Iterator[Batch]:
        """The car with volts (n,) added to a cell, as the monitor's millivolts."""
        cells_v = self.cells_v.copy()
        cells_v[:, cell - 1] = np.round(cells_v[:, cell - 1] + shift_v, 3)
        offsets = np.arange(len(cells_v) + 1, dtype=np.int32) * cells_v.shape[1]
        changed = self.batch.with_columns(
            {"cell_voltages_v": (cells_v.astype(np.float32).ravel(), offsets)}
        )
        if every > 1:
            changed = changed.take(np.arange(0, changed.n_rows, every))
        for start in range(0, changed.n_rows, 5000):
            yield changed.slice(start, 5000)

    def repeated(self, times: int) -> Recording:
        """The same again and again, each two days after the one before."""
        at_ns = self.batch.column("sampled_at_ns")
        names = ("pack_voltage_v", "pack_current_a", "soc_ratio")
        joined = {name: np.concatenate([self.batch.column(name)] * times) for name in names}
        joined["sampled_at_ns"] = np.concatenate([at_ns + k * 2 * DAY_NS for k in range(times)])
        cells_v = np.concatenate([self.cells_v] * times)
        n_rows, width = cells_v.shape
        offsets = np.arange(n_rows + 1, dtype=np.int32) * width
        batch = from_columns(
            "battery_state",
            zone=self.batch.zone,
            run_id=self.batch.run_id,
            origin="replay",
            n_rows=n_rows,
            columns={
                "source_id": "car",
                "subject_id": "car",
                "id_kind": "permanent",
                "lateness": 0,
                "cell_voltages_v": (cells_v.astype(np.float32).ravel(), offsets),
                **joined,
            },
        )
        return Recording(batch, cells_v)


def open_circuit_curve(car: Recording) -> tuple[FloatArray, FloatArray]:
    """Charge and volts of the pack's middle cell at rest, rising."""
    at_rest = np.abs(car.batch.column("pack_current_a")) < REST_A
    soc = car.batch.column("soc_ratio")[at_rest].astype(np.float64)
    volts = np.median(car.cells_v[at_rest], axis=1)
    steps = np.round(soc * 50)
    keys = np.unique(steps)
    middle = np.array([np.median(volts[steps == key]) for key in keys])
    return keys / 50, np.maximum.accumulate(middle)


def car3_leaks(ohm: float, cells: tuple[int, ...] = CAR3_SOUND) -> list[Found]:
    """A leak from the fifth day on in each of these cells, one run each."""
    car = Recording.of("car3")
    at_ns = car.batch.column("sampled_at_ns")
    from_ns = int(at_ns.min() + CAR3_LEAK_DAY * DAY_NS)
    curve = open_circuit_curve(car)
    hours = np.maximum(at_ns - from_ns, 0) / NS_PER_S / 3600
    soc = car.batch.column("soc_ratio").astype(np.float64)
    known = frozenset(f"cell:{cell}" for cell in (2, 81, 10, 63, 76, 52))
    result = []
    for cell in cells:
        volts = float(np.median(car.cells_v[:, cell - 1]))
        lost = hours * volts / ohm / CAR3_AH
        shift_v = np.interp(soc - lost, *curve) - np.interp(soc, *curve)
        findings = findings_of(car.batches(shift_v, cell))
        per_day = 24.0 * volts / ohm / CAR3_AH
        result.append(
            _judged(f"car3 cell {cell}", findings, cell, from_ns, leak_ratio_per_day=per_day,
                    known=known)
        )  # fmt: skip
    return result


def car3_connections(ohm: float, every: int = 3) -> list[Found]:
    """More resistance from the fifth day on, in sound cells, at 30 s."""
    car = Recording.of("car3")
    at_ns = car.batch.column("sampled_at_ns")
    from_ns = int(at_ns.min() + CAR3_LEAK_DAY * DAY_NS)
    known = frozenset(f"cell:{cell}" for cell in (2, 81, 10, 63, 76, 52))
    shift_v = -np.nan_to_num(car.batch.column("pack_current_a")) * ohm * (at_ns >= from_ns)
    return [
        _judged(f"car3 cell {cell}", findings_of(car.batches(shift_v, cell, every)), cell, from_ns,
                known=known)
        for cell in CAR3_SOUND
    ]  # fmt: skip


def car1_connections(ohm: float, times: int = 10, from_time: int = 4) -> list[Found]:
    """More resistance from the fifth telling on, at 1 s."""
    car = Recording.of("car1").repeated(times)
    at_ns = car.batch.column("sampled_at_ns")
    from_ns = int(at_ns.min() + from_time * 2 * DAY_NS)
    shift_v = -np.nan_to_num(car.batch.column("pack_current_a")) * ohm * (at_ns >= from_ns)
    return [
        _judged(f"car1 cell {cell}", findings_of(car.batches(shift_v, cell)), cell, from_ns)
        for cell in CAR1_SOUND
    ]


def print_found(what: str, found: list[Found]) -> None:
    """One line each."""
    print(what)  # noqa: T201
    for one in found:
        day = "not found" if one.day is None else f"after {one.day:.1f} days"
        lost = "" if one.lost_ratio is None else f", {100 * one.lost_ratio:.2f} % of charge lost"
        print(f"  {one.where:32} {day}{lost}; false {list(one.false_cells)}")  # noqa: T201


if __name__ == "__main__":
    print_found("car3, 1 kohm", car3_leaks(1000.0))
    print_found("car3, 0.1 mohm at 30 s", car3_connections(1e-4))
    print_found("car1 repeated, 0.02 mohm at 1 s", car1_connections(2e-5))
    chosen = {k: ("self_discharge", (1000.0, 3000.0)[k % 2]) for k in range(12)}
    print_found("simulated 60 days, from day 15", simulated(chosen, vehicles=24, days=60, seed=501))
    chosen = dict.fromkeys(range(6), ("connection", 1e-4))
    print_found(
        "simulated at 30 s, 0.1 mohm",
        simulated(chosen, vehicles=12, days=40, seed=502, every=3),
    )
