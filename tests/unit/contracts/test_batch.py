"""Batches: absence has one spelling per kind, views are free, inputs never change."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from openvrc.contracts import wire
from openvrc.contracts.batch import Batch, concat, from_columns
from openvrc.contracts.units import ABSENT_I64


def cells(rows: list[list[float | None]]) -> Batch:
    columns = {"source_id": "v", "subject_id": "v", "sampled_at_ns": 1, "cell_voltages_v": rows}
    return from_columns(
        "battery_state", zone="z", run_id="r", origin="live", columns=columns, n_rows=len(rows)
    )


def test_columns_not_given_are_absent_in_every_row() -> None:
    batch = cells([[3.7]])
    assert np.isnan(batch.column("pack_voltage_v")).all()
    assert batch.column("published_at_ns")[0] == ABSENT_I64
    assert batch.column("charging_state")[0] == -1
    assert "pack_voltage_v" not in batch.to_records()[0]


def test_a_missing_cell_keeps_its_neighbours_in_place() -> None:
    values, offsets = cells([[3.7, None, 3.5], []]).lists("cell_voltages_v")
    assert offsets.tolist() == [0, 3, 3]
    assert np.isnan(values[1])
    assert values[2] == np.float32(3.5)


def test_lists_of_a_slice_start_at_zero() -> None:
    values, offsets = cells([[1.0, 2.0], [3.0], [4.0, 5.0]]).slice(1).lists("cell_voltages_v")
    assert values.tolist() == [3.0, 4.0, 5.0]
    assert offsets.tolist() == [0, 1, 3]
    values, offsets = cells([[1.0, 2.0], [3.0], [4.0, 5.0]]).slice(0, 1).lists("cell_voltages_v")
    assert (values.tolist(), offsets.tolist()) == ([1.0, 2.0], [0, 2])


def test_views_are_read_only_and_share_memory() -> None:
    view = cells([[1.0]]).column("sampled_at_ns")
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5


def test_with_columns_leaves_the_first_batch_alone() -> None:
    first = cells([[1.0], [2.0]])
    second = first.with_columns({"soc_ratio": [0.5, None]})
    assert np.isnan(first.column("soc_ratio")).all()
    assert second.to_records()[0]["soc_ratio"] == 0.5


def test_concat_keeps_rows_in_order_and_unifies_dictionaries() -> None:
    other = cells([[9.0]]).with_columns({"subject_id": "w"})
    joined = concat([cells([[1.0]]), other, cells([[2.0]])])
    assert joined.texts("subject_id") == ["v", "w", "v"]
    assert joined.lists("cell_voltages_v")[0].tolist() == [1.0, 9.0, 2.0]


def test_an_unknown_column_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="soc_percent"):
        from_columns(
            "battery_state",
            zone="z",
            run_id="r",
            origin="live",
            columns={"soc_percent": 1},
            n_rows=1,
        )


def test_the_wire_returns_what_was_packed_in_order() -> None:
    sent = [cells([[1.0]]), cells([[2.0], [3.0]])]
    got = wire.unpack(wire.pack(sent))
    assert [b.to_records() for b in got] == [b.to_records() for b in sent]
    assert (got[0].zone, got[0].run_id, got[0].origin) == ("z", "r", "live")


def test_a_slice_goes_without_the_words_of_its_whole() -> None:
    names = [f"vehicle-{number}" for number in range(10_000)]
    whole = cells([[1.0]] * 10_000).with_columns({"subject_id": names})
    (got,) = wire.unpack(wire.pack([whole.slice(7000, 3)]))
    assert got.texts("subject_id") == names[7000:7003]
    assert len(got.dictionary("subject_id")) == 3
    assert len(wire.pack([whole.slice(7000, 3)])) < 20_000


def test_a_wire_body_cut_or_changed_anywhere_is_refused_with_a_reason() -> None:
    body = wire.pack([cells([[1.0, 2.0]])])
    for length in range(len(body)):
        with pytest.raises(wire.WireError):
            wire.unpack(body[:length])
    plain = wire.pack([])
    assert wire.unpack(plain) == []


def test_a_wire_batch_with_other_columns_is_refused() -> None:
    batch = cells([[1.0]])
    poisoned = Batch("vehicle_state", "z", "r", "live", batch.data)
    with pytest.raises(wire.WireError, match="vehicle_state"):
        wire.unpack(wire.pack([poisoned]))


def test_a_wire_body_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(wire.WireError, match="more than 1000"):
        wire.unpack(wire.pack([cells([[1.0] * 500])]))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_refused_wire_bodies_leave_no_memory_behind() -> None:
    body = wire.pack([cells([[1.0, 2.0]])])[:-5]

    def address_space_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[0]) * 4096 / 1e6

    before = address_space_mb()
    for _ in range(100):
        with pytest.raises(wire.WireError):
            wire.unpack(body)
    assert address_space_mb() - before < 300
