"""Arrow: one IPC stream of a message's sender columns, many records per MQTT message.

Run and origin travel in the schema's metadata (`vrc.run_id`, `vrc.origin`). Columns may be left
out when their contract field is optional; nulls, other integer widths and plain strings are
accepted and brought to the contract's types. Ranges are checked column by column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openvrc.contracts.arrow_guard import refuse_bombs
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.base import Decoded, Reject
from openvrc.contracts.columns import Column, columns_of
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN
from openvrc.contracts.ranges import bad_rows
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic
from openvrc.contracts.units import ABSENT_I64

_RUN = re.compile(TOPIC_ID_PATTERN)
_ORIGINS = ("live", "replay", "simulated")


class ArrowCodec:
    """The batch codec for roadside units and gateways."""

    name = "arrow"
    content_type = "application/vnd.apache.arrow.stream"

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:  # noqa: ARG002 (the port's)
        """See `Codec.decode`. Arrow carries full times, so `received_at_ns` is not needed."""
        try:
            batch = _read(topic, payload)
        except (
            pa.ArrowException,
            ContractError,
            ValueError,
            TypeError,
            OSError,
            KeyError,
        ) as error:
            missing = isinstance(error, ContractError) and error.found is None
            unknown = isinstance(error, ContractError) and error.expected == "no such column"
            reason = Reason.MISSING_FIELD if missing else Reason.INVALID_ARROW
            reason = Reason.UNKNOWN_FIELD if unknown else reason
            whole = Reject(
                reason, str(error)[:1000], topic.source_id, payload=payload[:4096], is_whole=True
            )
            return Decoded(rejects=(whole,))
        return split_bad_rows(batch, topic.source_id)

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `Codec.encode_parts`. Each part carries only the words it uses."""
        return [self.encode(_compact(batch.slice(start, end - start))) for start, end in bounds]

    def encode(self, batch: Batch) -> bytes:
        """One IPC stream without the edge's marks."""
        names = [c.name for c in columns_of(batch.message) if not c.is_mark]
        data = batch.data.select(names).replace_schema_metadata(
            {"vrc.run_id": batch.run_id, "vrc.origin": batch.origin}
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_batch(data)
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _compact(batch: Batch) -> Batch:
    """The same rows with dictionaries of their own: a part would else carry all its frame's."""
    texts = [c.name for c in columns_of(batch.message) if c.kind == "text" and not c.is_mark]
    changed: dict[str, object] = {}
    for name in texts:
        used, codes = np.unique(batch.codes(name), return_inverse=True)
        words = batch.data.column(name).dictionary.take(pa.array(used)).to_pylist()
        changed[name] = (codes.astype(np.int32), words)
    return batch.with_columns(changed)


def _read(topic: Topic, payload: bytes) -> Batch:
    refuse_bombs(payload)
    with pa.ipc.open_stream(payload) as reader:
        table = reader.read_all()
        metadata = reader.schema.metadata or {}
    table.validate(full=True)
    run_id, origin = _run_of(metadata)
    return from_columns(
        topic.message,
        zone=topic.zone,
        run_id=run_id,
        origin=origin,
        columns=_columns_of(table, topic),
        n_rows=table.num_rows,
    )


def _run_of(metadata: dict[bytes, bytes]) -> tuple[str, str]:
    run_id = metadata.get(b"vrc.run_id", b"live").decode()
    origin = metadata.get(b"vrc.origin", b"live").decode()
    if not _RUN.match(run_id):
        raise ContractError("vrc.run_id", run_id, f"text matching {TOPIC_ID_PATTERN}")
    if origin not in _ORIGINS:
        raise ContractError("vrc.origin", origin, "one of " + ", ".join(_ORIGINS))
    return run_id, origin


def _columns_of(table: pa.Table, topic: Topic) -> dict[str, object]:
    known = {c.name: c for c in columns_of(topic.message) if not c.is_mark}
    given = dict(zip(table.column_names, table.columns, strict=True))
    for name in given:
        if name not in known:
            raise ContractError(name, "a column", "no such column")
    identity = {"source_id": topic.source_id, "subject_id": topic.source_id}
    columns: dict[str, object] = {}
    for name, column in known.items():
        if name in given:
            columns[name] = _normalised(column, given[name].combine_chunks())
        elif name in identity:
            columns[name] = identity[name]
        elif column.is_required:
            raise ContractError(name, None, f"a column ({column.description})")
        elif column.default is not None and column.kind != "f32_list":
            columns[name] = column.default
    return columns


def _is_ours(column: Column, array: pa.Array) -> bool:
    """Whether an array has the contract's very type and no nulls, so that nothing need change."""
    if array.type != column.arrow_type or array.null_count:
        return False
    if column.kind == "text":
        return not array.dictionary.null_count
    return column.kind != "f32_list" or not array.values.null_count


def _normalised(column: Column, array: pa.Array) -> object:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if _is_ours(column, array):
        return array
    if column.kind == "text":
        words = (
            array.cast(pa.utf8())
            if not pa.types.is_dictionary(array.type)
            else array.dictionary_decode()
        )
        return words.cast(pa.utf8()).fill_null("").to_pylist()
    if column.kind == "f32_list":
        flat = array.cast(pa.list_(pa.float32())).fill_null([])
        offsets = flat.offsets.to_numpy()
        values = flat.values.fill_null(float("nan")).to_numpy(zero_copy_only=False)
        return values[offsets[0] : offsets[-1]], (offsets - offsets[0]).astype(np.int32)
    if column.kind == "code":
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.int8())
        if not pa.types.is_integer(array.type):
            return array.cast(pa.utf8()).to_pylist()
        return array.cast(pa.int8()).fill_null(-1).to_numpy()
    if column.kind == "i64":
        return array.cast(pa.int64()).fill_null(ABSENT_I64).to_numpy()
    wide = pa.float64() if column.kind == "f64" else pa.float32()
    return pc.fill_null(array.cast(wide), float("nan")).to_numpy(zero_copy_only=False)


def split_bad_rows(batch: Batch, source_id: str) -> Decoded:
    """Rows inside every range as one Batch; each other row a Reject with its first reason."""
    verdict: dict[int, tuple[Reason, str]] = {}
    same = np.array([word == source_id for word in batch.dictionary("source_id")], np.bool_)
    for row in np.flatnonzero(~same[batch.codes("source_id")]):
        verdict[int(row)] = (
            Reason.ID_MISMATCH,
            f"source_id differs from {source_id!r} of the topic",
        )
    for column in columns_of(batch.message):
        if column.is_mark:
            continue
        for reason, mask in bad_rows(column, batch):
            for row in np.flatnonzero(mask):
                expected = f"{column.low} to {column.high} {column.unit}".strip()
                verdict.setdefault(
                    int(row), (reason, f"{column.name}: {reason}, expected {expected}")
                )
    if not verdict:
        return Decoded((batch,) if batch.n_rows else ())
    keep = np.ones(batch.n_rows, np.bool_)
    keep[list(verdict)] = False
    rejects = tuple(_reject(batch, row, *why, source_id) for row, why in sorted(verdict.items()))
    good = batch.filter(keep)
    return Decoded((good,) if good.n_rows else (), rejects)


def _reject(batch: Batch, row: int, reason: Reason, detail: str, source_id: str) -> Reject:
    def number(name: str) -> int | None:
        value = int(batch.column(name)[row])
        return value if 0 <= value <= 2**62 else None

    one = batch.slice(row, 1)
    return Reject(
        reason,
        detail,
        source_id,
        subject_id=one.texts("subject_id")[0][:96],
        session=number("session"),
        seq=number("seq"),
        sampled_at_ns=number("sampled_at_ns"),
        run_id=batch.run_id,
        origin=batch.origin,
        payload=json.dumps({n: _plain(one, n) for n in ("sampled_at_ns", "seq")}).encode(),
    )


def _plain(one: Batch, name: str) -> object:
    return one.column(name)[0].item()


PLUGIN = ArrowCodec()
