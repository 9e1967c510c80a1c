"""Everything that one `vrc bench` measures, in turns, so that a noisy minute hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from openvrc.cli.benchmark.modes import MODES, Load, ModeRun, middle, mode_result, ratios
from openvrc.cli.benchmark.rivals import SCRIPT, copy_floor, naive
from openvrc.cli.benchmark.runs import (
    ALL_RULES,
    FIRST_RULES,
    measure_mode,
    paho_sender,
    scratch_platform,
)

BASELINE_MODES = ("json1", "json50")
FLOOR = "copy"


@dataclass(frozen=True)
class Plan:
    """How much is measured; `all_rules` adds the second table."""

    modes: Sequence[str]
    vehicles: int
    repetitions: int
    send_s: float
    paced_s: float
    paho_s: float
    copied_records: int
    has_baseline: bool = True
    has_all_rules: bool = True
    workers: int = 0


@dataclass
class Measured:
    """Every run so far, by name; those of the baseline begin with "naive"."""

    runs: dict[str, list[ModeRun]] = field(default_factory=dict)
    all_rules: dict[str, list[ModeRun]] = field(default_factory=dict)
    rivals: dict[str, list[Load]] = field(default_factory=dict)

    def loads(self) -> Iterator[Load]:
        """Everything that was stored."""
        for runs in [*self.runs.values(), *self.all_rules.values()]:
            for run in runs:
                yield from run.stages
        for loads in self.rivals.values():
            yield from loads

    @property
    def is_lossless(self) -> bool:
        """Whether every run's records were all stored, or rejected with a reason."""
        return all(load.is_lossless for load in self.loads())


def measure(plan: Plan, say: Callable[[str], None]) -> Measured:
    """All runs of a plan; `say` is told of each."""
    found = Measured()
    has_baseline = plan.has_baseline and SCRIPT.exists()
    if plan.has_baseline and not has_baseline:
        say(f"no baseline: {SCRIPT.name} is part of a checkout, not of an installed package")
    for turn in range(plan.repetitions):
        for name in plan.modes:
            run = _run(plan, name, turn, FIRST_RULES, with_paho=turn == plan.repetitions - 1)
            _keep(found.runs, name, run, say)
        for name in BASELINE_MODES if has_baseline else ():
            load = naive(MODES[name], vehicles=plan.vehicles, send_s=plan.send_s, seed=turn)
            _keep_load(found.rivals, f"naive {name}", load, say)
        if has_baseline:
            floor = copy_floor(vehicles=plan.vehicles, records=plan.copied_records, seed=turn)
            _keep_load(found.rivals, FLOOR, floor, say)
    for name in plan.modes if plan.has_all_rules else ():
        run = _run(plan, name, plan.repetitions, ALL_RULES, with_paho=False)
        _keep(found.all_rules, name, run, say, " with all rules")
    return found


def assemble(found: Measured, plan: Plan, facts: dict[str, str]) -> dict[str, Any]:
    """The result as plain values."""
    modes = {name: mode_result(name, runs) for name, runs in found.runs.items()}
    baseline = {
        name: middle(found.rivals[f"naive {name}"])
        for name in BASELINE_MODES
        if f"naive {name}" in found.rivals
    }
    return {
        "machine": facts,
        "vehicles": plan.vehicles,
        "repetitions": plan.repetitions,
        "send_s": plan.send_s,
        "paced_s": plan.paced_s,
        "workers": plan.workers,
        "is_lossless": found.is_lossless,
        "rules": FIRST_RULES,
        "modes": list(modes.values()),
        "all_rules": [mode_result(name, runs) for name, runs in found.all_rules.items()],
        "baseline": baseline,
        "copy_floor": middle(found.rivals[FLOOR]) if FLOOR in found.rivals else None,
        **ratios(modes, baseline),
    }


def _run(plan: Plan, name: str, turn: int, rules: str, *, with_paho: bool) -> ModeRun:
    mode = MODES[name]
    with scratch_platform(rules=rules, workers=plan.workers) as platform:
        run = measure_mode(
            platform,
            mode,
            vehicles=plan.vehicles,
            send_s=plan.send_s,
            paced_s=plan.paced_s,
            seed=turn,
            has_batteries=rules == ALL_RULES,
        )
        if not with_paho:
            return run
        other = paho_sender(platform, mode, vehicles=plan.vehicles, send_s=plan.paho_s, seed=turn)
    return replace(run, paho_sender=other)


def _keep(
    found: dict[str, list[ModeRun]],
    name: str,
    run: ModeRun,
    say: Callable[[str], None],
    words: str = "",
) -> None:
    found.setdefault(name, []).append(run)
    steady, paced, waits = run.steady, run.paced, run.waits
    p99 = waits.stored_ms[-1]
    say(
        f"{name}{words}: {steady.total_us:.1f} us per record, {steady.records_per_s:,.0f} "
        f"records/s; first pass {run.first_pass.total_us:.1f} us; paced at "
        f"{paced.records_per_s:,.0f} records/s {paced.total_us:.1f} us, "
        f"stored p99 {'-' if p99 is None else format(p99, '.0f')} ms"
    )


def _keep_load(
    found: dict[str, list[Load]], name: str, load: Load, say: Callable[[str], None]
) -> None:
    found.setdefault(name, []).append(load)
    say(f"{name}: {load.total_us:.1f} us per record, {load.records_per_s:,.0f} records/s")
