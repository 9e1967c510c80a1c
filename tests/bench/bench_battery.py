"""The battery rules: what they find in real cars, in simulated fleets, and how fast they are.

    python -m tests.bench.bench_battery [--fleet FOLDER ...] [--injected] [--vehicles 2000]
    vrc simulate fleet --vehicles 60 --days 45 --faulty 24 --seed 1 --out FOLDER   makes a folder

One table: our figure, what a simple method reaches on the same question, what was published. Fleet
figures need folders of `vrc simulate fleet`; `--injected` takes three minutes of CPU, the others
one. Speed is CPU time of all battery rules together, frames of 96 cells and 24 probes of many
vehicles at 10 s, half of them driven, in batches of one frame a vehicle; a second one with four
times smaller batches shows what a batch costs by itself.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from openvrc.contracts.detection import Finding
from openvrc.contracts.units import iso_from_ns, ns_from_iso
from simulator.fleet.shards import read_manifest
from tests.bench import battery_injected as injected
from tests.bench import battery_soh
from tests.bench.battery_fleet import CONTEXT, judge, rules, runaways, score
from tests.bench.battery_frames import STEPS, fleet_frames, kept
from tests.support.fleet_csv import recording

WARM_UP = 8
KEPT_VEHICLES = 100_000
HEAD = f"{'':44} {'ours':>34} {'simple method':>22} {'published':>22}"


def line(what: str, ours: str, simple: str = "-", published: str = "-") -> str:
    """One row of the table."""
    return f"{what:44} {ours:>34} {simple:>22} {published:>22}"


def cpu_by_rule(n_vehicles: int) -> tuple[dict[str, float], float]:
    """CPU (us a record) of each rule, and state (bytes a vehicle) of all together."""
    found = rules()
    states: dict[str, Any] = {name: rule.initial(CONTEXT) for name, rule in found.items()}
    cpu_s = dict.fromkeys(found, 0.0)
    for step, batch in enumerate(fleet_frames(n_vehicles)):
        for name, rule in found.items():
            began_s = time.process_time()
            states[name], _ = rule.update(states[name], batch)
            if step >= WARM_UP:
                cpu_s[name] += time.process_time() - began_s
    n_records = (STEPS - WARM_UP) * n_vehicles
    state_bytes = sum(
        array.nbytes
        for name, rule in found.items()
        for array in rule.snapshot(states[name]).values()
    )
    return {n: s / n_records * 1e6 for n, s in cpu_s.items()}, state_bytes / n_vehicles


def total_cpu_us(n_vehicles: int) -> float:
    """CPU (us a record) of all rules together; the clock, which may cost a ms, is read twice."""
    found = rules()
    states: dict[str, Any] = {name: rule.initial(CONTEXT) for name, rule in found.items()}
    batches = list(fleet_frames(n_vehicles))
    for batch in batches[:WARM_UP]:
        for name, rule in found.items():
            states[name], _ = rule.update(states[name], batch)
    began_s = time.process_time()
    for batch in batches[WARM_UP:]:
        for name, rule in found.items():
            states[name], _ = rule.update(states[name], batch)
    return (time.process_time() - began_s) / ((STEPS - WARM_UP) * n_vehicles) * 1e6


def real_car(car: str) -> list[Finding]:
    """What the rules raise on a real car."""
    findings: list[Finding] = []
    found = rules()
    states: dict[str, Any] = {name: rule.initial(CONTEXT) for name, rule in found.items()}
    for batch in recording(car):
        for name, rule in found.items():
            states[name], told = rule.update(states[name], batch)
            findings += told
    return [f for f in findings if f.phase == "raise" and f.rule != "battery.bms_alarm"]


def _cells(findings: list[Finding], rule: str) -> str:
    told = sorted({(f.component, iso_from_ns(f.at_ns)[5:10]) for f in findings if f.rule == rule})
    return ", ".join(f"{component.split(':')[1]} ({day})" for component, day in told) or "none"


def print_real_cars() -> None:
    """Cells and modules of car1 and car3."""
    car3, car1 = real_car("car3"), real_car("car1")
    rows = [
        line("car3 weak cells", _cells(car3, "battery.self_discharge"), "81, 2 (day 3)"),
        line("car3 resistive cells", _cells(car3, "battery.connection"), "10 63 76 (3-4), 52"),
        line("car1 module", _cells(car1, "battery.module_offset"), "needs a group test"),
        line("car1 cells", _cells(car1, "battery.self_discharge"), "none"),
        line(
            "thermal alarms on 116,666 real frames",
            str(sum(f.rule == "battery.thermal_event" for f in car3 + car1)),
            "0",
        ),
    ]
    print("\n".join(rows))  # noqa: T201


def print_fleet(folder: Path) -> None:
    """F1 and what belongs to it for one folder."""
    verdict = judge(folder)
    truth = json.loads((folder / "ground_truth.json").read_text())
    manifest = read_manifest(folder)
    result = score(verdict, truth, ns_from_iso(f"{manifest['shards'][-1]}T20:00:00Z"))
    fires = runaways(folder, verdict, truth)
    healthy = manifest["parameters"]["vehicles"] - len(truth)
    # Rule of three: no event in n trials puts the rate under 3 / n with 95 % confidence.
    bound = f", rate under {3 / healthy:.3f}" if not result.false else ""
    name = f"fleet seed {manifest['parameters']['seed']}: "
    rows = [
        line(name + "F1 per vehicle", f"{result.f1:.3f}", "-", "grade A: 0.90"),
        line(name + "mode right", f"{result.mode_right}/{result.found}", "-", "'+': 0.60"),
        line(name + "cell right", f"{result.cell_right}/{result.cells_asked}"),
        line(name + "false alarms", f"{len(result.false)} of {healthy} healthy{bound}"),
        line(name + "missed", " ".join(result.missed) or "none"),
        line(name + "runaways told on their first frame", "{1} of {0}".format(*fires)),
    ]
    print("\n".join(rows))  # noqa: T201
    print_health(folder, name)


def print_health(folder: Path, name: str) -> None:
    """State of health of one folder against its truth."""
    result = battery_soh.score(
        battery_soh.fold(folder), battery_soh.truth(folder), battery_soh.models_of(folder)
    )
    rows = [
        line(
            name + "SoH, RMSE of a vehicle",
            f"{result.rmse:.2f} points, worst {result.worst:.1f}",
            "1.8 real cars",
            "1.05 to 1.82",
        ),
        line(name + "90 % interval holds", f"{100 * result.covered:.0f} %"),
    ]
    print("\n".join(rows))  # noqa: T201


def print_injected() -> None:
    """Leaks and resistance put into sound cells of real and simulated cars."""
    leaks = {k: ("self_discharge", (1000.0, 3000.0)[k % 2]) for k in range(12)}
    simulated = injected.simulated(leaks, vehicles=24, days=60, seed=501)
    one = [f for f in simulated if " 1000 ohm" in f.where]
    three = [f for f in simulated if " 3000 ohm" in f.where]
    loose = dict.fromkeys(range(6), ("connection", 1e-4))
    for what, found, simple in (
        ("car3: 1 kohm", injected.car3_leaks(1000.0), "0.8 %, 11.5 days"),
        ("simulated: 1 kohm", one, "0.8 %, 11.5 days"),
        ("simulated: 3 kohm", three, "0.7 %, 28 days"),
        ("car3 at 30 s: +0.1 mohm", injected.car3_connections(1e-4), "found"),
        ("simulated at 30 s: +0.1 mohm", injected.simulated(
            loose, vehicles=12, days=40, seed=502, every=3)[:-1], "found"),
        ("car1 repeated, 1 s: +0.02 mohm", injected.car1_connections(2e-5), "found"),
    ):  # fmt: skip
        print(line(what, _of_injected(found), simple))  # noqa: T201
    false = [*simulated[-1].false_cells, *(c for f in simulated for c in f.false_cells)]
    print(line("simulated cars: false cells", ", ".join(false) or "none", "none"))  # noqa: T201


def _of_injected(found: list[injected.Found]) -> str:
    days = [f.day for f in found if f.day is not None]
    lost = sorted(100 * f.lost_ratio for f in found if f.lost_ratio is not None)
    by = f", {lost[len(lost) // 2]:.2f} % lost (most {lost[-1]:.2f})" if lost else ""
    middle = f", day {sorted(days)[len(days) // 2]:.0f}" if days else ""
    return f"{len(days)} of {len(found)}{middle}{by}"


def print_speed(n_vehicles: int) -> None:
    """Records per CPU-second through all battery rules."""
    for n in (n_vehicles, n_vehicles // 4):
        cpu_us, state_bytes = cpu_by_rule(n)
        total_us = total_cpu_us(n)
        worst = ", ".join(
            f"{name.split('.')[1]} {us:.2f}"
            for name, us in sorted(cpu_us.items(), key=lambda item: -item[1])[:3]
        )
        print(line(f"records per CPU-second, batches of {n}", f"{1e6 / total_us:,.0f}"))  # noqa: T201
        print(line("  CPU per record", f"{total_us:.2f} us ({worst})"))  # noqa: T201
        print(line("  state per 100,000 vehicles", f"{state_bytes * 1e5 / 1e9:.2f} GB"))  # noqa: T201


def print_kept() -> None:
    """State of a large fleet and its checkpoint."""
    of = kept(KEPT_VEHICLES)
    print(line(f"state of {KEPT_VEHICLES:,} vehicles", f"{of.state_bytes / 1e9:.2f} GB"))  # noqa: T201
    size = f"{of.checkpoint_bytes / 1e9:.2f} GB"
    print(line("  checkpoint (CPU)", f"{of.checkpoint_s:.1f} s, {size}"))  # noqa: T201
    print(line("  restore (CPU)", f"{of.restore_s:.1f} s"))  # noqa: T201


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fleet", type=Path, nargs="*", default=[])
    parser.add_argument("--vehicles", type=int, default=2000)
    parser.add_argument("--injected", action="store_true")
    chosen = parser.parse_args()
    print(HEAD)  # noqa: T201
    print_real_cars()
    for folder in chosen.fleet:
        print_fleet(folder)
    if chosen.injected:
        print_injected()
    print_speed(chosen.vehicles)
    print_kept()


if __name__ == "__main__":
    main()
