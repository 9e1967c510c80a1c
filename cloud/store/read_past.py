"""How a zone stood at a past moment: positions of a span, newest states before an instant."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from cloud.store.facts import moment
from cloud.store.read_records import decoder, select
from cloud.store.read_types import Connection, Row
from cloud.store.sql import statement
from openvrc.contracts.units import NS_PER_S

Position = tuple[str, int, float, float, float | None, float | None, int | None, int | None]
"""Vehicle id, ms after the span's start, lat_deg, lon_deg, heading_deg, speed_mps, class, brake."""

WORLD_DEG = (-180.0, -90.0, 180.0, 90.0)


def past_positions(
    connection: Connection,
    *,
    zone: str,
    run_id: str,
    from_ns: int,
    to_ns: int,
    step_s: float,
    limit: int,
    bounds: tuple[float, float, float, float] = WORLD_DEG,
) -> list[Position]:
    """At most `limit` samples, of each vehicle the last in each step, by vehicle and time.

    `bounds` are west, south, east, north in degrees.
    """
    west, south, east, north = bounds
    facts = {
        "zone": zone, "run_id": run_id, "from": moment(from_ns), "to": moment(to_ns),
        "step_s": step_s, "limit": limit,
        "west": west, "south": south, "east": east, "north": north,
    }  # fmt: skip
    rows = connection.execute(statement("past_positions"), facts).fetchall()
    return [row[:8] for row in rows]


def records_between(
    connection: Connection,
    message: str,
    *,
    zone: str,
    run_id: str,
    from_ns: int,
    to_ns: int,
    limit: int,
    subjects: Sequence[str] | None = None,
) -> list[Row]:
    """Records of one message of a run in a zone, newest first; of some subjects, or of all."""
    where = ""
    if subjects is not None:
        where = "AND t.subject = ANY (ARRAY(SELECT id FROM subject WHERE name = ANY (%(names)s)))"
    facts: dict[str, Any] = {
        "zone": zone, "run_id": run_id, "from": moment(from_ns), "to": moment(to_ns),
        "limit": limit, "names": list(subjects or ()),
    }  # fmt: skip
    query = select(message, where, is_newest_first=True)
    decode = decoder(message)
    return decode(connection.execute(query, facts, binary=True).fetchall())


def newest_at(
    connection: Connection,
    message: str,
    *,
    zone: str,
    run_id: str,
    at_ns: int,
    within_s: float,
    rank: Callable[[Row], Any],
    limit: int,
) -> list[Row]:
    """Of each subject the record that ranks highest in the `within_s` up to an instant."""
    rows = records_between(
        connection, message, zone=zone, run_id=run_id, limit=limit,
        from_ns=at_ns - round(within_s * NS_PER_S), to_ns=at_ns,
    )  # fmt: skip
    best: dict[Hashable, Row] = {}
    for row in rows:
        if row["sampled_at_ns"] > at_ns:  # windows are kept by their start and known at their end
            continue
        known = best.get(row["subject_id"])
        if known is None or rank(row) > rank(known):
            best[row["subject_id"]] = row
    return [best[subject] for subject in sorted(best, key=str)]
