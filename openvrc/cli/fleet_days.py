"""`vrc simulate fleet --days N --out DIR`: months of a fleet's battery data, without a broker."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress as ProgressBar

from simulator.energy.fleet import FleetParameters
from simulator.fleet.make import Progress, first_day_ns, make


def write_fleet(
    out: Path,
    *,
    vehicles: int,
    days: int,
    faulty: int,
    seed: int,
    first_day: str,
    dirt_rate: float,
) -> None:
    """Write the fleet; a bar on a terminal, else a JSON line a day on stderr.

    Raises a usage error for a date that is none, more faulty vehicles than vehicles, or a folder
    that holds a fleet already.
    """
    if faulty > vehicles:
        raise click.UsageError(f"--faulty is {faulty}, expected at most --vehicles ({vehicles})")
    try:
        start_ns = first_day_ns(first_day)
    except ValueError as error:
        raise click.UsageError(f"--from: {error}") from error
    parameters = FleetParameters(
        vehicles=vehicles,
        days=days,
        faulty=faulty,
        seed=seed,
        start_ns=start_ns,
        dirt_rate=dirt_rate,
    )
    with ProgressBar(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("days", total=days)

        def on_day(progress: Progress) -> bool:
            bar.update(task, completed=progress.day)
            if bar.disable:
                click.echo(json.dumps({"event": "day"} | vars(progress)), err=True)
            return True

        try:
            done = make(out, parameters, on_day)
        except FileExistsError as error:
            raise click.UsageError(f"--out: {error}") from error
    click.echo(json.dumps({"event": "finished"} | vars(done)))
