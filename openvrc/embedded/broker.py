"""The embedded MQTT broker: `mosquitto` if there is one, else amqtt in a process of its own.

Loopback only, no passwords, an ephemeral port unless one is named, every file in `data_dir`.

| | mosquitto 2 | amqtt 0.12 with our delivery (see `amqtt_delivery`) |
|---|---|---|
| MQTT | 3.1, 3.1.1, 5 | 3.1.1 |
| QoS | 0, 1, 2 | 0, 1 (2 is granted as 1) |
| kept for an absent persistent session | 1,000,000 messages or 1 GiB | 500,000 or 1 GiB |
| beyond that | new messages are dropped | new ones are dropped and logged |
| sessions, retained messages after its restart | kept | lost |
| longest payload | 16 MiB | 16 MiB |
| broker CPU per message | 8 us | 200 us |
| comfortable rate | tens of thousands of messages a second | 1,500 |

Proved for both by tests/integration/test_embedded_broker.py: QoS 1 over a subscriber that is killed
and one that acknowledges late, persistent sessions, retained messages, `+` wildcards, 5 MB
payloads, order.
"""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openvrc.embedded.errors import EmbeddedServerError, PortTakenError
from openvrc.embedded.privileges import RunAs, server_account, server_directory
from openvrc.embedded.processes import (
    LOOPBACK,
    ManagedProcess,
    accepts_connections,
    free_port,
    start_process,
    wait_until_ready,
)

MOSQUITTO, AMQTT = "mosquitto", "amqtt"
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Distributions install mosquitto where an ordinary user's PATH does not look."""

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds `openvrc`, installed or not."""

START_ATTEMPTS = 5
"""A free port may be taken by somebody else before the broker binds it."""

MOSQUITTO_CONFIGURATION = """\
# Written by openvrc at each start.
listener {port} {host}
allow_anonymous true
set_tcp_nodelay true

# What absent or slow subscribers are owed. With the defaults (1000 queued, 20 in flight) a burst
# lost 82 % of the messages that had been acknowledged. In flight: the most a subscriber may hold
# back while it commits; 2000 at one commit every 50 ms are 40,000 messages a second.
max_queued_messages 1000000
max_queued_bytes 1073741824
max_inflight_messages 2000
message_size_limit 16777216

persistence true
persistence_location {directory}/
autosave_interval 60
persistent_client_expiration 14d

log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
"""


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that this process has started.

    Attributes:
        kind: "mosquitto" or "amqtt".
    """

    host: str
    port: int
    kind: str
    process: ManagedProcess

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def stop(self) -> None:
        """Stop it; mosquitto saves its sessions and retained messages first."""
        self.process.stop()


def start_broker(data_dir: Path, *, port: int = 0, prefer: str = "auto") -> RunningBroker:
    """Start a broker and wait until it accepts connections.

    Args:
        data_dir: for its configuration, log and sessions; made if absent.
        port: 0 takes a free one.
        prefer: "auto", "mosquitto" or "amqtt".

    Raises:
        EmbeddedServerError: it did not start; with the last lines of its log.
        PortTakenError: `port` was named and somebody listens there.
    """
    start = _starter(data_dir, prefer)
    for _ in range(START_ATTEMPTS):
        chosen = port or free_port()
        try:
            return start(chosen)
        except PortTakenError:
            if port:
                raise
    raise EmbeddedServerError("broker", f"found no free port in {START_ATTEMPTS} attempts")


def find_mosquitto() -> str | None:
    """The program's path, also where an ordinary user's PATH does not look."""
    return shutil.which(MOSQUITTO) or shutil.which(MOSQUITTO, path=":".join(SYSTEM_FOLDERS))


def _starter(data_dir: Path, prefer: str) -> Callable[[int], RunningBroker]:
    if prefer not in ("auto", MOSQUITTO, AMQTT):
        raise ValueError(f"prefer is {prefer!r}; expected 'auto', 'mosquitto' or 'amqtt'")
    program = find_mosquitto() if prefer != AMQTT else None
    if program is None and prefer == MOSQUITTO:
        raise EmbeddedServerError(MOSQUITTO, "is not installed")
    if program is not None:
        return lambda port: _start_mosquitto(program, data_dir, port)
    return lambda port: _start_amqtt(data_dir, port)


def _start_mosquitto(program: str, data_dir: Path, port: int) -> RunningBroker:
    account = server_account()
    directory = server_directory(data_dir, account)
    sessions = directory / "sessions"
    sessions.mkdir(mode=0o700, exist_ok=True)
    account.owns(sessions)
    configuration = directory / "mosquitto.conf"
    configuration.write_text(
        MOSQUITTO_CONFIGURATION.format(port=port, host=LOOPBACK, directory=sessions)
    )
    configuration.chmod(0o644)  # holds no secret, and the account must read it
    return _started(MOSQUITTO, [program, "-c", str(configuration)], directory, port, account)


def _start_amqtt(data_dir: Path, port: int) -> RunningBroker:
    # Under our own account: `nobody` may be unable to reach our Python.
    directory = server_directory(data_dir, RunAs())
    command = [sys.executable, "-m", "openvrc.embedded.amqtt_server", "--port", str(port)]
    search_path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search_path}
    return _started(AMQTT, command, directory, port, RunAs(), environment)


def _started(
    kind: str,
    command: list[str],
    directory: Path,
    port: int,
    account: RunAs,
    env: dict[str, str] | None = None,
) -> RunningBroker:
    if accepts_connections(LOOPBACK, port):
        raise PortTakenError(kind, f"port {port} is taken")
    process = start_process(
        kind,
        command,
        log_path=directory / f"{kind}.log",
        cwd=directory,
        account=account,
        env=env,
    )
    try:
        wait_until_ready(lambda: accepts_connections(LOOPBACK, port), process)
        if not process.is_running:  # it was somebody else who accepted
            raise process.error("ended at start")
    except EmbeddedServerError as error:
        if "already in use" in error.log_tail:
            raise PortTakenError(kind, f"port {port} is taken") from error
        raise
    except BaseException:  # Ctrl-C while starting
        process.stop()
        raise
    return RunningBroker(LOOPBACK, port, kind, process)
