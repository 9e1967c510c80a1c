"""`vrc replay PATH --zone Z`: publish a recording as its vehicles and roadside units would have."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from itertools import count
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
@click.option(
    "--times",
    type=click.Choice(["original", "now"]),
    default="original",
    show_default=True,
    help="Keep the recorded times, or begin now (recordings by vrc record)",
)
@click.option(
    "--skip", "skip_s", type=click.FloatRange(min=0), default=0.0, help="Begin so many s later"
)
@click.option(
    "--play", "play_s", type=click.FloatRange(min=0), default=0.0, help="Play so many s, 0 all"
)
@click.option(
    "--loop",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="How often, 0 until Ctrl-C; each time is a run of its own (NAME, NAME.2, ...)",
)
@click.option("--control", is_flag=True, help="Read lines from stdin: pause, resume, speed, seek")
@recording_options
def replay(
    path: Path,
    zone: str,
    speed: float,
    run_id: str | None,
    codec: str,
    broker_url: str | None,
    out: Path | None,
    times: str,
    loop: int,
    control: bool,
    **flags: Any,
) -> None:
    """Publish the recording PATH: SUMO package or FCD, mapped table, GPX, or by vrc record.

    With --control, lines on stdin steer it: pause, resume, speed X, seek +SECONDS, seek ISO-TIME,
    stop.
    """
    from simulator.service import run_worlds

    settings = load_settings(broker_url=broker_url)
    run_id = run_id or f"replay-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]

    def world(number: int) -> Any:
        name = run_id if number == 1 else f"{run_id}.{number}"
        begin_at_ns = time.time_ns() if times == "now" else None
        return open_world(path, zone=zone, run_id=name, begin_at_ns=begin_at_ns, **flags)

    numbers = range(1, loop + 1) if loop else count(1)
    lines = sys.stdin if control else None
    sys.exit(
        run_worlds(
            settings, map(world, numbers), speed=speed, codec=codec, out_dir=out, control=lines
        )
    )
