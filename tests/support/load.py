"""A small deterministic load: vehicles that number their records and publish them with QoS 1.

Each vehicle drives north at constant speed; record `seq` of a vehicle is the same in every way but
for its time. The sender knows what it has numbered and what the broker has acknowledged, so that a
test can check the platform's accounts against the sender's own, to the last record.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from openvrc.embedded.broker import RunningBroker
from tests.support.patience import PATIENCE_S

SESSION = 1
STEP_S = 0.05
SPEED_MPS = 10.0
METRES_PER_DEGREE = 111_320.0
ACKNOWLEDGED_WITHIN_S = PATIENCE_S


def record(vehicle: int, seq: int, sampled_at_ns: int, **changed: Any) -> dict[str, Any]:
    """Record `seq` of a vehicle: 200 m of longitude apart, driving north."""
    return {
        "sampled_at_ns": sampled_at_ns,
        "lat_deg": round(53.55 + seq * SPEED_MPS * STEP_S / METRES_PER_DEGREE, 7),
        "lon_deg": round(9.99 + vehicle * 0.003, 7),
        "speed_mps": SPEED_MPS,
        "session": SESSION,
        "seq": seq,
    } | changed


class Load:
    """Publishes in a thread of its own from `start` (or `with`) until `stop`."""

    def __init__(self, broker: RunningBroker, zone: str, *, n_vehicles: int = 5) -> None:
        self.zone = zone
        self.vehicles = [f"{zone}-v{number}" for number in range(n_vehicles)]
        self._places = {name: place for place, name in enumerate(self.vehicles)}
        self.sent = dict.fromkeys(self.vehicles, 0)
        """Records numbered so far, by vehicle."""
        self.acknowledged: dict[str, set[int]] = {name: set() for name in self.vehicles}
        """Numbers the broker took over, by vehicle."""
        self.clock_ahead_ns = dict.fromkeys(self.vehicles, 0)
        self._of_mid: dict[int, tuple[str, int]] = {}
        self._early: set[int] = set()
        """Message ids that were acknowledged before `publish` returned them."""
        self._in_flight = threading.Condition(threading.RLock())
        self._stopping = threading.Event()
        self._stepping = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"load-{zone}", daemon=True)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, f"load-{zone}")
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(100)
        self._client.on_publish = self._on_publish
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def _on_publish(self, _c: mqtt.Client, _u: object, mid: int, *_: object) -> None:
        with self._in_flight:
            if mid not in self._of_mid:
                self._early.add(mid)
                return
            self._note(*self._of_mid.pop(mid))

    def _note(self, name: str, seq: int) -> None:
        if seq >= 0:
            self.acknowledged[name].add(seq)
        self._in_flight.notify_all()

    def publish(self, name: str, message: str, payload: Mapping[str, Any], seq: int = -1) -> None:
        """One message with QoS 1; with its `seq` it is noted when the broker takes it over."""
        topic = f"vrc/v1/{self.zone}/vehicle/{name}/{message}"
        # Outside of our lock: paho calls us with its own lock held.
        mid = self._client.publish(topic, json.dumps(payload).encode(), qos=1).mid
        with self._in_flight:
            if mid in self._early:
                self._early.remove(mid)
                self._note(name, seq)
            else:
                self._of_mid[mid] = (name, seq)

    def next_record(self, name: str, **changed: Any) -> dict[str, Any]:
        """The vehicle's next record, numbered but not yet published."""
        seq = self.sent[name]
        self.sent[name] = seq + 1
        at_ns = time.time_ns() + self.clock_ahead_ns[name]
        return record(self._places[name], seq, at_ns, **changed)

    def send(self, name: str, **changed: Any) -> dict[str, Any]:
        """Number and publish a vehicle's next record."""
        said = self.next_record(name, **changed)
        self.publish(name, "vehicle_state", said, said["seq"])
        return said

    def step(self) -> None:
        """One record of every vehicle."""
        with self._stepping:
            for name in self.vehicles:
                self.send(name)

    def retire(self, name: str) -> int:
        """Send no more for this vehicle; the number of its next record."""
        with self._stepping:
            self.vehicles.remove(name)
            return self.sent[name]

    def steps(self, count: int) -> None:
        """Several steps at once, a millisecond apart, and their acknowledgements."""
        for _ in range(count):
            self.step()
            time.sleep(0.001)
        self.wait_until_acknowledged()

    def _run(self) -> None:
        while not self._stopping.wait(STEP_S):
            self.step()

    def start(self) -> None:
        """Publish a step each `STEP_S`."""
        self._thread.start()

    def run_for(self, seconds: float) -> None:
        """Let it publish for a while."""
        assert self._thread.is_alive()
        time.sleep(seconds)

    def wait_until_acknowledged(self) -> None:
        """Until the broker has everything."""
        with self._in_flight:
            done = self._in_flight.wait_for(lambda: not self._of_mid, ACKNOWLEDGED_WITHIN_S)
        assert done, f"{len(self._of_mid)} messages are not acknowledged"

    def finish(self) -> None:
        """Stop publishing, wait for the acknowledgements, and state the counts."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self.wait_until_acknowledged()
        for name, count in self.sent.items():
            status = {"sampled_at_ns": time.time_ns(), "session": SESSION, "sent_count": count}
            self.publish(name, "source_status", status)
        self.wait_until_acknowledged()

    def close(self) -> None:
        """Disconnect."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()
