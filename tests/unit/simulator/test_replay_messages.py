"""A recording of messages as a world: the same records, the same alerts, other times if asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openvrc.cli.analyse import Analysis, run
from openvrc.contracts.units import NS_PER_S
from simulator.recorder import format_of
from simulator.recorder.entries import Entry
from simulator.replay import RecordingError, open_recording
from simulator.scenarios.crossroads import PLUGIN as CROSSROADS
from simulator.world import Frame, World
from tests.support.gbt32960 import VIN, full_2016
from tests.support.tapes import WALL_NS, recorded

STEPS, VEHICLES = 45, 2


def source(folder: Path, run_id: str = "run-1") -> World:
    """Cars in a row; the first one stops on its lane from the 10th to the 40th second."""
    speed = [0.0 if 10 <= t < 40 else 10.0 for t in range(STEPS)]
    gone_m = np.cumsum([0.0, *speed])[:-1]
    lines = []
    for t in range(STEPS):
        users = "".join(
            f'<vehicle id="car{n}" x="{10.0 + gone_m[t] * 1.5e-5 - 2e-3 * n:.7f}" y="53.5" '
            f'angle="90.00" type="car" speed="{speed[t]:.2f}"/>'
            for n in range(VEHICLES)
        )
        lines.append(f'<timestep time="{t}.00">{users}</timestep>')
    path = folder / "fcd.xml"
    path.write_text(f"<fcd-export>{''.join(lines)}</fcd-export>")
    return open_recording(path, zone="z1", run_id=run_id)


def again(path: Path, **options: Any) -> World:
    return open_recording(path, **({"zone": "z1", "run_id": "run-1"} | options))


def plain(frames: list[Frame]) -> list[Any]:
    return [
        (f.zone_time_ns, o.kind, o.source_id, o.message, o.batch.to_records())
        for f in frames
        for o in f.messages
    ]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mcap", "json"), ("a.parquet", "arrow"), ("a.jsonl.gz", "json")]
)
def test_a_replay_says_what_the_recorded_run_said(name: str, codec: str, tmp_path: Path) -> None:
    path = recorded(source(tmp_path), tmp_path / name, codec)
    world = again(path)
    assert (world.title, world.origin, world.start_ns) == (
        "fcd.xml", "replay", source(tmp_path).start_ns,
    )  # fmt: skip
    assert plain(list(world.frames())) == plain(list(source(tmp_path).frames()))


def test_analysing_a_recording_gives_the_alerts_of_the_run_itself(tmp_path: Path) -> None:
    def crossroads() -> World:
        return CROSSROADS.make(zone="z1", run_id="run-1", duration_s=16.0, vehicles=40)

    path = recorded(crossroads(), tmp_path / "a.mcap", "arrow")
    live, replayed = Analysis(), Analysis()
    run(crossroads(), live)
    run(again(path), replayed)
    assert len(live.alerts) > 1, "a run without alerts compares nothing with nothing"

    def told(analysis: Analysis) -> list[Any]:
        return sorted(
            (a.rule, a.subject_id, a.component, a.started_at_ns, a.detected_at_ns, a.state)
            for a in analysis.alerts.values()
        )

    assert told(replayed) == told(live)
    assert replayed.facts()["accounting"] == live.facts()["accounting"]


def test_times_are_moved_all_together(tmp_path: Path) -> None:
    path = recorded(source(tmp_path), tmp_path / "a.jsonl")
    begin_ns = 1_800_000_000 * NS_PER_S
    world = again(path, begin_at_ns=begin_ns)
    moved_ns = begin_ns - source(tmp_path).start_ns
    assert world.start_ns == begin_ns
    for before, after in zip(again(path).frames(), world.frames(), strict=True):
        assert after.zone_time_ns == before.zone_time_ns + moved_ns
        for one, other in zip(before.messages, after.messages, strict=True):
            sampled = one.batch.column("sampled_at_ns") + moved_ns
            assert other.batch.column("sampled_at_ns").tolist() == sampled.tolist()


def counted(frames: list[Frame]) -> dict[str, tuple[list[int], int]]:
    """Sequence numbers and the last count of each sender."""
    seqs: dict[str, list[int]] = {}
    counts: dict[str, int] = {}
    for frame in frames:
        for o in frame.messages:
            if o.message == "source_status":
                counts[o.source_id] = int(o.batch.column("sent_count")[-1])
            else:
                seqs.setdefault(o.source_id, []).extend(o.batch.column("seq").tolist())
    return {name: (numbers, counts[name]) for name, numbers in seqs.items()}


def test_a_part_is_played_without_missing_records(tmp_path: Path) -> None:
    path = recorded(source(tmp_path), tmp_path / "a.mcap")
    world = again(path, skip_s=15.0, play_s=10.0)
    frames = list(world.frames())
    assert frames[0].zone_time_ns >= world.start_ns == source(tmp_path).start_ns + 15 * NS_PER_S
    assert (frames[-1].zone_time_ns - frames[0].zone_time_ns) / NS_PER_S <= 10
    seqs: dict[str, list[int]] = {}
    for frame in frames:
        for o in frame.messages:
            if o.message != "source_status":
                seqs.setdefault(o.source_id, []).extend(o.batch.column("seq").tolist())
    assert seqs
    assert all(numbers == list(range(len(numbers))) for numbers in seqs.values())
    whole = counted(list(again(path, skip_s=15.0).frames()))
    assert all(count == len(numbers) for numbers, count in whole.values())


def test_a_jump_in_the_middle_is_no_loss(tmp_path: Path) -> None:
    path = recorded(source(tmp_path), tmp_path / "a.mcap")
    world, frames = again(path), []
    for frame in world.frames():
        frames.append(frame)
        if len(frames) == 10:
            world.seek(frame.zone_time_ns + 20 * NS_PER_S)  # type: ignore[attr-defined]
    gaps_s = [(b.zone_time_ns - a.zone_time_ns) / NS_PER_S for a, b in zip(frames, frames[1:])]  # noqa: B905, RUF007
    assert max(gaps_s) >= 20
    for numbers, count in counted(frames).values():
        assert numbers == list(range(len(numbers)))
        assert count == len(numbers)


def test_several_runs_in_a_recording_have_to_be_chosen(tmp_path: Path) -> None:
    one, other = source(tmp_path), source(tmp_path, "run-2")
    path = tmp_path / "both.jsonl"
    parts = [recorded(w, tmp_path / f"{w.run_id}.jsonl").read_bytes() for w in (one, other)]
    path.write_bytes(b"".join(parts))
    with pytest.raises(RecordingError, match=r"run run-1, .* run run-2; .*--of-run"):
        again(path)
    chosen = plain(list(again(path, of_run="run-2").frames()))
    assert chosen == plain(list(again(tmp_path / "run-2.jsonl").frames()))
    assert chosen
    with pytest.raises(RecordingError, match="expected one run"):
        again(path, of_zone="elsewhere")


def test_the_live_world_is_replayed_by_when_it_was_heard_frames_of_vehicles_included(
    tmp_path: Path,
) -> None:
    topic = f"vrc/v1/z/vehicle/{VIN}/battery_state/gbt32960"
    path = tmp_path / "live.parquet"
    sink = format_of(path).create(path)
    for second in range(5):
        at_ns = WALL_NS + second * NS_PER_S
        sink.write(Entry(at_ns, topic, full_2016(at_ns=at_ns)))
    sink.write(Entry(WALL_NS + 5 * NS_PER_S, topic, b"damaged"))
    sink.write(Entry(WALL_NS + 5 * NS_PER_S, "vrc/v1/z/edge/e/tick", b"{}"))
    sink.close()
    world = again(path, zone="other")
    frames = list(world.frames())
    assert [(f.zone_time_ns - WALL_NS) // NS_PER_S for f in frames] == list(range(6))
    assert frames[-1].messages == ()
    said = {(o.message, o.batch.zone, o.batch.origin, o.batch.run_id) for f in frames
            for o in f.messages}  # fmt: skip
    assert said == {
        ("battery_state", "other", "replay", "run-1"),
        ("vehicle_state", "other", "replay", "run-1"),
    }
    assert dict(world.lost) == {"bad_start": 1}  # type: ignore[attr-defined]


def test_a_damaged_recording_is_played_up_to_its_damage(tmp_path: Path) -> None:
    path = recorded(source(tmp_path), tmp_path / "a.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:100]) + b'{"at_ns":')
    with pytest.raises(RecordingError, match="line 101"):
        again(path)


def test_what_cannot_be_wound_says_so(tmp_path: Path) -> None:
    source(tmp_path)
    with pytest.raises(RecordingError, match="need a recording by vrc record"):
        again(tmp_path / "fcd.xml", skip_s=1.0)


def test_a_recording_of_nothing_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"at_ns": 1, "topic": "a/b", "text": ""}) + "\n")
    with pytest.raises(RecordingError, match="holds no record"):
        again(path)
