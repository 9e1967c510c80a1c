"""Broker, database and cloud for tests of faults, any of which may be killed and started again.

Each test takes a zone and an edge of its own on it, so that accounts do not mix; the servers are
started once. Everything is ended by its process id.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from openvrc.cli.client import ApiError
from openvrc.cli.platform import Platform
from openvrc.contracts.zone import Zone, write_zone
from openvrc.embedded.broker import RunningBroker, start_broker
from openvrc.embedded.database import start_database
from openvrc.embedded.errors import EmbeddedServerError
from openvrc.embedded.processes import ManagedProcess
from tests.support.edge_world import road_map
from tests.support.load import Load
from tests.support.patience import PATIENCE_S

WITHIN_S = PATIENCE_S
EDGE_STOPS_WITHIN_S = PATIENCE_S
POLL_S = 0.25


def wait_for(condition: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """Until the condition holds; fails with `what` was waited for."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {within_s:.0f} s for {what}"
        time.sleep(POLL_S)


class Ground:
    """What all faults happen on."""

    def __init__(self, folder: Path) -> None:
        self.platform = Platform(folder, has_edge=False, zones_dir=folder / "zones")
        self.platform.start()
        self._http = httpx.Client(timeout=PATIENCE_S)

    @property
    def broker(self) -> RunningBroker:
        """The broker of now."""
        assert self.platform.broker is not None
        return self.platform.broker

    def make_zone(self, name: str) -> None:
        """A zone folder; its live run begins with the edge."""
        write_zone(self.platform.data_dir / "zones" / name, Zone(name=name), road_map())

    def kill_broker(self, *, forget: bool) -> None:
        """SIGKILL; with `forget` it finds no sessions when it starts again."""
        self.broker.process.popen.kill()
        self.broker.process.popen.wait()
        if forget:
            shutil.rmtree(self.broker.process.log_path.parent / "sessions", ignore_errors=True)

    def start_broker(self) -> None:
        """Again, on the same port."""
        port = self.broker.port
        self.platform.broker = start_broker(self.platform.data_dir / "broker", port=port)

    def kill_database(self) -> None:
        """SIGKILL to the server's main process; its backends end when they notice."""
        assert self.platform.database is not None
        self.platform.database.process.popen.kill()
        self.platform.database.process.popen.wait()

    def stop_database(self) -> None:
        """A clean stop."""
        assert self.platform.database is not None
        self.platform.database.process.stop()

    def start_database(self) -> None:
        """Again, on the same port; orphaned backends may hold the memory for a moment."""
        old = self.platform.database
        assert old is not None
        old.lock.close()
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            try:
                self.platform.database = start_database(
                    self.platform.data_dir / "database", port=old.port
                )
            except EmbeddedServerError:
                assert time.monotonic() < deadline_s, "the database does not start again"
                time.sleep(POLL_S)
            else:
                return

    def heal(self) -> None:
        """Start again what a test left dead."""
        assert self.platform.database is not None
        if not self.platform.database.process.is_running:
            self.start_database()
        if not self.broker.process.is_running:
            self.start_broker()
        cloud = self.platform.processes.get("cloud")
        if cloud is None or not cloud.is_running:
            self.platform.restart_part("cloud")

    def database(self) -> psycopg.Connection[Any]:
        """A connection of the test's own."""
        assert self.platform.database is not None
        return psycopg.connect(self.platform.database.url, autocommit=True)

    def accounts(self, zone: str) -> dict[str, dict[str, Any]]:
        """Accounts of the zone's senders by name; {} while the cloud or its database is away."""
        with suppress(ApiError):
            answer = self.platform.api.get("/v1/accounting", zone=zone)
            return {account["source_id"]: account for account in answer["sources"]}
        return {}

    def post(self, body: bytes, edge_id: str, batch_id: str) -> httpx.Response:
        """What an edge's uplink does."""
        headers = {
            "Authorization": f"Bearer {self.platform.api_key}",
            "Content-Type": "application/vnd.openvrc.batches+zstd",
            "X-VRC-Edge": edge_id,
            "X-VRC-Batch": batch_id,
        }
        url = f"{self.platform.cloud_url}/v1/ingest"
        return self._http.post(url, content=body, headers=headers)

    def stored(self, zone: str, message: str = "vehicle_state") -> dict[str, list[int]]:
        """Numbers of the stored rows, in order, by sender."""
        query = f"SELECT source_id, seq FROM v_{message} WHERE zone = %s ORDER BY source_id, seq"
        found: dict[str, list[int]] = {}
        with self.database() as connection:
            for source_id, seq in connection.execute(query, (zone,)):
                found.setdefault(source_id, []).append(seq)
        return found

    def letters(self, zone: str) -> dict[str, dict[int, str]]:
        """Reasons of the zone's dead letters by sender and number."""
        query = "SELECT source_id, seq, reason FROM v_dead_letter WHERE zone = %s"
        found: dict[str, dict[int, str]] = {}
        with self.database() as connection:
            for source_id, seq, reason in connection.execute(query, (zone,)):
                found.setdefault(source_id, {})[seq] = reason
        return found

    def stop(self) -> None:
        """End everything."""
        self._http.close()
        self.platform.stop()


@dataclass
class Edge:
    """One edge process with a data folder of its own."""

    ground: Ground
    zone: str
    edge_id: str
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    process: ManagedProcess | None = None

    def start(self, **settings: object) -> None:
        """Start it; settings by name, such as `edge_spool_max_bytes`."""
        self.env |= {f"VRC_{name.upper()}": str(value) for name, value in settings.items()}
        arguments = ["--id", self.edge_id, "--zone", self.zone, "--data-dir", str(self.folder)]
        self.process = self.ground.platform.start_part(
            "edge", arguments, log=f"{self.folder.name}-{self.edge_id}", env=self.env
        )

    @property
    def running(self) -> ManagedProcess:
        """Its process."""
        assert self.process is not None
        return self.process

    def wait_until_it_listens(self) -> None:
        """Its first tick has come to the cloud."""
        query = "SELECT 1 FROM zone_run r JOIN zone z ON z.id = r.zone WHERE z.name = %s LIMIT 1"

        def has_ticked() -> bool:
            with self.ground.database() as connection:
                return connection.execute(query, (self.zone,)).fetchone() is not None

        wait_for(has_ticked, f"edge {self.edge_id}: {self.log()[-1500:]}")

    def kill(self) -> None:
        """SIGKILL."""
        self.running.popen.kill()
        self.running.popen.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self.running.stop(EDGE_STOPS_WITHIN_S)

    def log(self) -> str:
        """All it has logged."""
        return self.running.log_path.read_text(errors="replace")


def all_accounted(
    ground: Ground, load: Load, *, within_s: float = WITHIN_S
) -> dict[str, dict[str, Any]]:
    """The accounts once everything the load has numbered is known, and nothing moves any more.

    What is on its way from broker to edge counts as missing until it is there.
    """
    found: dict[str, dict[str, Any]] = {}

    def is_settled() -> bool:
        before = dict(found)
        found.clear()
        found.update(ground.accounts(load.zone))
        return found == before and all(
            name in found and found[name]["sent"] >= count and found[name]["pending"] == 0
            for name, count in load.sent.items()
        )

    try:
        wait_for(is_settled, "closed accounts", within_s)
    except AssertionError as error:
        shown = {name: dict(account) for name, account in found.items()}
        raise AssertionError(f"{error}; sent {load.sent}, accounts {shown}") from None
    return found


def assert_accounted_to_the_record(
    ground: Ground, load: Load, *, within_s: float = WITHIN_S
) -> dict[str, set[int]]:
    """Stored, rejected and missing records are exactly those that were sent, each once.

    Returns the missing numbers by vehicle.
    """
    accounts = all_accounted(ground, load, within_s=within_s)
    stored, letters = ground.stored(load.zone), ground.letters(load.zone)
    missing: dict[str, set[int]] = {}
    for name, count in load.sent.items():
        account, rows = accounts[name], stored.get(name, [])
        refused = letters.get(name, {})
        gaps = {seq for low, high in account["gaps"] for seq in range(low, high + 1)}
        assert account["is_closed"], account
        assert account["sent"] == count, (account, count)
        assert len(rows) == len(set(rows)), f"{name} has records twice"
        assert account["stored"] == len(rows), (account, len(rows))
        assert account["missing"] == len(gaps), account
        assert sum(account["rejected"].values()) == len(refused), (account, refused)
        assert sorted([*rows, *gaps, *refused]) == list(range(count)), account
        missing[name] = gaps
    return missing
