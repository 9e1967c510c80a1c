"""Recording at a real broker and replaying what was recorded; pause, speed and winding of a run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from openvrc.cli.main import cli
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.embedded.broker import RunningBroker, start_broker
from openvrc.settings import Settings, load_settings
from simulator.controls import answer
from simulator.publisher import Progress, Publisher
from simulator.recorder import format_of
from simulator.recorder.entries import TapeError
from simulator.recorder.tape import Recorder
from simulator.replay import open_recording
from simulator.service import run_worlds
from simulator.steering import Steering
from simulator.world import World
from tests.integration.test_publisher_drives_a_run import (
    STEPS,
    TIMEOUT_S,
    VEHICLES,
    AnsweringEdge,
    world,
)
from tests.support.gbt32960_client import wait_for
from tests.support.tapes import recorded


@pytest.fixture
def broker(open_dir: Path) -> Iterator[RunningBroker]:
    running = start_broker(open_dir / "broker")
    yield running
    running.stop()


@pytest.fixture
def settings(broker: RunningBroker) -> Settings:
    return load_settings(broker_url=f"mqtt://{broker.host}:{broker.port}")


@pytest.fixture
def edge(broker: RunningBroker) -> Iterator[AnsweringEdge]:
    made = AnsweringEdge(broker)
    yield made
    made.close()


def said(edge: AnsweringEdge) -> list[Any]:
    """What senders said to the edge, but for run, origin and publication."""
    new = ("run_id", "origin", "published_at_ns")
    return [
        (name, {key: value for key, value in record.items() if key not in new})
        for name, body in edge.messages
        if name.startswith("vehicle/")
        for record in (body if isinstance(body, list) else [body])
    ]


def test_a_run_that_was_recorded_is_said_again(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    path = tmp_path / "run.mcap"
    recorder = Recorder(path, settings.broker_url, zone="z1")
    summaries: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: summaries.append(recorder.run()))
    thread.start()
    assert recorder.is_listening.wait(TIMEOUT_S)
    Publisher(world(tmp_path), settings, speed=0).run()
    edge.hear_the_end()
    first = said(edge)
    # The announcement, its end and its removal.
    wait_for(lambda: recorder.summary.by_message["zone_announce"] == 3, "the recording's end")
    recorder.stop()
    thread.join(TIMEOUT_S)
    assert summaries[0]["by_message"]["vehicle_state"] >= VEHICLES
    heard = [json.loads(entry.payload) for entry in format_of(path).read(path)
             if entry.topic.split("/")[5] == "vehicle_state"]  # fmt: skip
    assert heard == edge.of("vehicle_state")
    edge.messages.clear()
    again = open_recording(path, zone="z1", run_id="run-2")
    summary = Publisher(again, settings, speed=0).run()
    edge.hear_the_end()
    assert summary["records"]["vehicle_state"] == STEPS * VEHICLES
    assert said(edge) == first


def test_a_run_is_held_wound_and_ended_by_lines(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    path = recorded(world(tmp_path), tmp_path / "run.jsonl")
    again = open_recording(path, zone="z1", run_id="run-2")
    has_moved, is_held = threading.Event(), threading.Event()

    def on_progress(progress: Progress) -> None:
        if progress.frames >= 3:
            has_moved.set()
        if "pause" in progress.waiting_for:
            is_held.set()

    publisher = Publisher(again, settings, speed=5.0, on_progress=on_progress)

    def asked(line: str) -> str:
        return answer(line.split(), publisher)

    thread = threading.Thread(target=publisher.run)
    thread.start()
    assert has_moved.wait(TIMEOUT_S)
    assert asked("pause").startswith("ok pause")
    assert is_held.wait(TIMEOUT_S)
    held_ns = publisher.zone_time_ns
    assert asked("seek 2001-01-01T00:00:00Z").startswith("error: seek")
    assert "does not go back" in asked("seek -5")
    for line in ("speed fast", "speed -1", "seek", "rewind", "seek soon"):
        assert asked(line).startswith("error"), line
    target_ns = again.start_ns + 30 * NS_PER_S
    assert asked(f"seek {iso_from_ns(target_ns)}").startswith("ok")
    assert publisher.zone_time_ns == held_ns
    assert asked("speed 0").startswith("ok")
    assert asked("resume").startswith("ok")
    thread.join(TIMEOUT_S)
    edge.hear_the_end()
    times = sorted({record["sampled_at_ns"] for _, record in said(edge)
                    if "speed_mps" in record})  # fmt: skip
    skipped = [t for t in times if held_ns + 2 * NS_PER_S < t < target_ns - NS_PER_S]
    assert skipped == []
    assert times[-1] == again.start_ns + (STEPS - 1) * NS_PER_S


def test_stop_ends_a_run_with_its_counts(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    path = recorded(world(tmp_path), tmp_path / "run.jsonl")
    again = open_recording(path, zone="z1", run_id="run-2")
    publisher = Publisher(again, settings, speed=1.0)
    publisher.pause()
    thread = threading.Thread(target=publisher.run)
    thread.start()
    assert answer(["stop"], publisher).startswith("ok")
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert publisher.is_stopped


def test_worlds_are_said_one_after_the_other_as_runs_of_their_own(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    path = recorded(world(tmp_path), tmp_path / "run.jsonl")
    runs = (open_recording(path, zone="z1", run_id=name) for name in ("loop", "loop.2"))
    assert run_worlds(settings, runs, speed=0, out_dir=tmp_path / "out") == 0
    edge.hear_the_end()
    edge.hear_the_end()
    told = {body["run_id"] for body in edge.of("zone_announce") if body}
    assert told == {"loop", "loop.2"}
    truths = {str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/**/*.json")}
    assert truths == {"ground_truth.json", "loop.2/ground_truth.json"}


def test_a_part_that_is_wound_back_ends_where_it_was_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(world(tmp_path), tmp_path / "run.jsonl")
    spans: list[tuple[float, float]] = []

    def wound(_settings: Settings, worlds: Iterator[Any], *, steering: Steering, **_: Any) -> int:
        first = next(worlds)
        steering._again_from_ns = first.start_ns - 4 * NS_PER_S
        for run in (first, next(worlds)):
            times = [frame.zone_time_ns / NS_PER_S for frame in run.frames()]
            spans.append((times[0], times[-1]))
        return 0

    monkeypatch.setattr("simulator.service.run_worlds", wound)
    arguments = ["replay", str(path), "--zone", "z1", "--skip", "10", "--play", "5"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    (begin_s, end_s), again = spans
    assert again == (begin_s - 4, end_s)


def test_a_scenario_s_own_flag_before_its_name_is_told_where_it_belongs() -> None:
    result = CliRunner().invoke(cli, ["simulate", "--storm-s", "5", "storm"])
    assert result.exit_code == 2
    assert "a scenario's own flags come after its name" in result.output


def test_the_command_records_for_as_long_as_it_is_told(
    tmp_path: Path, broker: RunningBroker
) -> None:
    url = f"mqtt://{broker.host}:{broker.port}"
    arguments = ["record", str(tmp_path / "a.jsonl"), "--for", "0.3", "--broker", url]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.output)
    assert (summary["event"], summary["messages"]) == ("recorded", 0)
    wrong = CliRunner().invoke(cli, ["record", str(tmp_path / "a.txt"), "--broker", url])
    assert isinstance(wrong.exception, TapeError)


def test_a_run_told_to_go_back_ends_and_another_begins_there(
    tmp_path: Path, broker: RunningBroker, settings: Settings, edge: AnsweringEdge
) -> None:
    path = recorded(world(tmp_path), tmp_path / "run.jsonl")
    steering = Steering()
    begun: list[int] = []

    def make(number: int, from_ns: int | None) -> World:
        skip_s = 0.0 if from_ns is None else (from_ns - begun[0]) / NS_PER_S
        made = open_recording(path, zone="z1", run_id=f"run.{number}", skip_s=skip_s)
        begun.append(made.start_ns)
        return made

    def command(line: str) -> None:
        payload = json.dumps({"run_id": f"run.{len(begun)}", "line": line})
        edge.client.publish("vrc/v1/z1/zone/driver/down/run_control", payload)

    thread = threading.Thread(
        target=lambda: run_worlds(
            settings, steering.repeated(make, 1), speed=4.0, steering=steering
        )
    )
    thread.start()
    while edge.ticked.get(timeout=TIMEOUT_S) < (begun or [0])[0] + 4 * NS_PER_S:
        pass
    command("seek -2")
    edge.hear_the_end()
    wait_for(lambda: len(begun) == 2, "the second run")
    while edge.ticked.get(timeout=TIMEOUT_S) < begun[1] + 2 * NS_PER_S:
        pass
    command("stop")
    edge.hear_the_end()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert begun[0] < begun[1] < begun[0] + 10 * NS_PER_S
    states = [t.get("driver_state") for t in edge.of("tick")]
    assert set(states) == {"running"}


def test_a_run_told_to_loop_begins_again_until_told_otherwise(
    tmp_path: Path, settings: Settings, edge: AnsweringEdge
) -> None:
    path = recorded(world(tmp_path), tmp_path / "run.jsonl")
    steering = Steering()
    assert steering.obey("loop on").startswith("error")
    made: list[str] = []

    def make(number: int, from_ns: int | None) -> World:
        made.append(f"run.{number}")
        if number == 3:
            assert steering.obey("loop off") == "ok loop off"
        elif number == 2:
            assert steering.obey("loop maybe").startswith("error")
        return open_recording(path, zone="z1", run_id=made[-1])

    runs = steering.repeated(make, 1)
    first = next(runs)
    steering.steer(Publisher(first, settings, on_line=steering.obey))
    assert steering.obey("loop on") == "ok loop on"
    assert run_worlds(settings, chain([first], runs), speed=0, steering=steering) == 0
    assert made == ["run.1", "run.2", "run.3"]
