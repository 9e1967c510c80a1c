"""The files of one embedded PostgreSQL: made once, kept, and never opened by two servers.

<directory>/cluster-18/     PostgreSQL's own data directory, owned by the server's account
<directory>/password        of the role `vrc`, readable by us only
<directory>/postgresql.log
<directory>/lock            held (flock) by the process that runs the server
"""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from openvrc.embedded.errors import EmbeddedServerError
from openvrc.embedded.privileges import RunAs
from openvrc.embedded.processes import STOP_TIMEOUT_S
from openvrc.embedded.server_tree import POSTGRES_MAJOR

SERVER = "postgresql"
ROLE = "vrc"
INITDB_TIMEOUT_S = 180.0
PASSWORD_BYTES = 24
WAL_SEGMENT_MB = 2
"""Until segments are recycled, whoever needs the next one fills it with zeros and syncs it, and all
commits wait: 0.1 to 0.2 s every 1.5 s with the usual 16 MB, at 30,000 records a second."""
SERVER_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""PG* variables of the caller's shell must not redirect our server."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where everything of one server lies, and who runs it."""

    directory: Path
    account: RunAs

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory. Another major version would get another one."""
        return self.directory / f"cluster-{POSTGRES_MAJOR}"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "postgresql.log"

    @property
    def password(self) -> str:
        """The role's password."""
        return (self.directory / "password").read_text()


def lock_cluster(cluster: Cluster) -> IO[str]:
    """Claim the directory; the claim ends when the returned file is closed or we die.

    Raises:
        EmbeddedServerError: another process runs a server there.
    """
    lock = (cluster.directory / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise EmbeddedServerError(
            SERVER, f"another process already runs the database in {cluster.directory}"
        ) from None
    return lock


def make_cluster(cluster: Cluster, programs: Path) -> None:
    """Run initdb if there is no cluster yet. An interrupted initdb leaves nothing half-made."""
    if cluster.data.exists():
        return
    password = secrets.token_hex(PASSWORD_BYTES)
    aside = Path(tempfile.mkdtemp(prefix="initdb-", dir=cluster.directory))
    try:
        password_file = _keep_secret(aside / "password", password)
        cluster.account.owns(password_file)
        cluster.account.owns(aside)
        _initdb(cluster, programs, aside / "data", password_file)
        _keep_secret(cluster.directory / "password", password)
        (aside / "data").rename(cluster.data)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _keep_secret(path: Path, text: str) -> Path:
    """Write a file that only we can read, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _initdb(cluster: Cluster, programs: Path, data: Path, password_file: Path) -> None:
    # --no-sync: losing power in this one second costs a new initdb, not data.
    arguments = [
        f"--pgdata={data}", f"--username={ROLE}", f"--pwfile={password_file}",
        "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
        f"--wal-segsize={WAL_SEGMENT_MB}",
    ]  # fmt: skip
    done = subprocess.run(
        [str(programs / "initdb"), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=INITDB_TIMEOUT_S,
        cwd=cluster.directory,
        env=SERVER_ENVIRONMENT,
        user=cluster.account.uid,
        group=cluster.account.gid,
        extra_groups=[] if cluster.account.uid is not None else None,
    )
    if done.returncode != 0:
        raise EmbeddedServerError(
            SERVER, f"initdb failed with exit code {done.returncode}: {done.stderr.strip()}"
        )


def clear_predecessor(cluster: Cluster) -> None:
    """Deal with the postmaster.pid of a server that was not stopped; the lock must be held.

    A server that still runs has lost the process that owned it (we hold the lock): it is stopped.
    Otherwise the file is stale and its process id may belong to somebody else by now, which would
    keep PostgreSQL from starting: the file is removed.
    """
    pid_file = cluster.data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if _runs_postgres(pid):
        _stop_orphan(pid)
    pid_file.unlink(missing_ok=True)


def _runs_postgres(pid: int) -> bool:
    """Whether the process of this id is a live PostgreSQL (an ended, unreaped one is not)."""
    if Path("/proc/self/stat").exists():  # Linux; `ps` is absent from slim containers
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(") ")
        except OSError:
            return False
        return name.endswith("(postgres") and not rest.startswith("Z")
    shown = subprocess.run(
        ["/bin/ps", "-o", "stat=,comm=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return "postgres" in shown and not shown.startswith("Z")


def _stop_orphan(pid: int) -> None:
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)  # fast shutdown
        while time.monotonic() < deadline_s and _runs_postgres(pid):
            time.sleep(0.05)
    if _runs_postgres(pid):
        raise EmbeddedServerError(SERVER, f"process {pid} of an earlier run does not stop")
