"""What a sender's Arrow schema must say, and its columns brought to the contract's types.

Columns may be left out when their contract field is optional; nulls, other integer and float
widths and plain strings are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import ARROW_TYPE, Column, columns_of
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN
from openvrc.contracts.units import ABSENT_I64

_RUN = re.compile(TOPIC_ID_PATTERN)
_ORIGINS = ("live", "replay", "simulated")
FROM_TOPIC = ("source_id", "subject_id")
"""Required, but a sender that speaks about itself may leave them to the topic."""


def run_of(metadata: Mapping[bytes, bytes]) -> tuple[str, str]:
    """(run_id, origin) of a schema's metadata. Raises ContractError."""
    run_id = metadata.get(b"vrc.run_id", b"live").decode()
    origin = metadata.get(b"vrc.origin", b"live").decode()
    if not _RUN.fullmatch(run_id):
        raise ContractError("vrc.run_id", run_id, f"text matching {TOPIC_ID_PATTERN}")
    if origin not in _ORIGINS:
        raise ContractError("vrc.origin", origin, "one of " + ", ".join(_ORIGINS))
    return run_id, origin


def known_columns(message: str, names: Iterable[str]) -> dict[str, Column]:
    """The contract columns of a schema's names. Raises ContractError for unknown, missing ones."""
    known = {c.name: c for c in columns_of(message) if not c.is_mark}
    given = list(names)
    for name in given:
        if name not in known:
            raise ContractError(name, "a column", "no such column")
    for name, column in known.items():
        if column.is_required and name not in given and name not in FROM_TOPIC:
            raise ContractError(name, None, f"a column ({column.description})")
    return {name: known[name] for name in given}


def defaults_of(message: str, given: Iterable[str]) -> dict[str, object]:
    """Values of the columns that are left out and have a default which is not absence."""
    left_out = {c.name: c for c in columns_of(message) if not c.is_mark}
    for name in given:
        left_out.pop(name, None)
    return {
        name: column.default
        for name, column in left_out.items()
        if column.default is not None and column.kind != "f32_list"
    }


def _is_ours(column: Column, array: pa.Array) -> bool:
    """Whether an array has the contract's very type and no nulls, so that nothing need change."""
    if array.type != column.arrow_type or array.null_count:
        return False
    if column.kind == "text":
        return not array.dictionary.null_count
    return column.kind != "f32_list" or not array.values.null_count


def normalised(column: Column, array: pa.Array) -> object:
    """The column as `from_columns` takes it. Raises what pyarrow raises for a cast that loses."""
    if _is_ours(column, array):
        return array
    if column.kind == "text":
        return _normalised_text(array)
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


def _normalised_text(array: pa.Array) -> pa.Array:
    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    words = plain.cast(pa.utf8()).fill_null("")
    return words.dictionary_encode().cast(ARROW_TYPE["text"])


def sent_columns(batch: Batch, *, has_one_sender_each: bool) -> pa.RecordBatch:
    """What a sender's stream holds, in the form that is cheapest to read.

    Texts are plain strings; left out are marks, columns that are absent or default in every row,
    and the sender where the topic has it.
    """
    arrays, fields = [], []
    for column in columns_of(batch.message):
        if column.is_mark or (column.name == "source_id" and has_one_sender_each):
            continue
        if column.name not in FROM_TOPIC and _need_not_be_sent(column, batch):
            continue
        array = batch.data.column(column.name)
        if column.kind == "text":
            array = array.dictionary.take(array.indices)
        arrays.append(array)
        fields.append(pa.field(column.name, array.type, nullable=False))
    metadata = {"vrc.run_id": batch.run_id, "vrc.origin": batch.origin}
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))


def _need_not_be_sent(column: Column, batch: Batch) -> bool:
    """Whether every row holds what a decoder puts where the column is left out."""
    if column.is_required or not batch.n_rows:
        return False
    if column.kind == "f32_list":
        return not len(batch.lists(column.name)[0])
    if column.kind == "text":
        return column.default is None and batch.dictionary(column.name) == [""]
    array = batch.column(column.name)
    if column.kind == "code":
        left_out = -1 if column.default is None else column.values.index(column.default)
        return bool(array.min() == left_out == array.max())
    if column.default is not None:
        return False
    if column.kind == "i64":
        return bool(array.max() == ABSENT_I64)
    return bool(np.isnan(np.fmax.reduce(array)))
