"""Rows that the contract allows and a table cannot hold, and the dead letters they become.

A list value beyond a smallint (a "cell" of over 32.767 V), a NUL character (PostgreSQL's text has
none), an integer that is too wide. They are few; the batch's other rows are stored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cloud.store.columns import SqlColumn
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import ABSENT_I64

INT_LIMIT = {"int2": 2**15, "int4": 2**31}
LIST_LIMIT = 2**15 - 1
MAX_PAYLOAD_BYTES = 4096
"""As much as an edge keeps: enough to see what a record was."""
MAX_DETAIL = 1000

Bools = npt.NDArray[np.bool_]


def unstorable_rows(columns: Sequence[SqlColumn], batch: Batch) -> Bools:
    """Rows (n_rows,) that the table of these columns cannot hold."""
    bad = np.zeros(batch.n_rows, np.bool_)
    for _, _, is_odd in _faults(columns, batch):
        bad |= is_odd
    return bad


def refused_letters(columns: Sequence[SqlColumn], refused: Batch) -> Batch:
    """One dead letter for each row (n_rows,) of a batch of unstorable ones, itself storable.

    Its payload is the record as JSON: the bytes it once came in are long gone.
    """
    details: list[list[str]] = [[] for _ in range(refused.n_rows)]
    for name, wrong, is_odd in _faults(columns, refused):
        for row in np.flatnonzero(is_odd).tolist():
            details[row].append(f"{name}: {wrong}")
    records = refused.to_records()
    payloads = [json.dumps(record, separators=(",", ":")).encode() for record in records]
    marks = ("session", "seq", "sampled_at_ns", "edge_received_at_ns")
    return from_columns(
        "dead_letter",
        zone=refused.zone,
        run_id=refused.run_id,
        origin=refused.origin,
        columns={name: refused.column(name) for name in marks}
        | {name: _storable_names(refused, name) for name in ("source_id", "subject_id")}
        | {
            "id_kind": "permanent",
            "topic": f"/v1/ingest?zone={refused.zone}&message={refused.message}",
            "reason": str(Reason.REFUSED_BY_STORE),
            "detail": ["; ".join(found)[:MAX_DETAIL] for found in details],
            "payload_base64": [base64.b64encode(p[:MAX_PAYLOAD_BYTES]).decode() for p in payloads],
            "payload_bytes": [len(payload) for payload in payloads],
            "records": 1,
            "lateness": 0,
        },
        n_rows=refused.n_rows,
    )


def _storable_names(batch: Batch, name: str) -> list[str]:
    """Ids (n_rows,) as they are, or "" (nobody): a mended id would be somebody else's."""
    return ["" if "\0" in text else text for text in batch.texts(name)]


def _faults(columns: Sequence[SqlColumn], batch: Batch) -> Iterator[tuple[str, str, Bools]]:
    """Column, what is wrong and what was expected, and the rows (n_rows,) it is true of."""
    for column in columns:
        name = column.contract.name
        if column.kind in ("text", "key"):
            if _has_nul(batch.data.column(name).dictionary):
                odd = [place for place, word in enumerate(batch.dictionary(name)) if "\0" in word]
                yield name, "a NUL character, expected text", np.isin(batch.codes(name), odd)
        elif column.kind == "list":
            is_odd = _rows_with_wide_values(column, batch)
            if is_odd.any():
                most = LIST_LIMIT / column.scale
                yield name, f"a value beyond {most:g} {column.contract.unit} either way", is_odd
        elif column.kind in INT_LIMIT:
            array, limit = batch.column(name), INT_LIMIT[column.kind]
            is_odd = ((array < -limit) | (array >= limit)) & (array != ABSENT_I64)
            if is_odd.any():
                yield name, f"expected a number from {-limit} to {limit - 1}", is_odd


def _has_nul(words: pa.Array) -> bool:
    """Whether any of the words may have a NUL: one look at all their bytes."""
    text = words.buffers()[2]
    return text is not None and b"\0" in text.to_pybytes()


def _rows_with_wide_values(column: SqlColumn, batch: Batch) -> Bools:
    values, offsets = batch.lists(column.contract.name)
    wide = np.flatnonzero(np.abs(values * column.scale) > LIST_LIMIT)
    is_odd = np.zeros(batch.n_rows, np.bool_)
    is_odd[np.searchsorted(offsets, wide, side="right") - 1] = True
    return is_odd
