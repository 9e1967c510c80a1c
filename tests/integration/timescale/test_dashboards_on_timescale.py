"""Every query of the Grafana dashboards, on hypertables."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from cloud.store.migrate import migrate
from cloud.store.read_types import Connection
from tests.integration import test_grafana_dashboards
from tests.support.adopted import adopted
from tests.support.grafana_rows import fill
from tests.support.timescale_server import passing_database

globals().update(adopted(test_grafana_dashboards, "connection"))


@pytest.fixture(scope="module")
def connection(timescale_server: str) -> Iterator[Connection]:
    """A migrated database with a few rows of everything the dashboards show."""
    with (
        passing_database(timescale_server) as url,
        psycopg.connect(url, autocommit=True) as opened,
    ):
        layout = migrate(opened, chunk_days=1.0)
        assert layout.partitioning == "timescale"
        fill(opened, layout)
        yield opened
