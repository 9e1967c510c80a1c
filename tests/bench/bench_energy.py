"""What the energy model costs and how near it is to its references; prints one table.

    python -m tests.bench.bench_energy [--vehicles 1000] [--days 4]

CPU time of this process; another process on the core makes it up to a third worse.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.energy import cell, day
from simulator.energy.chemistry import chemistry_code
from simulator.energy.fleet import Fleet, FleetParameters
from simulator.energy.prepare import prepared
from simulator.fleet.make import first_day_ns, make
from simulator.replay import open_recording
from simulator.world import unpaced

FloatArray = NDArray[np.float64]
HERE = Path(__file__).parent
START_NS = first_day_ns("2026-01-01")
REPEATS = 40


def say(text: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def us06_errors_mv() -> dict[str, float]:
    """RMSE of each US06 trace by "temperature_charge"."""
    errors = {}
    with np.load(HERE / "pybamm_us06.npz") as data:
        time_s, current_a = data["time_s"], data["current_a"].astype(np.float64)
        for name in data:
            if name.startswith("voltage_v_"):
                label = name.removeprefix("voltage_v_")
                degc, soc = map(float, label.split("_"))
                found = terminal_v(time_s, current_a, soc, degc)
                errors[label] = 1e3 * float(np.sqrt(np.mean((found - data[name][1:]) ** 2)))
    return errors


def terminal_v(time_s: FloatArray, current_a: FloatArray, soc: float, degc: float) -> FloatArray:
    """Voltage at each time but the first; the current is linear between its samples."""
    one = np.ones(1)
    arrays = cell.cells_of(np.array([chemistry_code("nmc")]), one, one)
    state = cell.rested(arrays, one * soc, one * degc)
    result = []
    for before, after, dt_s in zip(current_a[:-1], current_a[1:], np.diff(time_s), strict=True):
        state = cell.step(
            state,
            np.array([0.5 * (before + after)], np.float32),
            np.array([dt_s], np.float32),
            arrays,
            cooling_w_per_k=np.array([0.074], np.float32),
            surroundings_degc=np.array([degc], np.float32),
        )
        transfer = cell.kinetics(state.temperature_degc, arrays)
        drop = arrays.r0_ohm * np.float32(after) + state.v1_v + state.v2_v
        drop += transfer.overvoltage_v(np.array([after], np.float32))
        result.append(float(state.ocv_v[0] - drop[0]))
    return np.array(result)


def steps_per_cpu_s(n: int) -> float:
    """Vehicle-steps per CPU-second of the cell model with n vehicles in one array."""
    random = np.random.default_rng(1)
    one = np.ones(n)
    arrays = cell.cells_of(np.zeros(n, np.int64), one, one)
    state = cell.rested(arrays, random.uniform(0.3, 0.9, n), one * 20.0)
    current = random.normal(2.0, 4.0, n).astype(np.float32)
    dt_s = np.full(n, 2.0, np.float32)
    cooling, around = np.full(n, 0.01, np.float32), np.full(n, 20.0, np.float32)
    begun = time.process_time()
    for _ in range(REPEATS):
        state = cell.step(
            state, current, dt_s, arrays, cooling_w_per_k=cooling, surroundings_degc=around
        )
    return n * REPEATS / (time.process_time() - begun)


def day_steps_per_cpu_s(n: int) -> tuple[float, float]:
    """The same of a day's whole step (power, charge, BMS, heat): all busy, and a real day."""
    fleet = Fleet(FleetParameters(vehicles=n, days=1, seed=1, start_ns=START_NS))
    steps = fleet.planned_day()
    own, state = fleet.static_day().rows(steps.order), fleet.state.rows(steps.order)
    ambient = np.full(steps.mode.shape, 10.0, np.float32)
    ready = prepared(own, steps, fleet.traces, ambient)
    busy = day.Busy(state.cell, state.believed_ratio, np.zeros(n, np.int64))
    begun = time.process_time()
    for _ in range(REPEATS):
        day.advanced(busy, own, ready.row(100, n))
    wide = 2 * n * REPEATS / (time.process_time() - begun)
    begun = time.process_time()
    day.run(state, own, ready)
    return wide, 2 * int((steps.dt_s > 0).sum()) / (time.process_time() - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--vehicles", type=int, default=1000)
    parser.add_argument("--days", type=int, default=4)
    asked = parser.parse_args()
    for label, error_mv in us06_errors_mv().items():
        say(f"US06 at {label} against PyBaMM SPMe: {error_mv:.1f} mV RMSE")
    for n in (1000, 8192, 100_000):
        say(f"cell model, {n} vehicles: {steps_per_cpu_s(n) / 1e6:.1f} M vehicle-steps/CPU-s")
    for n in (1000, 4000):
        wide, real = day_steps_per_cpu_s(n)
        say(
            f"whole step, {n} vehicles: {wide / 1e6:.1f} M vehicle-steps/CPU-s with all busy, "
            f"{real / 1e6:.1f} M in a day as lived"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "fleet"
        parameters = FleetParameters(
            vehicles=asked.vehicles, days=asked.days, faulty=30, seed=1, start_ns=START_NS
        )
        begun = time.process_time()
        done = make(folder, parameters)
        spent_s = time.process_time() - begun
        each = done.bytes_written / done.records
        per_day = asked.vehicles * asked.days
        say(
            f"fleet: {done.records} records, {1e6 * spent_s / done.records:.1f} us CPU and "
            f"{each:.0f} B each; 1,000 vehicles x 180 days: "
            f"{done.bytes_written / per_day * 180e3 / 1e9:.1f} GB, "
            f"{spent_s / per_day * 180e3 / 60:.0f} CPU-minutes"
        )
        begun = time.process_time()
        n_read = sum(
            batch.n_rows
            for frame in unpaced(open_recording(folder, zone="z", run_id="r"))
            for batch in frame.batches()
        )
        say(f"reading it as a world: {1e6 * (time.process_time() - begun) / n_read:.1f} us/record")


if __name__ == "__main__":
    main()
