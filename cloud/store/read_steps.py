"""Long histories by steps of whole minutes, from the minutes of vehicles and segments."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from cloud.store.facts import moment, ns_of
from cloud.store.minutes import MINUTES
from cloud.store.read_types import Connection, Page, Row, decode_cursor, encode_cursor
from cloud.store.sql import statement
from openvrc.contracts.units import NS_PER_S

MINUTE_S = 60
_DIGITS = {
    "speed_mean_mps": 3, "speed_min_mps": 3, "speed_max_mps": 3, "speed_mps": 3, "lat_deg": 7,
    "lon_deg": 7, "density_vpkm": 3, "flow_vph": 2, "vehicle_s": 2, "distance_m": 2,
    "coverage_ratio": 4,
}  # fmt: skip


def steps(
    connection: Connection,
    message: str,
    subject_id: str,
    *,
    step_s: int,
    run_id: str | None = None,
    zone: str | None = None,
    from_ns: int | None = None,
    to_ns: int | None = None,
    cursor: str | None = None,
    limit: int = 1000,
) -> Page[Row]:
    """What a vehicle (`vehicle_state`) or a segment (`segment_state`) did in each step.

    Newest first; steps without a record are left out. A step begins at a whole multiple of `step_s`
    (itself one of 60 s) since 1970 and is told whole, also where `from_ns` lies in it. Raises
    ValueError for a cursor that is none.
    """
    if message not in MINUTES or step_s < MINUTE_S or step_s % MINUTE_S:
        raise ValueError(f"no steps of {step_s} s of {message}")
    n_parts = 4 if message == "segment_state" else 3
    after = decode_cursor(cursor, n_parts) if cursor else [None] * n_parts
    facts: dict[str, Any] = {
        "subject": subject_id,
        "step_s": step_s,
        "run_id": run_id,
        "zone": zone,
        "from": None if from_ns is None else moment(from_ns - from_ns % (step_s * NS_PER_S)),
        "to": None if to_ns is None else moment(to_ns),
        "limit": limit + 1,
    } | {f"after_{place}": part for place, part in enumerate(after)}
    with connection.cursor(row_factory=dict_row) as found:
        rows = found.execute(statement(f"{MINUTES[message]}_steps"), facts).fetchall()
    next_cursor = None
    if len(rows) > limit:
        key = ("step_start", "run", "zone_key", "window_s")[:n_parts]
        next_cursor = encode_cursor(*(rows[limit - 1][name] for name in key))
    return Page([_step(row, step_s) for row in rows[:limit]], next_cursor)


def _step(row: Row, step_s: int) -> Row:
    """A row in names and units of the contracts; absent values are left out."""
    shown: Row = {"step_start_ns": ns_of(row.pop("step_start")), "step_s": step_s}
    for name, value in row.items():
        if value is None or name in ("run", "zone_key"):
            continue
        if name.endswith("_at"):
            shown[f"{name}_ns"] = ns_of(value)
        else:
            shown[name] = round(value, _DIGITS[name]) if name in _DIGITS else value
    return shown
