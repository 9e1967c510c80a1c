"""`vrc replay PATH --zone Z`: publish a recording as its vehicles and roadside units would have."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openvrc.cli.worlds import open_world, recording_options, zone_argument
from openvrc.settings import load_settings


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--zone", required=True, callback=zone_argument, help="Zone to replay into")
@click.option(
    "--speed",
    type=float,
    default=1.0,
    show_default=True,
    help="Zone seconds per second; 0 as fast as the pipeline takes it",
)
@click.option("--run-id", help="Name of this run; made from the time if not given")
@click.option("--codec", default="json", show_default=True, help="Codec of the messages")
@click.option("--broker", "broker_url", help="mqtt[s]://[user:password@]host[:port]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for ground_truth.json")
@recording_options
def replay(
    path: Path,
    zone: str,
    speed: float,
    run_id: str | None,
    codec: str,
    broker_url: str | None,
    out: Path | None,
    **flags: Any,
) -> None:
    """Publish the recording PATH: a SUMO package folder, a SUMO FCD file, or a mapped table."""
    from simulator.service import run_world

    settings = load_settings(broker_url=broker_url)
    run_id = run_id or f"replay-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]
    world = open_world(path, zone=zone, run_id=run_id, **flags)
    sys.exit(run_world(settings, world, speed=speed, codec=codec, out_dir=out))
