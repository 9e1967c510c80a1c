"""Databases on a server with TimescaleDB that somebody else runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
from psycopg import sql

from tests.support.store_world import fresh_database

VARIABLE = "VRC_TEST_TIMESCALE_URL"
_NUMBERS = count()


@contextmanager
def passing_database(server_url: str) -> Iterator[str]:
    """A new empty database, dropped at the end: its scheduler would run as long as the server.

    A copy of template0: TimescaleDB looks into template1 now and then, which hinders copying it.
    """
    name = f"vrc_test_{os.getpid()}_{next(_NUMBERS)}"
    try:
        with fresh_database(server_url, name, template="template0") as url:
            yield url
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))
