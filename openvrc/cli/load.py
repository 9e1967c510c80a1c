"""`vrc load`: a stated load on a broker and what is behind it; latency, losses, thresholds."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openvrc.cli.fault_options import fault_options
from openvrc.cli.worlds import zone_argument
from openvrc.contracts.errors import VrcError
from openvrc.settings import load_settings

EXIT_THRESHOLD = 3


@click.command()
@click.option("--vehicles", type=click.IntRange(1), default=1000, show_default=True)
@click.option(
    "--rate",
    "rate_hz",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Records a second of each vehicle",
)
@click.option(
    "--batch", type=click.IntRange(1, 50), default=50, show_default=True, help="Records a message"
)
@click.option(
    "--for", "seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="s"
)
@click.option(
    "--ramp",
    "ramp_s",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds of --for in which the rate rises from nothing",
)
@click.option("--steps", default="", help="Shares of the rate one after the other: 0.5,1,1.5")
@click.option("--codec", type=click.Choice(["json", "arrow"]), default="json", show_default=True)
@click.option("--qos", type=click.IntRange(0, 1), default=1, show_default=True)
@click.option(
    "--connections", type=click.IntRange(1), default=4, show_default=True, help="MQTT connections"
)
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="That send"
)
@click.option("--zone", default="load", show_default=True, callback=zone_argument)
@click.option("--run-id", help="Name of this run; made from the time if not given")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of every draw")
@click.option("--broker", "broker_url", help="mqtt[s]://[user:password@]host[:port]")
@click.option(
    "--broker-only", is_flag=True, help="Any broker, also somebody else's: no edge, no cloud"
)
@fault_options
@click.option("--slo", type=click.Path(path_type=Path, exists=True), help="TOML file: [max], [min]")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML report to this file")
@click.option("--json", "as_json", is_flag=True, help="End with the result as one JSON object")
def load(
    steps: str,
    run_id: str | None,
    broker_url: str | None,
    broker_only: bool,
    slo: Path | None,
    report: Path | None,
    as_json: bool,
    faults: tuple[str, ...],
    **numbers: Any,
) -> None:
    """Send a stated load, open loop: a record is due at its time whoever keeps up.

    Latency counts from when a message was due. Exit code 3 when a threshold of --slo is missed, 1
    when records were lost without a reason, with --fault other than those that it took.
    """
    from openvrc.cli.loadtest.report import html
    from openvrc.cli.loadtest.run import Cloud, Second, run_load
    from openvrc.cli.loadtest.slo import read_limits, verdicts
    from openvrc.cli.loadtest.spec import LoadSpec

    settings = load_settings(broker_url=broker_url)
    limits = read_limits(slo) if slo else []
    try:
        spec = LoadSpec(
            run_id=run_id or f"load-{datetime.now(UTC):%Y%m%dT%H%M%S}",
            broker_url=settings.broker_url,
            steps=tuple(float(share) for share in steps.split(",") if share.strip()),
            is_timed=not broker_only,
            faults=faults,
            **numbers,  # the other options have the names of its fields
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    cloud = None if broker_only else Cloud(settings.cloud_url, settings.api_key)

    def on_second(second: Second) -> None:
        p99 = "-" if second.p99_ms is None else f"{second.p99_ms:.1f} ms"
        _say(
            f"{second.at_s:5.0f} s  offered {second.offered:,.0f}  sent {second.records:,}  "
            f"waiting {second.waiting:,} messages  publish p99 {p99}"
        )

    result, by_second = run_load(spec, cloud, on_second)
    found = verdicts(limits, result, slo) if slo else []
    result["slo"] = [verdict.as_text() for verdict in found]
    if report is not None:
        load_facts = asdict(spec) | {"broker_url": _without_password(spec.broker_url)}
        report.write_text(html(f"Load test {spec.run_id}", load_facts, result, by_second, found))
    click.echo(_as_text(result), err=as_json)
    if as_json:
        click.echo(json.dumps(result))
    if not all(verdict.is_met for verdict in found):
        sys.exit(EXIT_THRESHOLD)
    if (
        result["records"] < result.get("due", result["offered"])
        or (result["unacknowledged_messages"])
    ):
        raise VrcError("the broker did not take all that was due")
    if not result.get("is_closed", True) or not result.get("is_drained", True):
        raise VrcError("the accounting does not close, or records were not stored in time")
    if not result.get("is_as_expected", True):
        raise VrcError("the accounts do not say what the faults did")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _as_text(result: dict[str, object]) -> str:
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            text = "  ".join(f"{key} {part}" for key, part in value.items()) or "none"
        elif isinstance(value, list):
            text = "; ".join(map(str, value)) or "none"
        else:
            text = str(value)
        lines.append(f"  {name:<24} {text}")
    return "\n".join(lines)


def _say(text: str) -> None:
    click.echo(text, err=True)
