"""`vrc simulate SCENARIO`: publish a simulated world; `--list` names the scenarios.

`sumo:CONFIG` in place of a scenario's name is a real SUMO's traffic.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openvrc.cli.fault_options import fault_options
from openvrc.cli.worlds import zone_argument
from openvrc.contracts.plugins import discover
from openvrc.settings import load_settings

SUMO = "sumo:"
SUMO_DESCRIPTION = "a SUMO configuration, stepped by SUMO itself (.venv/bin/pip install libsumo)"


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("scenario", required=False)
@click.option("--list", "is_list", is_flag=True, help="List the scenarios with a line each")
@click.option(
    "--zone",
    callback=zone_argument,
    help="Zone to publish into; the scenario's own name if not given",
)
@click.option(
    "--speed",
    type=float,
    default=1.0,
    show_default=True,
    help="Zone seconds per second; 0 as fast as the pipeline takes it",
)
@click.option("--for", "duration_s", type=click.FloatRange(min=1), help="Zone seconds to simulate")
@click.option(
    "--vehicles",
    type=click.IntRange(1, 100_000),
    help="How many vehicles, of an hour where traffic flows through",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of every draw")
@click.option("--run-id", help="Name of this run; made from the time if not given")
@click.option("--codec", default="json", show_default=True, help="Codec of the messages")
@click.option(
    "--protocol",
    type=click.Choice(["mqtt", "gbt32960"]),
    default="mqtt",
    show_default=True,
    help="How vehicles speak; roadside units always speak MQTT",
)
@click.option("--gbt32960-url", help="tcp://host:port or tls://host:port of the edge's server")
@click.option(
    "--gbt32960-edition", type=click.Choice(["2016", "2025"]), default="2016", show_default=True
)
@click.option("--broker", "broker_url", help="mqtt[s]://[user:password@]host[:port]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for ground_truth.json")
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    help="fleet only: write so many days of battery data to --out, without a broker",
)
@click.option(
    "--faulty", type=click.IntRange(0), default=0, help="With --days: vehicles with a fault"
)
@click.option(
    "--from", "first_day", default="2026-01-01", show_default=True, help="With --days: first day"
)
@click.option(
    "--dirt",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="With --days: how dirty the data are, 1 as real ones, 0 clean",
)
@fault_options
@click.pass_context
def simulate(
    context: click.Context,
    scenario: str | None,
    is_list: bool,
    zone: str | None,
    speed: float,
    duration_s: float | None,
    vehicles: int | None,
    seed: int,
    run_id: str | None,
    codec: str,
    protocol: str,
    gbt32960_url: str | None,
    gbt32960_edition: str,
    broker_url: str | None,
    out: Path | None,
    days: int | None,
    faulty: int,
    first_day: str,
    dirt: float,
    faults: tuple[str, ...],
) -> None:
    """Publish the simulated world SCENARIO until it ends or Ctrl-C; --list has its own flags.

    SCENARIO may be sumo:CONFIG, a SUMO configuration that SUMO itself steps.
    """
    from openvrc.contracts.gbt32960.units import Edition
    from simulator.faults.faulty_world import with_faults
    from simulator.faults.spec import parse_all
    from simulator.service import run_worlds
    from simulator.steering import Steering

    known = discover("simulator.scenarios")
    if is_list:
        _list(known)
        return
    if faults and (days is not None or protocol == "gbt32960"):
        raise click.UsageError("--fault needs MQTT, neither --days nor --protocol gbt32960")
    if days is not None:
        from openvrc.cli.fleet_days import write_fleet

        if scenario != "fleet" or out is None:
            raise click.UsageError("--days needs the scenario fleet and --out")
        write_fleet(
            out,
            vehicles=vehicles or 1000,
            days=days,
            faulty=faulty,
            seed=seed,
            first_day=first_day,
            dirt_rate=dirt,
        )
        return
    scenario, plugin = _chosen(known, scenario)
    if (protocol == "gbt32960") != bool(gbt32960_url):
        raise click.UsageError("--protocol gbt32960 and --gbt32960-url go together")
    own = _own_flags(context.args, scenario, getattr(plugin, "parameters", ()))
    settings = load_settings(broker_url=broker_url)
    run_id = run_id or f"{scenario}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]

    def world(number: int, from_ns: int | None) -> Any:
        assert from_ns is None, "a scenario cannot be wound"
        made = plugin.make(
            zone=zone or scenario,
            run_id=run_id if number == 1 else f"{run_id}.{number}",
            seed=seed,
            duration_s=duration_s,
            vehicles=vehicles,
            **own,
        )
        return with_faults(made, parse_all(faults), seed)

    steering = Steering()
    sys.exit(
        run_worlds(
            settings,
            steering.repeated(world, 1),
            steering=steering,
            speed=speed,
            codec=codec,
            out_dir=out,
            gbt32960_url=gbt32960_url or "",
            gbt32960_edition=Edition(gbt32960_edition),
        )
    )


def _list(known: Mapping[str, Any]) -> None:
    """Print the scenarios, a line each, with their own flags."""
    for name, plugin in known.items():
        click.echo(f"{name:<20} {plugin.description}")
        for p in getattr(plugin, "parameters", ()):
            click.echo(f"    {_flag(p.name)}={_plain(p.default)}  {p.meaning}")
    click.echo(f"{SUMO + 'CONFIG':<20} {SUMO_DESCRIPTION}")


def _chosen(known: Mapping[str, Any], scenario: str | None) -> tuple[str, Any]:
    """Name and plug-in of what was asked for. Raises a usage error."""
    if scenario is not None and scenario.startswith(SUMO):
        from simulator.cosimulation.world import SumoScenario

        return "sumo", SumoScenario(Path(scenario.removeprefix(SUMO)))
    name = _one_of(known, scenario)
    return name, known[name]


def _one_of(known: Collection[str], scenario: str | None) -> str:
    """The scenario, if there is one. Raises a usage error."""
    if scenario is not None and scenario.startswith("-"):
        raise click.UsageError(
            f"{scenario!r} comes before the scenario; a scenario's own flags come after its name"
        )
    if scenario is None or scenario not in known:
        raise click.UsageError(f"scenario {scenario!r}, expected one of {', '.join(known)}")
    return scenario


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _own_flags(words: list[str], scenario: str, parameters: Sequence[Any]) -> dict[str, str]:
    """A scenario's own flags, as --name value or --name=value. Raises a usage error for others."""
    known = {_flag(parameter.name): parameter.name for parameter in parameters}
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        flag, is_joined, value = rest.pop(0).partition("=")
        if flag not in known:
            expected = f"expected one of {', '.join(known)}" if known else "it has no own flags"
            raise click.UsageError(f"{flag!r} is no flag of {scenario}: {expected}")
        if not is_joined and not rest:
            raise click.UsageError(f"{flag} needs a value")
        found[known[flag]] = value if is_joined else rest.pop(0)
    return found
