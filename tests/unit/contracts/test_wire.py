"""The uplink's body: what is left out comes back, and what may not be left out is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from openvrc.contracts.batch import Batch, concat, from_columns
from openvrc.contracts.columns import columns_of
from openvrc.contracts.wire import MAGIC, WireError, pack, unpack

MARKS = {"edge_received_at_ns": 5, "lateness": 0, "segment_id": "", "lane_index": -1}


def states(**columns: object) -> Batch:
    given = {
        "source_id": "v1",
        "subject_id": "v1",
        "sampled_at_ns": np.arange(3),
        "lat_deg": 52.0,
        "lon_deg": 10.0,
        "speed_mps": 3.0,
    }
    return from_columns(
        "vehicle_state", zone="z", run_id="r", origin="simulated", columns=given | columns, n_rows=3
    )


def body_of(batch: Batch) -> bytes:
    """A body that holds the batch's columns as they stand, whatever they are."""
    meta = {"message": batch.message, "zone": "z", "run_id": "r", "origin": "simulated"}
    data = batch.data.replace_schema_metadata(meta)
    sink = pa.BufferOutputStream()
    sink.write(MAGIC + (1).to_bytes(4, "little"))
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_batch(data)
    return pa.Codec("zstd").compress(sink.getvalue(), asbytes=True)  # type: ignore[no-any-return]


def test_columns_without_a_value_are_left_out_and_come_back() -> None:
    batch = states(**MARKS)
    (back,) = unpack(pack([batch]))
    assert back.absent == batch.absent
    assert {"altitude_m", "yaw_rate_dps", "seq"} < back.absent
    assert back.data.schema == batch.data.schema
    assert back.to_records() == batch.to_records()
    assert len(pack([batch])) < len(body_of(batch))


def test_a_body_with_all_columns_is_read_as_well() -> None:
    batch = states(**MARKS)
    (back,) = unpack(body_of(batch))
    assert back.absent == frozenset()
    assert back.data.schema == batch.data.schema
    assert back.to_records() == batch.to_records()


@pytest.mark.parametrize("name", ["lat_deg", "subject_id"])
def test_a_body_without_a_required_column_is_refused(name: str) -> None:
    batch = states(**MARKS)
    names = [n for n in batch.data.schema.names if n != name]
    bare = Batch(batch.message, "z", "r", "simulated", batch.data.select(names))
    with pytest.raises(WireError, match=f"lacks the required columns .'{name}'"):
        unpack(body_of(bare))


def test_a_body_with_columns_in_another_order_is_refused() -> None:
    batch = states(**MARKS)
    names = list(reversed(batch.data.schema.names))
    turned = Batch(batch.message, "z", "r", "simulated", batch.data.select(names))
    with pytest.raises(WireError, match="does not have the columns"):
        unpack(body_of(turned))


def test_what_is_known_to_be_absent_follows_every_change_of_a_batch() -> None:
    batch = states(yaw_rate_dps=1.0)
    given = batch.with_columns({"altitude_m": np.full(3, 7.0)})
    assert batch.absent - given.absent == {"altitude_m"}
    assert concat([batch, given]).absent == given.absent
    assert batch.take(np.array([2, 0])).absent == batch.absent
    for column in columns_of("vehicle_state"):
        if column.name in batch.absent and column.kind in ("f32", "f64"):
            assert np.isnan(batch.column(column.name)).all()


def test_absent_columns_of_any_length_share_their_memory() -> None:
    short, long = states(), states()
    first, second = short.data.column("altitude_m"), long.data.column("altitude_m")
    assert first.buffers()[1].address == second.buffers()[1].address
