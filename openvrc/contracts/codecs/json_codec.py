"""JSON: one object or an array of objects, each validated by its pydantic contract.

`source_id` may be left out (the topic has it), `subject_id` too (then it is the sender).
One bad record costs only itself; its neighbours in the array go on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.base import Bulk, Decoded, Reject
from openvrc.contracts.codecs.bulk import Pieces
from openvrc.contracts.codecs.json_encode import encode_parts
from openvrc.contracts.codecs.json_fast import read_fast
from openvrc.contracts.columns import columns_of
from openvrc.contracts.messages import message_type
from openvrc.contracts.messages.record import Record
from openvrc.contracts.reasons import REASON_TEXT, Reason
from openvrc.contracts.topics import Topic

KEPT_BYTES = 4096
"""How much of a bad payload a dead letter keeps."""

_REASON_OF_ERROR = {
    "missing": Reason.MISSING_FIELD,
    "extra_forbidden": Reason.UNKNOWN_FIELD,
    "finite_number": Reason.NOT_FINITE,
    "greater_than_equal": Reason.OUT_OF_RANGE,
    "less_than_equal": Reason.OUT_OF_RANGE,
    "too_long": Reason.OUT_OF_RANGE,
    "string_too_long": Reason.OUT_OF_RANGE,
    "string_pattern_mismatch": Reason.OUT_OF_RANGE,
    "literal_error": Reason.OUT_OF_RANGE,
    "int_parsing_size": Reason.OUT_OF_RANGE,
}


@cache
def _list_adapter(message: str) -> TypeAdapter[list[Record]]:
    model: Any = message_type(message).model
    return TypeAdapter(list[model])


def _whole(
    topic: Topic, payload: bytes, reason: Reason, detail: str
) -> tuple[list[Any], tuple[Reject, ...]]:
    reject = Reject(
        reason, detail[:1000], topic.source_id, payload=payload[:KEPT_BYTES], is_whole=True
    )
    return [], (reject,)


def reason_of(error: ValidationError) -> tuple[Reason, str]:
    """The first problem of a record in our words: which field, what it was, what was expected."""
    first = error.errors(include_url=False)[0]
    reason = _REASON_OF_ERROR.get(first["type"], Reason.WRONG_TYPE)
    path = [str(part) for part in first["loc"]][1:]  # the first part is the place in the list
    field = ".".join(path) or "record"
    found = "" if first["type"] == "missing" else f" is {str(first['input'])[:80]!r}"
    return reason, f"{field}{found}: {first['msg']}"


def _identified(raw: Any, topic: Topic) -> Any:
    if not isinstance(raw, dict):
        return raw
    raw.setdefault("source_id", topic.source_id)
    raw.setdefault("subject_id", raw["source_id"])
    return raw


def _reject_record(raw: Any, topic: Topic, reason: Reason, detail: str) -> Reject:
    facts = raw if isinstance(raw, dict) else {}

    def number(name: str) -> int | None:
        value = facts.get(name)
        is_good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**62
        return value if is_good else None

    def text(name: str, default: str) -> str:
        value = facts.get(name)
        return value[:96] if isinstance(value, str) else default

    origin = text("origin", "live")
    return Reject(
        reason,
        detail[:1000],
        topic.source_id,
        subject_id=text("subject_id", ""),
        session=number("session"),
        seq=number("seq"),
        sampled_at_ns=number("sampled_at_ns"),
        run_id=text("run_id", "live"),
        origin=origin if origin in ("live", "replay", "simulated") else "live",
        payload=json.dumps(raw, default=str).encode()[:KEPT_BYTES],
    )


def _second_look(record: Record, topic: Topic) -> tuple[Reason, str] | None:
    """What the contract itself does not say: whose topic it is, and what a column can hold."""
    if record.source_id != topic.source_id:
        detail = f"source_id is {record.source_id!r}, expected the topic's {topic.source_id!r}"
        return Reason.ID_MISMATCH, detail
    for name, low, high in _open_ranges(topic.message):
        value = getattr(record, name)
        if value is not None and not low <= value <= high:
            detail = f"{name} is {value!r}, expected {low} to {high}, as its column can hold"
            return Reason.OUT_OF_RANGE, detail[:1000]
    return None


@cache
def _open_ranges(message: str) -> tuple[tuple[str, float, float], ...]:
    """Columns whose contract sets no end to a number, with what they can hold."""
    greatest = {"i64": 2**63 - 1, "f32": float(np.finfo(np.float32).max)}
    return tuple(
        (column.name, -greatest[column.kind], greatest[column.kind])
        for column in columns_of(message)
        if column.kind in greatest and not column.is_mark and None in (column.low, column.high)
    )


class JsonCodec:
    """The default codec: what `mosquitto_pub` and a newcomer send."""

    name = "json"
    content_type = "application/json"

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:  # noqa: ARG002 (the port's)
        """See `Codec.decode`. JSON carries full times, so `received_at_ns` is not needed."""
        records, rejects = self.read_records(topic, payload)
        return Decoded(tuple(to_batches(topic.message, topic.zone, records)), rejects)

    def decode_many(
        self, topics: Sequence[Topic], payloads: Sequence[bytes], received_at_ns: Sequence[int]
    ) -> Bulk:
        """See `BulkCodec.decode_many`. What the fast reader does not take, `decode` judges."""
        read = Pieces()
        for place in read_fast(topics, payloads, read):
            decoded = self.decode(topics[place], payloads[place], received_at_ns[place])
            read.add(place, decoded)
        return read.bulk()

    def read_records(self, topic: Topic, payload: bytes) -> tuple[list[Any], tuple[Reject, ...]]:
        """The payload's records that fit their contract, not yet columns, and its rejects."""
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError as error:
            return _whole(topic, payload, Reason.NOT_UTF8, f"payload: {error}, expected UTF-8")
        try:
            parsed = from_json(payload)
        except ValueError as error:
            detail = f"payload: {error}; expected one JSON object or an array of objects"
            return _whole(topic, payload, Reason.INVALID_JSON, detail)
        if isinstance(parsed, dict):
            parsed = [parsed]
        if not isinstance(parsed, list):
            detail = f"payload is a {type(parsed).__name__}; {REASON_TEXT[Reason.INVALID_JSON]}"
            return _whole(topic, payload, Reason.INVALID_JSON, detail)
        return self._check_records([_identified(raw, topic) for raw in parsed], topic)

    def _check_records(self, raws: list[Any], topic: Topic) -> tuple[list[Any], tuple[Reject, ...]]:
        adapter = _list_adapter(topic.message)
        rejects: list[Reject] = []
        try:
            records = adapter.validate_python(raws)
        except ValidationError:
            records = []
            for raw in raws:
                try:
                    records += adapter.validate_python([raw])
                except ValidationError as error:
                    reason, detail = reason_of(error)
                    rejects.append(_reject_record(raw, topic, reason, detail))
        good: list[Any] = []
        for record in records:
            problem = _second_look(record, topic)
            if problem is None:
                good.append(record)
            else:
                raw = record.model_dump(exclude_none=True)
                rejects.append(_reject_record(raw, topic, *problem))
        return good, tuple(rejects)

    def encode(self, batch: Batch) -> bytes:
        """An array of objects, or one object for one record; absent values are left out."""
        return self.encode_parts(batch, [(0, batch.n_rows)])[0]

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `Codec.encode_parts`."""
        return encode_parts(batch, bounds)


def to_batches(message: str, zone: str, records: list[Any]) -> list[Batch]:
    """Contract records of one message, grouped by run, as Batches in order of appearance."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for record in records:
        groups.setdefault((record.run_id, record.origin), []).append(record)
    batches = []
    for (run_id, origin), members in groups.items():
        names = list(type(members[0]).model_fields)
        values = zip(*map(itemgetter(*names), map(vars, members)), strict=True)
        columns = dict(zip(names, map(list, values), strict=True))
        columns.pop("run_id"), columns.pop("origin")
        batches.append(
            from_columns(
                message,
                zone=zone,
                run_id=run_id,
                origin=origin,
                columns=columns,
                n_rows=len(members),
            )
        )
    return batches


PLUGIN = JsonCodec()
