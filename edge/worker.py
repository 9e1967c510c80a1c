"""A decoding worker: takes its share of the messages in, and hands them to the owner as batches.

`python -m edge.worker FD NUMBER`, started by `edge/worker_pool.py` with one end of a socket pair.
Clean payloads of records go as packed batches; what is bad, and what is a driver's word, goes as it
came, for the owner to judge. Acknowledged is what the owner says is durable; a worker that dies
has lost nothing, since the broker sends again what was not acknowledged.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from multiprocessing.connection import Connection as Pipe

from edge import parcel
from edge.inbox import Delivery
from edge.json_log import log_to_stderr
from edge.parcel import Entry
from edge.worker_link import FENCE, JOINED, SHARED, WorkerIntake, marker_of
from openvrc.contracts.codecs.base import Bulk, Codec
from openvrc.contracts.codecs.bulk import decode_many
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic, parse_topic
from openvrc.contracts.wire import pack
from openvrc.memory import collect_rarely, use_frugal_allocators
from openvrc.settings import Settings

LOG = logging.getLogger("edge.worker")
IDLE_WAIT_S = 0.2
MAX_PARCEL_MESSAGES, MAX_PARCEL_BYTES = 1_000, 16_000_000
MOST_UNCONFIRMED = 4
"""Parcels the owner has not confirmed: enough for both to be busy; then the inbox fills."""
NO_SHARING = (
    "this broker does not deal out shared subscriptions ($share/...), which workers need; "
    "use mosquitto, or run the edge without --workers"
)
Alike = tuple[str, str, str]
"""Zone, message, codec."""


class Decoder:
    """Deliveries to entries. Pure but for the codecs."""

    def __init__(self, codecs: Mapping[str, Codec], max_payload_bytes: int) -> None:
        # A foreign codec's frame becomes several messages: the owner decodes those.
        self._codecs = {
            name: codec for name, codec in codecs.items() if not getattr(codec, "messages", ())
        }
        self._max_payload_bytes = max_payload_bytes

    def entries(self, deliveries: Sequence[Delivery]) -> Iterator[Entry]:
        """In the order of arrival; neighbours that are alike are decoded together."""
        for is_heard, members in groupby(deliveries, _is_heard):
            if is_heard:
                yield from map(_as_it_came, members)
            else:
                yield from self._records(list(members))

    def _records(self, deliveries: Sequence[Delivery]) -> Iterator[Entry]:
        """Between two words of drivers the order of different message types is free."""
        groups: dict[Alike, list[tuple[Topic, Delivery]]] = {}
        for delivery in deliveries:
            topic = self._topic(delivery)
            if topic is None:
                yield _raw(delivery)
            else:
                key = (topic.zone, topic.message, topic.codec)
                groups.setdefault(key, []).append((topic, delivery))
        for (_, _, name), members in groups.items():
            yield from self._decoded(self._codecs[name], members)

    def _topic(self, delivery: Delivery) -> Topic | None:
        """Of what is decoded here."""
        try:
            topic = parse_topic(delivery.topic)
        except ContractError:
            return None
        is_ours = (
            topic.codec in self._codecs
            and MESSAGES[topic.message].is_numbered
            and len(delivery.payload) <= self._max_payload_bytes
        )
        return topic if is_ours else None

    def _decoded(self, codec: Codec, members: list[tuple[Topic, Delivery]]) -> Iterator[Entry]:
        bulk = _bulk(codec, members)
        if bulk.rejects:
            bad = {place for place, _ in bulk.rejects}
            yield from (_raw(members[place][1]) for place in sorted(bad))
            members = [pair for place, pair in enumerate(members) if place not in bad]
            if not members:
                return
            bulk = _bulk(codec, members)
        first = members[0][1]
        batches = [part.batch for part in bulk.parts]
        if batches:
            payload = pack(batches)
            yield Entry(parcel.BATCH, first.received_at_ns, first.topic, payload, len(members))


def _bulk(codec: Codec, members: Sequence[tuple[Topic, Delivery]]) -> Bulk:
    return decode_many(
        codec,
        [topic for topic, _ in members],
        [delivery.payload for _, delivery in members],
        [delivery.received_at_ns for _, delivery in members],
    )


def _is_heard(delivery: Delivery) -> bool:
    levels = delivery.topic.split("/", 4)
    return (len(levels) > 3 and levels[3] == "zone") or marker_of(delivery.topic) is not None


def _raw(delivery: Delivery) -> Entry:
    return Entry(parcel.PAYLOAD, delivery.received_at_ns, delivery.topic, delivery.payload, 1)


def _as_it_came(delivery: Delivery) -> Entry:
    marker = marker_of(delivery.topic)
    if marker is not None:
        kinds = {FENCE: parcel.FENCE, JOINED: parcel.JOINED}
        return Entry(kinds.get(marker[0], parcel.PROBLEM), n_messages=1)
    kind = parcel.PAYLOAD if delivery.is_retained else parcel.CONTROL
    return Entry(kind, delivery.received_at_ns, delivery.topic, delivery.payload, 1)


class Worker:
    """One worker process."""

    def __init__(self, pipe: Pipe, number: int, settings: Settings) -> None:
        self._pipe = pipe
        self._intake = WorkerIntake(settings, number)
        self._decoder = Decoder(
            discover("openvrc.contracts.codecs"), settings.edge_max_payload_bytes
        )
        # Half of the edge's own: the owner commits as soon as a parcel has come.
        self._gather_s = settings.edge_commit_every_ms / 2000.0
        self._unconfirmed: dict[int, list[Delivery]] = {}
        self._may_send = threading.Semaphore(MOST_UNCONFIRMED)
        self._connection: object = None
        self._is_dealt_to = False
        """Whether a marker has come by a shared subscription on this connection."""

    def run(self) -> None:
        """Until the owner closes the pipe."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._intake.start()
        number = 0
        while True:
            deliveries = self._intake.drain(
                IDLE_WAIT_S, self._gather_s, MAX_PARCEL_MESSAGES, MAX_PARCEL_BYTES
            )
            if not deliveries:
                continue
            entries = list(self._entries(deliveries))
            self._may_send.acquire()
            number += 1
            self._unconfirmed[number] = deliveries
            self._pipe.send_bytes(parcel.write(number, entries))

    def _entries(self, deliveries: Sequence[Delivery]) -> Iterator[Entry]:
        """With what the markers mean; the one that came by a share only says that it did."""
        for connection, members in groupby(deliveries, lambda delivery: delivery.connection):
            if connection is not self._connection:
                self._connection, self._is_dealt_to = connection, False
                yield Entry(parcel.UP, int(connection.is_resumed))
            kept: list[Delivery] = []
            for delivery in members:
                what = (marker_of(delivery.topic) or ("", 0))[0]
                if what == SHARED:
                    self._is_dealt_to = True
                elif what == JOINED and not self._is_dealt_to:
                    yield Entry(parcel.PROBLEM, text=NO_SHARING)
                else:
                    kept.append(delivery)
            yield from self._decoder.entries(kept)

    def _listen(self) -> None:
        """The owner's words, on a thread of its own."""
        try:
            while True:
                word = json.loads(self._pipe.recv_bytes())
                if word == "fence":
                    self._intake.publish_fence()
                elif word == "stop_reading":
                    self._intake.stop_reading()
                elif isinstance(word, list):
                    self._intake.publish(word[0], word[1].encode())
                else:
                    self._intake.ack(self._unconfirmed.pop(word))
                    self._may_send.release()
        except (EOFError, OSError):
            self._intake.stop()
            os._exit(0)  # the owner is gone or wants us gone; nothing here is worth keeping


def main() -> None:
    """Wait for the settings, then work until the pipe is closed."""
    log_to_stderr()
    use_frugal_allocators()
    collect_rarely()
    # Ctrl-C and a stop reach the owner, who lets us finish.
    pipe, number = Pipe(int(sys.argv[1])), int(sys.argv[2])
    settings = Settings(**json.loads(pipe.recv_bytes()))
    LOG.info("worker %d decodes", number)
    with suppress(BrokenPipeError, ConnectionResetError):
        Worker(pipe, number, settings).run()


if __name__ == "__main__":
    main()
