"""Arrow payloads that claim more than they weigh are refused before they are unpacked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from openvrc.contracts.codecs.arrow_codec import PLUGIN as ARROW
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import parse_topic

TOPIC = parse_topic("vrc/v1/z/rsu/r1/vehicle_state/arrow")


def stream(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def states(n_rows: int) -> dict[str, pa.Array]:
    return {
        "sampled_at_ns": pa.array(np.full(n_rows, 1_767_225_600_000_000_000)),
        "lat_deg": pa.array(np.zeros(n_rows)),
        "lon_deg": pa.array(np.zeros(n_rows)),
        "speed_mps": pa.array(np.zeros(n_rows)),
    }


def test_a_plain_stream_of_required_columns_is_taken() -> None:
    decoded = ARROW.decode(TOPIC, stream(pa.RecordBatch.from_pydict(states(3))), 0)
    assert decoded.rejects == ()
    assert decoded.batches[0].n_rows == 3


def test_words_as_a_dictionary_are_taken() -> None:
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    batch = pa.RecordBatch.from_pydict(states(3) | {"subject_id": words})
    (decoded,) = ARROW.decode(TOPIC, stream(batch), 0).batches
    assert decoded.texts("subject_id") == ["a", "b", "a"]


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_body_is_refused(compression: str) -> None:
    payload = stream(pa.RecordBatch.from_pydict(states(100_000)), compression)
    assert len(payload) < 100_000
    (reject,) = ARROW.decode(TOPIC, payload, 0).rejects
    assert (reject.reason, reject.is_whole) == (Reason.INVALID_ARROW, True)
    assert "uncompressed" in reject.detail


def test_rows_of_nothing_are_refused() -> None:
    nothing = pa.RecordBatch.from_arrays([pa.nulls(10_000_000)], names=["speed_mps"])
    payload = stream(nothing)
    assert len(payload) < 1_000
    (reject,) = ARROW.decode(TOPIC, payload, 0).rejects
    assert reject.reason is Reason.INVALID_ARROW
    assert "rows" in reject.detail
