"""Run a world to its end or to Ctrl-C, with progress for people or for programs."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from openvrc.contracts.errors import VrcError
from openvrc.contracts.gbt32960.units import Edition
from openvrc.contracts.units import iso_from_ns
from openvrc.settings import Settings
from simulator.faults.faulty_world import FaultyWorld
from simulator.gbt32960.fleet import TerminalFleet
from simulator.publisher import EDGE_WAIT_S, OnProgress, Progress, Publisher
from simulator.steering import Steering
from simulator.world import World

TRUTH_FILE = "ground_truth.json"
SIGHTINGS_FILE = "sightings.parquet"
REPORT_EVERY_S = 1.0


def run_world(settings: Settings, world: World, **options: Any) -> int:
    """Publish a world until it ends; the exit code. Options are those of `run_worlds`."""
    return run_worlds(settings, [world], **options)


def run_worlds(
    settings: Settings,
    worlds: Iterable[World],
    *,
    speed: float = 1.0,
    codec: str = "json",
    out_dir: Path | None = None,
    edge_wait_s: float = EDGE_WAIT_S,
    gbt32960_url: str = "",
    gbt32960_edition: Edition = Edition.Y2016,
    steering: Steering | None = None,
) -> int:
    """Publish worlds one after the other; the exit code (0 fine, 1 failed).

    SIGINT and SIGTERM end it cleanly with final counts; a second one at once. Prints the summary
    of each as one JSON line to stdout; with `out_dir`, writes `ground_truth.json` there, from the
    second world on into a folder named as the run.
    `steering` holds, winds and repeats the run of the moment.
    """
    steering = steering or Steering()
    for number, world in enumerate(worlds):
        try:
            terminals = None
            if gbt32960_url:
                terminals = TerminalFleet(
                    gbt32960_url, edition=gbt32960_edition, run_id=world.run_id, origin=world.origin
                )
            with _reporter() as on_progress:
                publisher = Publisher(
                    world,
                    settings,
                    speed=speed,
                    codec=codec,
                    edge_wait_s=edge_wait_s,
                    on_progress=on_progress,
                    terminals=terminals,
                    on_line=steering.obey,
                )
                steering.steer(publisher)
                with _ended_by_signals(publisher):
                    summary = publisher.run()
        except VrcError as error:
            print(f"error: {error}", file=sys.stderr)  # noqa: T201 (the service's face)
            return 1
        finally:
            if out_dir is not None:
                write_ground_truth(out_dir / world.run_id if number else out_dir, world)
        facts: dict[str, Any] = {
            "event": "finished",
            "zone": world.zone,
            "run_id": world.run_id,
        } | summary
        if isinstance(world, FaultyWorld):
            facts["expected"] = world.outcomes.totals()
        print(json.dumps(facts), flush=True)  # noqa: T201
        if publisher.is_stopped and not steering.is_beginning_again:
            break
    return 0


def write_ground_truth(out_dir: Path, world: World) -> Path:
    """What truly happened, as a JSON array, and who was seen by whom; the former's path."""
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / TRUTH_FILE
    events = [event.to_json() for event in world.ground_truth()]
    path.write_text(json.dumps(events, indent=1) + "\n", encoding="utf-8")
    of_units: Callable[[], pa.Table | None] = getattr(world, "sightings", lambda: None)
    sightings = of_units()
    if sightings is not None and sightings.num_rows:
        pq.write_table(sightings, out_dir / SIGHTINGS_FILE)
    return path


@contextmanager
def _ended_by_signals(publisher: Publisher) -> Iterator[None]:
    """The first signal asks for a clean end, the second gives up."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            publisher.stop()
        else:
            publisher.abort()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _reporter() -> Iterator[OnProgress]:
    """A bar on a terminal, else a JSON line a second, on stderr."""
    if not sys.stderr.isatty():
        yield _JsonLines()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with ProgressBar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            waiting = f"  waiting for {progress.waiting_for}" if progress.waiting_for else ""
            bar.update(
                task,
                description=f"{iso_from_ns(progress.zone_time_ns)}  "
                f"{sum(progress.records.values())} records{waiting}",
            )

        yield show


class _JsonLines:
    def __init__(self) -> None:
        self._due_s = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + REPORT_EVERY_S
            facts: dict[str, Any] = {"event": "progress"} | progress.to_json()
            print(json.dumps(facts), file=sys.stderr, flush=True)  # noqa: T201
