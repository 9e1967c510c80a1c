"""Servers and directories that integration tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from cloud.store.migrate import migrate
from tests.support.quick_database import quick_database
from tests.support.store_world import fresh_database

_NUMBERS = count()


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory everybody can reach. pytest's own `tmp_path` is closed to other accounts.

    Servers may run under an account of their own when the tests run as root.
    """
    path = Path(tempfile.mkdtemp(prefix="openvrc-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """The URL of one PostgreSQL for all tests of this process."""
    with quick_database() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(database_server: str) -> Iterator[str]:
    """Name of a migrated database to copy: migrating anew costs a second."""
    name = f"template_{os.getpid()}"
    with fresh_database(database_server, name) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            migrate(connection, chunk_days=1.0)
        yield name


@pytest.fixture
def database_url(database_server: str, migrated_template: str) -> Iterator[str]:
    """A migrated database of the test's own, without a row in it."""
    name = f"test_{os.getpid()}_{next(_NUMBERS)}"
    with fresh_database(database_server, name, template=migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(database_server: str) -> Iterator[str]:
    """A database of the test's own, without a table in it."""
    with fresh_database(database_server, f"test_{os.getpid()}_{next(_NUMBERS)}") as url:
        yield url
