"""What a sender writes: the contract's order, its decimals, and nothing that is absent."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.json_codec import PLUGIN as JSON
from openvrc.contracts.codecs.json_encode import CHUNK_ROWS, rounded
from openvrc.contracts.messages import message_type


def battery(n_rows: int, **columns: Any) -> Batch:
    fixed = {"source_id": "car-1", "subject_id": "car-1", "sampled_at_ns": np.arange(n_rows)}
    return from_columns(
        "battery_state",
        zone="z",
        run_id="live",
        origin="live",
        columns=fixed | columns,
        n_rows=n_rows,
    )


def test_fields_stand_in_the_contracts_order() -> None:
    (record,) = [json.loads(JSON.encode(battery(1, seq=3, soc_ratio=0.5, odometer_m=12.0)))]
    order = [name for name in message_type("battery_state").model.model_fields if name in record]
    assert list(record) == order


def test_absent_values_are_left_out_row_by_row() -> None:
    batch = battery(
        3,
        seq=[1, None, 3],
        soc_ratio=[None, 0.5, None],
        charging_state=["not_charging", None, None],
        cell_voltages_v=[[3.7, None], [], [3.8]],
    )
    fixed = {"source_id", "subject_id", "origin", "run_id", "sampled_at_ns"}
    records = json.loads(JSON.encode(batch))
    assert [set(record) - fixed for record in records] == [
        {"seq", "charging_state", "cell_voltages_v"},
        {"soc_ratio"},
        {"seq", "cell_voltages_v"},
    ]
    assert records[0]["cell_voltages_v"] == [3.7, None]
    assert records[0]["charging_state"] == "not_charging"


def test_booleans_and_numbers_are_written_as_their_contract_says() -> None:
    batch = from_columns(
        "vehicle_state",
        zone="z",
        run_id="r",
        origin="replay",
        columns={
            "source_id": "r1",
            "subject_id": ["a", "b"],
            "sampled_at_ns": 5,
            "lat_deg": 52.123456789,
            "lon_deg": 10.0,
            "speed_mps": 13.37,
            "brake_on": [True, False],
        },
        n_rows=2,
    )
    first, second = JSON.encode_parts(batch, [(0, 1), (1, 2)])
    assert b'"lat_deg":52.1234568,' in first
    assert b'"speed_mps":13.37,' in first
    assert b'"brake_on":true' in first
    assert b'"brake_on":false' in second
    assert (json.loads(second)["run_id"], json.loads(second)["origin"]) == ("r", "replay")


@pytest.mark.parametrize(
    "bounds",
    [
        [(0, 1), (1, 2)],
        [(0, 2), (2, 2), (2, 3)],
        [(5, 9), (0, 5), (9, 9)],
        [(0, CHUNK_ROWS + 7), (CHUNK_ROWS + 7, 2 * CHUNK_ROWS)],
        [(row, row + 1) for row in range(2 * CHUNK_ROWS)],
        [],
    ],
)
def test_parts_hold_the_rows_of_their_ranges(bounds: list[tuple[int, int]]) -> None:
    n_rows = 2 * CHUNK_ROWS
    cells = [[float(row % 7)] * (row % 3) for row in range(n_rows)]
    batch = battery(n_rows, seq=np.arange(n_rows), cell_voltages_v=cells)
    parts = [json.loads(part) for part in JSON.encode_parts(batch, bounds)]
    for (start, end), part in zip(bounds, parts, strict=True):
        rows = [part] if isinstance(part, dict) else part
        assert isinstance(part, dict) == (end - start == 1)
        assert [row["seq"] for row in rows] == list(range(start, end))
        assert [row.get("cell_voltages_v", []) for row in rows] == cells[start:end]


@given(st.floats(-1e9, 1e9), st.integers(0, 7))
def test_a_rounded_number_is_the_nearest_of_its_decimals(value: float, decimals: int) -> None:
    (got,) = rounded(np.array([value]), decimals).tolist()
    assert abs(got - value) <= 0.5 * 10.0**-decimals * (1 + 1e-9) + abs(value) * 2**-52
    assert got == float(f"{got:.{decimals}f}")


@given(st.floats(1e17, 1e300))
def test_numbers_coarser_than_their_decimals_stay_as_they_are(value: float) -> None:
    assert rounded(np.array([value, -value]), 7).tolist() == [value, -value]
