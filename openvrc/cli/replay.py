"""`vrc replay PATH --zone Z`: publish a recording as its vehicles and roadside units would have."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openvrc.cli.worlds import open_world, recording_options, zone_argument
from openvrc.contracts.units import NS_PER_S
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

    With --control, lines on stdin steer it: pause, resume, speed X, seek SECONDS, seek ISO-TIME,
    loop on, loop off, stop.
    """
    from simulator.service import run_worlds
    from simulator.steering import Steering

    settings = load_settings(broker_url=broker_url)
    run_id = run_id or f"replay-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]

    first_skip_s, asked_play_s = flags.pop("skip_s"), flags.pop("play_s")
    before: list[tuple[int, float]] = []  # where each run began, and how much it skipped

    def world(number: int, from_ns: int | None) -> Any:
        name = run_id if number == 1 else f"{run_id}.{number}"
        begin_at_ns = time.time_ns() if times == "now" else None
        skip_s = first_skip_s
        if from_ns is not None:
            began_ns, skipped_s = before[-1]
            skip_s = max(skipped_s + (from_ns - began_ns) / NS_PER_S, 0.0)
        # The asked end stays where it is, from wherever a run begins.
        play_s = asked_play_s and first_skip_s + asked_play_s - skip_s
        made = open_world(
            path,
            zone=zone,
            run_id=name,
            begin_at_ns=begin_at_ns,
            skip_s=skip_s,
            play_s=play_s,
            **flags,
        )
        before.append((made.start_ns, skip_s))
        return made

    steering = Steering(sys.stdin if control else None)
    sys.exit(
        run_worlds(
            settings,
            steering.repeated(world, loop),
            speed=speed,
            codec=codec,
            out_dir=out,
            steering=steering,
        )
    )
