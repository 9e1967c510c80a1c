"""The command that shows everything: it sums up what it did, and goes on when a part of it dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform_runs import RUN_TIMEOUT_S

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_the_demo_command_ends_with_its_summary(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "openvrc.cli.main", "demo", "--for", "30", "--json",
            "--broker", "amqtt", "--data-dir", str(tmp_path)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    assert summary["missing"] == 0
    assert summary["pending"] == 0
    kinds = {rule.split(".")[0] for rule in summary["alerts"]}
    assert {"traffic", "battery"} <= kinds
    assert summary["latency_ms"]["stored"]["p99"] > 0


def test_a_demo_whose_edge_and_cloud_are_killed_goes_on_and_closes(tmp_path: Path) -> None:
    if shutil.which("ps") is None:
        pytest.skip("no ps on this machine to find the demo's children with")
    argv = [sys.executable, "-m", "openvrc.cli.main", "demo", "--for", "32", "--json",
            "--data-dir", str(tmp_path)]  # fmt: skip
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        victims, said = iter(["edge", "cloud"]), []
        for line in demo.stderr:
            said.append(line)
            if line.startswith("sent ") and (victim := next(victims, "")):
                kill_child(demo.pid, victim)
        assert demo.stdout is not None
        told = demo.stdout.read().strip().splitlines()
    assert demo.returncode == 0, said[-20:]
    summary = json.loads(told[-1])
    assert summary["sent"] == summary["stored"] > 1000
    assert (summary["missing"], summary["pending"]) == (0, 0)


def kill_child(parent: int, part: str) -> None:
    """SIGKILL the child of a process that runs `vrc PART`."""
    listing = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listing.stdout.splitlines():
        if line.split()[-1] == part:
            os.kill(int(line.split()[0]), signal.SIGKILL)
            return
    pytest.fail(f"no {part} among {listing.stdout}")
