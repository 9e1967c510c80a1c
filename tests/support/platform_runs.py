"""Reading a run's outcome from a running platform, for end-to-end tests."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openvrc.cli.platform import Platform
from openvrc.cli.summary import (
    Summary,
    published_records,
    read_summary,
    wait_until_drained,
)
from tests.support.patience import PATIENCE_S

RUN_TIMEOUT_S = 400.0
DRAIN_TIMEOUT_S = PATIENCE_S
Vrc = Callable[..., subprocess.CompletedProcess[str]]


def drained_summary(platform: Platform, run_id: str, sender_output: str) -> Summary:
    """The run's figures once all that its sender published is accounted and nothing is pending.

    Fails if that does not come.
    """
    expected = published_records(sender_output)
    assert expected is not None, f"the sender did not finish: {sender_output[-2000:]}"
    drained = wait_until_drained(platform.api, run_id, expected, DRAIN_TIMEOUT_S)
    summary = read_summary(platform.api, run_id)
    assert drained, summary
    return summary


def all_alerts(platform: Platform, run_id: str) -> list[dict[str, Any]]:
    """Every alert of a run, cleared ones included."""
    alerts: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = platform.api.get("/v1/alerts", run=run_id, limit=200, cursor=cursor)
        alerts += page["items"]
        cursor = page.get("next_cursor")
        if not cursor:
            return alerts


def identities(alerts: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """What must be equal between two ways to run the same recording."""
    return {(a["rule"], a["subject_id"], a["component"] or "", a["started_at"]) for a in alerts}


def analysed(out: Path) -> set[tuple[str, str, str, str]]:
    """The same identities from an alerts.csv."""
    with (out / "alerts.csv").open(newline="") as file:
        return {
            (row["rule"], row["subject_id"], row["component"], row["started_at"])
            for row in csv.DictReader(file)
        }
