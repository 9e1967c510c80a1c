"""Many payloads of one message and zone at once, through any codec."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.codecs.base import Bulk, BulkCodec, Codec, Decoded, Part, Reject
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic

Word = TypeVar("Word", bound=Hashable)
Places = npt.NDArray[np.int32]

KEPT_BYTES = 4096
"""How much of a payload a reject keeps."""


def decode_many(
    codec: Codec | BulkCodec,
    topics: Sequence[Topic],
    payloads: Sequence[bytes],
    received_at_ns: Sequence[int],
) -> Bulk:
    """What `codec` makes of payloads of one message and zone; (n_payloads,) each. Raises nothing.

    A codec without `decode_many` is asked payload by payload, and so is one whose `decode_many`
    fails: its fault then costs the payloads at fault, as `Reason.CODEC_FAILED`, and is told in
    `Bulk.fault`.
    """
    at_once = getattr(codec, "decode_many", None)
    fault = ""
    if at_once is not None and len(payloads) > 0:
        try:
            bulk: Bulk = at_once(topics, payloads, received_at_ns)
        # A codec is a plug-in, often somebody else's: its fault may not stop the edge.
        except Exception as error:  # noqa: BLE001
            fault = f"codec {codec.name} raised {type(error).__name__}: {error}"
        else:
            if all(_fits(part.batch, topics[0]) for part in bulk.parts):
                return bulk
            fault = f"codec {codec.name} made a batch of another message or zone"
    return replace(one_by_one(codec, topics, payloads, received_at_ns), fault=fault)


def one_by_one(
    codec: Codec, topics: Sequence[Topic], payloads: Sequence[bytes], received_at_ns: Sequence[int]
) -> Bulk:
    """`decode` of each payload, joined by run. Raises nothing."""
    read = Pieces()
    for place, given in enumerate(zip(topics, payloads, received_at_ns, strict=True)):
        read.add(place, decode_one(codec, *given))
    return read.bulk()


def decode_one(codec: Codec, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:
    """`codec.decode`, whose own faults become a reject of the whole payload. Raises nothing."""
    try:
        decoded = codec.decode(topic, payload, received_at_ns)
    # A codec is a plug-in, often somebody else's: its fault costs one message, not the edge.
    except Exception as error:  # noqa: BLE001
        text = f"codec {topic.codec} raised {type(error).__name__}: {error}"
        return _failed(topic, payload, text)
    if not all(_fits(batch, topic) for batch in decoded.batches):
        text = f"codec {topic.codec} made a batch of another message or zone"
        return _failed(topic, payload, text)
    return decoded


@dataclass
class Pieces:
    """What came out of payloads so far, each row and reject with the place of its payload.

    The rows and rejects of one payload are added in their order; payloads may come in any order.
    """

    batches: list[tuple[Batch, Places]] = field(default_factory=list)
    rejects: list[tuple[int, Reject]] = field(default_factory=list)

    def add(self, place: int, decoded: Decoded) -> None:
        """All of one payload."""
        for batch in decoded.batches:
            self.batches.append((batch, np.full(batch.n_rows, place, np.int32)))
        self.rejects += [(place, reject) for reject in decoded.rejects]

    def bulk(self) -> Bulk:
        """One Part for each (run_id, origin), all in the payloads' order."""
        runs: dict[tuple[str, str], list[tuple[Batch, Places]]] = {}
        for batch, places in sorted(self._filled(), key=lambda piece: piece[1][0]):
            runs.setdefault((batch.run_id, batch.origin), []).append((batch, places))
        parts = tuple(_part(members) for members in runs.values())
        return Bulk(parts, tuple(sorted(self.rejects, key=lambda pair: pair[0])))

    def _filled(self) -> list[tuple[Batch, Places]]:
        return [piece for piece in self.batches if piece[0].n_rows]


def _part(members: Sequence[tuple[Batch, Places]]) -> Part:
    batch = concat([batch for batch, _ in members])
    places = np.concatenate([places for _, places in members])
    if (np.diff(places) < 0).any():
        order = np.argsort(places, kind="stable")
        batch, places = batch.take(order), places[order]
    return Part(batch, places)


def coded(words: Sequence[Word], n_rows: Sequence[int]) -> tuple[Places, list[Word]]:
    """Words of payloads as words of rows: codes (sum of n_rows,) into distinct words."""
    codes = {word: code for code, word in enumerate(dict.fromkeys(words))}
    by_payload = np.array([codes[word] for word in words], np.int32)
    return np.repeat(by_payload, n_rows), list(codes)


def _fits(batch: Batch, topic: Topic) -> bool:
    return batch.message == topic.message and batch.zone == topic.zone


def _failed(topic: Topic, payload: bytes, text: str) -> Decoded:
    kept = payload[:KEPT_BYTES]
    whole = Reject(Reason.CODEC_FAILED, text[:1000], topic.source_id, payload=kept, is_whole=True)
    return Decoded(rejects=(whole,))
