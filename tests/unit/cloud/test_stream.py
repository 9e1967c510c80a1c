"""The stream's fan-out: bounded per client, healed by snapshots, ended by the hub."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cloud import stream
from cloud.stream import QUEUE_EVENTS, Event, StreamFullError, StreamHub


def parse(chunk: bytes) -> tuple[str, Any]:
    fields = dict(
        line.split(": ", 1) for line in chunk.decode().strip().splitlines() if ": " in line
    )
    return fields.get("event", ""), json.loads(fields["data"]) if "data" in fields else None


async def next_event(events: AsyncIterator[bytes]) -> tuple[str, Any]:
    while True:
        name, data = parse(await asyncio.wait_for(anext(events), 5))
        if name:
            return name, data


def follow(hub: StreamHub, state: dict[str, Any], **more: Any) -> AsyncIterator[bytes]:
    return hub.follow(more.pop("accepts", lambda event: True), lambda: dict(state), **more)


def test_a_client_starts_with_a_snapshot_and_then_hears_every_event() -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")
        events = follow(hub, {"n": 1})
        assert await next_event(events) == ("snapshot", {"n": 1})
        for number in range(3):
            hub.publish(Event("alert", number))
        assert [await next_event(events) for _ in range(3)] == [("alert", n) for n in range(3)]

    asyncio.run(run())


def test_a_slow_client_loses_its_queue_and_gets_a_snapshot_instead() -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")
        state = {"n": 0}
        events = follow(hub, state)
        await next_event(events)
        for number in range(QUEUE_EVENTS + 50):
            state["n"] = number
            hub.publish(Event("alert", number))
        (client,) = hub.clients
        assert len(client.queue) <= QUEUE_EVENTS
        assert await next_event(events) == ("snapshot", {"n": QUEUE_EVENTS + 49})
        assert client.dropped == QUEUE_EVENTS + 1
        hub.publish(Event("alert", "after"))
        assert await next_event(events) == ("alert", "after")

    asyncio.run(run())


def test_one_slow_client_costs_the_others_nothing() -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")
        slow, quick = follow(hub, {}), follow(hub, {})
        await next_event(slow)
        await next_event(quick)
        heard = []
        for number in range(QUEUE_EVENTS * 2):
            hub.publish(Event("alert", number))
            heard.append((await next_event(quick))[1])
        assert heard == list(range(QUEUE_EVENTS * 2))

    asyncio.run(run())


def test_a_client_hears_only_what_it_accepts() -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")
        events = follow(hub, {}, accepts=lambda event: event.zone == "a")
        await next_event(events)
        hub.publish(Event("alert", 1, zone="b"))
        hub.publish(Event("alert", 2, zone="a"))
        assert await next_event(events) == ("alert", 2)

    asyncio.run(run())


def test_an_event_during_the_snapshot_comes_behind_it() -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")

        async def snapshot() -> dict[str, int]:
            hub.publish(Event("alert", 7))
            return {}

        events = hub.follow(lambda event: True, snapshot)
        assert (await next_event(events))[0] == "snapshot"
        assert await next_event(events) == ("alert", 7)

    asyncio.run(run())


def test_silence_is_filled_with_heartbeats() -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")
        events = follow(hub, {}, heartbeat_s=0.01)
        await next_event(events)
        assert (await asyncio.wait_for(anext(events), 5)).startswith(b": ")

    asyncio.run(run())


def test_closing_the_hub_ends_every_stream_and_frees_its_place() -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")
        events = follow(hub, {})
        await next_event(events)
        hub.close()
        with pytest.raises(StopAsyncIteration):
            await next_event(events)
        assert not hub.clients

    asyncio.run(run())


def test_text_cannot_break_out_of_its_event() -> None:
    hub = StreamHub(epoch="e")
    chunk = hub.encode(Event("alert", "a\n\nevent: forged\ndata: {}\u2028"))
    assert chunk.count(b"\n\n") == 1
    assert parse(chunk) == ("alert", "a\n\nevent: forged\ndata: {}\u2028")


def test_beyond_the_limit_a_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        hub = StreamHub(epoch="e")
        monkeypatch.setattr(stream, "MAX_CLIENTS", 1)
        hub.check_room()
        await next_event(follow(hub, {}))
        with pytest.raises(StreamFullError):
            hub.check_room()

    asyncio.run(run())
