"""Everything that one `vrc bench` measures, in turns, so that a noisy minute hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from openvrc.cli.benchmark.modes import MODES, Load, Waits, middle, paced, ratios
from openvrc.cli.benchmark.rivals import SCRIPT, copy_floor, naive
from openvrc.cli.benchmark.runs import pace, saturate, scratch_platform
from openvrc.cli.platform import Platform

BASELINE_MODES = ("json1", "json50")
FLOOR = "copy"
HALF = 0.5


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    `shares_platform` runs the paced traffic on the platform of the last repetition: quicker, but
    with the state of a run that has ended in it.
    """

    modes: Sequence[str]
    vehicles: int
    repetitions: int
    send_s: float
    paced_s: float
    copied_records: int
    has_baseline: bool = True
    shares_platform: bool = False


@dataclass
class Measured:
    """Every run so far, by name; those of the baseline begin with "naive"."""

    loads: dict[str, list[Load]] = field(default_factory=dict)
    waits: dict[str, Waits] = field(default_factory=dict)

    @property
    def is_lossless(self) -> bool:
        """Whether every run's records were all stored, or rejected with a reason."""
        return all(load.is_lossless for loads in self.loads.values() for load in loads)


def measure(plan: Plan, say: Callable[[str], None]) -> Measured:
    """All runs of a plan; `say` is told of each."""
    found = Measured()
    has_baseline = plan.has_baseline and SCRIPT.exists()
    if plan.has_baseline and not has_baseline:
        say(f"no baseline: {SCRIPT.name} is part of a checkout, not of an installed package")
    for turn in range(plan.repetitions):
        is_last = turn == plan.repetitions - 1
        for name in plan.modes:
            with scratch_platform() as platform:
                load = _saturated(platform, name, plan, turn)
                _keep(found, name, load, say)
                if is_last and plan.shares_platform:
                    found.waits[name] = _paced(platform, name, plan, load.records_per_s)
        for name in BASELINE_MODES if has_baseline else ():
            run = naive(MODES[name], vehicles=plan.vehicles, send_s=plan.send_s, seed=turn)
            _keep(found, f"naive {name}", run, say)
        if has_baseline:
            floor = copy_floor(vehicles=plan.vehicles, records=plan.copied_records, seed=turn)
            _keep(found, FLOOR, floor, say)
    for name in plan.modes:
        if name not in found.waits:
            with scratch_platform() as platform:
                rate = middle(found.loads[name])["records_per_s"]
                found.waits[name] = _paced(platform, name, plan, rate)
        say(f"{name}: paced at {found.waits[name].rate:,.0f} records/s")
    return found


def assemble(found: Measured, plan: Plan, facts: dict[str, str]) -> dict[str, Any]:
    """The result as plain values."""
    modes = {
        name: {"name": name} | middle(found.loads[name]) | paced(found.waits[name])
        for name in plan.modes
    }
    baseline = {
        name: middle(found.loads[f"naive {name}"])
        for name in BASELINE_MODES
        if f"naive {name}" in found.loads
    }
    return {
        "machine": facts,
        "vehicles": plan.vehicles,
        "repetitions": plan.repetitions,
        "send_s": plan.send_s,
        "modes": list(modes.values()),
        "baseline": baseline,
        "copy_floor": middle(found.loads[FLOOR]) if FLOOR in found.loads else None,
        **ratios(modes, baseline),
    }


def _saturated(platform: Platform, name: str, plan: Plan, turn: int) -> Load:
    return saturate(platform, MODES[name], vehicles=plan.vehicles, send_s=plan.send_s, seed=turn)


def _paced(platform: Platform, name: str, plan: Plan, most_per_s: float) -> Waits:
    return pace(
        platform,
        MODES[name],
        vehicles=plan.vehicles,
        send_s=plan.paced_s,
        seed=plan.repetitions,
        rate=HALF * most_per_s,
    )


def _keep(found: Measured, name: str, load: Load, say: Callable[[str], None]) -> None:
    found.loads.setdefault(name, []).append(load)
    say(f"{name}: {load.total_us:.1f} us per record, {load.records_per_s:,.0f} records/s")
