"""Arrow: one IPC stream of a message's sender columns, many records per MQTT message.

Run and origin travel in the schema's metadata (`vrc.run_id`, `vrc.origin`). Columns may be left
out when their contract field is optional; nulls, other integer widths and plain strings are
accepted and brought to the contract's types (arrow_columns.py). Ranges are checked column by
column. Many payloads are read at once where their shape allows it (arrow_join.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.arrow_guard import refuse_bombs
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.arrow_columns import sent_columns
from openvrc.contracts.codecs.arrow_join import (
    END_OF_STREAM,
    READ_ERRORS,
    Layout,
    Shape,
    Shapes,
    join,
    join_tables,
    layout_of,
    missing_ids,
)
from openvrc.contracts.codecs.base import Bulk, Decoded, Reject
from openvrc.contracts.codecs.bulk import Pieces, coded
from openvrc.contracts.codecs.row_checks import kept, rejects_of, split_bad_rows, verdicts_of
from openvrc.contracts.errors import ContractError
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic


class Given(NamedTuple):
    """One payload that can be read together with others of its layout."""

    place: int
    topic: Topic
    payload: bytes
    read: Shape | pa.Table
    """Where its buffers stand, or what pyarrow made of it."""

    @property
    def n_rows(self) -> int:
        """How many records it holds."""
        return int(self.read.n_rows if isinstance(self.read, Shape) else self.read.num_rows)


class ArrowCodec:
    """The batch codec for roadside units and gateways."""

    name = "arrow"
    content_type = "application/vnd.apache.arrow.stream"

    def __init__(self) -> None:
        self._shapes = Shapes()

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:  # noqa: ARG002 (the port's)
        """See `Codec.decode`. Arrow carries full times, so `received_at_ns` is not needed."""
        try:
            batch, _ = _joined([Given(0, topic, payload, _table(payload))])
        except READ_ERRORS as error:
            return Decoded(rejects=(_whole(topic, payload, error),))
        return split_bad_rows(batch, topic.source_id)

    def decode_many(
        self, topics: Sequence[Topic], payloads: Sequence[bytes], received_at_ns: Sequence[int]
    ) -> Bulk:
        """See `BulkCodec.decode_many`. Payloads of one schema are brought into columns together."""
        read = Pieces()
        together: dict[Layout | bytes, list[Given]] = {}
        for place, (topic, payload) in enumerate(zip(topics, payloads, strict=True)):
            shape = self._shapes.find(topic.message, payload)
            if shape is not None:
                given = Given(place, topic, payload, shape)
                together.setdefault(shape.layout, []).append(given)
                continue
            try:
                table = _table(payload)
            except READ_ERRORS as error:
                read.rejects.append((place, _whole(topic, payload, error)))
                continue
            given = Given(place, topic, payload, table)
            together.setdefault(table.schema.serialize().to_pybytes(), []).append(given)
        for members in together.values():
            self._read_together(members, read, received_at_ns)
        return read.bulk()

    def _read_together(
        self, members: Sequence[Given], read: Pieces, received_at_ns: Sequence[int]
    ) -> None:
        """Into `read`. Where a payload cannot be read, halves, until it stands alone."""
        try:
            batch, places = _joined(members)
        except READ_ERRORS:
            if len(members) > 1:
                half = len(members) // 2
                self._read_together(members[:half], read, received_at_ns)
                self._read_together(members[half:], read, received_at_ns)
                return
            (one,) = members
            read.add(one.place, self.decode(one.topic, one.payload, received_at_ns[one.place]))
            return
        names = [given.topic.source_id for given in members]
        codes, sources = coded(names, [given.n_rows for given in members])
        verdicts = verdicts_of(batch, codes, sources)
        if verdicts:
            for row, reject in rejects_of(batch, verdicts, codes, sources):
                read.rejects.append((int(places[row]), reject))
            keep = kept(batch, verdicts)
            batch, places = batch.filter(keep), places[keep]
        read.batches.append((batch, places))

    def encode(self, batch: Batch) -> bytes:
        """One IPC stream without the edge's marks."""
        return self.encode_parts(batch, [(0, batch.n_rows)])[0]

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `Codec.encode_parts`. All parts have one schema, which is written once."""
        whole = sent_columns(batch, has_one_sender_each=_have_one_sender_each(batch, bounds))
        head = whole.schema.serialize()
        return [
            b"".join((head, whole.slice(start, end - start).serialize(), END_OF_STREAM))
            for start, end in bounds
        ]


def _have_one_sender_each(batch: Batch, bounds: Sequence[tuple[int, int]]) -> bool:
    """Whether the topic can tell who sends each part."""
    codes = batch.codes("source_id")
    changes = np.flatnonzero(np.diff(codes)) + 1
    starts = np.array([start for start, _ in bounds])
    ends = np.array([end for _, end in bounds])
    inside = np.searchsorted(changes, ends, "left") - np.searchsorted(changes, starts, "right")
    return not inside.any()


def _whole(topic: Topic, payload: bytes, error: Exception) -> Reject:
    missing = isinstance(error, ContractError) and error.found is None
    unknown = isinstance(error, ContractError) and error.expected == "no such column"
    reason = Reason.MISSING_FIELD if missing else Reason.INVALID_ARROW
    reason = Reason.UNKNOWN_FIELD if unknown else reason
    return Reject(reason, str(error)[:1000], topic.source_id, payload=payload[:4096], is_whole=True)


def _table(payload: bytes) -> pa.Table:
    """What pyarrow makes of a payload. Raises one of READ_ERRORS."""
    refuse_bombs(payload)
    with pa.ipc.open_stream(payload) as reader:
        table = reader.read_all()
    if not table.num_rows and not payload.endswith(END_OF_STREAM):
        # pyarrow takes a stream that was cut off behind its schema for one without records.
        raise ContractError("arrow stream", "cut off behind its schema", "records or its end")
    table.validate(full=True)
    return table


def _joined(members: Sequence[Given]) -> tuple[Batch, npt.NDArray[np.int32]]:
    """One Batch of payloads of one layout, and the place of each row's payload (n_rows,)."""
    topic, first = members[0].topic, members[0].read
    if isinstance(first, Shape):
        shapes = [given.read for given in members if isinstance(given.read, Shape)]
        layout, columns = first.layout, join(shapes, [given.payload for given in members])
    else:
        layout = layout_of(topic.message, first.schema)
        columns = join_tables(layout, [given.read for given in members])
    n_rows = [given.n_rows for given in members]
    for name in missing_ids(layout):
        columns[name] = coded([given.topic.source_id for given in members], n_rows)
    batch = from_columns(
        topic.message,
        zone=topic.zone,
        run_id=layout.run_id,
        origin=layout.origin,
        columns=columns,
        n_rows=sum(n_rows),
    )
    return batch, np.repeat(np.array([given.place for given in members], np.int32), n_rows)


PLUGIN = ArrowCodec()
