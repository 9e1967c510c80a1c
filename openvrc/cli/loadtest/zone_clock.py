"""The driver of a load test's run: announces it, ticks by the wall clock, says its end."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.errors import VrcError
from openvrc.contracts.topics import PREFIX, Topic
from openvrc.contracts.units import NS_PER_S
from simulator.gmqtt_link import GmqttLink
from simulator.link import Stopped
from simulator.publisher import DRIVER_ID, announce_batch, tick_batch

TICK_EVERY_S = 0.1
BEHIND_S = 0.2
"""Ticks say that all records until then were sent: those of this moment are still on their way."""
EDGE_WAIT_S = END_WAIT_S = 10.0


class NoEdgeError(VrcError):
    """Nobody on this broker serves the zone."""


class _Run:
    """As much of a world as its driver's messages tell."""

    origin = "simulated"
    title = "load test"
    time_zone = "UTC"
    road_map = None

    def __init__(self, zone: str, run_id: str) -> None:
        self.zone, self.run_id, self.start_ns = zone, run_id, time.time_ns()


class ZoneClock:
    """A context manager; on entry the run is announced and an edge has answered."""

    def __init__(self, broker_url: str, zone: str, run_id: str) -> None:
        self._world = _Run(zone, run_id)
        self._codec = JsonCodec()
        self._heard = threading.Event()
        self._ending = threading.Event()
        self._give_up_s = float("inf")
        self._link = GmqttLink(
            broker_url,
            subscription=f"{PREFIX}/{zone}/edge/+/tick",
            on_message=self._on_tick,
            is_stopped=lambda: time.monotonic() > self._give_up_s,
        )
        self._thread = threading.Thread(target=self._tick_on, daemon=True)

    def __enter__(self) -> Self:
        self._link.open()
        self._announce("running")
        if not self._heard.wait(EDGE_WAIT_S):
            self._clear()
            self._link.close()
            raise NoEdgeError(
                f"no edge serves zone {self._world.zone!r} on this broker: none answered within "
                f"{EDGE_WAIT_S:g} s; start one with: vrc edge, or measure the broker alone with "
                "--broker-only"
            )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._give_up_s = time.monotonic() + END_WAIT_S
        with suppress(Stopped):  # the broker is away: the edge forgets a silent run by itself
            self._tick(time.time_ns())
            self._announce("ended")
            self._clear()
        self._link.close()

    def _on_tick(self, _topic: str, payload: bytes) -> None:
        try:
            said = json.loads(payload)
        except ValueError:
            return
        records = said if isinstance(said, list) else [said]
        if any(record.get("run_id") == self._world.run_id for record in records):
            self._heard.set()

    def _tick_on(self) -> None:
        while not self._ending.wait(TICK_EVERY_S):
            self._tick(time.time_ns() - int(BEHIND_S * NS_PER_S))

    def _tick(self, zone_time_ns: int) -> None:
        if zone_time_ns > self._world.start_ns:
            self._send(tick_batch(self._world, zone_time_ns))  # type: ignore[arg-type]

    def _announce(self, state: Literal["running", "ended"]) -> None:
        zone_time_ns = self._world.start_ns if state == "running" else time.time_ns()
        batch = announce_batch(self._world, state, 1.0, zone_time_ns)  # type: ignore[arg-type]
        self._send(batch, retain=True)

    def _send(self, batch: Batch, *, retain: bool = False) -> None:
        stamped = batch.with_columns({"published_at_ns": time.time_ns()})
        topic = Topic(self._world.zone, "zone", DRIVER_ID, stamped.message)
        self._link.publish(str(topic), self._codec.encode(stamped), retain=retain)

    def _clear(self) -> None:
        topic = Topic(self._world.zone, "zone", DRIVER_ID, "zone_announce")
        self._link.publish(str(topic), b"", retain=True)
        self._link.drain()
