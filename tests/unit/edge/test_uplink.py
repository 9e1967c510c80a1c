"""The uplink against a cloud that answers as documented."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import uplink
from edge.halving import halves, n_rows
from edge.ingest_client import IngestClient
from edge.ledger import Ledger
from edge.ledger_rows import ledger_batches
from edge.spool import Spool
from edge.uplink import Done, NameTakenError, Uplink, claim_name
from openvrc.contracts.batch import Batch
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.wire import pack
from tests.support.edge_world import tick, vehicles
from tests.support.fake_cloud import KEY, FakeCloud


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    running = FakeCloud()
    yield running
    running.stop()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "s", "edge-1", 10**9)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(uplink, "FORBIDDEN_WAIT_S", 0.05)


def fill(spool: Spool, count: int, n_vehicles: int = 4) -> None:
    for number in range(count):
        rows = [(f"v{vehicle}", float(number), 0.0) for vehicle in range(n_vehicles)]
        seqs = range(number * n_vehicles, (number + 1) * n_vehicles)
        batches = [vehicles(rows, seqs=seqs), tick(number)]
        spool.commit(blob=pack(batches), n_records=n_vehicles, journal=b"")


def run(spool: Spool, cloud: FakeCloud, until: int) -> list[Done]:
    """Run an uplink until so many entries are done; what it said of them."""
    thread = Uplink(spool.path, spool.epoch, IngestClient(cloud.url, KEY, "edge-1"), "edge-1")
    done: list[Done] = []
    thread.start()
    for _ in range(3000):
        done += thread.take_done()
        if sum(len(parcel.counters) for parcel in done) >= until:
            break
        thread.join(0.01)
    thread.stop(10.0)
    assert not thread.is_alive()
    return done


def seqs(cloud: FakeCloud) -> list[int]:
    return [record["seq"] for record in cloud.records("vehicle_state")]


def test_entries_arrive_in_order_and_those_that_wait_go_as_one(
    cloud: FakeCloud, spool: Spool
) -> None:
    fill(spool, 5)
    done = run(spool, cloud, 5)
    assert [parcel.counters for parcel in done] == [(1,), (2, 3, 4, 5)]
    assert seqs(cloud) == list(range(20))
    assert cloud.batch_ids == [f"edge-1/{spool.epoch}/{n}" for n in (1, 5)]


def test_a_parcel_under_way_at_a_crash_goes_again_as_it_was(cloud: FakeCloud, spool: Spool) -> None:
    fill(spool, 4)
    run(spool, cloud, 4)
    confirmed_first = [1]
    spool.commit(blob=None, n_records=0, journal=b"", gone=confirmed_first)
    fill(spool, 3)  # they wait behind the parcel of 2, 3, 4, which the cloud has
    done = run(spool, cloud, 6)
    assert [parcel.counters for parcel in done] == [(2, 3, 4), (5, 6, 7)]
    assert cloud.batch_ids == [f"edge-1/{spool.epoch}/{n}" for n in (1, 4, 7)]
    assert all(len(bodies) == 1 for bodies in cloud.bodies.values())


def test_without_a_note_the_first_entry_was_under_way_alone(cloud: FakeCloud, spool: Spool) -> None:
    fill(spool, 1)
    run(spool, cloud, 1)
    fill(spool, 2)
    done = run(spool, cloud, 3)
    assert [parcel.counters for parcel in done] == [(1,), (2, 3)]
    assert seqs(cloud)[:4] == list(range(4))
    assert all(len(bodies) == 1 for bodies in cloud.bodies.values())


def test_what_has_left_the_spool_is_known_and_held(cloud: FakeCloud, spool: Spool) -> None:
    cloud.fault = lambda _batches: 503
    fill(spool, 3)
    thread = Uplink(spool.path, spool.epoch, IngestClient(cloud.url, KEY, "edge-1"), "edge-1")
    with thread.holding() as before:
        pass
    thread.start()
    cloud.wait_for(lambda: cloud.answers[503] >= 1)
    with thread.holding() as held_to:
        pass
    thread.stop(10.0)
    assert (before, held_to) == (None, 1)


def test_a_busy_cloud_gets_the_same_bytes_again(cloud: FakeCloud, spool: Spool) -> None:
    fill(spool, 3)
    busy = iter([503, 429, 500, 0, 503])
    cloud.fault = lambda _batches: next(busy, 0)
    run(spool, cloud, 3)
    assert seqs(cloud) == list(range(12))
    assert cloud.answers[503] == 2
    assert all(len(bodies) == 1 for bodies in cloud.bodies.values())


def test_what_was_sent_but_not_confirmed_is_a_duplicate_after_a_restart(
    cloud: FakeCloud, spool: Spool
) -> None:
    fill(spool, 2)
    run(spool, cloud, 2)
    run(spool, cloud, 2)
    assert seqs(cloud) == list(range(8))
    assert all(len(bodies) == 1 for bodies in cloud.bodies.values())


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_batch_is_halved_until_only_bad_records_are_left(
    cloud: FakeCloud, spool: Spool, status: int
) -> None:
    fill(spool, 1, n_vehicles=13)
    fill(spool, 1)

    def dislikes(batches: list[Batch]) -> int:
        bad = any("v5" in b.texts("subject_id") for b in batches if b.message == "vehicle_state")
        return status if bad else 0

    cloud.fault = dislikes
    thread = Uplink(spool.path, spool.epoch, IngestClient(cloud.url, KEY, "edge-1"), "edge-1")
    thread.start()
    cloud.wait_for(lambda: f"edge-1/{spool.epoch}/2" in cloud.batch_ids)
    done: list[Done] = []
    while len(done) < 2:
        done += thread.take_done()
        thread.join(0.01)
    thread.stop(10.0)
    ((batch, detail),) = done[0].refused
    assert batch.texts("subject_id") == ["v5"]
    assert detail == "on purpose"
    assert done[1].refused == ()
    assert len(seqs(cloud)) == 12 + 4
    assert len(cloud.records("tick")) == 2


def test_a_wrong_key_waits_until_it_is_mended(cloud: FakeCloud, spool: Spool) -> None:
    cloud.key = "another"
    fill(spool, 2)
    thread = Uplink(spool.path, spool.epoch, IngestClient(cloud.url, KEY, "edge-1"), "edge-1")
    thread.start()
    cloud.wait_for(lambda: cloud.answers[401] >= 2)
    assert "401" in thread.last_problem
    assert thread.take_done() == []
    cloud.key = KEY
    cloud.wait_for(lambda: len(cloud.batch_ids) == 2)
    thread.stop(10.0)


def test_a_cloud_that_is_away_is_tried_until_it_is_back(tmp_path: Path, spool: Spool) -> None:
    gone = FakeCloud()
    url = gone.url
    gone.stop()
    fill(spool, 1)
    client = IngestClient(url, KEY, "edge-1")
    assert client.post(b"x", "e/1/1").status == 0
    thread = Uplink(spool.path, spool.epoch, client, "edge-1")
    thread.start()
    thread.stop(10.0)  # also in the middle of its waiting
    assert not thread.is_alive()


def test_account_rows_are_posted_without_a_batch_id(cloud: FakeCloud, spool: Spool) -> None:
    ledger = Ledger()
    ledger.receive(vehicles([("v", 0, 0)], seqs=[0]), 1)
    slots = ledger.take_changed(9)
    rows = ledger_batches("z", "r", ledger, slots, edge_id="e", edge_epoch=1, now_ns=1)
    thread = Uplink(spool.path, spool.epoch, IngestClient(cloud.url, KEY, "edge-1"), "edge-1")
    before = thread.wants_ledger
    thread.offer_ledger(rows)
    assert (before, thread.wants_ledger) == (True, False)
    thread.start()
    cloud.wait_for(lambda: len(cloud.ledger) == 1)
    thread.stop(10.0)
    assert cloud.batch_ids == []


def test_halves_keep_order_and_every_row() -> None:
    batches = [vehicles([(f"v{n}", 0, 0) for n in range(count)]) for count in (3, 0, 1, 5)]
    left, right = halves(batches)
    assert n_rows(left) == 4
    assert n_rows(right) == 5
    names = [name for b in [*left, *right] for name in b.texts("subject_id")]
    assert names == [name for b in batches for name in b.texts("subject_id")]
    two = halves([vehicles([("a", 0, 0)]), vehicles([("b", 0, 0)])])
    assert [n_rows(half) for half in two] == [1, 1]


def test_a_url_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(SettingsError, match="expected http"):
        IngestClient("cloud:8080", "k", "e")


def test_an_edge_whose_name_is_in_use_refuses_to_start(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "CLAIM_EVERY_S", 0.01)
    monkeypatch.setattr(uplink, "CLAIM_SLACK_S", 0.05)
    cloud.fault = lambda _batches: 409
    cloud.retry_after_s = 15  # it does not become less: the other one lives
    with pytest.raises(NameTakenError, match="on purpose"):
        claim_name(IngestClient(cloud.url, KEY, "e"), "e", 1, threading.Event())


def test_an_edge_waits_for_a_name_that_runs_out(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "CLAIM_EVERY_S", 0.01)
    left = iter([409, 409, 409])
    cloud.fault = lambda _batches: next(left, 0)
    claim_name(IngestClient(cloud.url, KEY, "e"), "e", 1, threading.Event())
    assert cloud.answers == {409: 3, 200: 1}
