"""What the API reads from the database.

Synchronous: FastAPI runs `def` endpoints in its thread pool; `cloud.store.pool.Pool` hands out
connections (autocommit). One file per kind of question; this one is their common door.
"""

from __future__ import annotations

from cloud.store.read_accounts import accounting, most_rejected, zone_sums
from cloud.store.read_alerts import add_action, alert, alerts, worst_by_rule
from cloud.store.read_export import export
from cloud.store.read_past import newest_at, past_positions, records_between
from cloud.store.read_quarters import SeenQuarter, quarters_are_of, quarters_at, quarters_of_segment
from cloud.store.read_records import history
from cloud.store.read_steps import steps
from cloud.store.read_trace import SessionAccount, dead_letters, session_accounts, trace
from cloud.store.read_types import (
    Account,
    Accounting,
    ActionKind,
    AlertAction,
    AlertEvent,
    AlertFilter,
    AlertView,
    Connection,
    Page,
    Row,
    RunRow,
    SourceAccount,
    ZoneRow,
)
from cloud.store.read_zones import runs, zones

__all__ = [
    "Account",
    "Accounting",
    "ActionKind",
    "AlertAction",
    "AlertEvent",
    "AlertFilter",
    "AlertView",
    "Connection",
    "Page",
    "Row",
    "RunRow",
    "SeenQuarter",
    "SessionAccount",
    "SourceAccount",
    "ZoneRow",
    "accounting",
    "add_action",
    "alert",
    "alerts",
    "dead_letters",
    "export",
    "history",
    "most_rejected",
    "newest_at",
    "past_positions",
    "quarters_are_of",
    "quarters_at",
    "quarters_of_segment",
    "records_between",
    "runs",
    "session_accounts",
    "steps",
    "trace",
    "worst_by_rule",
    "zone_sums",
    "zones",
]
