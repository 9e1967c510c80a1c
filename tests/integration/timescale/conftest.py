"""Databases on a PostgreSQL with TimescaleDB, which no package registry offers.

`VRC_TEST_TIMESCALE_URL` names a server (postgresql://superuser@host/postgres) on which databases
may be made and dropped; without it these tests skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from cloud.store.migrate import migrate
from tests.support.timescale_server import VARIABLE, passing_database


@pytest.fixture(scope="session")
def timescale_server() -> str:
    """The URL of the server, which must be one that loads TimescaleDB."""
    url = os.environ.get(VARIABLE, "")
    if not url:
        pytest.skip(f"{VARIABLE} is not set: no server with TimescaleDB to test against")
    return url


@pytest.fixture
def empty_database_url(timescale_server: str) -> Iterator[str]:
    """A database of the test's own, without a table in it."""
    with passing_database(timescale_server) as url:
        yield url


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """A migrated database of the test's own, cut into hypertables."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        layout = migrate(connection, chunk_days=1.0)
    assert layout.partitioning == "timescale", f"the server of {VARIABLE} has no TimescaleDB"
    return empty_database_url
