"""Child processes that are certain to end.

Each child writes to a log file of its own, leads its own session (Ctrl-C in a terminal reaches us
only, and we decide the order in which things stop) and on Linux dies with its parent, even when
that is killed with -9. Children are stopped by process id: the signal they stop on first, SIGKILL
after a timeout.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openvrc.embedded.errors import EmbeddedServerError
from openvrc.embedded.privileges import RunAs

LOOPBACK = "127.0.0.1"

READY_TIMEOUT_S = 120.0
"""A cold start takes under a second; a very busy machine took fifty times it.
A process that ends is noticed at once."""

STOP_TIMEOUT_S = 60.0
"""PostgreSQL writes its last checkpoint in this time; beyond it a process counts as stuck."""

PROBE_INTERVAL_S = 0.02
LOG_TAIL_LINES = 15
_LOG_TAIL_BYTES = 8192
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class ManagedProcess:
    """A child that was started with `start_process`."""

    name: str
    popen: subprocess.Popen[bytes]
    log_path: Path
    stop_signal: signal.Signals

    @property
    def pid(self) -> int:
        """The process id."""
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.popen.poll() is None

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines of its log, oldest first; empty if it wrote nothing."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def error(self, reason: str) -> EmbeddedServerError:
        """An error about this process that carries its last words."""
        return EmbeddedServerError(
            self.name, reason, log_path=self.log_path, log_tail=self.log_tail()
        )

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """End it and return its exit code (negative: the signal). Does nothing to an ended one."""
        if self.is_running:
            self.popen.send_signal(self.stop_signal)
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


def start_process(
    name: str,
    argv: Sequence[str | Path],
    *,
    log_path: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: RunAs | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> ManagedProcess:
    """Start a child that appends stdout and stderr to `log_path`.

    It dies with this process when it is started from the main thread. Linux ties that to the thread
    that forks, so a child of a short-lived thread would die with the thread: there it is left out,
    and the caller stops the child.

    Raises:
        EmbeddedServerError: the program is absent or may not be run.
    """
    who = account or RunAs()
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        try:
            popen = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                user=who.uid,
                group=who.gid,
                extra_groups=[] if who.uid is not None else None,
                start_new_session=True,
                preexec_fn=_die_with_parent(stop_signal),  # noqa: PLW1509 - one system call
            )
        except OSError as error:
            raise EmbeddedServerError(name, f"cannot be started: {error}") from error
    return ManagedProcess(name, popen, log_path, stop_signal)


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child calls between fork and exec; None where the system cannot do it."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: no locks are taken in the child
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return arrange


def free_port(host: str = LOOPBACK) -> int:
    """A TCP port nobody listens on now. Somebody may take it before it is used: try again then."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def accepts_connections(host: str, port: int) -> bool:
    """Whether a TCP connection can be opened."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def wait_until_ready(
    is_ready: Callable[[], bool], process: ManagedProcess, timeout_s: float = READY_TIMEOUT_S
) -> None:
    """Ask `is_ready` until it says so.

    Raises:
        EmbeddedServerError: the process ended, or the time is up (the process is stopped then).
    """
    deadline_s = time.monotonic() + timeout_s
    while not is_ready():
        if not process.is_running:
            raise process.error(f"ended at start with exit code {process.popen.returncode}")
        if time.monotonic() > deadline_s:
            process.stop()
            raise process.error(f"was not ready after {timeout_s:g} s")
        time.sleep(PROBE_INTERVAL_S)
