"""Stored records of one subject, a page at a time; shared by vehicles, segments and others."""

from __future__ import annotations

from typing import Any

from cloud.api import present
from cloud.api.params import bad_cursor, check_order
from cloud.api.parts import CloudParts
from cloud.store import reads


def read_history(
    parts: CloudParts,
    message: str,
    subject_id: str,
    *,
    zone: str | None,
    run: str | None,
    from_ns: int | None,
    to_ns: int | None,
    cursor: str | None,
    limit: int,
    step_s: int | None = None,
) -> dict[str, Any]:
    """A page of records, newest first, or of steps; empty for a subject that never reported."""
    check_order(from_ns, to_ns)
    where: dict[str, Any] = {"run_id": run, "zone": zone, "from_ns": from_ns, "to_ns": to_ns}
    where |= {"cursor": cursor, "limit": limit}
    with parts.database() as connection:
        try:
            page = (
                reads.history(connection, message, subject_id, **where)
                if step_s is None
                else reads.steps(connection, message, subject_id, step_s=step_s, **where)
            )
        except ValueError as error:
            raise bad_cursor(error) from error
    return {
        "items": [present.public(row) for row in page.items],
        "next_cursor": page.next_cursor,
    }
