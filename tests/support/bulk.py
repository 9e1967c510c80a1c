"""Comparing what a codec makes of payloads at once with what it makes of them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.base import Bulk, Codec
from openvrc.contracts.codecs.bulk import decode_many, one_by_one
from openvrc.contracts.columns import Column, arrow_schema, columns_of
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
        columns = {column.name: _values(batch, column) for column in columns_of(batch.message)}
        parts.append((head, columns, part.payload_of_row.tolist()))
    return parts, [(place, vars(reject)) for place, reject in bulk.rejects]


def _values(batch: Batch, column: Column) -> list[Any]:
    """Every bit of a column's values, but for NaN, which is no equal of itself."""
    if column.kind == "text":
        return batch.texts(column.name)
    if column.kind == "f32_list":
        values, offsets = batch.lists(column.name)
        return [*values.astype(str).tolist(), *offsets.tolist()]
    return batch.column(column.name).astype(str).tolist()  # type: ignore[no-any-return]


def assert_same_as_one_by_one(
    codec: Codec, topics: Sequence[Topic], payloads: Sequence[bytes]
) -> Bulk:
    """Decode both ways, compare, and give the result."""
    times_ns = list(range(len(payloads)))
    got = decode_many(codec, topics, payloads, times_ns)
    assert got.fault == ""
    assert plain(got) == plain(one_by_one(codec, topics, payloads, times_ns))
    return got
