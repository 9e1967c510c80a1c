"""The whole platform on this machine: broker, database, cloud, edge, as child processes.

Used by `vrc demo` and by the end-to-end tests. Everything listens on loopback only, with ports of
its own and a random API key; everything it starts, it stops.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from openvrc.cli.client import Api
from openvrc.embedded.broker import RunningBroker, start_broker
from openvrc.embedded.database import RunningDatabase, start_database
from openvrc.embedded.errors import EmbeddedServerError, PortTakenError
from openvrc.embedded.processes import (
    LOOPBACK,
    ManagedProcess,
    accepts_connections,
    free_port,
    start_process,
    wait_until_ready,
)

EDGE_STOP_TIMEOUT_S = 30.0
CLOUD_READY_TIMEOUT_S = 180.0
PORT_TRIES = 5


@dataclass
class Platform:
    """A running platform below one data directory; a context manager that stops it all."""

    data_dir: Path
    prefer_broker: str = "auto"
    database_url: str = ""
    cloud_port: int = 0
    """0 takes a free one; it keeps its number over a restart of the cloud while it is free."""
    broker_port: int = 0
    """0 takes a free one."""
    zones_dir: Path | None = None
    extra_env: dict[str, str] = field(default_factory=dict)
    has_edge: bool = True
    """False leaves the edge to the caller, who may start several with `start_part`."""
    api_key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    broker: RunningBroker | None = None
    database: RunningDatabase | None = None
    processes: dict[str, ManagedProcess] = field(default_factory=dict)
    _api: Api | None = None

    @property
    def cloud_url(self) -> str:
        """Base URL of the cloud."""
        return f"http://{LOOPBACK}:{self.cloud_port}"

    @property
    def broker_url(self) -> str:
        """Where senders publish."""
        assert self.broker is not None
        return f"mqtt://{self.broker.host}:{self.broker.port}"

    @property
    def page_url(self) -> str:
        """The live page, with the key that lets the browser in."""
        return f"{self.cloud_url}/?key={self.api_key}"

    @property
    def api(self) -> Api:
        """A client with the admin key."""
        if self._api is None or self._api.base_url != self.cloud_url:
            self._api = Api(self.cloud_url, self.api_key)
        return self._api

    @property
    def environment(self) -> dict[str, str]:
        """What a part needs to find the others; also for `vrc replay` in another process."""
        ours = {
            "VRC_DATA_DIR": str(self.data_dir),
            "VRC_BROKER_URL": self.broker_url,
            "VRC_DATABASE_URL": self.database.url if self.database else self.database_url,
            "VRC_CLOUD_URL": self.cloud_url,
            "VRC_CLOUD_HOST": LOOPBACK,
            "VRC_CLOUD_PORT": str(self.cloud_port),
            "VRC_CLOUD_API_KEYS": f"demo:admin:{self.api_key}",
            "VRC_API_KEY": self.api_key,
            "VRC_ZONES_DIR": str(self.zones_dir or self.data_dir / "zones"),
        }
        return dict(os.environ) | ours | self.extra_env

    def start(self) -> Self:
        """Start broker, database, cloud and edge and wait until they are ready."""
        try:
            # The database goes first: it refuses a second platform in the same folder.
            if not self.database_url:
                self.database = start_database(self.data_dir / "database")
            self.broker = self._start_broker()
            self._start_cloud()
            if self.has_edge:
                self.start_part("edge")
        except BaseException:
            self.stop()
            raise
        return self

    def _start_broker(self) -> RunningBroker:
        """On the wished port; on any if somebody has taken it since it was looked at."""
        folder = self.data_dir / "broker"
        try:
            return start_broker(folder, port=self.broker_port, prefer=self.prefer_broker)
        except PortTakenError:
            return start_broker(folder, prefer=self.prefer_broker)

    def _start_cloud(self) -> None:
        """Start the cloud and wait for it; on another port while somebody else listens on ours.

        Raises EmbeddedServerError if it ends for another reason, or is not ready in time.
        """
        for _ in range(PORT_TRIES):
            self.cloud_port = self.cloud_port or free_port()
            process = self.start_part("cloud")
            try:
                return wait_until_ready(self.api.is_ready_for_us, process, CLOUD_READY_TIMEOUT_S)
            except EmbeddedServerError:
                if process.is_running or not accepts_connections(LOOPBACK, self.cloud_port):
                    raise
                self.cloud_port = 0
        raise PortTakenError("cloud", f"{PORT_TRIES} ports in a row were taken by others")

    def start_part(
        self,
        name: str,
        arguments: Iterable[str] = (),
        *,
        log: str = "",
        env: Mapping[str, str] | None = None,
    ) -> ManagedProcess:
        """Start `vrc NAME ARGUMENTS` as a child; `log` names its log file if not its own name.

        `env` goes on top of `environment`.
        """
        argv = [sys.executable, "-m", "openvrc.cli.main", name, *arguments]
        log_path = self.data_dir / "logs" / f"{log or name}.log"
        environment = self.environment | dict(env or {})
        process = start_process(log or name, argv, log_path=log_path, env=environment)
        self.processes[log or name] = process
        return process

    def kill_part(self, name: str) -> None:
        """End a part as a crash would: SIGKILL, by its process id."""
        self.processes[name].popen.kill()
        self.processes.pop(name).popen.wait()

    def restart_part(self, name: str) -> None:
        """Start a part again after `kill_part`; the cloud is waited for.

        Where somebody has taken the cloud's port meanwhile, it moves, and the edge is started again
        to find it; senders publish on.
        """
        if name != "cloud":
            self.start_part(name)
            return
        port = self.cloud_port
        self._start_cloud()
        if self.cloud_port != port and "edge" in self.processes:
            self.processes.pop("edge").stop(EDGE_STOP_TIMEOUT_S)
            self.start_part("edge")

    def stop(self) -> None:
        """Stop what was started, senders first, so that the edge can empty its spool."""
        order = [n for n in self.processes if n not in ("edge", "cloud")] + ["edge", "cloud"]
        for name in order:
            if name in self.processes:
                self.processes.pop(name).stop(EDGE_STOP_TIMEOUT_S)
        if self._api is not None:
            self._api.close()
            self._api = None
        if self.broker is not None:
            self.broker.stop()
            self.broker = None
        if self.database is not None:
            self.database.stop()
            self.database = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
