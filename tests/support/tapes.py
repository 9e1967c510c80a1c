"""Recordings of messages made without a broker: what a publisher would have sent, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from openvrc.contracts.codecs.base import Codec
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic
from simulator.publisher import DRIVER_ID, announce_batch, tick_batch
from simulator.recorder import format_of
from simulator.recorder.entries import Entry
from simulator.world import World, unpaced

WALL_NS = 1_790_000_000_000_000_000
"""When the recorder hears the first message; each further one a millisecond later."""


def entries_of(world: World, codec: str = "json") -> Iterator[Entry]:
    """Announcement, then each frame's messages and its tick."""
    codecs: dict[str, Codec] = discover("openvrc.contracts.codecs")
    driver = {
        message: str(Topic(world.zone, "zone", DRIVER_ID, message))
        for message in ("zone_announce", "tick")
    }
    at_ns = WALL_NS
    announced = codecs["json"].encode(announce_batch(world, "running", 1.0))
    yield Entry(at_ns, driver["zone_announce"], announced)
    yield Entry(at_ns, driver["tick"], codecs["json"].encode(tick_batch(world, world.start_ns)))
    for frame in unpaced(world):
        for outgoing in frame.messages:
            at_ns += 1_000_000
            topic = Topic(world.zone, outgoing.kind, outgoing.source_id, outgoing.message, codec)
            yield Entry(at_ns, str(topic), codecs[codec].encode(outgoing.batch))
        tick = codecs["json"].encode(tick_batch(world, frame.zone_time_ns))
        yield Entry(at_ns, driver["tick"], tick)


def recorded(world: World, path: Path, codec: str = "json") -> Path:
    """A file with them, in the format of its name."""
    sink = format_of(path).create(path)
    for entry in entries_of(world, codec):
        sink.write(entry)
    sink.close()
    return path
