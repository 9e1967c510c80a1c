"""One broker, database and cloud for all faults; a zone, an edge and a load for each test."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_ground import Edge, Ground
from tests.support.load import Load


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Broker, database and cloud."""
    ground = Ground(tmp_path_factory.mktemp("faults"))
    yield ground
    ground.stop()


@pytest.fixture
def ground(servers: Ground) -> Iterator[Ground]:
    """The servers, all alive before and after."""
    servers.heal()
    yield servers
    servers.heal()


@pytest.fixture
def zone(ground: Ground, request: pytest.FixtureRequest) -> str:
    """A zone of the test's own, named after it."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")[:60]
    ground.make_zone(name)
    return name


@pytest.fixture
def edge(ground: Ground, zone: str) -> Iterator[Edge]:
    """An edge for the zone; the test starts it."""
    with tempfile.TemporaryDirectory(prefix="openvrc-edge-") as folder:
        edge = Edge(ground, zone, f"edge-{zone}", Path(folder))
        yield edge
        if edge.process is not None and edge.process.is_running:
            edge.kill()


@pytest.fixture
def load(ground: Ground, zone: str) -> Iterator[Load]:
    """Five vehicles of the zone; the test starts it."""
    sender = Load(ground.broker, zone)
    yield sender
    sender.close()
