"""Draw the pictures of docs/energy.md; needs matplotlib, which nothing else here does.

    python docs/make_energy_pictures.py

Writes docs/energy-us06.png, docs/energy-week.png and docs/energy-faults.png.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from simulator.energy.faults import drawn_fault  # noqa: E402
from simulator.energy.fleet import Fleet, FleetParameters  # noqa: E402
from simulator.fleet.make import first_day_ns  # noqa: E402
from tests.bench.bench_energy import terminal_v  # noqa: E402

START_NS = first_day_ns("2026-01-05")
HOUR_S = 3600.0


def us06() -> None:
    """The model beside PyBaMM on the cycle it was not fitted to."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 5.5), sharex=True)
    with np.load(ROOT / "tests" / "bench" / "pybamm_us06.npz") as data:
        time_s, current_a = data["time_s"], data["current_a"].astype(float)
        for column, label in enumerate(("0_0.80", "25_0.80")):
            degc, soc = map(float, label.split("_"))
            expected = data[f"voltage_v_{label}"][1:]
            found = terminal_v(time_s, current_a, soc, degc)
            top, bottom = axes[:, column]
            top.plot(time_s[1:], expected, "k", lw=1.4, label="PyBaMM SPMe")
            top.plot(time_s[1:], found, "tab:orange", lw=0.8, label="this model")
            top.set_title(f"US06, {degc:.0f} degC, from {soc:.0%}")
            bottom.plot(time_s[1:], 1e3 * (found - expected), lw=0.7)
            bottom.axhline(0, color="k", lw=0.5)
            bottom.set_xlabel("s")
    axes[0, 0].legend()
    axes[0, 0].set_ylabel("V")
    axes[1, 0].set_ylabel("error, mV")
    save(figure, "energy-us06.png")


def records(fleet: Fleet, days: int) -> dict[int, dict[str, np.ndarray]]:
    """All records of every vehicle over some days."""
    found: dict[int, list[dict[str, np.ndarray]]] = {}
    for _ in range(days):
        for vehicle, reports, _dirt in fleet.run_day().reports:
            found.setdefault(vehicle.number, []).append(vars(reports))
    return {
        number: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for number, parts in found.items()
    }


def week() -> None:
    """A healthy commuter's week."""
    fleet = Fleet(FleetParameters(vehicles=12, days=7, seed=3, start_ns=START_NS, dirt_rate=0.0))
    told = records(fleet, 7)
    numbers = [
        v.number
        for v in fleet.vehicles
        if v.driver.kind == "commuter" and (told[v.number]["charging_state"] == 1).sum() > 100
    ]
    record = told[numbers[0]]
    hours = record["time_s"] / HOUR_S
    deviation = record["cells_mv"].astype(float)
    deviation -= np.median(deviation, axis=1, keepdims=True)
    figure, axes = plt.subplots(4, 1, figsize=(11, 8), sharex=True)
    axes[0].plot(hours, 100 * record["soc_ratio"], ".", ms=2)
    axes[1].plot(hours, record["pack_current_a"], ".", ms=1)
    axes[2].plot(hours, record["probes_degc"].max(axis=1), ".", ms=2)
    axes[2].plot(hours, record["probes_degc"].min(axis=1), ".", ms=2)
    axes[3].plot(hours, deviation[:, ::8], ".", ms=1)
    for axis, text in zip(axes, ("SoC, %", "A", "probes, degC", "cells - median, mV"), strict=True):
        axis.set_ylabel(text)
    axes[3].set_xlabel("hours since Monday 04:00")
    axes[0].set_title(
        f"A week of a {fleet.vehicles[numbers[0]].model.name} as its terminal tells it"
    )
    save(figure, "energy-week.png")


def faults() -> None:
    """What six faults look like in the records."""
    shown = (
        ("self_discharge", 200.0), ("connection", 3e-4), ("sampling", 0.1), ("insulation", 25e3),
        ("micro_short", 0.06), ("thermal_event", 1.0),
    )  # fmt: skip
    fleet = Fleet(FleetParameters(vehicles=40, days=6, seed=5, start_ns=START_NS, dirt_rate=0.0))
    chosen = [v for v in fleet.vehicles if v.model.chemistry == "nmc"][: len(shown)]
    for vehicle, (mode, severity) in zip(chosen, shown, strict=True):
        random = np.random.default_rng(vehicle.number)
        fault = drawn_fault(
            mode, vehicle.number, vehicle.model, from_s=36 * HOUR_S, random=random, cell=40,
            severity=severity,
        )  # fmt: skip
        if mode == "sampling":
            fault = replace(fault, cells=(40, 41), detail={"how": "neighbours"})
        if mode == "micro_short":
            fault.detail["per_hour"] = 3.0
        fleet.strike(fault)
    told = records(fleet, 6)
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.5))
    for axis, vehicle, (mode, severity) in zip(axes.ravel(), chosen, shown, strict=True):
        record = told[vehicle.number]
        hours = record["time_s"] / HOUR_S
        cells = record["cells_mv"].astype(float)
        deviation = cells - np.median(cells, axis=1, keepdims=True)
        axis.set_title(f"{mode}, {severity:g}")
        if mode == "insulation":
            axis.semilogy(hours, record["insulation_ohm"], ".", ms=2)
            axis.set_ylabel("ohm")
        elif mode == "connection":
            axis.plot(record["pack_current_a"], deviation[:, 39], ".", ms=2)
            axis.set_xlabel("A")
            axis.set_ylabel("cell 40 - median, mV")
            continue
        elif mode == "thermal_event":
            near = hours > hours.max() - 0.5
            axis.plot(hours[near], record["probes_degc"][near].max(axis=1), "r.", ms=3)
            axis.set_ylabel("hottest probe, degC")
            other = axis.twinx()
            other.plot(hours[near], record["pack_voltage_v"][near], "b.", ms=2)
            other.set_ylabel("pack, V")
        else:
            axis.plot(hours, deviation[:, 39:41], ".", ms=2)
            axis.set_ylabel("cells 40, 41 - median, mV")
        axis.set_xlabel("h")
    save(figure, "energy-faults.png")


def save(figure: plt.Figure, name: str) -> None:
    """Into docs/."""
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / name, dpi=80)


if __name__ == "__main__":
    us06()
    week()
    faults()
