"""Recorded payloads as batches, by the codecs that their topics name, many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Codec
from openvrc.contracts.codecs.bulk import decode_many
from openvrc.contracts.errors import ContractError
from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic, parse_topic
from simulator.recorder.entries import Entry

SENDERS = ("vehicle", "rsu", "signal", "charger")
_OF_DRIVERS = ("tick", "zone_announce")


@dataclass(frozen=True)
class Said:
    """One sender's records of one message: rows `start` to `end` of `whole`."""

    topic: Topic
    whole: Batch
    start: int
    end: int


class Decoder:
    """See the module's text."""

    def __init__(self) -> None:
        self._codecs: dict[str, Codec] = discover("openvrc.contracts.codecs")
        self._topics: dict[str, Topic | None] = {}
        self.lost: Counter[str] = Counter()
        """What could not be decoded, by reason."""

    def topic(self, entry: Entry) -> Topic | None:
        """The topic of a sender's or a driver's message; None for all others."""
        text = entry.topic
        if text not in self._topics:
            try:
                parsed = parse_topic(text)
            except ContractError:
                parsed = None
            is_wanted = parsed is not None and (
                parsed.kind in SENDERS or (parsed.kind == "zone" and parsed.message in _OF_DRIVERS)
            )
            self._topics[text] = parsed if is_wanted else None
        return self._topics[text] if entry.payload else None

    def one(self, entry: Entry, topic: Topic) -> list[Batch]:
        """One message's batches."""
        return [said.whole for said in self.many([entry], [topic])]

    def many(self, entries: Sequence[Entry], topics: Sequence[Topic]) -> list[Said]:
        """All of them, in their order."""
        groups: dict[tuple[str, str], list[int]] = {}
        for place, topic in enumerate(topics):
            groups.setdefault((topic.codec, topic.message), []).append(place)
        found: list[tuple[int, Said]] = []
        for (codec_name, message), places in groups.items():
            codec = self._codecs.get(codec_name)
            if codec is None:
                self.lost["unknown_codec"] += len(places)
                continue
            carried: tuple[str, ...] = getattr(codec, "messages", ())
            for asked in carried if message in carried else (message,):
                mine = [replace(topics[place], message=asked) for place in places]
                found += self._group(codec, mine, [entries[place] for place in places], places,
                                     counts=asked == message)  # fmt: skip
        found.sort(key=lambda pair: pair[0])
        return [said for _, said in found]

    def _group(
        self,
        codec: Codec,
        topics: list[Topic],
        entries: list[Entry],
        places: list[int],
        *,
        counts: bool,
    ) -> Iterator[tuple[int, Said]]:
        payloads, times = [e.payload for e in entries], [e.at_ns for e in entries]
        bulk = decode_many(codec, topics, payloads, times)
        if counts:
            self.lost.update(str(reject.reason) for _, reject in bulk.rejects)
        for part in bulk.parts:
            owner = part.payload_of_row
            starts = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
            for start, end in zip(starts, [*starts[1:], len(owner)], strict=True):
                of = int(owner[start])
                yield places[of], Said(topics[of], part.batch, start, end)
