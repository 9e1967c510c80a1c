"""The whole platform for end-to-end tests: real broker, database, edge and cloud processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openvrc.cli.platform import Platform
from openvrc.cli.summary import Summary, read_summary, wait_until_drained

RUN_TIMEOUT_S = 240.0
DRAIN_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One running platform per test module."""
    with Platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


Vrc = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def vrc(platform: Platform) -> Vrc:
    """Run `vrc ARGUMENTS` against the platform and wait for its end."""

    def run(*arguments: str, timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "openvrc.cli.main", *arguments]
        done = subprocess.run(
            argv, env=platform.environment, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    return run


def drained_summary(platform: Platform, run_id: str) -> Summary:
    """The run's figures once nothing is pending; fails if that does not come."""
    drained = wait_until_drained(platform.api, run_id, None, DRAIN_TIMEOUT_S)
    summary = read_summary(platform.api, run_id)
    assert drained, summary
    return summary


def all_alerts(platform: Platform, run_id: str) -> list[dict[str, Any]]:
    """Every alert of a run, cleared ones included."""
    alerts: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = platform.api.get("/v1/alerts", run=run_id, state="any", limit=200, cursor=cursor)
        alerts += page["items"]
        cursor = page.get("next_cursor")
        if not cursor:
            return alerts


def identities(alerts: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """What must be equal between two ways to run the same recording."""
    return {(a["rule"], a["subject_id"], a["component"], a["started_at"]) for a in alerts}


def analysed(out: Path) -> set[tuple[str, str, str, str]]:
    """The same identities from an alerts.csv."""
    import csv

    with (out / "alerts.csv").open(newline="") as file:
        return {
            (row["rule"], row["subject_id"], row["component"], row["started_at"])
            for row in csv.DictReader(file)
        }
