"""`vrc demo`: the whole platform and a simulated world on this machine, then a summary."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openvrc.cli.client import ApiError
from openvrc.cli.fault_options import fault_options
from openvrc.cli.platform import Platform
from openvrc.cli.summary import (
    Summary,
    as_text,
    published_records,
    read_summary,
    wait_until_drained,
)
from openvrc.contracts.errors import VrcError
from openvrc.contracts.plugins import discover
from openvrc.settings import load_settings

PAGE_PORT = 8080
BROKER_PORT = 1883
"""Both are wanted, so that the examples fit; another is taken where somebody listens there."""
DRAIN_TIMEOUT_S = 90.0
PROGRESS_EVERY_S = 5.0
REVIVED = ("edge", "cloud")
MAX_RESTARTS = 5
"""Of each part in one demo; one that dies more often has a fault that a restart does not mend."""
SENDER_STOP_TIMEOUT_S = 30.0


@click.command()
@click.option("--for", "for_s", type=click.FloatRange(min=1), help="Stop after so many seconds")
@click.option("--scenario", default="crossroads", show_default=True, help="See vrc simulate --list")
@click.option("--json", "as_json", is_flag=True, help="End with the summary as one JSON object")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the scenario")
@click.option(
    "--broker",
    "prefer_broker",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "mosquitto", "amqtt"]),
    help="Embedded broker to start",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where everything is kept")
@fault_options
def demo(
    for_s: float | None,
    scenario: str,
    as_json: bool,
    seed: int,
    prefer_broker: str,
    data_dir: Path | None,
    faults: tuple[str, ...],
) -> None:
    """Start everything at once; print the page's address; stop on Ctrl-C or after --for seconds."""
    if scenario not in (known := discover("simulator.scenarios")):
        raise click.UsageError(f"scenario {scenario!r}, expected one of {', '.join(known)}")
    settings = load_settings(data_dir=data_dir)
    stop_asked = _stop_on_signals()
    run_id = f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    platform = Platform(
        data_dir=settings.data_dir.absolute() / "demo",
        prefer_broker=prefer_broker,
        database_url=settings.database_url,
        cloud_port=_free_or_any(PAGE_PORT),
        broker_port=_free_or_any(BROKER_PORT),
        zones_dir=settings.zones_dir.absolute(),
    )
    _say("starting broker, database, cloud and edge ...")
    began_s = time.monotonic()
    with platform:
        assert platform.broker is not None
        _say(f"ready after {time.monotonic() - began_s:.1f} s (broker: {platform.broker.kind})")
        truth = platform.data_dir / "truth" / run_id
        arguments = [scenario, "--seed", str(seed), "--run-id", run_id, "--out", str(truth)]
        arguments += [word for fault in faults for word in ("--fault", fault)]
        platform.start_part("simulate", arguments, log="simulate")
        _say(f"live page: {platform.page_url}")
        _say(f"broker: {platform.broker_url}, zones: {platform.zones_dir}")
        _say(f"other terminals: {_exports(platform)}")
        _say(f"logs: {platform.data_dir / 'logs'}; stop with Ctrl-C")
        is_whole = _watch(platform, run_id, stop_asked, for_s)
        _say("stopping the world, emptying the pipeline ...")
        platform.processes["simulate"].stop(SENDER_STOP_TIMEOUT_S)
        expected = published_records(platform.processes["simulate"].log_tail())
        happened = _truth(truth)
        missing = _missing_by_intent(happened)
        wait_until_drained(platform.api, run_id, expected, DRAIN_TIMEOUT_S, missing=missing)
        summary = read_summary(platform.api, run_id, platform.page_url)
    click.echo(as_text(summary), err=as_json)
    if as_json:
        click.echo(json.dumps(summary.as_dict()))
    kinds = _expected_kinds(happened) if for_s is not None and is_whole else set()
    problems = _problems(summary, kinds, missing)
    for problem in problems:
        _say(f"error: {problem}")
    sys.exit(1 if problems else 0)


def _stop_on_signals() -> threading.Event:
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


def _free_or_any(port: int) -> int:
    """The port if nobody listens there, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _exports(platform: Platform) -> str:
    """What lets `vrc replay`, `vrc trace` and curl of another terminal find this platform."""
    names = ("VRC_BROKER_URL", "VRC_CLOUD_URL", "VRC_API_KEY")
    return "export " + " ".join(f"{name}={platform.environment[name]}" for name in names)


def _watch(platform: Platform, run_id: str, asked: threading.Event, for_s: float | None) -> bool:
    """Print progress until asked to stop, time is up or the run was stopped; revive who dies.

    Whether the run went on for the time that was asked for.
    """
    end_s = time.monotonic() + for_s if for_s else float("inf")
    restarts: Counter[str] = Counter()
    next_report_s = time.monotonic() + PROGRESS_EVERY_S
    while not asked.is_set() and time.monotonic() < end_s:
        if _has_ended_well(platform):
            _say("the run has ended by itself: somebody stopped it")
            return False
        _revive(platform, restarts)
        asked.wait(min(0.5, max(0.0, end_s - time.monotonic())))
        if time.monotonic() >= next_report_s:
            next_report_s += PROGRESS_EVERY_S
            _say(_progress(platform, run_id))
    return not asked.is_set()


def _has_ended_well(platform: Platform) -> bool:
    """Whether the world has said its end: scenarios of a demo have none, but the API stops them."""
    sender = platform.processes["simulate"]
    return not sender.is_running and sender.popen.returncode == 0


def _revive(platform: Platform, restarts: Counter[str]) -> None:
    """Start edge and cloud again where they have died: nothing is lost, so nothing need stop.

    Raises VrcError for a part that keeps dying and for a world that failed.
    """
    for name, process in list(platform.processes.items()):
        if process.is_running:
            continue
        if name not in REVIVED or restarts[name] == MAX_RESTARTS:
            raise VrcError(f"{name} ended unexpectedly; its last words:\n{process.log_tail()}")
        restarts[name] += 1
        _say(f"{name} ended with exit code {process.popen.returncode}; starting it again")
        url = platform.cloud_url
        platform.restart_part(name)
        if platform.cloud_url != url:
            _say(f"its port was taken meanwhile; live page: {platform.page_url}")


def _progress(platform: Platform, run_id: str) -> str:
    try:
        totals: dict[str, Any] = platform.api.get("/v1/accounting", run=run_id)["totals"]
        alerts = platform.api.get("/v1/alerts", run=run_id, state="open", limit=500)["items"]
    except ApiError as error:
        return f"the cloud does not answer: {error}"
    return (
        f"sent {totals['sent']}  stored {totals['stored']}  pending {totals['pending']}  "
        f"missing {totals['missing']}  open alerts {len(alerts)}"
    )


def _truth(folder: Path) -> list[dict[str, Any]]:
    """What truly happened; written at the end, which a killed sender does not reach."""
    from simulator.service import TRUTH_FILE

    path = folder / TRUTH_FILE
    events: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return events


def _expected_kinds(truth: list[dict[str, Any]]) -> set[str]:
    """Kinds of alert that the scenario is to raise by what happens in it.

    What `--fault` makes senders say is not asked for: within seconds the rules find some of the
    attacks and stuck sensors, not all (docs/faults.md). Faults of the network raise none.
    """
    happened = [event["rule"] for event in truth if "fault" not in event["detail"]]
    return {rule.split(".")[0] for rule in happened} - {"fault"}


def _missing_by_intent(truth: list[dict[str, Any]]) -> int:
    """Records that the run's own faults have lost."""
    from simulator.faults.outcome import RULE

    return sum(event["detail"]["missing"] for event in truth if event["rule"] == RULE)


def _problems(summary: Summary, expected_kinds: set[str], missing: int) -> list[str]:
    found = []
    if not summary.is_closed:
        found.append("the accounting does not close")
    if summary.missing != missing or summary.pending:
        found.append(
            f"{summary.missing} records are missing, expected {missing}; "
            f"{summary.pending} still pending"
        )
    kinds = {rule.split(".")[0] for rule in summary.alerts}
    found += [f"no {kind} alert was raised" for kind in sorted(expected_kinds - kinds)]
    return found


def _say(text: str) -> None:
    click.echo(text, err=True)
