"""`vrc record OUT`: write what is said over MQTT to a file, byte for byte."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import FrameType

import click

from openvrc.settings import load_settings


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--zone", default="+", show_default=True, help="Zone to record, + for every zone")
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="End after so many seconds")
@click.option("--broker", "broker_url", help="mqtt[s]://[user:password@]host[:port]")
def record(out: Path, zone: str, seconds: float | None, broker_url: str | None) -> None:
    """Record every message of a zone to OUT (.mcap, .parquet, .jsonl, .jsonl.gz) until Ctrl-C.

    Prints what was recorded as one JSON line. vrc replay and vrc analyse read the file.
    """
    from simulator.recorder.tape import Recorder

    settings = load_settings(broker_url=broker_url)
    recorder = Recorder(out, settings.broker_url, zone=zone)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        recorder.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    click.echo(json.dumps({"event": "recorded"} | recorder.run(seconds)))
