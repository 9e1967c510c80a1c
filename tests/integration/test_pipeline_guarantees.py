"""Nothing is lost, nothing doubled, state and rows agree: the pipeline on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import pytest

from cloud import committer as module
from cloud.alerting import AlertTransition
from cloud.metrics import CommitCounter
from cloud.pipeline import (
    EdgeConflictError,
    Pipeline,
    PipelineFullError,
    StoreFaultError,
    StoreRefusedError,
    WireError,
)
from cloud.ports import OwnedElsewhereError
from cloud.snapshot import pack_snapshot
from cloud.store import reads
from cloud.store.facts import write_alerts
from openvrc.contracts.batch import Batch
from openvrc.contracts.errors import ContractError
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import pack
from openvrc.contracts.zone import Zone
from openvrc.settings import Settings
from tests.support.store_world import (
    START_NS,
    OverSpeed,
    fresh_database,
    one_row,
    tick,
    vehicle_states,
)

DETECTORS = {OverSpeed.name: OverSpeed()}
NEVER_S = 1e6
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pipeline_on(url: str, *, checkpoint_every_s: float = NEVER_S) -> Pipeline:
    settings = Settings(cloud_checkpoint_every_s=checkpoint_every_s)
    return Pipeline(settings, DETECTORS, database_url=url)


def bodies(n_bodies: int, *, n_rows: int = 60) -> list[bytes]:
    """One second of 10 Hz each, with a tick behind it."""
    made = []
    for number in range(n_bodies):
        at_ns = START_NS + number * NS_PER_S
        records = vehicle_states(
            n_rows, at_ns=at_ns, first_seq=number * n_rows, n_vehicles=6, seed=number
        )
        made.append(pack([records, tick(at_ns + NS_PER_S)]))
    return made


async def send(pipeline: Pipeline, made: Sequence[bytes], *, first: int = 0) -> None:
    for number, body in enumerate(made, first):
        await pipeline.submit(body, "edge-1", f"edge-1/1/{number}")


def everything(url: str) -> dict[str, Any]:
    """Rows, alerts and transitions of a database, without keys and wall-clock times."""
    queries = {
        "rows": "SELECT subject_id, sampled_at, source_id, seq, speed_mps FROM v_vehicle_state "
        "ORDER BY 1, 2, 3",
        "alerts": "SELECT id, state, severity, started_at, detected_at, cleared_at, evidence, "
        "sequence FROM alert ORDER BY id",
        "events": "SELECT alert_id, sequence, change, severity, state, at, evidence "
        "FROM alert_event ORDER BY sequence",
    }
    with psycopg.connect(url) as connection:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}


async def uninterrupted(url: str, made: Sequence[bytes]) -> dict[str, Any]:
    pipeline = pipeline_on(url)
    await pipeline.start()
    await send(pipeline, made)
    await pipeline.stop()
    return everything(url)


async def test_a_body_is_stored_and_told_once_however_often_it_is_sent(database_url: str) -> None:
    pipeline = pipeline_on(database_url)
    told: list[AlertTransition] = []
    pipeline.subscribe(lambda _batches, transitions: told.extend(transitions))
    await pipeline.start()
    (body,) = bodies(1)
    first = await pipeline.submit(body, "edge-1", "edge-1/1/0")
    again = await pipeline.submit(body, "edge-1", "edge-1/1/0")
    await pipeline.stop()
    assert (first.stored, first.is_duplicate) == (60, False)
    assert (again.stored, again.is_duplicate) == (60, True)
    stored = everything(database_url)
    assert len(stored["rows"]) == 60
    assert [(t.alert.id, t.sequence) for t in told] == [event[:2] for event in stored["events"]]
    assert told


async def test_what_is_sent_together_is_folded_in_the_order_of_arrival(database_url: str) -> None:
    made = bodies(12)
    pipeline = pipeline_on(database_url)
    seen: list[int] = []
    pipeline.subscribe(lambda batches, _told: seen.append(int(batches[0].column("seq")[0])))
    await pipeline.start()
    await asyncio.gather(
        *(pipeline.submit(body, "edge-1", f"edge-1/1/{n}") for n, body in enumerate(made))
    )
    await pipeline.stop()
    assert seen == [number * 60 for number in range(12)]


@pytest.mark.parametrize("stop_after", [1, 4, 7])
async def test_a_restart_at_a_checkpoint_or_between_two_goes_on_exactly(
    database_server: str, database_url: str, stop_after: int
) -> None:
    made = bodies(8)
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    await send(pipeline, made[:stop_after])
    await pipeline.stop()  # writes a checkpoint
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    await send(pipeline, made[stop_after:], first=stop_after)
    await abandon(pipeline)  # leaves the log behind
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    await send(pipeline, made)  # all are known
    counts = pipeline.counts.read()[1]
    await pipeline.stop()
    assert sum(entry[0] for entry in counts.values()) == 60 * (8 - stop_after)
    expected = await reference(database_server, made)
    assert everything(database_url) == expected


_REFERENCES: dict[int, dict[str, Any]] = {}


async def reference(server: str, made: Sequence[bytes]) -> dict[str, Any]:
    """What an uninterrupted run stores; made once per number of bodies."""
    if len(made) not in _REFERENCES:
        with fresh_database(server, f"reference_{len(made)}") as url:
            _REFERENCES[len(made)] = await uninterrupted(url, made)
    return _REFERENCES[len(made)]


async def abandon(pipeline: Pipeline) -> None:
    """Stop as a killed process does, without a checkpoint."""
    pipeline._committer.checkpoint = lambda: False  # type: ignore[method-assign]
    await pipeline.stop()


async def test_connections_cut_in_mid_load_lose_and_double_nothing(
    database_server: str, database_url: str
) -> None:
    made = bodies(30)
    pipeline = pipeline_on(database_url, checkpoint_every_s=0.05)
    await pipeline.start()
    name = database_url.rsplit("/", 1)[1]

    async def cut() -> None:
        with psycopg.connect(database_server, autocommit=True) as connection:
            for _ in range(8):
                await asyncio.sleep(0.07)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )

    await asyncio.gather(cut(), send(pipeline, made))
    await pipeline.stop()
    assert everything(database_url) == await reference(database_server, made)


async def test_a_commit_whose_answer_was_lost_is_told_once(database_url: str) -> None:
    """The server commits, the connection dies before we hear of it."""
    pipeline = pipeline_on(database_url)
    told: list[AlertTransition] = []
    pipeline.subscribe(lambda _batches, transitions: told.extend(transitions))
    await pipeline.start()
    committer = pipeline._committer
    honest = committer._try

    def deaf(connection: Any, body: Any) -> Any:
        committer._try = honest  # type: ignore[method-assign]
        tell, committer._tell = committer._tell, lambda *_: None  # type: ignore[method-assign]
        honest(connection, body)
        committer._tell = tell  # type: ignore[method-assign]
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    committer._try = deaf  # type: ignore[method-assign]
    (body,) = bodies(1)
    result = await pipeline.submit(body, "edge-1", "edge-1/1/0")
    await pipeline.stop()
    assert (result.stored, result.is_duplicate) == (60, False)
    assert len(told) == len(everything(database_url)["events"]) > 0


async def test_a_second_process_on_the_same_database_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.ports.OWNER_WAIT_S", 0.1)
    first, second = pipeline_on(database_url), pipeline_on(database_url)
    await first.start()
    with pytest.raises(OwnedElsewhereError, match="another cloud process"):
        await second.start()
    await send(first, bodies(1))
    await first.stop()
    await second.start()
    await second.stop()


async def test_states_are_loaded_anew_when_another_process_owned_the_database_meanwhile(
    database_server: str, database_url: str
) -> None:
    made = bodies(6)
    first, second = pipeline_on(database_url), pipeline_on(database_url)
    await first.start()
    await send(first, made[:2])
    first._committer._connection.close()  # type: ignore[union-attr]
    await second.start()
    await send(second, made[2:4], first=2)
    await abandon(second)
    await send(first, made[4:], first=4)
    await first.stop()
    assert everything(database_url) == await reference(database_server, made)


async def test_a_body_the_store_refuses_changes_nothing_and_the_next_goes_through(
    database_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The check before the store finds this poison first; what it lets through must harm nothing.
    monkeypatch.setattr("cloud.pipeline.require_in_range", lambda batch: None)
    made = bodies(4)
    poisoned = vehicle_states(60, at_ns=START_NS + 2 * NS_PER_S, n_vehicles=6, seed=2)
    poisoned = poisoned.with_columns({"lat_deg": np.nan, "speed_mps": 40.0})
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    await send(pipeline, made[:2])
    with pytest.raises(StoreRefusedError, match="lat_deg"):
        await pipeline.submit(pack([poisoned]), "edge-1", "edge-1/1/99")
    await send(pipeline, made[2:], first=2)
    assert pipeline.stats().refused_bodies == 1
    await pipeline.stop()
    assert everything(database_url) == await reference(database_server, made)


async def test_a_fault_behind_the_engine_takes_its_folding_back(
    database_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bodies(4)
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    await send(pipeline, made[:2])
    honest, n_calls = write_alerts, 0

    def failing(connection: Any, transitions: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise RuntimeError("no")
        honest(connection, transitions)

    monkeypatch.setattr(module, "write_alerts", failing)
    with pytest.raises(StoreFaultError, match="RuntimeError"):
        await pipeline.submit(made[2], "edge-1", "edge-1/1/2")
    assert (pipeline.stats().store_faults, pipeline.stats().refused_bodies) == (1, 0)
    await send(pipeline, made[2:], first=2)
    await pipeline.stop()
    assert everything(database_url) == await reference(database_server, made)


async def test_a_full_queue_answers_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    pipeline._jobs.maxsize = 2
    made = bodies(20)
    answers = await asyncio.gather(
        *(pipeline.submit(body, "edge-1", f"edge-1/1/{n}") for n, body in enumerate(made)),
        return_exceptions=True,
    )
    full = [answer for answer in answers if isinstance(answer, PipelineFullError)]
    stored = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert full
    assert len(full) + len(stored) == 20
    assert pipeline.stats().full_answers == len(full)
    await pipeline.stop()
    assert len(everything(database_url)["rows"]) == 60 * len(stored)


async def test_odd_requests_are_told_apart(database_url: str) -> None:
    pipeline = pipeline_on(database_url)
    (body,) = bodies(1)
    with pytest.raises(PipelineFullError):
        await pipeline.submit(body, "edge-1", "edge-1/1/0")  # not started
    await pipeline.start()
    with pytest.raises(WireError):
        await pipeline.submit(b"nonsense", "edge-1", "edge-1/1/0")
    with pytest.raises(WireError, match="X-VRC-Batch is missing"):
        await pipeline.submit(body, "edge-1", "")
    with pytest.raises(ContractError, match="X-VRC-Batch"):
        await pipeline.submit(body, "edge-2", "edge-1/1/0")
    await pipeline.submit(body, "edge-1", "edge-1/1/0")
    with pytest.raises(EdgeConflictError, match="was active"):
        await pipeline.submit(body, "edge-1", "edge-1/2/0")
    await pipeline.stop()


class Sum:
    """A fold beside the engine: the sum of all seqs."""

    name = "sum"

    def __init__(self) -> None:
        self.total = 0

    def apply(self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None:
        self.total += sum(int(b.column("seq").sum()) for b in batches if b.message != "tick")

    def snapshot(self) -> bytes:
        return str(self.total).encode()

    def restore(self, data: bytes) -> None:
        self.total = int(data)


@pytest.mark.parametrize("has_checkpoint", [True, False])
async def test_a_registered_fold_comes_back_as_it_was(
    database_url: str, has_checkpoint: bool
) -> None:
    fold = Sum()
    pipeline = pipeline_on(database_url)
    pipeline.register(fold)
    await pipeline.start()
    await send(pipeline, bodies(3))
    await (pipeline.stop() if has_checkpoint else abandon(pipeline))
    again = Sum()
    pipeline = pipeline_on(database_url)
    pipeline.register(again)
    await pipeline.start()
    await pipeline.stop()
    assert again.total == fold.total == sum(range(180))


async def test_an_alert_cleared_by_hand_stays_cleared_after_a_crash(database_url: str) -> None:
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    fast = vehicle_states(1, speed_mps=25.0)
    await pipeline.submit(pack([fast]), "edge-1", "edge-1/1/0")
    with psycopg.connect(database_url, autocommit=True) as connection:
        (view,) = reads.alerts(connection, reads.AlertFilter(state="open")).items
        told = await pipeline.clear_alert("run-1", view.alert.id, "ann", "known test drive")
        assert told is not None
        assert told.change == "cleared"
        assert await pipeline.clear_alert("run-1", view.alert.id, "ann") is None
        await abandon(pipeline)
        pipeline = pipeline_on(database_url)
        await pipeline.start()
        still_fast = vehicle_states(1, at_ns=START_NS + NS_PER_S, speed_mps=25.0)
        await pipeline.submit(pack([still_fast]), "edge-1", "edge-1/1/1")
        await pipeline.stop()
        detail = reads.alert(connection, view.alert.id)
        assert detail is not None
        assert detail.alert.state == "cleared"
        assert [(a.who, a.action, a.detail) for a in detail.actions] == [
            ("ann", "clear", {"text": "known test drive"})
        ]
        assert not reads.alerts(connection, reads.AlertFilter(state="open")).items


class Told:
    """A fold that keeps the state of every alert."""

    name = "told"

    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def apply(self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None:
        self.states |= {told.alert.id: told.alert.state for told in transitions}

    def snapshot(self) -> bytes:
        return json.dumps(self.states).encode()

    def restore(self, data: bytes) -> None:
        self.states = json.loads(data)


async def test_an_alert_of_a_run_that_ended_can_still_be_cleared_by_hand(database_url: str) -> None:
    fold = Told()
    pipeline = pipeline_on(database_url)
    pipeline.register(fold)
    await pipeline.start()
    end_ns = START_NS + 5 * NS_PER_S
    ended = one_row("zone_announce", at_ns=end_ns, state="ended", clock="driven")
    last = tick(end_ns, watermark_ns=end_ns + 60 * NS_PER_S)
    body = pack([vehicle_states(1, speed_mps=25.0), ended, last])
    await pipeline.submit(body, "edge-1", "edge-1/1/0")
    ((alert_id, state),) = fold.states.items()
    assert state == "active"
    told = await pipeline.clear_alert("run-1", alert_id, "ann")
    assert told is not None
    assert (told.alert.state, told.alert.cleared_at_ns) == ("cleared", end_ns)
    assert await pipeline.clear_alert("run-1", alert_id, "ann") is None
    await abandon(pipeline)
    again = Told()
    pipeline = pipeline_on(database_url)
    pipeline.register(again)
    await pipeline.start()
    await pipeline.stop()
    assert again.states == fold.states == {alert_id: "cleared"}


OTHER_VERSION = pack_snapshot({"format": "another"}, {})


@pytest.mark.parametrize("other", [OTHER_VERSION, OTHER_VERSION[:-3], b"\x01"])
@pytest.mark.parametrize("part", ["engine", "told"])
async def test_a_checkpoint_nobody_can_read_does_not_keep_the_cloud_from_starting(
    database_url: str, caplog: pytest.LogCaptureFixture, part: str, other: bytes
) -> None:
    pipeline = pipeline_on(database_url)
    pipeline.register(Told())
    await pipeline.start()
    await send(pipeline, bodies(2))
    await pipeline.stop()
    with psycopg.connect(database_url, autocommit=True) as connection:
        change = "UPDATE checkpoint SET state = %s WHERE name = %s"
        assert connection.execute(change, [other, part]).rowcount == 1
    pipeline = pipeline_on(database_url)
    pipeline.register(Told())
    await pipeline.start()
    await send(pipeline, bodies(3))
    await pipeline.stop()
    assert "anew" in caplog.text
    assert len(everything(database_url)["rows"]) == 180


def ledger(*, version: int, sent: int, forwarded: int, **columns: Any) -> Batch:
    facts: dict[str, Any] = {
        "source_id": "edge-1", "subject_id": "rsu-1", "session": 7, "edge_id": "edge-1",
        "edge_epoch": 1, "is_sequenced": True, "received": forwarded, "rejected": "{}",
        "dropped": 0, "expired": 0, "thinned": 0, "missing": 0, "duplicates": 0, "gaps": "[]",
    }  # fmt: skip
    facts |= {"version": version, "sent": sent, "forwarded": forwarded}
    return one_row("source_ledger", at_ns=START_NS, **(facts | columns))


@pytest.mark.parametrize("has_checkpoint", [True, False])
async def test_the_account_of_a_sender_closes_at_every_moment(
    database_url: str, has_checkpoint: bool
) -> None:
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    with psycopg.connect(database_url, autocommit=True) as connection:

        def account() -> reads.Account:
            found = reads.accounting(connection, pipeline.counts, zone="west", run_id="run-1")
            assert found.totals.is_closed
            return found.totals

        await send(pipeline, bodies(1))  # overtakes its account
        assert (account().sent, account().stored, account().pending) == (60, 60, 0)
        reasons = json.dumps({"out_of_range": 4})
        news = {"rejected": reasons, "missing": 3, "gaps": "[[5,7]]", "duplicates": 2}
        newer = ledger(version=2, sent=187, forwarded=180, **news)
        await pipeline.submit(pack([newer]), "edge-1", "")
        await pipeline.submit(pack([ledger(version=1, sent=9, forwarded=9)]), "edge-1", "")
        assert (account().sent, account().stored, account().pending) == (187, 60, 120)
        repeated = vehicle_states(60, n_vehicles=6, first_seq=60)
        await pipeline.submit(pack([repeated]), "edge-1", "edge-1/1/1")
        assert account().rejected == {"out_of_range": 4, "duplicate_sample": 60}
        await send(pipeline, bodies(3)[2:], first=2)
        assert (account().stored, account().pending, account().missing) == (120, 0, 3)
        before = account()
        await (pipeline.stop() if has_checkpoint else abandon(pipeline))
        pipeline = pipeline_on(database_url)
        await pipeline.start()
        assert account() == before
        (source,) = reads.accounting(connection, pipeline.counts).sources
        assert (source.source_id, source.is_sequenced, source.gaps) == ("rsu-1", True, [(5, 7)])
        await pipeline.stop()


async def test_subscribers_hear_of_accounts_that_move_without_a_record(database_url: str) -> None:
    pipeline = pipeline_on(database_url)
    counter, heard = CommitCounter(), list[list[str]]()
    pipeline.subscribe(counter.on_commit)
    pipeline.subscribe(lambda batches, _told: heard.append([b.message for b in batches]))
    await pipeline.start()
    account = ledger(version=1, sent=60, forwarded=60)
    await pipeline.submit(pack([account]), "edge-1", "")
    await pipeline.submit(pack([account, vehicle_states(60)]), "edge-1", "edge-1/1/0")
    await pipeline.stop()
    assert heard == [["source_ledger"], ["vehicle_state", "source_ledger"]]
    assert counter.records == {"vehicle_state": 60}


async def test_a_newcomers_json_is_stored_judged_and_accounted(database_url: str) -> None:
    good = {"source_id": "my-car", "lat_deg": 53.5, "lon_deg": 10.0, "speed_mps": 12.0}
    good["sampled_at_ns"] = now_ns = time.time_ns()
    bad = good | {"sampled_at_ns": now_ns + 1000, "speed_mps": -1}
    west = Zone(name="west")
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    payload = json.dumps([good, bad]).encode()
    result = await pipeline.submit_records("west", "vehicle_state", payload, west)
    assert (result.stored, result.rejected) == (1, 1)
    assert result.rejects[0].reason == "out_of_range"
    again = await pipeline.submit_records("west", "vehicle_state", json.dumps(good).encode(), west)
    assert (again.stored, again.rejected) == (0, 1)
    broken = await pipeline.submit_records("west", "vehicle_state", b"{", west)
    assert (broken.stored, broken.rejected) == (0, 1)
    with pytest.raises(ContractError):
        await pipeline.submit_records("we/st", "vehicle_state", payload, west)
    with pytest.raises(ContractError):
        await pipeline.submit_records("west", "tick", payload, west)
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = reads.accounting(connection, pipeline.counts)
        assert found.totals.is_closed
        assert (found.totals.sent, found.totals.stored, found.totals.pending) == (4, 1, 0)
        reasons = {"out_of_range": 1, "duplicate_sample": 1, "invalid_json": 1}
        assert found.totals.rejected == reasons
        letters = reads.dead_letters(connection, source="my-car").items
        assert [(row["reason"], row["records"]) for row in letters] == [("out_of_range", 1)]
    await pipeline.stop()


async def test_zones_runs_and_latency_are_known(database_url: str) -> None:
    pipeline = pipeline_on(database_url)
    await pipeline.start()
    announce = one_row(
        "zone_announce", at_ns=START_NS, state="running", clock="driven", title="demo",
        time_zone="Europe/Berlin",
    )  # fmt: skip
    await pipeline.submit(
        pack([announce, *[tick(START_NS + s * NS_PER_S) for s in range(3)]]), "edge-1", "edge-1/1/a"
    )
    fast = vehicle_states(1, speed_mps=25.0, at_ns=START_NS + NS_PER_S)
    await pipeline.submit(pack([fast]), "edge-1", "edge-1/1/b")
    with psycopg.connect(database_url, autocommit=True) as connection:
        (zone,) = reads.zones(connection)
        (run,) = reads.runs(connection)
    await pipeline.stop()
    assert (zone.zone, zone.clock, zone.time_zone, zone.geojson) == (
        "west",
        "driven",
        "Europe/Berlin",
        None,
    )
    assert (run.run_id, run.title, run.state) == ("run-1", "demo", "running")
    assert (run.first_at_ns, run.last_at_ns) == (START_NS, START_NS + 2 * NS_PER_S)
    latency = pipeline.latency()
    assert (latency.stored.count, latency.alert.count) == (1, 1)
