"""What a message's columns may hold, checked a column at a time.

`column_fits` asks each column for its least and greatest value, a few microseconds for 10,000
rows; only a column that does not fit is looked at row by row (`bad_rows`).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import Column, columns_of
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages.record import ID_PATTERN, TOPIC_ID_PATTERN
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import ABSENT_I64

_ID_TEXT = {"subject_id": re.compile(ID_PATTERN), "source_id": re.compile(TOPIC_ID_PATTERN)}
_ID_BYTES = {
    name: bytes(byte for byte in range(128) if pattern.match(chr(byte)))
    for name, pattern in _ID_TEXT.items()
}
MAX_ID_CHARACTERS = 96
"""As both patterns say; characters and bytes are the same in an id."""
MAX_SHOWN = 100
"""Elements of a list that a message shows: a long one says no more."""


def require_in_range(batch: Batch) -> None:
    """Raises ContractError for the first value a sender's contract forbids, with its reason."""
    for column in columns_of(batch.message):
        if column.is_mark or column_fits(column, batch):
            continue
        for reason, mask in bad_rows(column, batch):
            if mask.any():
                expected = f"{reason}: {column.low} to {column.high} {column.unit}".strip()
                found = _found(batch, column, int(np.argmax(mask)))
                raise ContractError(f"{batch.message}.{column.name}", found, expected)


def column_fits(column: Column, batch: Batch) -> bool:
    """Whether no row breaks the contract; False may also mean that this cannot be told cheaply."""
    if column.name in batch.absent:
        return not column.is_required
    if column.kind == "text":
        return _text_fits(column, batch.data.column(column.name).dictionary)
    if column.kind == "f32_list":
        return numbers_fit(batch.lists(column.name)[0], column.low, column.high)
    array = batch.column(column.name)
    if column.kind == "code":
        lowest = 0 if column.is_required else -1
        return numbers_fit(array, lowest, len(column.values) - 1)
    if not len(array):
        return True
    least = array.min()  # NaN if there is one
    if column.kind == "i64" and least == ABSENT_I64:
        return not column.is_required and bool(array.max() == ABSENT_I64)
    if column.is_required and least != least:
        return False
    return numbers_fit(array, column.low, column.high)


def numbers_fit(array: npt.NDArray[Any], low: float | None, high: float | None) -> bool:
    """Whether all numbers are finite and from `low` to `high`, NaN left aside; (n,) of any n."""
    if not len(array):
        return True
    least, greatest = np.fmin.reduce(array), np.fmax.reduce(array)
    if least != least:  # NaN: there is nothing else
        return True
    if (low is None and least == -np.inf) or (high is None and greatest == np.inf):
        return False
    return bool((low is None or least >= low) and (high is None or greatest <= high))


def _text_fits(column: Column, words: pa.Array) -> bool:
    """Empty words only where they may be; ids of the right bytes and length. Unused words count."""
    _, offsets, data = words.buffers()
    if not len(words) or offsets is None:
        return True
    ends = np.frombuffer(offsets, np.int32)[words.offset : words.offset + len(words) + 1]
    lengths = np.diff(ends)
    if column.is_required and lengths.min() == 0:
        return False
    allowed = _ID_BYTES.get(column.name)
    if allowed is None or data is None:
        return True
    text = data.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
    return bool(lengths.max() <= MAX_ID_CHARACTERS) and not text.translate(None, allowed)


def _found(batch: Batch, column: Column, row: int) -> object:
    """The value as it stands: a code without a word cannot be spelt out."""
    one = batch.slice(row, 1)
    if column.kind == "text":
        return one.texts(column.name)[0]
    if column.kind == "f32_list":
        return one.lists(column.name)[0].tolist()[:MAX_SHOWN]
    return one.column(column.name)[0].item()


def bad_rows(column: Column, batch: Batch) -> list[tuple[Reason, npt.NDArray[np.bool_]]]:
    """Rows (n_rows,) at which the column breaks its contract, by reason."""
    if column.kind == "text":
        return _bad_text(column, batch)
    if column.kind == "f32_list":
        values, offsets = batch.lists(column.name)
        wrong = np.isinf(values) | (values < _low(column)) | (values > _high(column))
        rows = np.repeat(np.arange(batch.n_rows), np.diff(offsets))
        bad = np.zeros(batch.n_rows, np.bool_)
        bad[rows[wrong]] = True
        return [(Reason.OUT_OF_RANGE, bad)]
    array = batch.column(column.name)
    if column.kind == "code":
        too_high = (array < -1) | (array >= len(column.values))
        absent = (array == -1) & column.is_required
        return [(Reason.OUT_OF_RANGE, too_high), (Reason.MISSING_FIELD, absent)]
    low, high = _low(column), _high(column)
    absent = np.isnan(array) if column.kind in ("f32", "f64") else array == ABSENT_I64
    checks = [(Reason.MISSING_FIELD, absent)] if column.is_required else []
    if column.kind in ("f32", "f64"):
        checks.append((Reason.NOT_FINITE, np.isinf(array)))
    outside = ~absent & ((array < low) | (array > high))
    return [*checks, (Reason.OUT_OF_RANGE, outside)]


def _bad_text(column: Column, batch: Batch) -> list[tuple[Reason, npt.NDArray[np.bool_]]]:
    words = batch.dictionary(column.name)
    pattern = _ID_TEXT.get(column.name)
    is_empty = np.array([not word for word in words], np.bool_)
    is_odd = np.array(
        [bool(pattern and word and not pattern.fullmatch(word)) for word in words], np.bool_
    )
    codes = batch.codes(column.name)
    checks = [(Reason.OUT_OF_RANGE, is_odd[codes])]
    return [(Reason.MISSING_FIELD, is_empty[codes]), *checks] if column.is_required else checks


def _low(column: Column) -> float:
    return -np.inf if column.low is None else column.low


def _high(column: Column) -> float:
    return np.inf if column.high is None else column.high
