"""One sending process of a load test: `python -m simulator.load.sender`.

Reads its plan as one JSON line, connects, says "ready"; reads "go START_NS", sends until its
schedule is at its end and says what became of it each second; reads on until its input is closed.
"""

from __future__ import annotations

import gc
import json
import queue
import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from openvrc.contracts.codecs.base import Codec
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import NS_PER_S
from simulator.load.connections import MAX_WAITING, Connections, Message
from simulator.load.faulty import FaultyLoad, encoded
from simulator.load.histogram import LatencyHistogram
from simulator.load.schedule import Schedule, Span
from simulator.load.traffic import ZONE, TrafficPlan
from simulator.load.world import LoadWorld, brakings, published
from simulator.world import Frame

FRAME_S = 0.2
"""Records are made for so long at once: 5 ms of CPU however few they are."""
MAX_FRAME = 10_000
FRAMES_AHEAD = 3
SEND_EVERY_S = 0.001
DRAIN_S = 30.0
PROGRESS_EVERY_S = 1.0
FULL_MESSAGE = 50


@dataclass(frozen=True)
class LoadPlan:
    """What one process sends."""

    broker_url: str
    run_id: str
    vehicles: int
    first_rsu: int
    spans: list[list[float]]
    """[seconds, from_rate, to_rate] of each span, records/s of this process."""
    batch: int
    codec: str
    qos: int
    connections: int
    seed: int
    brakings: int = 0
    """Vehicles of this process that brake hard on the way."""
    zone: str = ZONE
    faults: list[str] = field(default_factory=list)
    """As for `--fault`; see `simulator.load.faulty`."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @property
    def schedule(self) -> Schedule:
        """When its records are due."""
        return Schedule([Span(*span) for span in self.spans])


@dataclass(frozen=True)
class Ready:
    """A frame that was encoded: messages with their senders' numbers, by the time they are due."""

    messages: list[tuple[int, Message]]
    records_until: npt.NDArray[np.int64]
    """Records of the messages up to each one (n_messages,)."""
    brakings: dict[str, int]


Frames: TypeAlias = "queue.Queue[Ready | Exception | None]"
"""Frames in order, or why there are no more; None is the end."""


class LoadSender:
    """Sends a plan's records when they are due."""

    def __init__(self, plan: LoadPlan) -> None:
        """Raises BrokerUrlError, ValueError."""
        self._plan, self._schedule = plan, plan.schedule
        self._codec: Codec = discover("openvrc.contracts.codecs")[plan.codec]
        self._json: Codec = discover("openvrc.contracts.codecs")["json"]
        self._connections = Connections(plan.broker_url, plan.connections, plan.qos)
        self._histogram = LatencyHistogram()
        self._senders: dict[str, int] = {}
        self._n_records = 0
        self._lag_s = 0.0
        self._brakings: dict[str, int] = {}
        self._told_s = 0.0
        self._n_due = 0

    def open(self) -> None:
        """Connect. Raises LinkError."""
        self._connections.open()

    def run(self, start_ns: int) -> dict[str, Any]:
        """Send everything; what came of it."""
        plan = self._plan
        world = self._world(start_ns)
        self._told_s = time.monotonic()
        faulty = FaultyLoad(world, plan.faults, plan.seed) if plan.faults else None
        frames: Frames = queue.Queue(FRAMES_AHEAD)
        made = self._faulty_frames(faulty) if faulty else map(self._ready, world.due_frames())
        threading.Thread(target=self._make, args=(made, frames), daemon=True).start()
        give_up_ns = start_ns + int((self._schedule.seconds + DRAIN_S) * NS_PER_S)
        while (ready := frames.get()) is not None and time.time_ns() < give_up_ns:
            if isinstance(ready, Exception):
                raise ready
            self._send_when_due(ready, give_up_ns)
        sent_s = (time.time_ns() - start_ns) / NS_PER_S
        if faulty is None:
            final = world.final_frame(time.time_ns())
            self._send(final, self._json, [time.time_ns()] * len(final.messages))
        deadline_s = time.monotonic() + DRAIN_S
        is_drained = self._connections.wait_below(1, lambda: time.monotonic() > deadline_s)
        self._progress(is_last=True)
        unsent = self._connections.n_waiting
        self._connections.close()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "records": self._n_records,
            "due": self._n_due,
            "expected": faulty.expected() if faulty else None,
            "elapsed_s": sent_s,
            "is_drained": is_drained,
            "unacknowledged_messages": unsent,
            "lag_max_s": self._lag_s,
            "reconnects": self._connections.n_reconnects,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "rss_mb": usage.ru_maxrss / 1000,
            "brakings": self._brakings,
            "qos": plan.qos,
        }

    def _world(self, start_ns: int) -> LoadWorld:
        plan = self._plan
        rate = self._schedule.peak_rate
        wanted = min(int(rate * FRAME_S), MAX_FRAME)
        frame = max(FULL_MESSAGE, wanted // FULL_MESSAGE * FULL_MESSAGE)
        traffic = TrafficPlan(
            vehicles=plan.vehicles,
            records_per_message=plan.batch,
            records_per_frame=frame,
            seed=plan.seed,
            start_ns=start_ns,
            run_id=plan.run_id,
            first_rsu=plan.first_rsu,
        )
        world = LoadWorld(traffic, self._schedule)
        if plan.brakings:
            world.braking_every = max(1, self._schedule.records // (plan.brakings + 1))
            world.brakings_from = world.braking_every
        return world

    def _make(self, made: Iterator[Ready], frames: Frames) -> None:
        """Encode frame after frame, a little ahead of the sending; in a thread of its own."""
        try:
            for ready in made:
                self._n_due += int(ready.records_until[-1]) if len(ready.records_until) else 0
                frames.put(ready)
        except Exception as error:  # noqa: BLE001 - raised by who sends them
            frames.put(error)
        frames.put(None)

    def _ready(self, frame: Frame) -> Ready:
        messages = list(frame.messages)
        whole, due_ns = published(messages[0].whole, messages)
        payloads = self._codec.encode_parts(whole, [message.bounds for message in messages])
        ready = [
            (self._sender(m.kind, m.source_id), Message(self._topic(m, self._codec.name), p, due))
            for m, p, due in zip(messages, payloads, due_ns.tolist(), strict=True)
        ]
        sizes = np.array([message.n_rows for message in messages])
        return _in_order(ready, due_ns, sizes, brakings(whole))

    def _faulty_frames(self, faulty: FaultyLoad) -> Iterator[Ready]:
        for frame in faulty.frames():
            due_ns = faulty.due_ns(frame)
            payloads, braking = encoded(frame, due_ns, self._codec, self._json)
            is_count = [message.message == "source_status" for message in frame.messages]
            ready = [
                (
                    self._sender(m.kind, m.source_id),
                    Message(self._topic(m, (self._json if c else self._codec).name), payload, due),
                )
                for m, payload, due, c in zip(
                    frame.messages, payloads, due_ns.tolist(), is_count, strict=True
                )
            ]
            sizes = np.array([m.n_rows for m in frame.messages], np.int64)
            yield _in_order(ready, due_ns, np.where(is_count, 0, sizes), braking)

    def _send_when_due(self, ready: Ready, give_up_ns: int) -> None:
        """Hand over each message at its time, never before; none after `give_up_ns`.

        A broker that stays away is waited for until then; what is not sent shows in the records.
        """
        times = np.array([message.due_ns for _, message in ready.messages])
        first, before = 0, self._n_records
        while first < len(times):
            now_ns = time.time_ns()
            end = int(np.searchsorted(times, now_ns, side="right"))
            if end == first:
                time.sleep(min(max(SEND_EVERY_S, (times[first] - now_ns) / NS_PER_S), 0.02))
                self._progress()
                continue
            self._lag_s = max(self._lag_s, (now_ns - times[first]) / NS_PER_S)
            while not self._connections.wait_below(MAX_WAITING, self._is_progress_due):
                self._progress()
                if time.time_ns() >= give_up_ns:
                    return
            self._connections.send(ready.messages[first:end])
            self._n_records = before + int(ready.records_until[end - 1])
            first = end
            self._progress()
        self._brakings = ready.brakings | self._brakings

    def _send(self, frame: Frame, codec: Codec, due_ns: Sequence[int]) -> None:
        self._connections.send(
            [
                (
                    self._sender(m.kind, m.source_id),
                    Message(self._topic(m, codec.name), codec.encode(m.batch), due),
                )
                for m, due in zip(frame.messages, due_ns, strict=True)
            ]
        )

    def _sender(self, kind: str, source_id: str) -> int:
        return self._senders.setdefault(f"{kind}/{source_id}", len(self._senders))

    def _topic(self, message: Any, codec: str) -> str:
        return str(Topic(self._plan.zone, message.kind, message.source_id, message.message, codec))

    def _is_progress_due(self) -> bool:
        return time.monotonic() >= self._told_s + PROGRESS_EVERY_S

    def _progress(self, *, is_last: bool = False) -> None:
        if not (is_last or self._is_progress_due()):
            return
        self._told_s = time.monotonic()
        fresh = LatencyHistogram()
        fresh.add(self._connections.take_latencies_us())
        say(
            "progress",
            at_ns=time.time_ns(),
            records=self._n_records,
            messages=self._connections.n_done,
            waiting=self._connections.n_waiting,
            latency=fresh.to_json(),
        )


def _in_order(
    ready: list[tuple[int, Message]],
    due_ns: npt.NDArray[np.int64],
    n_records: npt.NDArray[np.int64],
    braking: dict[str, int],
) -> Ready:
    """Messages by the time they are due, those of one moment as given."""
    order = np.argsort(due_ns, kind="stable")
    return Ready([ready[place] for place in order], np.cumsum(n_records[order]), braking)


def say(event: str, **facts: Any) -> None:
    """One JSON line."""
    print(json.dumps({"event": event} | facts), flush=True)  # noqa: T201 (the protocol)


def main() -> None:
    """See the module."""
    gc.set_threshold(100_000, 50, 50)
    sender = LoadSender(LoadPlan(**json.loads(sys.stdin.readline())))
    sender.open()
    say("ready")
    _, start_ns = sys.stdin.readline().split()
    say("done", **sender.run(int(start_ns)))
    sys.stdin.read()


if __name__ == "__main__":
    main()
