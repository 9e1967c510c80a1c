"""A simulated fleet's folder through all battery rules, held against its ground truth.

python -m tests.bench.battery_fleet FOLDER [--days N] [--verbose]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Context, Detector, Finding, Severity
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import NS_PER_S, iso_from_ns, ns_from_iso
from openvrc.detectors.battery.view import CHARGING_STATES
from simulator.energy.reports import Reports
from simulator.fleet.shards import read_manifest, read_shard, shard_path

ROWS = 4000
CONTEXT = Context(zone="fleet", run_id="bench", origin="simulated")
ASIDE = ("battery.bms_alarm",)
"""The BMS's own word is no finding of ours."""


def rules() -> dict[str, Detector]:
    """All battery rules."""
    found: dict[str, Detector] = discover("openvrc.detectors")
    return {name: rule for name, rule in found.items() if name.startswith("battery.")}


def profiles(folder: Path) -> Batch:
    """The fleet's profiles."""
    table = pq.read_table(folder / "vehicles.parquet").to_pydict()
    ids = table.pop("vehicle_id")
    return from_columns(
        "vehicle_profile",
        zone="fleet",
        run_id="bench",
        origin="simulated",
        n_rows=len(ids),
        columns={"subject_id": ids, "source_id": ids, "sampled_at_ns": 1, **table},
    )


def _lists(table: pa.Table, name: str, scale: float) -> tuple[Any, Any]:
    array = table.column(name).combine_chunks()
    offsets = array.offsets.to_numpy()
    values = array.values.to_numpy()[offsets[0] : offsets[-1]].astype(np.float32) * scale
    return values.astype(np.float32), (offsets - offsets[0]).astype(np.int32)


def batches(
    folder: Path, days: int | None = None, only: frozenset[str] | None = None
) -> Iterator[Batch]:
    """Frames of the fleet, day by day, each day's in order of time, as an edge would send them.

    `only` these vehicles, where given.
    """
    for date in read_manifest(folder)["shards"][:days]:
        day = read_shard(shard_path(folder, date))
        if only is not None:
            day = day.filter(pc.is_in(day.column("vehicle_id"), pa.array(sorted(only))))
        at_ns = day.column("sampled_at_ns").to_numpy()
        order = np.argsort(at_ns, kind="stable")
        for start in range(0, len(order), ROWS):
            yield _batch(day.take(pa.array(order[start : start + ROWS])).combine_chunks())


def _batch(part: pa.Table) -> Batch:
    ids = part.column("vehicle_id").to_pylist()
    plain = {
        name: part.column(name).to_numpy(zero_copy_only=False)
        for name in (
            *("pack_voltage_v", "pack_current_a", "soc_ratio", "soh_ratio", "insulation_ohm"),
            *("odometer_m", "vehicle_speed_mps", "sampled_at_ns"),
        )
    }
    whole = {
        name: part.column(name).to_numpy(zero_copy_only=False).astype(np.int64)
        for name in ("bms_alarm_level", "bms_alarm_bits")
    }
    return from_columns(
        "battery_state",
        zone="fleet",
        run_id="bench",
        origin="simulated",
        n_rows=part.num_rows,
        columns={
            "subject_id": ids,
            "source_id": ids,
            "id_kind": "permanent",
            "lateness": 0,
            "cell_voltages_v": _lists(part, "cell_voltages_mv", 1e-3),
            "probe_temperatures_degc": _lists(part, "probe_temperatures_degc", 1.0),
            "charging_state": part.column("charging_state").to_pylist(),
            **plain,
            **whole,
        },
    )


def batch_of(vehicle_id: str, reports: Reports, start_ns: int) -> Batch:
    """A simulated vehicle's frames of a day as they come from the simulator, without a file."""
    n_rows = len(reports.time_s)

    def listed(values: Any, scale: float) -> tuple[Any, Any]:
        flat = values.ravel().astype(np.float32) * np.float32(scale)
        return flat, np.arange(n_rows + 1, dtype=np.int32) * values.shape[1]

    return from_columns(
        "battery_state",
        zone="fleet",
        run_id="bench",
        origin="simulated",
        n_rows=n_rows,
        columns={
            "subject_id": vehicle_id,
            "source_id": vehicle_id,
            "id_kind": "permanent",
            "lateness": 0,
            "sampled_at_ns": start_ns + reports.time_s.astype(np.int64) * NS_PER_S,
            "cell_voltages_v": listed(reports.cells_mv, 1e-3),
            "probe_temperatures_degc": listed(reports.probes_degc, 1.0),
            "charging_state": [CHARGING_STATES[code] for code in reports.charging_state.tolist()],
            "odometer_m": reports.odometer_m,
            "vehicle_speed_mps": reports.speed_mps,
            "bms_alarm_level": reports.alarm_level.astype(np.int64),
            "bms_alarm_bits": reports.alarm_bits.astype(np.int64),
            **{
                name: getattr(reports, name)
                for name in ("pack_voltage_v", "pack_current_a", "soc_ratio", "soh_ratio")
            },
            "insulation_ohm": reports.insulation_ohm,
        },
    )


@dataclass
class Verdict:
    """What the rules said of a fleet."""

    findings: list[Finding] = field(default_factory=list)
    n_records: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)


def judge(folder: Path, days: int | None = None, only: frozenset[str] | None = None) -> Verdict:
    """All rules over the fleet's frames, of `only` these vehicles where given."""
    found = rules()
    states: dict[str, Any] = {name: rule.initial(CONTEXT) for name, rule in found.items()}
    verdict = Verdict(cpu_s=dict.fromkeys(found, 0.0))
    profile = profiles(folder)
    for name, rule in found.items():
        if "vehicle_profile" in rule.inputs:
            states[name], _ = rule.update(states[name], profile)
    for batch in batches(folder, days, only):
        verdict.n_records += batch.n_rows
        for name, rule in found.items():
            began_s = time.process_time()
            states[name], told = rule.update(states[name], batch)
            verdict.cpu_s[name] += time.process_time() - began_s
            verdict.findings += told
    return verdict


@dataclass(frozen=True)
class Score:
    """Figures after T/CAAMTB: per vehicle."""

    found: int
    missed: list[str]
    false: list[str]
    mode_right: int
    cell_right: int
    cells_asked: int

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        return 2 * self.found / max(2 * self.found + len(self.false) + len(self.missed), 1)


def score(verdict: Verdict, truth: list[dict[str, Any]], until_ns: int) -> Score:
    """Each vehicle once: is it named, is the true mode among its alerts, the true cell.

    A fault that begins in the run's last day is not asked for.
    """
    told: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        is_alarm = finding.phase == "raise" and finding.severity >= Severity.WARNING
        if is_alarm and finding.rule not in ASIDE:
            told.setdefault(finding.subject_id, []).append(finding)
    faults = {
        f["subject_id"]: f for f in truth if ns_from_iso(f["from"]) < until_ns - 86_400 * 10**9
    }
    found = [vehicle for vehicle in faults if vehicle in told]
    mode_right = cell_right = cells_asked = 0
    for vehicle in found:
        rules_told = {f.rule for f in told[vehicle]}
        mode_right += faults[vehicle]["rule"] in rules_told
        component = faults[vehicle]["component"]
        if component:
            cells_asked += 1
            cell_right += any(_is_cell(component, f.component) for f in told[vehicle])
    false = sorted(set(told) - {f["subject_id"] for f in truth})
    missed = sorted(set(faults) - set(found))
    return Score(len(found), missed, false, mode_right, cell_right, cells_asked)


def runaways(folder: Path, verdict: Verdict, truth: list[dict[str, Any]]) -> tuple[int, int]:
    """Runaways that a frame shows, and how many of them were told on their first frame."""
    first_ns = {}
    for fault in truth:
        after_s = fault["detail"].get("runaway_after_s", 0)
        if "cell_every_s" in fault["detail"]:
            first_ns[fault["subject_id"]] = ns_from_iso(fault["from"]) + after_s * NS_PER_S
    shown = {
        vehicle: at_ns
        for vehicle in first_ns
        if (at_ns := _first_frame(folder, vehicle, first_ns[vehicle])) is not None
    }
    told = {(f.subject_id, f.at_ns) for f in verdict.findings if f.rule == "battery.thermal_event"}
    return len(shown), sum((vehicle, at_ns) in told for vehicle, at_ns in shown.items())


def _first_frame(folder: Path, vehicle: str, from_ns: int) -> int | None:
    """Time of the vehicle's first frame from then on."""
    dates = read_manifest(folder)["shards"]
    near = iso_from_ns(from_ns - 86_400 * NS_PER_S)[:10]
    for date in [date for date in dates if date >= near][:4]:
        path = shard_path(folder, date)
        columns = pq.read_table(path, columns=["vehicle_id", "sampled_at_ns"])
        mine = columns.filter(pc.equal(columns.column("vehicle_id").cast(pa.utf8()), vehicle))
        at_ns = mine.column("sampled_at_ns").to_numpy()
        if len(at_ns) and at_ns.max() >= from_ns:
            return int(at_ns[at_ns >= from_ns].min())
    return None


def _is_cell(true: str, told: str) -> bool:
    if true == told:
        return True
    if true.startswith("cell:") and told.startswith("cells:"):
        first, last = (int(word) for word in told[6:].split("-"))
        return first <= int(true[5:]) <= last
    return _is_module(true, told)


def _is_module(true: str, told: str) -> bool:
    """Whether a stretch of cells is the true one, give or take two cells at each end."""
    if not (true.startswith("cells:") and told.startswith("cells:")):
        return False
    ends = [[int(word) for word in text[6:].split("-")] for text in (true, told)]
    return all(abs(a - b) <= 2 for a, b in zip(*ends, strict=True))


def main() -> None:
    """Print the score, and with --verbose every alert beside its fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int)
    parser.add_argument("--verbose", action="store_true")
    chosen = parser.parse_args()
    verdict = judge(chosen.folder, chosen.days)
    truth = json.loads((chosen.folder / "ground_truth.json").read_text())
    shards = read_manifest(chosen.folder)["shards"][: chosen.days]
    until_ns = ns_from_iso(f"{shards[-1]}T20:00:00Z")
    result = score(verdict, truth, until_ns)
    cpu_s = sum(verdict.cpu_s.values())
    print(  # noqa: T201
        f"{verdict.n_records} records, {cpu_s / verdict.n_records * 1e6:.2f} us of CPU each; "
        f"F1 {result.f1:.3f}: {result.found} found, missed {result.missed}, false {result.false}; "
        f"mode right {result.mode_right}/{result.found}, "
        f"cell right {result.cell_right}/{result.cells_asked}"
    )
    if chosen.verbose:
        _print_all(verdict, {f["subject_id"]: f for f in truth})


def _print_all(verdict: Verdict, faults: dict[str, Any]) -> None:
    told = [f for f in verdict.findings if f.phase == "raise"]
    by_vehicle: dict[str, list[Finding]] = {}
    for finding in told:
        by_vehicle.setdefault(finding.subject_id, []).append(finding)
    for vehicle in sorted({*by_vehicle, *faults}):
        print(vehicle, _described(faults.get(vehicle)))  # noqa: T201
        for f in by_vehicle.get(vehicle, [])[:8]:
            line = (iso_from_ns(f.at_ns)[:16], f.rule, f.component, f.severity.word)
            print("   ", *line, f.evidence["text"][:110])  # noqa: T201


def _described(fault: dict[str, Any] | None) -> str:
    if fault is None:
        return "HEALTHY"
    detail = fault["detail"]
    how = detail.get("how", "")
    begin = fault["from"][:16]
    return f"{fault['rule']} {fault['component']} {detail['severity']} {how} from {begin}"


if __name__ == "__main__":
    main()
