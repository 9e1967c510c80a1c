"""Payloads that wait to be decoded together: what an edge does per message is dear, per row cheap.

Fifty records of one message cost about as much to decode and check as five thousand of a hundred
messages. So payloads wait here, by zone and message type, until their zone's clock moves or the
group is taken; the order of arrival within a message type is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from edge.arrivals import Arrivals
from edge.group_log import UNNUMBERED, GroupLog, Opening
from openvrc.contracts.codecs.base import Bulk, Codec, Reject
from openvrc.contracts.codecs.bulk import decode_many
from openvrc.contracts.topics import Topic


class Payload(NamedTuple):
    """One MQTT message of records, as it came; a tuple, for there is one of each message."""

    topic: Topic
    topic_text: str
    data: bytes
    received_at_ns: int
    number: int = UNNUMBERED
    """Its place among the group's inputs."""


@dataclass(frozen=True)
class Opened:
    """What was in some payloads: what can be used, and what cannot, each with its payload."""

    arrivals: list[Arrivals] = field(default_factory=list)
    rejects: list[tuple[Payload, Reject]] = field(default_factory=list)


class Doors:
    """The payloads that wait."""

    def __init__(self, codecs: Mapping[str, Codec]) -> None:
        self._codecs = codecs
        self._waiting: dict[tuple[str, str], list[Payload]] = {}
        """By zone and message."""

    def add(self, payload: Payload) -> None:
        """Let one wait; its codec must be one of ours."""
        topic = payload.topic
        key = (topic.zone, topic.message)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = []
        waiting.append(payload)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def open(self, log: GroupLog, zone: str | None = None) -> Opened:
        """Decode what waits for a zone, or for all of them; `log` is told what is opened."""
        opened = Opened()
        for key in [key for key in self._waiting if zone is None or key[0] == zone]:
            for alike in _by_codec(self._waiting.pop(key)):
                self._decode(alike, opened, log.opening([p.number for p in alike]))
        return opened

    def _decode(self, payloads: list[Payload], opened: Opened, opening: Opening) -> None:
        """Decode payloads of one codec; those of a foreign one for each message it carries."""
        codec, message = self._codecs[payloads[0].topic.codec], payloads[0].topic.message
        carried: tuple[str, ...] = getattr(codec, "messages", ())
        messages = carried if message in carried else (message,)
        for asked in messages:
            bulk = _decoded(codec, asked, payloads)
            _add_arrivals(bulk, payloads, opened, opening)
            if asked == messages[0]:  # what is bad is told once
                opening.is_clean &= not bulk.rejects
                opened.rejects.extend((payloads[place], reject) for place, reject in bulk.rejects)


def _decoded(codec: Codec, message: str, payloads: list[Payload]) -> Bulk:
    return decode_many(
        codec,
        [_with_message(payload.topic, message) for payload in payloads],
        [payload.data for payload in payloads],
        [payload.received_at_ns for payload in payloads],
    )


def _add_arrivals(bulk: Bulk, payloads: list[Payload], opened: Opened, opening: Opening) -> None:
    received_at_ns = np.array([payload.received_at_ns for payload in payloads], np.int64)
    topics = tuple(payload.topic_text for payload in payloads)
    for part in bulk.parts:
        places = part.payload_of_row
        received = received_at_ns[places]
        opened.arrivals.append(Arrivals(part.batch, received, topics, places, (opening,)))


@lru_cache(maxsize=100_000)
def _with_message(topic: Topic, message: str) -> Topic:
    return topic if topic.message == message else replace(topic, message=message)


def _by_codec(payloads: list[Payload]) -> Iterator[list[Payload]]:
    for _, alike in groupby(payloads, lambda payload: payload.topic.codec):
        yield list(alike)
