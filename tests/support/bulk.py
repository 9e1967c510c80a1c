"""Comparing what a codec makes of payloads at once with what it makes of them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openvrc.contracts.codecs.base import Bulk, Codec
from openvrc.contracts.codecs.bulk import decode_many, one_by_one
from openvrc.contracts.columns import arrow_schema
from openvrc.contracts.topics import Topic


def plain(bulk: Bulk) -> tuple[list[Any], list[Any]]:
    """Parts and rejects as comparable values; also checks that the columns are the contract's."""
    parts = []
    for part in bulk.parts:
        batch = part.batch
        batch.data.validate(full=True)
        assert batch.data.schema.equals(arrow_schema(batch.message))
        assert sum(column.null_count for column in batch.data.columns) == 0
        head = (batch.message, batch.zone, batch.run_id, batch.origin)
        parts.append((head, batch.to_records(), part.payload_of_row.tolist()))
    return parts, [(place, vars(reject)) for place, reject in bulk.rejects]


def assert_same_as_one_by_one(
    codec: Codec, topics: Sequence[Topic], payloads: Sequence[bytes]
) -> Bulk:
    """Decode both ways, compare, and give the result."""
    times_ns = list(range(len(payloads)))
    got = decode_many(codec, topics, payloads, times_ns)
    assert plain(got) == plain(one_by_one(codec, topics, payloads, times_ns))
    return got
