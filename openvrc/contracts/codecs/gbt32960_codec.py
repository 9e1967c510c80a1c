"""GB/T 32960.3: frames of the national EV protocol, as vehicles' terminals send them.

One frame speaks of several messages; `decode` gives those rows that its topic's message asks for,
and an edge asks for all of `messages` whatever the topic said. See `openvrc/contracts/gbt32960/`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Bulk, Decoded, Reject
from openvrc.contracts.errors import ContractError
from openvrc.contracts.gbt32960.encode import frames_of
from openvrc.contracts.gbt32960.rows import KEPT_BYTES, Reading, read_payloads, rows_of
from openvrc.contracts.gbt32960.units import Edition
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic


class Gbt32960Codec:
    """Reads both editions; writes one."""

    name = "gbt32960"
    content_type = "application/octet-stream"
    messages = ("battery_state", "vehicle_state", "vehicle_profile", "drive_state")
    """What one frame may hold; rejects belong to the first."""
    written = ("battery_state", "vehicle_state", "vehicle_profile")
    """What becomes frames; a drive's units are read only."""

    def __init__(self, edition: Edition = Edition.Y2016) -> None:
        self._edition = edition
        self._last: tuple[list[bytes], list[str], Reading] | None = None

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:
        """See `Codec.decode`. Frames carry full times, so `received_at_ns` is not needed."""
        bulk = self.decode_many([topic], [payload], [received_at_ns])
        return Decoded(
            tuple(part.batch for part in bulk.parts), tuple(reject for _, reject in bulk.rejects)
        )

    def decode_many(
        self,
        topics: Sequence[Topic],
        payloads: Sequence[bytes],
        received_at_ns: Sequence[int],  # noqa: ARG002 (the port's)
    ) -> Bulk:
        """See `BulkCodec.decode_many`."""
        if topics[0].message not in self.messages:
            return Bulk((), tuple(enumerate(map(_not_carried, topics, payloads))))
        return rows_of(topics, self._read(topics, payloads))

    def _read(self, topics: Sequence[Topic], payloads: Sequence[bytes]) -> Reading:
        """The payloads read; those that were read just before, for another message, only once."""
        senders = [f"{topic.kind}/{topic.source_id}" for topic in topics]
        last = self._last
        if last is not None and last[1] == senders and _are_same(last[0], payloads):
            return last[2]
        reading = read_payloads(topics, payloads)
        self._last = list(payloads), senders, reading
        return reading

    def encode(self, batch: Batch) -> bytes:
        """One frame a row. Raises ContractError for a message that no frame carries."""
        return b"".join(frames_of(self._carried(batch), self._edition))

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `Codec.encode_parts`."""
        frames = frames_of(self._carried(batch), self._edition)
        return [b"".join(frames[start:end]) for start, end in bounds]

    def _carried(self, batch: Batch) -> Batch:
        if batch.message not in self.written:
            raise ContractError("message", batch.message, "one of " + ", ".join(self.written))
        return batch


def _are_same(ours: Sequence[bytes], theirs: Sequence[bytes]) -> bool:
    """Whether these are the same objects: comparing bytes would cost as much as reading them."""
    return len(ours) == len(theirs) and all(map(operator.is_, ours, theirs))


def _not_carried(topic: Topic, payload: bytes) -> Reject:
    detail = f"message is {topic.message!r}, expected one of {', '.join(PLUGIN.messages)}"
    kept = payload[:KEPT_BYTES]
    return Reject(Reason.UNKNOWN_TOPIC, detail, topic.source_id, payload=kept, is_whole=True)


PLUGIN = Gbt32960Codec()
