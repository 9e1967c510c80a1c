"""Checkpoints are written beside the stream: it goes on, and counts and states stay exact."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest

from cloud.alerting import AlertTransition
from cloud.checkpoints import CheckpointWriter
from cloud.committer import Body, Committer
from cloud.store import reads
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import pack
from tests.support.patience import PATIENCE_S
from tests.support.store_world import START_NS, OverSpeed, vehicle_states

N_ROWS = 60
WAIT_S = PATIENCE_S


class Slow:
    """A fold whose bytes are made when the test says so."""

    name = "slow"

    def __init__(self) -> None:
        self.n_bodies = 0
        self.may_pack = threading.Event()

    def apply(self, batches: Sequence[Batch], transitions: Sequence[AlertTransition]) -> None:
        self.n_bodies += 1

    def freeze(self) -> Callable[[], bytes]:
        frozen = self.n_bodies

        def packed() -> bytes:
            assert self.may_pack.wait(WAIT_S)
            return str(frozen).encode()

        return packed

    def snapshot(self) -> bytes:
        return str(self.n_bodies).encode()

    def restore(self, data: bytes) -> None:
        self.n_bodies = int(data)


def started(url: str, fold: Slow) -> Committer:
    committer = Committer(url, {OverSpeed.name: OverSpeed()}, chunk_days=1.0)
    committer.register(fold)
    committer.start()
    return committer


def send(committer: Committer, number: int) -> None:
    at_ns = START_NS + number * NS_PER_S
    batch = vehicle_states(N_ROWS, at_ns=at_ns, first_seq=number * N_ROWS, seed=number)
    committer.commit(Body(pack([batch]), [batch], f"edge-1/1/{number}"))


def stored(url: str, committer: Committer) -> int:
    """Records by the accounts: the table's and the memory's counts together."""
    with psycopg.connect(url) as connection:
        return reads.accounting(connection, committer.counts).totals.stored


def test_bodies_are_committed_while_a_checkpoint_is_written(database_url: str) -> None:
    fold = Slow()
    committer = started(database_url, fold)
    send(committer, 0)
    assert committer.begin_checkpoint()
    assert not committer.begin_checkpoint()  # one at a time
    send(committer, 1)
    assert not committer.finish_checkpoint()
    assert stored(database_url, committer) == 2 * N_ROWS
    fold.may_pack.set()
    assert committer.finish_checkpoint(waits=True)
    assert stored(database_url, committer) == 2 * N_ROWS
    send(committer, 2)
    committer.close()  # as after a crash: two bodies lie behind the checkpoint
    again = Slow()
    committer = started(database_url, again)
    assert again.n_bodies == 3
    assert stored(database_url, committer) == 3 * N_ROWS
    again.may_pack.set()
    assert committer.checkpoint()
    assert stored(database_url, committer) == 3 * N_ROWS
    committer.close()


def test_who_owns_the_database_no_more_writes_no_checkpoint(database_url: str) -> None:
    fold = Slow()
    fold.may_pack.set()
    committer = started(database_url, fold)
    send(committer, 0)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE ownership SET epoch = epoch + 1")
        assert not committer.checkpoint()
        assert connection.execute("SELECT count(*) FROM checkpoint").fetchone() == (0,)
    assert stored(database_url, committer) == N_ROWS
    committer.close()


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_checkpoint_that_may_or_may_not_be_there_doubles_no_count(
    database_url: str, is_committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = Slow()
    fold.may_pack.set()
    committer = started(database_url, fold)
    send(committer, 0)
    honest = CheckpointWriter._commit

    def cut_off(*given: Any) -> Any:
        if is_committed:
            honest(*given)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(CheckpointWriter, "_commit", cut_off)
        assert not committer.checkpoint()
    send(committer, 1)
    assert stored(database_url, committer) == 2 * N_ROWS
    assert committer.checkpoint()
    assert stored(database_url, committer) == 2 * N_ROWS
    assert fold.n_bodies == 2
    committer.close()
