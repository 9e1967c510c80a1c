"""Draw the pictures of docs/battery.md; needs matplotlib and the recordings of the tests.

    VRC_SHARED_DATA=... python docs/make_battery_pictures.py [car3 soh runaway]

Writes docs/battery-car3.png, docs/battery-soh.png and docs/battery-runaway.png.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from openvrc.contracts.detection import Finding  # noqa: E402
from openvrc.contracts.units import NS_PER_S, ns_from_iso  # noqa: E402
from openvrc.detectors.battery.view import ordered  # noqa: E402
from openvrc.detectors.battery_health.health import BatteryHealth  # noqa: E402
from simulator.energy.faults import drawn_fault  # noqa: E402
from simulator.energy.fleet import Fleet, FleetParameters  # noqa: E402
from simulator.fleet.make import first_day_ns  # noqa: E402
from tests.bench.battery_fleet import CONTEXT, batch_of, rules  # noqa: E402
from tests.bench.battery_injected import Recording  # noqa: E402
from tests.bench.battery_yardstick import profile_of  # noqa: E402

DAY_NS = 86_400 * NS_PER_S
REST_A, LOAD_A = 5.0, 10.0
WEAK, RESISTIVE = (81, 2), (10, 76, 63, 52)
COLOURS = ("tab:red", "tab:orange", "tab:purple", "tab:blue")


def findings_of(batches: Sequence[Any]) -> list[Finding]:
    """What all battery rules say of these frames."""
    found = rules()
    states: dict[str, Any] = {name: rule.initial(CONTEXT) for name, rule in found.items()}
    told: list[Finding] = []
    for batch in batches:
        for name, rule in found.items():
            states[name], new = rule.update(states[name], batch)
            told += new
    return [f for f in told if f.phase == "raise"]


def car3() -> None:
    """Each cell's day: deviation at rest, and resistance above its mates'; when it was told."""
    batch = Recording.of("car3").batch
    told = findings_of([batch.slice(at, 5000) for at in range(0, batch.n_rows, 5000)])
    view = ordered(batch)
    deviation = view.cells_v - view.median_v[:, None]
    start_ns = int(view.at_ns[0])
    day = (view.at_ns - start_ns) // DAY_NS
    days = np.unique(day)
    rest = np.abs(view.current_a) < REST_A
    at_rest = np.full((len(days), deviation.shape[1]), np.nan)
    ohm = at_rest.copy()
    for place, number in enumerate(days):
        resting, all_day = rest & (day == number), (day == number) & ~np.isnan(view.current_a)
        if resting.sum() >= 20:
            at_rest[place] = np.nanmedian(deviation[resting], axis=0)
        amps = view.current_a[all_day].astype(float)
        spread = amps - amps.mean()
        if (spread**2).sum() > 3e5:
            own = np.nan_to_num(deviation[all_day])
            slope = -(spread @ (own - own.mean(axis=0))) / (spread**2).sum()
            ohm[place] = slope - np.median(slope)
    figure, axes = plt.subplots(2, 1, figsize=(11, 7), sharex=True)
    for axis, values, scale, cells in (
        (axes[0], at_rest, 1e3, WEAK),
        (axes[1], ohm, 1e6, RESISTIVE),
    ):
        axis.plot(days + 0.5, values * scale, color="0.8", lw=0.6)
        for cell, colour in zip(cells, COLOURS, strict=False):
            axis.plot(days + 0.5, values[:, cell - 1] * scale, color=colour, label=f"cell {cell}")
    axes[0].set_ylabel("at rest: cell - pack's median, mV")
    axes[1].set_ylabel("resistance above the pack's median, uohm")
    axes[1].set_xlabel("days since 2019-04-15")
    _mark(axes[0], told, "battery.self_discharge", WEAK, start_ns)
    _mark(axes[1], told, "battery.connection", RESISTIVE, start_ns)
    bms_ns = ns_from_iso("2019-04-20T00:00:00Z")
    for axis in axes:
        axis.axvline((bms_ns - start_ns) / DAY_NS, color="k", ls=":", label="BMS alarm, level 3")
        axis.legend(loc="lower right", ncols=3, fontsize=8)
    axes[0].set_title("car3, a real car of 87 cells: triangles are our alerts", pad=16)
    save(figure, "battery-car3.png")


def _mark(
    axis: plt.Axes, told: list[Finding], rule: str, cells: Sequence[int], start_ns: int
) -> None:
    """A triangle on the upper edge where a cell was named."""
    for place, (cell, colour) in enumerate(zip(cells, COLOURS, strict=False)):
        at = [f.at_ns for f in told if f.rule == rule and f.component == f"cell:{cell}"]
        for at_ns in at[:1]:
            axis.plot(
                (at_ns - start_ns) / DAY_NS, 1.02 + 0.035 * place, "v", color=colour, ms=8,
                clip_on=False,
                transform=axis.get_xaxis_transform(),
            )  # fmt: skip


def soh() -> None:
    """A simulated fleet's packs after forty days: measured with its interval beside the truth."""
    start_ns = first_day_ns("2026-03-01")
    parameters = FleetParameters(vehicles=36, days=40, seed=77, start_ns=start_ns)
    fleet, health, true_soh = Fleet(parameters), BatteryHealth(), {}
    health.fold(profile_of(fleet))
    for _ in range(parameters.days):
        day = fleet.run_day()
        for who, reports, _dirt in day.reports:
            if len(reports.time_s):
                health.fold(batch_of(who.vehicle_id, reports, start_ns))
        ids = [v.vehicle_id for v in fleet.vehicles]
        true_soh = dict(zip(ids, day.health.soh_ratio.tolist(), strict=True))
    rows = [r for r in health.rows() if r.soh_low_ratio is not None and r.soh_ratio]
    rows.sort(key=lambda row: true_soh[row.vehicle_id])
    true = np.array([100 * true_soh[row.vehicle_id] for row in rows])
    own = np.array([100 * (row.soh_ratio or 0) for row in rows])
    low = np.array([100 * (row.soh_low_ratio or 0) for row in rows])
    high = np.array([100 * (row.soh_high_ratio or 0) for row in rows])
    chemistry = {v.vehicle_id: v.model.chemistry for v in fleet.vehicles}
    is_lfp = np.array([chemistry[row.vehicle_id] == "lfp" for row in rows])
    place = np.arange(len(rows))
    figure, axis = plt.subplots(figsize=(11, 4.5))
    for mine, colour, label in ((~is_lfp, "tab:blue", "NMC"), (is_lfp, "tab:green", "LFP")):
        axis.errorbar(
            place[mine], own[mine], [(own - low)[mine], (high - own)[mine]],
            fmt="o", ms=4, lw=1, color=colour, label=f"{label}, measured, 90 % interval",
        )  # fmt: skip
    axis.plot(place, true, "k_", ms=9, mew=2, label="true")
    error = own - true
    inside = np.mean((low <= true) & (true <= high))
    axis.set_title(
        f"{len(rows)} of {parameters.vehicles} packs, {parameters.days} days: RMSE "
        f"{np.sqrt(np.mean(error**2)):.2f} points, the interval holds {100 * inside:.0f} %"
    )
    axis.set_xlabel("packs in the order of their true health")
    axis.set_ylabel("state of health, %")
    axis.legend(loc="upper left")
    save(figure, "battery-soh.png")


def runaway() -> None:
    """A sudden internal short that ends in a runaway, and what is told when."""
    start_ns = first_day_ns("2026-03-02")
    fleet = Fleet(FleetParameters(vehicles=8, days=2, seed=5, start_ns=start_ns, dirt_rate=0.0))
    vehicle = next(v for v in fleet.vehicles if v.model.chemistry == "nmc")
    fault = drawn_fault(
        "internal_short", vehicle.number, vehicle.model, from_s=30 * 3600.0,
        random=np.random.default_rng(3), cell=40, severity=0.7,
    )  # fmt: skip
    fault.detail["runaway_after_s"] = 2700
    fleet.strike(fault)
    batches = []
    for _ in range(2):
        for who, reports, _dirt in fleet.run_day().reports:
            if who.number == vehicle.number and len(reports.time_s):
                batches.append(batch_of(who.vehicle_id, reports, start_ns))
    told = findings_of(batches)
    zero_ns = start_ns + round(fault.from_s) * NS_PER_S
    views = [ordered(batch) for batch in batches]

    def all_of(name: str) -> Any:
        return np.concatenate([getattr(view, name) for view in views])

    minutes = (all_of("at_ns") - zero_ns) / NS_PER_S / 60
    near = (minutes > -15) & (minutes < 75)
    minutes = minutes[near]
    cells_v, median_v = all_of("cells_v")[near], all_of("median_v")[near]
    insulation = np.concatenate([view.scalar("insulation_ohm") for view in views])[near]
    figure, axes = plt.subplots(4, 1, figsize=(11, 8.5), sharex=True)
    deviation_mv = 1e3 * (cells_v - median_v[:, None])
    axes[0].plot(minutes, deviation_mv, ".", ms=1, color="0.8")
    axes[0].plot(minutes, deviation_mv[:, 39], ".", ms=3, color="tab:red", label="cell 40")
    axes[0].set_ylim(-35, 15)
    axes[1].plot(minutes, cells_v, lw=0.6, color="0.7")
    axes[1].plot(minutes, cells_v[:, 39], "tab:red", label="cell 40")
    axes[2].plot(minutes, all_of("hottest_degc")[near], "tab:red", label="hottest probe")
    axes[2].plot(minutes, all_of("median_degc")[near], "tab:blue", label="middle probe")
    axes[3].semilogy(minutes, insulation / 1e3, "tab:green", label="insulation")
    texts = ("cell - pack's median, mV", "cells, V", "degC", "kohm")
    for axis, text in zip(axes, texts, strict=True):
        axis.set_ylabel(text)
        axis.axvline(0, color="k", ls=":")
        axis.axvline(fault.detail["runaway_after_s"] / 60, color="k", ls="--")
        axis.legend(loc="lower left", fontsize=8)
    axes[3].set_xlabel("minutes since the short (dotted); dashed: runaway; triangles: our alerts")
    _name_alerts(axes[0], told, zero_ns)
    save(figure, "battery-runaway.png")


def _name_alerts(axis: plt.Axes, told: list[Finding], zero_ns: int) -> None:
    """A triangle at the first alert of each rule, and all of them in words."""
    first: dict[str, Finding] = {}
    for finding in sorted(told, key=lambda f: f.at_ns):
        if finding.at_ns >= zero_ns:
            first.setdefault(finding.rule, finding)
    lines = []
    for rule, finding in first.items():
        minute = (finding.at_ns - zero_ns) / NS_PER_S / 60
        lines.append(
            f"{minute:5.1f} min  {rule.split('.')[1]} {finding.component}, {finding.severity.word}"
        )
        axis.plot(
            minute, 1.0, "v", color="tab:red", ms=8, clip_on=False,
            transform=axis.get_xaxis_transform(),
        )  # fmt: skip
    axis.set_title("\n".join(lines), loc="left", fontsize=8, family="monospace")


def save(figure: plt.Figure, name: str) -> None:
    """Into docs/."""
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / name, dpi=80)


if __name__ == "__main__":
    pictures = {"car3": car3, "soh": soh, "runaway": runaway}
    for chosen in sys.argv[1:] or pictures:
        pictures[chosen]()
