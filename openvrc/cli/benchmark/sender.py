"""The sender process: the real publisher on benchmark traffic. Started by `runs.py`.

Its input is a line with a `SendPlan` as JSON, then "go"; it says "ready", then "sent" with what it
sent. Closing its input ends it. What making up the traffic costs is measured apart: a vehicle
measures its state, it does not compute it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from openvrc.cli.benchmark.traffic import BenchWorld, TrafficPlan
from openvrc.settings import load_settings
from simulator.publisher import Publisher
from simulator.world import Frame


@dataclass(frozen=True)
class SendPlan:
    """What to send and how fast: zone seconds per second."""

    traffic: TrafficPlan
    codec: str
    send_s: float
    speed: float

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SendPlan:
        """What `to_json` wrote."""
        tree = json.loads(text)
        return cls(**tree | {"traffic": TrafficPlan(**tree["traffic"])})


class TimedWorld(BenchWorld):
    """Benchmark traffic that knows what it costs to make up; ends after `send_s`."""

    def __init__(self, plan: TrafficPlan, send_s: float) -> None:
        super().__init__(plan)
        self.world_cpu_s = 0.0
        self.first_ns = 0
        self._timer = threading.Timer(send_s, self.stop)
        self._timer.daemon = True

    def frames(self) -> Iterator[Frame]:
        """The same frames."""
        frames = super().frames()
        self.first_ns = time.time_ns()
        self._timer.start()
        while True:
            began_s = time.thread_time()
            frame = next(frames, None)
            self.world_cpu_s += time.thread_time() - began_s
            if frame is None:
                return
            yield frame


def main() -> None:
    """Wait for the plan, wait for "go", send, tell, wait for the end."""
    gc.set_threshold(100_000, 50, 50)
    plan = SendPlan.from_json(sys.stdin.readline())
    world = TimedWorld(plan.traffic, plan.send_s)
    publisher = Publisher(world, load_settings(), speed=plan.speed, codec=plan.codec)
    say("ready")
    if not sys.stdin.readline():
        return
    # Nobody waits for a sender whose benchmark has died.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    summary = publisher.run()
    say(
        "sent",
        records=summary["records"]["vehicle_state"],
        messages=summary["messages"],
        slowed_s=summary["slowed_s"],
        first_ns=world.first_ns,
        last_ns=time.time_ns(),
        world_cpu_s=world.world_cpu_s,
    )
    threading.Event().wait()  # until the input is closed


def say(event: str, **facts: Any) -> None:
    """One JSON line."""
    print(json.dumps({"event": event} | facts), flush=True)  # noqa: T201 (the protocol)


if __name__ == "__main__":
    main()
