"""Zones with their maps, and runs."""

from __future__ import annotations

from psycopg.rows import dict_row

from cloud.store.facts import ns_of
from cloud.store.read_types import Connection, RunRow, ZoneRow
from cloud.store.sql import statement
from openvrc.contracts.maps import RoadMap


def zones(connection: Connection, *, with_map: bool = True) -> list[ZoneRow]:
    """Every zone that was ever announced."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("zones")).fetchall()
    return [
        ZoneRow(
            zone=row["zone"],
            time_zone=row["time_zone"],
            map_version=row["map_version"],
            geojson=RoadMap.from_document(row["document"]).to_geojson()
            if with_map and row["document"]
            else None,
            clock=row["clock"],
        )
        for row in rows
    ]


def runs(connection: Connection, *, zone: str | None = None) -> list[RunRow]:
    """Newest first."""
    rows = connection.execute(statement("runs"), {"zone": zone}).fetchall()
    return [
        RunRow(run_id, name, origin, title, state, ns_of(first_at), ns_of(last_at))
        for run_id, name, origin, title, state, first_at, last_at in rows
    ]
