"""The embedded database: a PostgreSQL of our own on loopback, under an unprivileged account.

Used when `VRC_DATABASE_URL` is not set. Cold start about a second (half of it initdb), warm 0.2 s.
A directory that exists is reused, also after kill -9: PostgreSQL replays its log, and what was
committed is there. Access needs a random password that only the starting user can read; there is no
Unix socket. As root see `privileges`.
"""

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg

from openvrc.embedded.cluster import (
    ROLE,
    SERVER,
    SERVER_ENVIRONMENT,
    Cluster,
    clear_predecessor,
    lock_cluster,
    make_cluster,
)
from openvrc.embedded.errors import EmbeddedServerError, PortTakenError
from openvrc.embedded.privileges import server_account, server_directory
from openvrc.embedded.processes import (
    LOOPBACK,
    ManagedProcess,
    free_port,
    start_process,
    wait_until_ready,
)
from openvrc.embedded.server_tree import server_programs

DATABASE = "vrc"
START_ATTEMPTS = 5
"""A free port may be taken by somebody else before the server binds it."""

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Holds the hot chunk of the time series and its index at 20,000 vehicles.
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "work_mem": "16MB",
    # "Acknowledge only what is durable": the edge deletes from its spool what we committed.
    "fsync": "on",
    "synchronous_commit": "on",
    # COPY of 100,000 rows a second writes some 30 MB of log a second: with 1 GB, the default, a
    # checkpoint would come every half minute.
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "checkpoint_completion_target": "0.9",
    "max_connections": "50",
    # The queries are short and many; compiling them costs more than it saves.
    "jit": "off",
    # The data directory is on an SSD, or in memory, on any machine made in the last ten years.
    "random_page_cost": "1.1",
}


@dataclass(frozen=True, slots=True)
class RunningDatabase:
    """A PostgreSQL that this process has started.

    Attributes:
        url: a libpq URL with the password in it: not for logs.
        directory: where its files really are; as root this may not be the one asked for.
    """

    url: str
    host: str
    port: int
    directory: Path
    process: ManagedProcess
    lock: IO[str]

    @property
    def pid(self) -> int:
        """The process id of the server's main process."""
        return self.process.pid

    def stop(self, *, delete_files: bool = False) -> None:
        """Fast shutdown: sessions end, a checkpoint is written, the directory is free again.

        Args:
            delete_files: removes everything that was stored, too; for tests and one-off runs.
        """
        try:
            self.process.stop()
            if delete_files:
                shutil.rmtree(self.directory)
        finally:
            self.lock.close()


def start_database(data_dir: Path, *, port: int = 0) -> RunningDatabase:
    """Start the server on `data_dir` and wait until it answers a query.

    Args:
        data_dir: its directory, made if absent, reused if there.
        port: 0 takes a free one.

    Raises:
        EmbeddedServerError: the directory is in use, the wheel is missing, or the server did not
            start; with the last lines of its log.
        PortTakenError: `port` was named and somebody listens there.
    """
    account = server_account()
    cluster = Cluster(server_directory(data_dir, account), account)
    programs = server_programs(cluster.directory, account)
    lock = lock_cluster(cluster)
    try:
        make_cluster(cluster, programs)
        clear_predecessor(cluster)
        chosen, process = _start_on_some_port(cluster, programs, port)
        url = f"postgresql://{ROLE}:{cluster.password}@{LOOPBACK}:{chosen}"
        _make_database(f"{url}/postgres")
    except BaseException:
        lock.close()
        raise
    return RunningDatabase(f"{url}/{DATABASE}", LOOPBACK, chosen, cluster.directory, process, lock)


def _start_on_some_port(cluster: Cluster, programs: Path, port: int) -> tuple[int, ManagedProcess]:
    for _ in range(START_ATTEMPTS):
        chosen = port or free_port()
        try:
            return chosen, _start_on(cluster, programs, chosen)
        except PortTakenError:
            if port:
                raise
    raise EmbeddedServerError(SERVER, f"found no free port in {START_ATTEMPTS} attempts")


def _start_on(cluster: Cluster, programs: Path, port: int) -> ManagedProcess:
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    log_start = cluster.log.stat().st_size if cluster.log.exists() else 0
    process = start_process(
        SERVER,
        [programs / "postgres", "-D", cluster.data, "-p", str(port), *settings],
        log_path=cluster.log,
        env=SERVER_ENVIRONMENT,
        cwd=cluster.directory,
        account=cluster.account,
        stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for every client to leave
    )
    url = f"postgresql://{ROLE}:{cluster.password}@{LOOPBACK}:{port}/postgres"
    try:
        wait_until_ready(lambda: _answers(url, process), process)
    except EmbeddedServerError as error:
        with cluster.log.open(errors="replace") as log:
            log.seek(log_start)
            if "could not bind" in log.read():
                raise PortTakenError(SERVER, f"port {port} is taken") from error
        raise
    except BaseException:  # Ctrl-C while starting
        process.stop()
        raise
    return process


def _answers(url: str, process: ManagedProcess) -> bool:
    """Whether our server takes our password. Somebody else's on the same port would not."""
    try:
        with psycopg.connect(url, connect_timeout=2):
            return process.is_running
    except psycopg.OperationalError:
        return False


def _make_database(maintenance_url: str) -> None:
    with psycopg.connect(maintenance_url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
        if found.fetchone() is None:
            connection.execute(f'CREATE DATABASE "{DATABASE}"')
