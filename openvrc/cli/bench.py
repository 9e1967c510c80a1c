"""`vrc bench`: what the data path costs, beside a naive baseline, in one run on this machine.

Every repetition of a mode has a broker, a database, a cloud, an edge and a sender of its own. CPU
counts from the first record sent to the last one stored.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

MODE_NAMES = ("arrow50", "json50", "json1")
REPETITIONS = 3
SEND_S, PACED_S = 20.0, 30.0
COPIED_RECORDS = 200_000
QUICK_SEND_S, QUICK_PACED_S = 4.0, 6.0
QUICK_COPIED_RECORDS = 50_000
"""`--quick` must end within two minutes, also on two cores that others use."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="End with the result as one JSON object")
@click.option("--quick", is_flag=True, help="One short repetition of each mode")
@click.option("--vehicles", type=click.IntRange(min=500), default=100_000, show_default=True)
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
@click.option("--out", type=click.Path(path_type=Path), help="Write the tables as Markdown")
def bench(
    as_json: bool,
    quick: bool,
    vehicles: int,
    modes: tuple[str, ...],
    repetitions: int | None,
    seconds: float | None,
    baseline: bool,
    out: Path | None,
) -> None:
    """Measure the data path: CPU per record of each process, rate, latency, memory."""
    from openvrc.cli.benchmark.machine import load_now, machine_facts
    from openvrc.cli.benchmark.measure import Plan, assemble, measure
    from openvrc.cli.benchmark.report import as_markdown, as_text
    from openvrc.cli.benchmark.traffic import VEHICLES_PER_RSU

    if vehicles % VEHICLES_PER_RSU:
        raise click.UsageError(
            f"--vehicles is {vehicles}, expected a multiple of {VEHICLES_PER_RSU}"
        )
    plan = Plan(
        modes=modes or MODE_NAMES,
        vehicles=vehicles,
        repetitions=repetitions or (1 if quick else REPETITIONS),
        send_s=seconds or (QUICK_SEND_S if quick else SEND_S),
        paced_s=QUICK_PACED_S if quick else PACED_S,
        copied_records=QUICK_COPIED_RECORDS if quick else COPIED_RECORDS,
        has_baseline=baseline,
        shares_platform=quick,
    )
    facts = machine_facts()
    found = measure(plan, _say)
    result = assemble(found, plan, facts | {"load_after": load_now()})
    click.echo(as_text(result), err=as_json)
    if out is not None:
        out.write_text(as_markdown(result), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(result))
    if not found.is_lossless:
        _say("error: sent is not stored + rejected in one of the runs")
        sys.exit(1)


def _say(text: str) -> None:
    click.echo(text, err=True)
