"""What a message's columns may hold, checked a column at a time."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import Column, columns_of
from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages.record import ID_PATTERN, TOPIC_ID_PATTERN
from openvrc.contracts.reasons import Reason
from openvrc.contracts.units import ABSENT_I64

_ID_TEXT = {"subject_id": re.compile(ID_PATTERN), "source_id": re.compile(TOPIC_ID_PATTERN)}
MAX_SHOWN = 100
"""Elements of a list that a message shows: a long one says no more."""


def require_in_range(batch: Batch) -> None:
    """Raises ContractError for the first value a sender's contract forbids, with its reason."""
    for column in columns_of(batch.message):
        if column.is_mark:
            continue
        for reason, mask in bad_rows(column, batch):
            if mask.any():
                expected = f"{reason}: {column.low} to {column.high} {column.unit}".strip()
                found = _found(batch, column, int(np.argmax(mask)))
                raise ContractError(f"{batch.message}.{column.name}", found, expected)


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
    # One pass tells that all is well, which is nearly always; only then is it asked what is not.
    low, high = _low(column), _high(column)
    if ((array >= low) & (array <= high) & np.isfinite(array)).all():
        return []
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
        [bool(pattern and word and not pattern.match(word)) for word in words], np.bool_
    )
    codes = batch.codes(column.name)
    checks = [(Reason.OUT_OF_RANGE, is_odd[codes])]
    return [(Reason.MISSING_FIELD, is_empty[codes]), *checks] if column.is_required else checks


def _low(column: Column) -> float:
    return -np.inf if column.low is None else column.low


def _high(column: Column) -> float:
    return np.inf if column.high is None else column.high
