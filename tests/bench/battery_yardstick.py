"""The yardstick: a fleet of `vrc simulate fleet` through all battery rules as it is produced.

    python -m tests.bench.battery_yardstick --seed 7001 --out FOLDER [--vehicles 1000 --days 180]
        [--faulty 30] [--shuffled 200] [--health] [--sound N] [--stop-after-days N]

The fleet is the command's own, day by day, but its days go to the rules without a file: 8 GB a
fleet would be written only to be read once. A day's batches hold one model's vehicles, 48 at a
time. `--shuffled N` tells all faulty and N sound vehicles a second time to rules of their own, in
another order of vehicles, in order of time and in batches cut elsewhere. `--sound N` lets all
faulty and the first N sound vehicles of the fleet move while the others stay parked: what is found
is known after a fraction of the time, and false alarms are those of N vehicles.

FOLDER holds `findings.jsonl` (every finding), `months.jsonl` (a verdict each 30 days and at the
end) and `state.pickle`, from which the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Finding, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.view import CHARGING_STATES
from openvrc.detectors.battery_health.health import BatteryHealth
from simulator.energy.fleet import Fleet, FleetParameters
from simulator.energy.reports import Reports
from simulator.energy.telling import Vehicle
from simulator.fleet.make import NS_PER_DAY, first_day_ns, profiles, truth_json
from tests.bench import battery_soh
from tests.bench.battery_fleet import CONTEXT, Verdict, rules, score

DAYS_A_MONTH = 30
VEHICLES_A_BATCH, SHUFFLED_A_BATCH = 48, 31
BOUND_95 = 3.0
"""Rule of three: no event in n trials puts the rate under 3 / n with 95 % confidence."""

Told = tuple[Vehicle, Reports]
PARTS = ("simulator", "rules", "shuffled", "health")


@dataclass
class Run:
    """A yardstick as far as it came: all of it is kept and taken up again."""

    fleet: Fleet
    states: dict[str, Any]
    shuffled: dict[str, Any] | None
    shuffled_ids: frozenset[str]
    health: BatteryHealth | None
    n_records: int = 0
    findings: list[Finding] = field(default_factory=list)
    shuffled_findings: list[Finding] = field(default_factory=list)
    first_frame_ns: dict[str, int] = field(default_factory=dict)
    """First frame of each runaway."""
    soh: dict[str, float] = field(default_factory=dict)
    """True SoH at the last day's end."""
    cpu_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))


def begun(
    parameters: FleetParameters, n_sound: int | None, n_shuffled: int, *, with_health: bool
) -> Run:
    """A run before its first day."""
    fleet = Fleet(parameters)
    if n_sound is not None:
        fleet.only = frozenset(
            [v.number for v in fleet.vehicles if v.fault is not None]
            + [v.number for v in fleet.vehicles if v.fault is None][:n_sound]
        )
    faulty = [v.vehicle_id for v in fleet.vehicles if v.fault is not None]
    sound = [v.vehicle_id for v in fleet.vehicles if v.fault is None]
    found = rules()
    run = Run(
        fleet,
        {name: rule.initial(CONTEXT) for name, rule in found.items()},
        {name: rule.initial(CONTEXT) for name, rule in found.items()} if n_shuffled else None,
        frozenset([*faulty, *sound[:n_shuffled]] if n_shuffled else ()),
        BatteryHealth() if with_health else None,
    )
    profile = profile_of(fleet)
    if run.health is not None:
        run.health.fold(profile)
    for states in (run.states, run.shuffled):
        for name, rule in found.items():
            if states is not None and "vehicle_profile" in rule.inputs:
                states[name], _ = rule.update(states[name], profile)
    return run


def profile_of(fleet: Fleet) -> Batch:
    """The fleet's profiles as a batch."""
    columns = profiles(fleet.vehicles).to_pydict()
    ids = columns.pop("vehicle_id")
    return from_columns(
        "vehicle_profile",
        zone="fleet",
        run_id="bench",
        origin="simulated",
        n_rows=len(ids),
        columns={"subject_id": ids, "source_id": ids, "sampled_at_ns": 1, **columns},
    )


def take_a_day(run: Run) -> None:
    """Simulate the next day and fold it."""
    began_s = time.process_time()
    day = run.fleet.run_day()
    told = [(vehicle, reports) for vehicle, reports, _ in day.reports]
    run.soh = {
        v.vehicle_id: float(soh)
        for v, soh in zip(run.fleet.vehicles, day.health.soh_ratio, strict=True)
    }
    run.cpu_s["simulator"] += time.process_time() - began_s
    _note_first_frames(run, told)
    start_ns = run.fleet.parameters.start_ns
    for batch in _batches(told, start_ns, VEHICLES_A_BATCH):
        run.n_records += batch.n_rows
        run.findings += _update(run, "rules", run.states, batch)
        if run.health is not None:
            began_s = time.process_time()
            run.health.fold(batch)
            run.cpu_s["health"] += time.process_time() - began_s
    if run.shuffled is not None:
        again = [t for t in told if t[0].vehicle_id in run.shuffled_ids]
        order = np.random.default_rng([2, day.number]).permutation(len(again))
        again = [again[i] for i in order.tolist()]
        for batch in _batches(again, start_ns, SHUFFLED_A_BATCH, by_time=True):
            run.shuffled_findings += _update(run, "shuffled", run.shuffled, batch)


def _update(run: Run, part: str, states: dict[str, Any], batch: Batch) -> list[Finding]:
    began_s = time.process_time()
    findings: list[Finding] = []
    for name, rule in rules_once().items():
        states[name], told = rule.update(states[name], batch)
        findings += told
    run.cpu_s[part] += time.process_time() - began_s
    return findings


_RULES: dict[str, Any] = {}


def rules_once() -> dict[str, Any]:
    """All battery rules, looked for once."""
    if not _RULES:
        _RULES.update(rules())
    return _RULES


def _note_first_frames(run: Run, told: list[Told]) -> None:
    start_ns = run.fleet.parameters.start_ns
    for vehicle, reports in told:
        fault = vehicle.fault
        if fault is None or "cell_every_s" not in fault.detail:
            continue
        from_s = fault.from_s + fault.detail.get("runaway_after_s", 0)
        after = reports.time_s[reports.time_s >= from_s]
        if len(after) and vehicle.vehicle_id not in run.first_frame_ns:
            run.first_frame_ns[vehicle.vehicle_id] = start_ns + int(after.min()) * NS_PER_S


def _batches(
    told: list[Told], start_ns: int, size: int, *, by_time: bool = False
) -> Iterator[Batch]:
    by_model: dict[str, list[Told]] = {}
    for vehicle, reports in told:
        by_model.setdefault(vehicle.model.name, []).append((vehicle, reports))
    for group in by_model.values():
        for start in range(0, len(group), size):
            yield _batch(group[start : start + size], start_ns, by_time=by_time)


def _batch(group: list[Told], start_ns: int, *, by_time: bool) -> Batch:
    counts = [len(reports.time_s) for _, reports in group]
    time_s = np.concatenate([reports.time_s for _, reports in group])
    order = np.argsort(time_s, kind="stable") if by_time else np.arange(len(time_s))
    ids = [vehicle.vehicle_id for vehicle, _ in group]
    who = [ids[i] for i in np.repeat(np.arange(len(group)), counts)[order].tolist()]

    def joined(name: str) -> Any:
        return np.concatenate([getattr(reports, name) for _, reports in group])[order]

    def listed(name: str, scale: float) -> tuple[Any, Any]:
        values = joined(name)
        flat = values.ravel().astype(np.float32) * np.float32(scale)
        return flat, np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]

    return from_columns(
        "battery_state",
        zone="fleet",
        run_id="bench",
        origin="simulated",
        n_rows=len(time_s),
        columns={
            "subject_id": who,
            "source_id": who,
            "id_kind": "permanent",
            "lateness": 0,
            "sampled_at_ns": start_ns + time_s[order].astype(np.int64) * NS_PER_S,
            "cell_voltages_v": listed("cells_mv", 1e-3),
            "probe_temperatures_degc": listed("probes_degc", 1.0),
            "charging_state": [CHARGING_STATES[c] for c in joined("charging_state").tolist()],
            "vehicle_speed_mps": joined("speed_mps"),
            "bms_alarm_level": joined("alarm_level").astype(np.int64),
            "bms_alarm_bits": joined("alarm_bits").astype(np.int64),
            **{
                name: joined(name)
                for name in (
                    *("pack_voltage_v", "pack_current_a", "soc_ratio", "soh_ratio"),
                    *("insulation_ohm", "odometer_m"),
                )
            },
        },
    )


# --- what it comes to


def verdict(run: Run, days: int) -> dict[str, Any]:
    """Figures after so many days."""
    parameters = run.fleet.parameters
    truth = json.loads(truth_json(run.fleet, parameters.start_ns))
    until_ns = parameters.start_ns + days * NS_PER_DAY
    result = score(Verdict(run.findings), truth, until_ns)
    moving = parameters.vehicles if run.fleet.only is None else len(run.fleet.only)
    healthy = moving - len(truth)
    thermal = {(f.subject_id, f.at_ns) for f in run.findings if f.rule == "battery.thermal_event"}
    figures: dict[str, Any] = {
        "seed": parameters.seed,
        "days": days,
        "records": run.n_records,
        "f1": round(result.f1, 4),
        "faulty_so_far": result.found + len(result.missed),
        "found": result.found,
        "mode_right": result.mode_right,
        "cell_right": f"{result.cell_right} of {result.cells_asked}",
        "missed": [_described(truth, vehicle) for vehicle in result.missed],
        "false": [f"{v}: {_rules_of(run, v)}" for v in result.false],
        "healthy": healthy,
        "false_rate_under": round(_bound(len(result.false), healthy), 5),
        "runaways_on_first_frame": f"{sum(r in thermal for r in run.first_frame_ns.items())} of "
        f"{len(run.first_frame_ns)}",
        "shuffled_differ": _differing(run),
        "us_a_record": {p: round(s / run.n_records * 1e6, 2) for p, s in run.cpu_s.items()},
        "cpu_s": round(sum(run.cpu_s.values())),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    return figures | _health(run)


def _bound(events: int, trials: int) -> float:
    """Upper 95 % bound of a rate; beyond none by Wilson's interval, one-sided."""
    if events == 0:
        return BOUND_95 / max(trials, 1)
    z, p = 1.645, events / trials
    middle = p + z * z / (2 * trials)
    return float(
        (middle + z * np.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2)))
        / (1 + z * z / trials)
    )


def _described(truth: list[dict[str, Any]], vehicle: str) -> str:
    fault = next(f for f in truth if f["subject_id"] == vehicle)
    detail = fault["detail"]
    begin = f"from {fault['from'][:10]}"
    how = detail.get("how", "")
    return f"{vehicle} {detail['mode']} {detail['severity']:.4g} {detail['unit']} {how} {begin}"


def _rules_of(run: Run, vehicle: str) -> str:
    told = {
        f"{f.rule} {f.component} {iso_from_ns(f.at_ns)[:10]}"
        for f in run.findings
        if f.subject_id == vehicle and f.phase == "raise" and f.severity >= Severity.WARNING
    }
    return ", ".join(sorted(told))


def _differing(run: Run) -> int | None:
    """Findings that the other order has and this one not, or the other way."""
    if run.shuffled is None:
        return None
    kept = [f for f in run.findings if f.subject_id in run.shuffled_ids]
    return len({_key(f) for f in kept} ^ {_key(f) for f in run.shuffled_findings})


def _key(f: Finding) -> tuple[Any, ...]:
    return (f.rule, f.subject_id, f.component, f.phase, f.at_ns, int(f.severity))


def _health(run: Run) -> dict[str, Any]:
    models = {v.vehicle_id: v.model.name for v in run.fleet.vehicles}
    figures: dict[str, Any] = {}
    rows = [] if run.health is None else run.health.rows()
    for name in ("all", *sorted(set(models.values()))):
        mine = [row for row in rows if name in ("all", models.get(row.vehicle_id))]
        kept = [r for r in mine if r.soh_method in battery_soh.MEASURED and r.soh_ratio]
        error = np.array([100 * ((r.soh_ratio or 0) - run.soh[r.vehicle_id]) for r in kept])
        half = np.array([50 * ((r.soh_high_ratio or 0) - (r.soh_low_ratio or 0)) for r in kept])
        if kept:
            figures[name] = {
                "vehicles": f"{len(kept)} of {len(mine)}",
                "rmse": round(float(np.sqrt(np.mean(error**2))), 2),
                "bias": round(float(error.mean()), 2),
                "worst": round(float(np.abs(error).max()), 1),
                "covered": round(float(np.mean(np.abs(error) <= half)), 3),
            }
    return {"soh": figures} if figures else {}


# --- the run


def _save(run: Run, path: Path) -> None:
    waiting = path.with_suffix(".part")
    with waiting.open("wb") as file:
        pickle.dump(run, file, protocol=pickle.HIGHEST_PROTOCOL)
    waiting.replace(path)


def _write_findings(run: Run, path: Path) -> None:
    lines = (
        json.dumps(
            {
                "rule": f.rule, "vehicle": f.subject_id, "component": f.component,
                "at": iso_from_ns(f.at_ns), "phase": f.phase, "severity": f.severity.word,
                "text": f.evidence.get("text", ""),
            }
        )
        for f in run.findings
    )  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Go on with the run in the folder, or begin it; a line of figures each month."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vehicles", type=int, default=1000)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--faulty", type=int, default=30)
    parser.add_argument("--start", default="2026-01-01")
    parser.add_argument("--shuffled", type=int, default=0)
    parser.add_argument("--health", action="store_true", help="state of health, too")
    parser.add_argument("--sound", type=int, help="of the sound vehicles only so many move")
    parser.add_argument("--stop-after-days", type=int)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    kept = chosen.out / "state.pickle"
    if kept.exists():
        run: Run = pickle.loads(kept.read_bytes())
    else:
        parameters = FleetParameters(
            vehicles=chosen.vehicles,
            days=chosen.days,
            faulty=chosen.faulty,
            seed=chosen.seed,
            start_ns=first_day_ns(chosen.start),
        )
        run = begun(parameters, chosen.sound, chosen.shuffled, with_health=chosen.health)
    last = min(chosen.days, chosen.stop_after_days or chosen.days)
    while (days := run.fleet.day_number) < last:
        take_a_day(run)
        days += 1
        if days % DAYS_A_MONTH == 0 or days == last:
            text = json.dumps(verdict(run, days))
            with (chosen.out / "months.jsonl").open("a") as file:
                file.write(text + "\n")
            print(text, flush=True)  # noqa: T201
            _write_findings(run, chosen.out / "findings.jsonl")
            _save(run, kept)


if __name__ == "__main__":
    main()
