"""`vrc bench`: what the data path costs, beside a naive baseline, in one run on this machine.

Every repetition of a mode has a broker, a database, a cloud, an edge and a sender of its own. CPU
counts from the first record sent to the last one stored.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from openvrc.cli.benchmark.measure import Plan
    from openvrc.cli.benchmark.soak import SoakPlan

MODE_NAMES = ("arrow50", "json50", "json1")
REPETITIONS = 3
VEHICLES, QUICK_VEHICLES = 100_000, 20_000
SEND_S, PACED_S, PAHO_S = 15.0, 20.0, 5.0
COPIED_RECORDS = 200_000
QUICK_SEND_S, QUICK_PACED_S, QUICK_PAHO_S = 3.0, 5.0, 1.0
QUICK_COPIED_RECORDS = 50_000
"""`--quick` must end within two minutes, also on two cores that others use."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="End with the result as one JSON object")
@click.option("--quick", is_flag=True, help="One short repetition of each mode, 20,000 vehicles")
@click.option("--vehicles", type=click.IntRange(min=500), help="Default 100,000")
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(MODE_NAMES),
    help="Only this one; may be repeated",
)
@click.option("--repetitions", type=click.IntRange(min=1), help="Of each mode")
@click.option("--seconds", type=click.FloatRange(min=1), help="Time to send at saturation")
@click.option("--baseline/--no-baseline", default=True, help="Measure the naive baseline too")
@click.option("--all-rules/--no-all-rules", default=None, help="The second table; not with --quick")
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, help="Decoding workers of the edge"
)
@click.option(
    "--soak", "soak_s", type=click.FloatRange(min=10), help="Paced load for so many seconds"
)
@click.option("--rate", type=click.FloatRange(min=1), help="Of a soak, records/s")
@click.option(
    "--markdown",
    "--out",
    "markdown",
    type=click.Path(path_type=Path),
    help="Write the tables to this file",
)
def bench(
    as_json: bool,
    quick: bool,
    vehicles: int | None,
    modes: tuple[str, ...],
    repetitions: int | None,
    seconds: float | None,
    baseline: bool,
    all_rules: bool | None,
    workers: int,
    soak_s: float | None,
    rate: float | None,
    markdown: Path | None,
) -> None:
    """Measure the data path: CPU per record of each process, rate, latency, memory."""
    from openvrc.cli.benchmark.measure import Plan
    from openvrc.cli.benchmark.soak import SoakPlan

    chosen = vehicles or (QUICK_VEHICLES if quick else VEHICLES)
    _check(chosen)
    if soak_s is not None:
        mode = modes[0] if modes else MODE_NAMES[0]
        _soak(SoakPlan(mode, chosen, soak_s, rate or 0.0, workers), as_json)
        return
    plan = Plan(
        modes=modes or MODE_NAMES,
        vehicles=chosen,
        repetitions=repetitions or (1 if quick else REPETITIONS),
        send_s=seconds or (QUICK_SEND_S if quick else SEND_S),
        paced_s=QUICK_PACED_S if quick else PACED_S,
        paho_s=QUICK_PAHO_S if quick else PAHO_S,
        copied_records=QUICK_COPIED_RECORDS if quick else COPIED_RECORDS,
        has_baseline=baseline,
        has_all_rules=not quick if all_rules is None else all_rules,
        workers=workers,
    )
    _measure(plan, as_json, markdown)


def _check(vehicles: int) -> None:
    from simulator.load.traffic import VEHICLES_PER_RSU

    if vehicles % VEHICLES_PER_RSU:
        raise click.UsageError(
            f"--vehicles is {vehicles}, expected a multiple of {VEHICLES_PER_RSU}"
        )


def _measure(plan: Plan, as_json: bool, markdown: Path | None) -> None:
    from openvrc.cli.benchmark.machine import load_now, machine_facts
    from openvrc.cli.benchmark.measure import assemble, measure
    from openvrc.cli.benchmark.report import as_markdown, as_text

    facts = machine_facts()
    found = measure(plan, _say)
    result = assemble(found, plan, facts | {"load_after": load_now()})
    click.echo(as_text(result), err=as_json)
    if markdown is not None:
        markdown.write_text(as_markdown(result), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(result))
    if not found.is_lossless:
        _say("error: sent is not stored + rejected in one of the runs")
        sys.exit(1)


def _soak(plan: SoakPlan, as_json: bool) -> None:
    from openvrc.cli.benchmark.machine import machine_facts
    from openvrc.cli.benchmark.soak import as_text, soak

    facts = machine_facts()
    result = soak(plan, _say)
    click.echo(as_text(result), err=as_json)
    if as_json:
        click.echo(json.dumps({"machine": facts, "soak": result}))
    if not result["is_lossless"]:
        _say("error: the accounts do not close")
        sys.exit(1)


def _say(text: str) -> None:
    click.echo(text, err=True)
