"""What a column may hold: the cheap look agrees with the row-by-row look."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.columns import column_of
from openvrc.contracts.errors import ContractError
from openvrc.contracts.ranges import bad_rows, column_fits, numbers_fit, require_in_range
from openvrc.contracts.units import ABSENT_I64


def battery(**changed: Any) -> Batch:
    n_rows = len(next(iter(changed.values()), [0]))
    columns = {"source_id": "s", "subject_id": "v", "sampled_at_ns": np.full(n_rows, 10**18)}
    return from_columns(
        "battery_state",
        zone="z",
        run_id="live",
        origin="live",
        columns=columns | changed,
        n_rows=n_rows,
    )


_NAN, _INF = float("nan"), float("inf")
VALUES: dict[str, list[Any]] = {
    "soc_ratio": [0.0, 1.0, 0.5, 1.0001, -0.001, _NAN, _INF, -_INF],
    "odometer_m": [0.0, 1e10, 1.1e10, -1.0, _NAN, _INF],
    "sampled_at_ns": [0, 10**18, -1, 8 * 10**18, ABSENT_I64, ABSENT_I64 + 1],
    "seq": [0, 2**62, 2**62 + 2**20, -1, ABSENT_I64, ABSENT_I64 + 1],
    "subject_id": ["", "car-1", "a b", "x" * 96, "x" * 97, "\u00e4", "e#1/2", "car-1\n"],
    "source_id": ["", "car-1", "a b", "x" * 97, "e#1", "car/1"],
    "cell_voltages_v": [[], [3.7], [_NAN, 3.7], [61.0], [-0.1], [_INF], [3.7, 3.8, 3.9]],
}


@given(st.data())
def test_a_column_that_fits_has_no_bad_row_and_the_reverse(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(VALUES)))
    values = data.draw(st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=5))
    column, batch = column_of("battery_state", name), battery(**{name: values})
    bad = np.zeros(batch.n_rows, np.bool_)
    for _, mask in bad_rows(column, batch):
        bad |= mask
    if column_fits(column, batch):
        assert not bad.any()
    # The cheap look may be unsure of a number that is absent in some rows only.
    elif name != "seq" or ABSENT_I64 not in values:
        assert bad.any()


@pytest.mark.parametrize("codes", [[-1, 0, 3], [0], [-1, -1]])
def test_codes_with_a_word_or_absent_fit(codes: list[int]) -> None:
    batch = battery(charging_state=np.array(codes, np.int8))
    assert column_fits(column_of("battery_state", "charging_state"), batch)


@pytest.mark.parametrize("codes", [[-2, 0], [4], [127]])
def test_codes_without_a_word_are_refused(codes: list[int]) -> None:
    with pytest.raises(ContractError, match="charging_state"):
        require_in_range(battery(charging_state=np.array(codes, np.int8)))


def test_a_slice_is_judged_by_its_own_rows_lists_and_words() -> None:
    batch = battery(cell_voltages_v=[[99.0], [3.7], [99.0]], subject_id=["a b", "car", "a b"])
    require_in_range(batch.slice(1, 1))
    with pytest.raises(ContractError, match="a b"):
        require_in_range(batch.slice(0, 1))
    with pytest.raises(ContractError, match="cell_voltages_v"):
        require_in_range(batch.slice(2, 1).with_columns({"subject_id": "car"}))


def test_words_of_a_sliced_dictionary_are_its_own() -> None:
    words = pa.array(["a b", "car", "a b"]).slice(1, 1)
    subjects = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), words)
    batch = battery(subject_id=subjects)
    assert column_fits(column_of("battery_state", "subject_id"), batch)


def test_an_id_that_ends_in_a_line_break_is_no_id() -> None:
    with pytest.raises(ContractError, match="subject_id"):
        require_in_range(battery(subject_id=["car-1\n"]))


def test_no_numbers_at_all_fit() -> None:
    assert numbers_fit(np.empty(0, np.float32), 0.0, 1.0)
    assert numbers_fit(np.full(3, np.nan), 0.0, 1.0)
    assert not numbers_fit(np.array([np.inf, np.nan]), None, None)
    require_in_range(battery(soc_ratio=np.empty(0)))
