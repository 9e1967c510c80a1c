"""The spool's disk is full: nothing is acknowledged, nothing is lost, and it goes on by itself."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fault_ground import (
    Edge,
    Ground,
    assert_accounted_to_the_record,
    wait_for,
)
from tests.support.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SMALL_DISK_BYTES = 8_000_000
FREE_BYTES = 300_000
"""What the test leaves of it."""
FULL = "acknowledging nothing until this can be written"
AGAIN = "the spool can be written again"


def restrict(edge: Edge, file_bytes: int) -> None:
    """No file of the running edge may grow beyond this: what a full disk is to it."""
    hard = resource.prlimit(edge.running.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(edge.running.pid, resource.RLIMIT_FSIZE, (file_bytes, hard))


def test_a_disk_that_is_full_for_a_while_stops_acknowledgement_and_loses_nothing(
    ground: Ground, edge: Edge, load: Load
) -> None:
    if not hasattr(resource, "prlimit"):
        pytest.skip("the limit of a running process can be changed on Linux only")
    edge.start()
    edge.wait_until_it_listens()
    load.steps(10)
    restrict(edge, 4096)
    load.start()
    wait_for(lambda: FULL in edge.log(), "the edge to find its disk full")
    load.run_for(1.0)
    assert AGAIN not in edge.log()
    restrict(edge, resource.RLIM_INFINITY)
    wait_for(lambda: AGAIN in edge.log(), "the edge to write again")
    load.finish()
    assert edge.running.is_running
    assert not any(assert_accounted_to_the_record(ground, load).values())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs can be mounted by root only, and not in every container")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_spool_that_filled_its_disk_empties_when_the_cloud_is_back(
    ground: Ground, edge: Edge, load: Load, small_disk: Path
) -> None:
    edge.folder = small_disk
    edge.start()
    edge.wait_until_it_listens()
    ground.platform.kill_part("cloud")
    free = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - FREE_BYTES))
    flood(load, lambda: FULL in edge.log())
    acknowledged = sum(map(len, load.acknowledged.values()))
    assert acknowledged > 0
    ground.platform.restart_part("cloud")
    load.finish()
    assert AGAIN in edge.log()
    assert not any(assert_accounted_to_the_record(ground, load).values())


def flood(load: Load, is_enough: Callable[[], bool]) -> None:
    """Send until it is enough."""
    for _ in range(1000):
        load.steps(10)
        if is_enough():
            return
    raise AssertionError("the disk is not full after 50,000 records")
