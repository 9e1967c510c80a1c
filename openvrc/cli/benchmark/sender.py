"""The sender process: the real publisher on benchmark traffic. Started by `runs.py`.

Its input is a line with a `SendPlan` as JSON, then one `Stage` a line; it says "ready" once an edge
has answered, and "sent" with what it sent once the broker has all of a stage. "end" ends the run;
closing its input ends the process. What making up the traffic costs is measured apart: a vehicle
measures its state, it does not compute it. So is encoding: the rest is what publishing costs.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from openvrc.settings import load_settings
from simulator.gmqtt_link import GmqttLink
from simulator.link import LinkMaker
from simulator.load.traffic import BenchWorld, TrafficPlan
from simulator.mqtt_link import MqttLink
from simulator.publisher import Publisher
from simulator.world import RECORDS_PER_MESSAGE, Frame

CLIENTS: dict[str, LinkMaker] = {"gmqtt": GmqttLink, "paho": MqttLink}
END = "end"


@dataclass(frozen=True)
class SendPlan:
    """What to send and by which client."""

    traffic: TrafficPlan
    codec: str
    client: str = "gmqtt"

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SendPlan:
        """What `to_json` wrote."""
        tree = json.loads(text)
        return cls(**tree | {"traffic": TrafficPlan(**tree["traffic"])})


@dataclass(frozen=True)
class Stage:
    """A part of a run: ends after `records` or `seconds`, whichever is given.

    `rate` is records per second, 0: as many as the edge takes. `brakings` is how many vehicles
    brake hard in it, after its first `settle_s`. Messages of a warming stage are always full.
    """

    records: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    records_per_frame: int = 0
    brakings: int = 0
    settle_s: float = 0.0
    is_warming: bool = False

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


class StagedWorld(BenchWorld):
    """Benchmark traffic in stages, each told from outside; knows what it costs to make up."""

    def __init__(self, plan: TrafficPlan) -> None:
        super().__init__(plan)
        self.stages: queue.Queue[Stage | None] = queue.Queue()
        self.publisher: TimedPublisher | None = None
        self._world_cpu_s = 0.0

    def frames(self) -> Iterator[Frame]:
        """The frames of stage after stage; then the senders' counts."""
        frames = super().frames()
        say("ready")
        while (stage := self.stages.get()) is not None:
            yield from self._stage(stage, frames)
        self.stop()
        yield from frames

    def _stage(self, stage: Stage, frames: Iterator[Frame]) -> Iterator[Frame]:
        plan = self._plan
        self.records_per_frame = stage.records_per_frame or plan.records_per_frame
        is_batched = stage.is_warming or plan.records_per_message > 1
        self.records_per_message = RECORDS_PER_MESSAGE if is_batched else 1
        if stage.brakings:
            settled = int(stage.rate * stage.settle_s)
            self.brakings_from = self.n_emitted + settled
            rest = stage.rate * stage.seconds - settled
            self.braking_every = max(1, int(rest / stage.brakings))
        began_ns, began_s = time.time_ns(), time.monotonic()
        before = self._costs()
        sent = from_ns = 0
        while not self._is_over(stage, sent, time.monotonic() - began_s):
            if stage.rate:
                time.sleep(max(began_s + sent / stage.rate - time.monotonic(), 0.0))
            frame = self._next(frames)
            from_ns = from_ns or int(frame.messages[0].whole.column("sampled_at_ns").min())
            sent += sum(message.n_rows for message in frame.messages)
            yield frame
        self.braking_every = 0
        elapsed_s = time.monotonic() - began_s
        costs = {name: value - before[name] for name, value in self._costs().items()}
        say("sent", records=sent, first_ns=began_ns, from_ns=from_ns, elapsed_s=elapsed_s, **costs)

    def _is_over(self, stage: Stage, sent: int, elapsed_s: float) -> bool:
        return sent >= stage.records if stage.records else elapsed_s >= stage.seconds

    def _next(self, frames: Iterator[Frame]) -> Frame:
        began_s = time.thread_time()
        frame = next(frames)
        self._world_cpu_s += time.thread_time() - began_s
        return frame

    def _costs(self) -> dict[str, float]:
        """What has been spent so far: CPU seconds, and seconds waited for the edge."""
        assert self.publisher is not None
        return {
            "world_cpu_s": self._world_cpu_s,
            "encode_cpu_s": self.publisher.encode_cpu_s,
            "process_cpu_s": time.process_time(),
            "waited_s": self.publisher.waited_s,
        }


class TimedPublisher(Publisher):
    """The publisher, with the CPU time of encoding."""

    encode_cpu_s = 0.0

    @property
    def waited_s(self) -> float:
        """Seconds spent waiting for the edge."""
        return self._progress.slowed_s

    def _encoded(self, frame: Frame) -> list[bytes]:
        began_s = time.thread_time()
        payloads = super()._encoded(frame)
        self.encode_cpu_s += time.thread_time() - began_s
        return payloads


def main() -> None:
    """Wait for the plan, send stage after stage, wait for the end of the input."""
    gc.set_threshold(100_000, 50, 50)
    plan = SendPlan.from_json(sys.stdin.readline())
    world = StagedWorld(plan.traffic)
    publisher = world.publisher = TimedPublisher(
        world, load_settings(), speed=0.0, codec=plan.codec, make_link=CLIENTS[plan.client]
    )
    threading.Thread(target=_listen, args=(world,), daemon=True).start()
    publisher.run()
    say("ended")
    threading.Event().wait()  # until the input is closed


def _listen(world: StagedWorld) -> None:
    for line in sys.stdin:
        is_end = line.strip() == END
        world.stages.put(None if is_end else Stage(**json.loads(line)))
    os._exit(0)  # nobody waits for a sender whose benchmark has ended


def say(event: str, **facts: Any) -> None:
    """One JSON line."""
    print(json.dumps({"event": event} | facts), flush=True)  # noqa: T201 (the protocol)


if __name__ == "__main__":
    main()
