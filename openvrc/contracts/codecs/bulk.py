"""Many payloads of one message and zone at once, through any codec."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.codecs.base import Bulk, BulkCodec, Codec, Decoded, Part, Reject
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic

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
    raises: its fault then costs the payloads at fault, as `Reason.CODEC_FAILED`.
    """
    at_once = getattr(codec, "decode_many", None)
    if at_once is not None and len(payloads) > 0:
        try:
            bulk: Bulk = at_once(topics, payloads, received_at_ns)
        # A codec is a plug-in, often somebody else's: its fault may not stop the edge.
        except Exception:  # noqa: BLE001
            return one_by_one(codec, topics, payloads, received_at_ns)
        if all(_fits(part.batch, topics[0]) for part in bulk.parts):
            return bulk
    return one_by_one(codec, topics, payloads, received_at_ns)


def one_by_one(
    codec: Codec, topics: Sequence[Topic], payloads: Sequence[bytes], received_at_ns: Sequence[int]
) -> Bulk:
    """`decode` of each payload, joined by run. Raises nothing."""
    parts: list[tuple[int, Batch]] = []
    rejects: list[tuple[int, Reject]] = []
    for place, given in enumerate(zip(topics, payloads, received_at_ns, strict=True)):
        decoded = decode_one(codec, *given)
        parts += [(place, batch) for batch in decoded.batches]
        rejects += [(place, reject) for reject in decoded.rejects]
    return Bulk(joined(parts), tuple(rejects))


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


def joined(pieces: Sequence[tuple[int, Batch]]) -> tuple[Part, ...]:
    """Batches with the places of their payloads, as one Part for each (run_id, origin)."""
    groups: dict[tuple[str, str], list[tuple[int, Batch]]] = {}
    for place, batch in pieces:
        if batch.n_rows:
            groups.setdefault((batch.run_id, batch.origin), []).append((place, batch))
    parts = []
    for members in groups.values():
        places = np.array([place for place, _ in members], np.int32)
        n_rows = [batch.n_rows for _, batch in members]
        parts.append(Part(concat([batch for _, batch in members]), np.repeat(places, n_rows)))
    return tuple(parts)


def _fits(batch: Batch, topic: Topic) -> bool:
    return batch.message == topic.message and batch.zone == topic.zone


def _failed(topic: Topic, payload: bytes, text: str) -> Decoded:
    kept = payload[:KEPT_BYTES]
    whole = Reject(Reason.CODEC_FAILED, text[:1000], topic.source_id, payload=kept, is_whole=True)
    return Decoded(rejects=(whole,))
