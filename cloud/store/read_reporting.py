"""What a regulator asks of vehicles: findings of `data.national_reporting` counted by component.

The findings themselves are alerts, each with its evidence; here they are counted for the accounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.alerting import OPEN_STATES
from cloud.store.read_types import Connection, SourceAccount
from cloud.store.sql import statement

COMPONENTS = ("period", "back_fill", "alarm_window")
"""Was the period kept; did the back-fill come complete; did the window around an alarm."""
VehicleKey = tuple[str, str, str]
"""Zone, run and vehicle."""


@dataclass(frozen=True)
class Found:
    """How many findings there were, and how many are still open."""

    found: int = 0
    open: int = 0


Reporting = dict[str, Found]
"""By component."""


def reporting_sums(
    connection: Connection,
    *,
    zone: str | None = None,
    run_id: str | None = None,
    subject: str | None = None,
) -> Reporting:
    """Of all vehicles that are asked for; every component, with zeros where nothing was found."""
    facts = {"zone": zone, "run_id": run_id, "subject": subject, "open_states": list(OPEN_STATES)}
    rows = connection.execute(statement("reporting_sums"), facts).fetchall()
    told = {component: Found(found, n_open) for component, found, n_open in rows}
    return dict.fromkeys(COMPONENTS, Found()) | told


def reporting_of(
    connection: Connection, senders: Sequence[SourceAccount]
) -> dict[VehicleKey, Reporting]:
    """Of those senders that are vehicles with findings."""
    keys = [(sender.zone, sender.run_id, sender.source_id) for sender in senders]
    zones, run_ids, subjects = ([key[place] for key in keys] for place in range(3))
    facts = {"zones": zones, "run_ids": run_ids, "subjects": subjects}
    rows = connection.execute(
        statement("reporting_of"), facts | {"open_states": list(OPEN_STATES)}
    ).fetchall()
    found: dict[VehicleKey, Reporting] = {}
    for zone, run_id, subject, component, n_found, n_open in rows:
        told = found.setdefault((zone, run_id, subject), dict.fromkeys(COMPONENTS, Found()))
        told[component] = Found(n_found, n_open)
    return found
