"""Rows of some days, and which of those days a store still has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from cloud.store.identities import Identities
from cloud.store.migrate import StoreLayout
from cloud.store.read_types import Connection
from cloud.store.writer import Writer
from tests.support.store_world import DAY_NS, START_NS, vehicle_states

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def store_days(connection: Connection, layout: StoreLayout, days: list[int], run_id: str) -> None:
    """One vehicle's record on each of some days behind `FIRST_DAY`, stored as those days ended."""
    at_ns = START_NS + np.array(days) * DAY_NS
    batch = vehicle_states(len(days), n_vehicles=1, sampled_at_ns=at_ns, run_id=run_id)
    writer = Writer(layout, Identities())
    writer.prepare(connection, [batch])
    with connection.transaction():
        writer.write(connection, [batch])
    connection.execute(
        "UPDATE vehicle_state SET stored_at = sampled_at FROM run "
        "WHERE run.id = vehicle_state.run AND run.run_id = %s",
        [run_id],
    )


def stored_days(connection: Connection) -> list[int]:
    """Days behind `FIRST_DAY` of which there are vehicle states."""
    rows = connection.execute("SELECT DISTINCT sampled_at FROM vehicle_state ORDER BY 1")
    return [(at - FIRST_DAY).days for (at,) in rows.fetchall()]


def day(number: float) -> datetime:
    """A moment that many days behind `FIRST_DAY`."""
    return FIRST_DAY + timedelta(days=number)
