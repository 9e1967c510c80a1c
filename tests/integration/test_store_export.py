"""Exports come in order of time, whole, however the slices of time fall."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from cloud.store import read_export, reads
from cloud.store.identities import Identities
from cloud.store.migrate import migrate
from cloud.store.read_types import Connection
from cloud.store.writer import Writer
from openvrc.contracts.units import NS_PER_S
from tests.support.store_world import DAY_NS, START_NS, vehicle_states

RNG = np.random.default_rng(5)
SECONDS = np.unique(np.concatenate([RNG.integers(0, 4 * 86_400, 200), RNG.integers(0, 90, 80)]))
AT_NS = START_NS + RNG.permutation(SECONDS) * NS_PER_S


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as found:
        writer = Writer(migrate(found, chunk_days=1.0), Identities())
        batch = vehicle_states(len(AT_NS), n_vehicles=3, sampled_at_ns=AT_NS)
        writer.prepare(found, [batch])
        with found.transaction():
            writer.write(found, [batch])
        yield found


def times(connection: Connection, **where: Any) -> list[int]:
    chunks = reads.export(connection, "vehicle_state", chunk_rows=7, **where)
    return [row["sampled_at_ns"] for chunk in chunks for row in chunk]


@pytest.mark.parametrize(("few", "many"), [(5_000, 20_000), (2, 3), (0, 0)])
def test_every_row_comes_once_and_in_order_whatever_the_slices(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, few: int, many: int
) -> None:
    monkeypatch.setattr(read_export, "FEW_ROWS", few)
    monkeypatch.setattr(read_export, "MANY_ROWS", many)
    monkeypatch.setattr(read_export, "SHORTEST_SLICE", read_export.FIRST_SLICE * 60)
    monkeypatch.setattr(read_export, "FIRST_SLICE", read_export.FIRST_SLICE * 60)
    assert times(connection) == sorted(AT_NS.tolist())


def test_a_span_holds_both_its_ends(connection: Connection) -> None:
    ordered = sorted(AT_NS.tolist())
    assert times(connection, from_ns=ordered[20], to_ns=ordered[-20]) == ordered[20:-19]
    assert times(connection, from_ns=START_NS + 9 * DAY_NS) == []


def test_rows_stored_after_the_first_chunk_are_not_in_the_export(
    connection: Connection, database_url: str
) -> None:
    chunks = reads.export(connection, "vehicle_state", chunk_rows=7)
    found = [row["sampled_at_ns"] for row in next(chunks)]
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("DELETE FROM vehicle_state")
    found += [row["sampled_at_ns"] for chunk in chunks for row in chunk]
    assert found == sorted(AT_NS.tolist())
