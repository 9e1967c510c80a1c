"""Live positions to pages: one conflating sender per client, paced by the client's answers.

The kernel would take megabytes of stale frames for a slow reader, so the client acknowledges each
frame: at most MAX_UNACKNOWLEDGED are on their way, a frame that cannot be sent is simply not made
(the next is a full snapshot), and a client that acknowledges nothing for SILENT_S is dropped.
Nothing is sent before the first viewport message.

Client to server, JSON text: `{"zone":..,"run":..,"bounds":[west,south,east,north]}`,
`{"ack": frame number}`, `{"who": slot}`. Server to client: binary frames (live_frame.py), and text
`{"who": slot, "vehicle": {...}}`, of a perceived road user `{"who": slot, "vehicle": null,
"object": {...}}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cloud.latest import Latest, RunKey
from cloud.live_frame import Bounds, Positions, encode, positions_of, present_of

FRAME_EVERY_S = 0.2
"""Five frames a second: senders report at 1 to 10 Hz and the page interpolates between frames."""
S_PER_VEHICLE = 50e-6
"""A frame of n vehicles is followed by a pause of n times this: 20,000 in view come once a second
(320 kB/s), 4,000 still five times."""
KEEP_ALIVE_S = 2.0
"""An unchanged picture is repeated this often, so that both sides know the link is alive."""
MAX_UNACKNOWLEDGED = 2
SILENT_S = 15.0
MAX_TEXT_BYTES = 4096


Stamp = tuple[int, int, int]
"""Versions of vehicles and objects, and zone time: a picture of the same stamp is the same."""


class LiveProtocolError(Exception):
    """A client's message that makes no sense; says what was expected."""


class PositionsCache:
    """Wire rows per run, made once per change for all clients."""

    def __init__(self, latest: Callable[[], Latest]) -> None:
        self._latest = latest
        self._made: dict[RunKey, tuple[Stamp, Positions]] = {}

    def get(self, zone: str, run_id: str) -> tuple[Stamp, Positions] | None:
        """The state's stamp and its rows; an empty `run_id` means the zone's newest run.

        The lock is held for copies only: the pipeline folds under it.
        """
        latest = self._latest()
        with latest.lock:
            run = latest.runs.get((zone, run_id)) if run_id else latest.newest_run(zone)
            if run is None:
                return None
            key = (run.zone, run.run_id)
            stamp = (run.vehicles.version, run.objects.version, run.zone_time_ns)
            made = self._made.get(key)
            if made is not None and made[0] == stamp:
                return made
            self._made = {k: v for k, v in self._made.items() if k in latest.runs}
            present = present_of(run)
        self._made[key] = made = (stamp, positions_of(present))
        return made


@dataclass
class LiveClient:
    """What one client sees and how far it has followed; pure, so time is passed in."""

    heard_at_s: float
    zone: str = ""
    run_id: str = ""
    bounds: Bounds | None = None
    sent: int = 0
    acknowledged: int = 0
    _last_stamp: Any = field(default=None)
    _last_sent_s: float = field(default=-math.inf)
    _due_s: float = field(default=-math.inf)

    def receive(self, text: str, now_s: float) -> int | None:
        """Take one message; the slot that the client asks about, if it does.

        Raises LiveProtocolError for anything that is not in the protocol.
        """
        message = _parse(text)
        self.heard_at_s = now_s
        if "ack" in message:
            self._acknowledge(message["ack"])
        elif "bounds" in message:
            self.bounds = _bounds(message["bounds"])
            self.zone, self.run_id = _word(message, "zone"), _word(message, "run")
            self._last_stamp = None  # a new view wants a frame even if nothing moved
            self._due_s = -math.inf
        elif "who" in message:
            return _whole(message, "who")
        else:
            raise LiveProtocolError("expected a message with bounds, ack or who")
        return None

    def is_silent(self, now_s: float) -> bool:
        """Whether it owes acknowledgements and has said nothing for SILENT_S."""
        return self.sent > self.acknowledged and now_s - self.heard_at_s > SILENT_S

    def next_frame(
        self, cache: PositionsCache, *, now_s: float, server_time_ms: float
    ) -> bytes | None:
        """The frame to send now, or None: nothing new, no viewport, or the client lags."""
        if self.bounds is None or self.sent - self.acknowledged >= MAX_UNACKNOWLEDGED:
            return None
        if now_s < self._due_s:
            return None
        found = cache.get(self.zone, self.run_id)
        if found is None:
            return None
        stamp, positions = found
        if stamp == self._last_stamp and now_s - self._last_sent_s < KEEP_ALIVE_S:
            return None
        if self.sent == self.acknowledged:
            self.heard_at_s = now_s  # silence counts from the first frame that is owed an answer
        self._last_stamp, self._last_sent_s = stamp, now_s
        self.sent += 1
        rows = positions.view(self.bounds)
        self._due_s = now_s + len(rows) * S_PER_VEHICLE
        return encode(rows, number=self.sent, server_time_ms=server_time_ms, bounds=self.bounds)

    def _acknowledge(self, number: Any) -> None:
        if not isinstance(number, int) or not self.acknowledged <= number <= self.sent:
            raise LiveProtocolError(
                f"ack is {str(number)[:40]}, expected {self.acknowledged} to {self.sent}"
            )
        self.acknowledged = number


def _parse(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT_BYTES:
        raise LiveProtocolError(f"message has {len(text)} characters, expected {MAX_TEXT_BYTES}")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LiveProtocolError(f"message is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise LiveProtocolError("message is not a JSON object")
    return message


def _bounds(value: Any) -> Bounds:
    expected = "bounds are not [west, south, east, north] in degrees"
    if not isinstance(value, list) or len(value) != 4:
        raise LiveProtocolError(expected)
    # Compared before any arithmetic: NaN fails every comparison, and a huge int is no float.
    if not all(isinstance(v, int | float) and -180 <= v <= 180 for v in value):
        raise LiveProtocolError(expected)
    west, south, east, north = (float(v) for v in value)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise LiveProtocolError(expected)
    return west, south, east, north


def _word(message: dict[str, Any], name: str) -> str:
    value = message.get(name) or ""
    if not isinstance(value, str):
        raise LiveProtocolError(f"{name} is {value!r}, expected text")
    return value


def _whole(message: dict[str, Any], name: str) -> int:
    value = message[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
        raise LiveProtocolError(f"{name} is {str(value)[:40]}, expected a slot number")
    return value
