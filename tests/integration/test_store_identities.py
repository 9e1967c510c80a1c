"""Names get one key each, for ever, whoever else gives keys in the same database."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from cloud.store.identities import COPIED_FROM, NO_KEY, Identities
from cloud.store.migrate import migrate
from tests.support.store_world import vehicle_states

MANY = 3 * COPIED_FROM


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(connection, chunk_days=1.0)
        yield connection


def stored(connection: psycopg.Connection) -> dict[str, int]:
    rows = connection.execute("SELECT name, id FROM subject").fetchall()
    assert len({key for _, key in rows}) == len(rows)
    return dict(rows)


def keys_of(identities: Identities, names: list[str]) -> dict[str, int]:
    return {name: identities.key("subject", name) for name in names}


def cars(first: int, end: int) -> list[str]:
    return [f"car-{number}" for number in range(first, end)]


@pytest.mark.parametrize("is_recalled", [True, False])
def test_many_names_get_the_keys_that_the_database_holds(
    connection: psycopg.Connection, is_recalled: bool
) -> None:
    identities = Identities()
    if is_recalled:
        identities.recall(connection)
    for first in (0, COPIED_FROM // 2, 5):  # all new, half of them new, few new
        identities.learn_names(connection, "subject", cars(first, first + MANY))
    identities.learn_names(connection, "subject", ["straße/zelle:7", *cars(MANY, MANY + 70)])
    assert keys_of(identities, [*cars(0, MANY + 70), "straße/zelle:7"]) == stored(connection)


def test_names_that_another_process_has_learned_keep_their_keys(
    connection: psycopg.Connection,
) -> None:
    ours, theirs = Identities(), Identities()
    ours.recall(connection)
    theirs.recall(connection)
    theirs.learn_names(connection, "subject", cars(0, MANY))
    ours.learn_names(connection, "subject", cars(MANY - 10, 2 * MANY))  # some of them are known
    theirs.learn_names(connection, "subject", cars(0, 2 * MANY))
    assert keys_of(ours, cars(MANY - 10, 2 * MANY)).items() <= stored(connection).items()
    assert keys_of(theirs, cars(0, 2 * MANY)) == stored(connection)


def test_recalled_names_need_no_further_question(connection: psycopg.Connection) -> None:
    Identities().learn_names(connection, "subject", cars(0, MANY))
    again = Identities()
    again.recall(connection)
    assert keys_of(again, cars(0, MANY)) == stored(connection)


def test_a_column_has_a_key_for_each_row_and_none_for_what_cannot_be_stored(
    connection: psycopg.Connection,
) -> None:
    batch = vehicle_states(6, n_vehicles=3)
    odd = batch.with_columns({"subject_id": ["a", "b\0", "a", "c", "", "c"]})
    identities = Identities()
    identities.learn(connection, [odd])
    a, c = (identities.key("subject", name) for name in "ac")
    column = identities.column("subject", odd, "subject_id")
    assert column.tolist() == [a, NO_KEY, a, c, NO_KEY, c]
    assert set(stored(connection)) >= {"a", "c"}


def test_two_databases_give_one_batch_keys_of_their_own(connection: psycopg.Connection) -> None:
    connection.execute("SELECT setval(pg_get_serial_sequence('subject', 'id'), 1000)")
    elsewhere, here = Identities(), Identities()
    elsewhere._names["subject"].add(cars(0, 3), [1, 2, 3])
    batch = vehicle_states(3, n_vehicles=3)
    elsewhere.learn_names(connection, "subject", ["edge-1", "edge#2", "a/b/c"])
    assert elsewhere.column("subject", batch, "subject_id").tolist() == [1, 2, 3]
    here.learn(connection, [batch])
    assert min(here.column("subject", batch, "subject_id").tolist()) > 1000
