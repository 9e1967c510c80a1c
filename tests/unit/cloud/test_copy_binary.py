"""Rows in PostgreSQL's COPY format: the same bytes, however the work is cut."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from cloud.store import copy_binary
from cloud.store.columns import sql_columns
from cloud.store.copy_binary import Field, encode_rows, field_of, key_field
from openvrc.contracts.batch import Batch
from tests.support.store_world import START_NS, one_row, vehicle_states

SMALL_BYTES = 64
"""Less than one row of any message: every split that can happen does."""


def fields_of(batch: Batch) -> list[Field]:
    """All columns of a batch but the keys, which need the identity tables."""
    return [field_of(c, batch) for c in sql_columns(batch.message) if c.kind != "key"]


def test_a_row_is_its_field_count_and_each_length_with_its_value() -> None:
    fields = [key_field(np.array([7, 0])), key_field(np.array([-2, 9]))]
    first = struct.pack(">hiiii", 2, 4, 7, 4, -2)
    second = struct.pack(">hiii", 2, -1, 4, 9)
    assert encode_rows(fields, 2) == first + second


@pytest.mark.parametrize(
    "batch",
    [
        vehicle_states(37),
        vehicle_states(37, altitude_m=np.arange(37.0), heading_deg=np.nan),
        one_row("battery_state", at_ns=START_NS, cell_voltages_v=[[3.7, np.nan, 4.1]]),
    ],
    ids=["columns without a value", "another column without a value", "one row"],
)
def test_rows_encoded_in_parts_are_the_rows_encoded_at_once(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = fields_of(batch)
    assert any(f.is_null is not None and f.is_null.all() for f in fields)
    at_once = encode_rows(fields, batch.n_rows)
    monkeypatch.setattr(copy_binary, "MAX_MATRIX_BYTES", SMALL_BYTES)
    assert encode_rows(fields, batch.n_rows) == at_once


def test_a_column_that_is_empty_in_one_half_only_is_encoded_in_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = [key_field(np.repeat([0, 5], 8)), key_field(np.zeros(16, np.int64))]
    at_once = encode_rows(fields, 16)
    monkeypatch.setattr(copy_binary, "MAX_MATRIX_BYTES", SMALL_BYTES)
    assert encode_rows(fields, 16) == at_once
    assert at_once == struct.pack(">hii", 2, -1, -1) * 8 + struct.pack(">hiii", 2, 4, 5, -1) * 8
