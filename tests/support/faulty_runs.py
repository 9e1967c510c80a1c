"""Runs with faults without a broker: frames taped once, and an edge's core that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from edge.core import EdgeCore
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Codec
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic
from simulator.faults.faulty_world import FaultyWorld
from simulator.faults.spec import parse_all
from simulator.publisher import DRIVER_ID, announce_batch, tick_batch
from simulator.world import Frame, World

SECONDS, VEHICLES = 12.0, 40
CODECS: dict[str, Codec] = discover("openvrc.contracts.codecs")


@cache
def _taped() -> tuple[World, tuple[Frame, ...]]:
    world = discover("simulator.scenarios")["crossroads"].make(
        zone="z", run_id="r", duration_s=SECONDS, vehicles=VEHICLES
    )
    return world, tuple(world.frames())


class Taped:
    """The crossroads as they were simulated once; frames never change, so all tests share them."""

    def __init__(self) -> None:
        self._world, self._frames = _taped()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def frames(self) -> Iterator[Frame]:
        """See World."""
        yield from self._frames


def faulty(*texts: str, seed: int = 1) -> FaultyWorld:
    """The taped crossroads with these faults."""
    return FaultyWorld(Taped(), parse_all(texts), seed)


def payloads(frame: Frame, codec: str = "json") -> list[tuple[str, bytes]]:
    """Topics and payloads of a frame, as the publisher sends them."""
    found: list[tuple[str, bytes]] = [("", b"")] * len(frame.messages)
    places: dict[int, list[int]] = {}
    for place, outgoing in enumerate(frame.messages):
        places.setdefault(id(outgoing.whole), []).append(place)
    for mine in places.values():
        bounds = [frame.messages[place].bounds for place in mine]
        parts = CODECS[codec].encode_parts(frame.messages[mine[0]].whole, bounds)
        for place, payload in zip(mine, parts, strict=True):
            outgoing = frame.messages[place]
            topic = Topic("z", outgoing.kind, outgoing.source_id, outgoing.message, codec)
            damage = outgoing.damage
            found[place] = str(topic), damage.mangle(payload) if damage else payload
    return found


@cache
def honest() -> list[list[tuple[str, bytes]]]:
    """Topics and payloads of each frame of the run without a fault."""
    return [payloads(frame) for frame in Taped().frames()]


def through_the_edge(world: World, codec: str = "json") -> EdgeCore:
    """An edge's core after all of a run's messages and ticks."""
    core = EdgeCore({}, "edge-1", 1)
    _say(core, announce_batch(world, "running", 1.0))
    _say(core, tick_batch(world, world.start_ns))
    for frame in world.frames():
        for topic, payload in payloads(frame, codec):
            core.on_payload(topic, payload, frame.zone_time_ns)
        _say(core, tick_batch(world, frame.zone_time_ns))
        core.take_group()
    _say(core, announce_batch(world, "ended", 1.0, frame.zone_time_ns))
    core.take_group()
    return core


def _say(core: EdgeCore, batch: Batch) -> None:
    topic = Topic(batch.zone, "zone", DRIVER_ID, batch.message)
    core.on_payload(str(topic), CODECS["json"].encode(batch), 0)
