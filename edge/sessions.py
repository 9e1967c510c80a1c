"""Which sessions an edge has at the broker: a session nobody reads goes on taking messages.

With another number of decoding workers an edge has other sessions. What waits in the old ones
would never be read, and a broker would go on dealing them their share: so the edge says so
and stops, and gives them up only when it is told to.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path

from edge.worker_link import client_id
from openvrc.contracts.errors import SettingsError
from openvrc.mqtt.address import parse_broker_url
from openvrc.mqtt.session import Connection, Session
from openvrc.settings import Settings

FILE = "sessions.json"
FORGET_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Sessions:
    """The workers of the last start (0: the edge itself, None: there was none)."""

    n_workers: int | None = None
    is_fenced: bool = False


def read_sessions(folder: Path) -> Sessions:
    """What `write_sessions` wrote, if anything."""
    try:
        tree = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Sessions()
    return Sessions(tree["workers"], tree["is_fenced"])


def write_sessions(folder: Path, n_workers: int, *, is_fenced: bool) -> None:
    """Keep it for the next start."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"workers": n_workers, "is_fenced": is_fenced})
    (folder / FILE).write_text(text, encoding="utf-8")


def settle_sessions(settings: Settings, folder: Path) -> None:
    """Note this start's sessions. Raises SettingsError when others are left at the broker."""
    known = read_sessions(folder)
    now = settings.edge_workers
    if known.n_workers in (None, now):
        write_sessions(folder, now, is_fenced=known.is_fenced)
        return
    left = set(_ids(settings, known.n_workers or 0)) - set(_ids(settings, now))
    if left and not settings.edge_forget_sessions:
        raise SettingsError(
            f"edge {settings.edge_id} ran with --workers {known.n_workers or 0} before, and its "
            f"sessions at the broker may hold messages: start it so until they are taken in, then "
            f"with --workers {now} --forget-sessions, which gives them up"
        )
    for name in sorted(left):
        _forget(settings, name)
    write_sessions(folder, now, is_fenced=False)


def _ids(settings: Settings, n_workers: int) -> list[str]:
    if not n_workers:
        return [f"vrc-edge-{settings.edge_id}"]
    return [client_id(settings.edge_id, number) for number in range(n_workers)]


class _Forgetter:
    """Connects without a session, which ends the one there was."""

    def __init__(self) -> None:
        self.done = threading.Event()

    def on_up(self, _connection: Connection, _is_resumed: bool) -> None:
        self.done.set()

    def on_down(self, _reason: str) -> None:
        return

    def on_publish(
        self, _connection: Connection, _topic: str, _payload: bytes, _mid: bytes, _retained: bool
    ) -> None:
        return

    def on_puback(self, _mid: int) -> None:
        return


def _forget(settings: Settings, name: str) -> None:
    address, listener = parse_broker_url(settings.broker_url), _Forgetter()
    session = Session(address, name, is_persistent=False, listener=listener)
    session.start()
    is_done = listener.done.wait(FORGET_TIMEOUT_S)
    session.stop()
    if not is_done:
        raise SettingsError(f"no broker at {address} to end the session {name!r}")
