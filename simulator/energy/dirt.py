"""Dirt as real data has it: records that are no measurement, each kind with its truth.

| kind | what is sent |
|---|---|
| module_dropout | all cells of a module at 5 V or more, for up to twenty frames |
| zero_row | every voltage 0 |
| probe_sentinel | a probe's code 255, which is 215 degC after its offset of 40 |
| duplicate | a record once more under the same time |
| stale_burst | a buffer of thirty records, hours old, under new times |
| odometer_zero | odometer 0 |
| nonsense | cells 0 V but a few, one probe +170 among -40, -1000 A, odometer +22,800 km |
| frozen | every value as before, under new times |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.energy.models import VehicleModel
from simulator.energy.reports import Reports

MODULE_MV = (5000, 8191, 65_535)
SENTINEL_DEGC = 215
BURST = 30
BURST_AGE_S = 6 * 3600
NONSENSE_DEGC, NO_DEGC = 170, -40
NONSENSE_A, NONSENSE_M = -1000.0, 22_800_000.0


@dataclass(frozen=True)
class Dirt:
    """A run of dirty records of one vehicle, by their times in s after the run's start."""

    kind: str
    vehicle: int
    from_s: int
    to_s: int
    records: int


Spoil = Callable[[Reports, VehicleModel, np.random.Generator], tuple[Reports, tuple[int, int]]]
"""Records with one run of this dirt, and the run's first and last row."""

LEAST_ROWS = 40


def _run(reports: Reports, random: np.random.Generator, most: int) -> slice:
    n = len(reports.time_s)
    start = int(random.integers(1, n - most))
    return slice(start, start + int(random.integers(1, most + 1)))


def _module_dropout(
    reports: Reports, model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    rows = _run(reports, random, 20)
    first = int(random.integers(model.series // model.module_cells)) * model.module_cells
    level = MODULE_MV[int(random.integers(len(MODULE_MV)))]
    reports.cells_mv[rows, first : first + model.module_cells] = level
    return reports, (rows.start, rows.stop - 1)


def _zero_row(
    reports: Reports, _model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    rows = _run(reports, random, 2)
    reports.cells_mv[rows] = 0
    reports.pack_voltage_v[rows] = 0.0
    return reports, (rows.start, rows.stop - 1)


def _probe_sentinel(
    reports: Reports, model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    rows = _run(reports, random, 20)
    reports.probes_degc[rows, int(random.integers(model.probes))] = SENTINEL_DEGC
    return reports, (rows.start, rows.stop - 1)


def _duplicate(
    reports: Reports, _model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    rows = _run(reports, random, 3)
    order = np.sort(np.append(np.arange(len(reports.time_s)), np.arange(rows.start, rows.stop)))
    return reports.take(order), (rows.start, rows.stop - 1)


def _stale_burst(
    reports: Reports, _model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    """Values of thirty older records of the day under the times of thirty new ones."""
    n = len(reports.time_s)
    start = int(random.integers(1, n - BURST)) if n > 2 * BURST else 1
    count = min(BURST, n - start)
    before = int(np.searchsorted(reports.time_s, reports.time_s[start] - BURST_AGE_S))
    old = np.clip(np.arange(count) + max(before - count, 0), 0, start - 1)
    stale = reports.take(old)
    for name, values in vars(reports).items():
        if name != "time_s":
            values[start : start + count] = getattr(stale, name)
    return reports, (start, start + count - 1)


def _odometer_zero(
    reports: Reports, _model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    rows = _run(reports, random, 10)
    reports.odometer_m[rows] = 0.0
    return reports, (rows.start, rows.stop - 1)


def _nonsense(
    reports: Reports, model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    rows = _run(reports, random, 2)
    reports.cells_mv[rows] = 0
    reports.cells_mv[rows, random.integers(0, model.series, 4)] = 4200
    reports.probes_degc[rows] = NO_DEGC
    reports.probes_degc[rows, 0] = NONSENSE_DEGC
    reports.pack_current_a[rows] = NONSENSE_A
    reports.odometer_m[rows] += NONSENSE_M
    return reports, (rows.start, rows.stop - 1)


def _frozen(
    reports: Reports, _model: VehicleModel, random: np.random.Generator
) -> tuple[Reports, tuple[int, int]]:
    rows = _run(reports, random, 12)
    for name, values in vars(reports).items():
        if name != "time_s":
            values[rows] = values[rows.start - 1]
    return reports, (rows.start, rows.stop - 1)


KINDS: dict[str, tuple[float, Spoil]] = {
    "module_dropout": (0.004, _module_dropout),
    "zero_row": (0.004, _zero_row),
    "probe_sentinel": (0.004, _probe_sentinel),
    "duplicate": (0.02, _duplicate),
    "stale_burst": (0.001, _stale_burst),
    "odometer_zero": (0.004, _odometer_zero),
    "nonsense": (0.001, _nonsense),
    "frozen": (0.004, _frozen),
}
"""Runs per vehicle and day of each kind, and what makes them."""


def dirtied(
    reports: Reports,
    vehicle: int,
    model: VehicleModel,
    random: np.random.Generator,
    *,
    rate: float = 1.0,
) -> tuple[Reports, list[Dirt]]:
    """A day's records with dirt at `rate` times the table's, and where it is."""
    found = []
    draws = random.random(len(KINDS))
    for draw, (kind, (per_day, spoil)) in zip(draws.tolist(), KINDS.items(), strict=True):
        if draw >= per_day * rate or len(reports.time_s) < LEAST_ROWS:
            continue
        reports, (first, last) = spoil(reports, model, random)
        times = reports.time_s
        found.append(Dirt(kind, vehicle, int(times[first]), int(times[last]), last - first + 1))
    return reports, found
