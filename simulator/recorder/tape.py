"""From a broker to a file: everything below `vrc/v1/{zone}` as it comes.

Messages come with QoS 1 and wait in a bounded queue for the file; when that is full the broker is
held back. What is said while the connection is away is not recorded, and how often it was away is
told in the end.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openvrc.contracts.topics import PREFIX
from openvrc.contracts.units import iso_from_ns
from simulator.link import Link
from simulator.mqtt_link import MqttLink
from simulator.recorder import format_of
from simulator.recorder.entries import Entry, Sink

QUEUE_MESSAGES = 50_000
FLUSH_EVERY_S = 5.0
WAIT_S = 0.2


@dataclass
class Summary:
    """What was recorded."""

    messages: int = 0
    payload_bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    by_message: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Count one."""
        self.first_ns = self.first_ns or entry.at_ns
        self.last_ns = entry.at_ns
        self.messages += 1
        self.payload_bytes += len(entry.payload)
        levels = entry.topic.split("/")
        self.by_message[levels[5] if len(levels) > 5 else "other"] += 1

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        span = {}
        if self.messages:
            span = {"from": iso_from_ns(self.first_ns), "to": iso_from_ns(self.last_ns)}
        return {
            "messages": self.messages,
            "payload_bytes": self.payload_bytes,
            "by_message": dict(sorted(self.by_message.items())),
        } | span


class Recorder:
    """Records until it is stopped; make one, call `run` once."""

    def __init__(
        self,
        path: Path,
        broker_url: str,
        *,
        zone: str = "+",
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Raises TapeError for a name of no known format, BrokerUrlError."""
        self._path, self._format = path, format_of(path)
        self._clock_ns = clock_ns
        self._stopping = threading.Event()
        self._queue: queue.Queue[Entry] = queue.Queue(QUEUE_MESSAGES)
        self.summary = Summary()
        """What is written so far."""
        self._link: Link = MqttLink(
            broker_url,
            subscription=f"{PREFIX}/{zone}/#",
            on_message=self._on_message,
            is_stopped=self._stopping.is_set,
            qos=1,
        )
        self.is_listening = threading.Event()

    def stop(self) -> None:
        """End the recording; what came is still written."""
        self._stopping.set()

    def run(self, seconds: float | None = None) -> dict[str, Any]:
        """Record until `stop`, or for so long; the summary.

        Raises LinkError if the broker cannot be reached, TapeError for what cannot be written.
        """
        sink = self._format.create(self._path)
        try:
            self._link.open()
            self.is_listening.set()
            self._record(sink, None if seconds is None else time.monotonic() + seconds)
        finally:
            self._stopping.set()
            self._link.close()
            self._write_rest(sink)
            sink.close()
        return {"file": str(self._path), **self.summary.to_json()}

    def _on_message(self, topic: str, payload: bytes) -> None:
        """On the network thread: wait for room, which holds the broker back."""
        entry = Entry(self._clock_ns(), topic, payload)
        while True:
            try:
                self._queue.put(entry, timeout=WAIT_S)
            except queue.Full:
                if self._stopping.is_set():
                    return
            else:
                return

    def _record(self, sink: Sink, end_s: float | None) -> None:
        flush_due_s = time.monotonic() + FLUSH_EVERY_S
        while not self._stopping.is_set() and (end_s is None or time.monotonic() < end_s):
            with suppress(queue.Empty):
                self._write(sink, self._queue.get(timeout=WAIT_S))
            if time.monotonic() >= flush_due_s:
                flush_due_s = time.monotonic() + FLUSH_EVERY_S
                sink.flush()

    def _write_rest(self, sink: Sink) -> None:
        while not self._queue.empty():
            self._write(sink, self._queue.get_nowait())

    def _write(self, sink: Sink, entry: Entry) -> None:
        sink.write(entry)
        self.summary.add(entry)
