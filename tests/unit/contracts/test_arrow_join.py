"""Arrow payloads read together give what each gives alone, whatever form they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openvrc.contracts.codecs import arrow_join
from openvrc.contracts.codecs.arrow_codec import ArrowCodec
from openvrc.contracts.codecs.base import Decoded
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic
from tests.support.bulk import assert_same_as_one_by_one

TOPIC = Topic("z", "rsu", "r1", "vehicle_state", "arrow")
T0 = 1_767_225_600_000_000_000


def states(n_rows: int, **changed: Any) -> dict[str, Any]:
    return {
        "sampled_at_ns": pa.array(T0 + np.arange(n_rows)),
        "subject_id": pa.array([f"car-{'x' * row}{row}" for row in range(n_rows)]),
        "lat_deg": pa.array(np.linspace(50, 51, n_rows)),
        "lon_deg": pa.array(np.linspace(10, 11, n_rows)),
        "speed_mps": pa.array(np.linspace(0, 30, n_rows), pa.float32()),
    } | changed


def stream(*columns: dict[str, Any], compression: str | None = None, run_id: str = "live") -> bytes:
    batches = [pa.RecordBatch.from_pydict(c, metadata={"vrc.run_id": run_id}) for c in columns]
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _sliced_lists() -> pa.Array:
    return pa.array([[9.0], [1.0, 2.0], [], [3.0]], pa.list_(pa.float32())).slice(1)


FORMS: dict[str, Callable[[], bytes]] = {
    "as our encoder writes it": lambda: stream(states(3)),
    "longer ids": lambda: stream(states(12)),
    "one row": lambda: stream(states(1)),
    "no row": lambda: stream(states(0)),
    "another run": lambda: stream(states(3), run_id="run-2"),
    "without the end mark": lambda: stream(states(3))[:-8],
    "with bytes behind the end": lambda: stream(states(3)) + b"12345678",
    "another end mark": lambda: stream(states(3))[:-8] + b"12345678",
    "several record batches": lambda: stream(states(3), states(2)),
    "double precision": lambda: stream(states(3, speed_mps=pa.array([1.0, 2.0, 3.0]))),
    "whole numbers": lambda: stream(states(3, speed_mps=pa.array([1, 2, 3], pa.int16()))),
    "a code too large": lambda: stream(states(3, brake_on=pa.array([1, 0, 300]))),
    "a code without a word": lambda: stream(states(3, brake_on=pa.array([1, 0, 2]))),
    "booleans": lambda: stream(states(3, brake_on=pa.array([True, False, None]))),
    "nulls": lambda: stream(states(3, altitude_m=pa.array([1.0, None, 3.0]))),
    "a required null": lambda: stream(states(3, speed_mps=pa.array([1.0, None, 3.0]))),
    "a column of nulls": lambda: stream(states(3, altitude_m=pa.nulls(3))),
    "words of a dictionary": lambda: stream(
        states(3, subject_id=pa.array(["a", "b", "a"]).dictionary_encode())
    ),
    "large strings": lambda: stream(
        states(3, subject_id=pa.array(["a", "b", "a"], pa.large_string()))
    ),
    "bytes that are no text": lambda: stream(
        states(3, subject_id=pa.array([b"a", b"\xff\xfe", b"c"], pa.binary()).view(pa.utf8()))
    ),
    "a bad id": lambda: stream(states(3, subject_id=pa.array(["a", "b c", ""]))),
    "named senders": lambda: stream(states(3, source_id=pa.array(["r1", "r2", "r1"]))),
    "a value out of range": lambda: stream(states(3, lat_deg=pa.array([50.0, 91.0, np.nan]))),
    "an infinite value": lambda: stream(states(3, altitude_m=pa.array([np.inf, 91.0, np.nan]))),
    "a column nobody knows": lambda: stream(states(3, colour=pa.array([1, 2, 3]))),
    "a list where a number is expected": lambda: stream(states(3, speed_mps=_sliced_lists())),
    "compressed": lambda: stream(states(3), compression="zstd"),
    "nothing": lambda: b"",
    "no stream": lambda: b"\xff" * 40,
}


REASONS = {
    "another end mark": ["invalid_arrow"],
    "a code too large": ["invalid_arrow"],
    "a code without a word": ["out_of_range"],
    "a required null": ["missing_field"],
    "bytes that are no text": ["invalid_arrow"],
    "a bad id": ["out_of_range", "missing_field"],
    "named senders": ["id_mismatch"],
    "a value out of range": ["out_of_range", "missing_field"],
    "an infinite value": ["not_finite"],
    "a column nobody knows": ["unknown_field"],
    "a list where a number is expected": ["invalid_arrow"],
    "compressed": ["invalid_arrow"],
    "nothing": ["invalid_arrow"],
    "no stream": ["invalid_arrow"],
}
"""Of forms that are not wholly taken."""


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_taken_or_has_its_reasons(form: str) -> None:
    decoded = ArrowCodec().decode(TOPIC, FORMS[form](), 0)
    assert [str(reject.reason) for reject in decoded.rejects] == REASONS.get(form, [])


@pytest.mark.parametrize("form", FORMS)
def test_each_form_among_plain_ones_gives_what_it_gives_alone(form: str) -> None:
    plain, odd = stream(states(3)), FORMS[form]()
    bulk = assert_same_as_one_by_one(ArrowCodec(), [TOPIC] * 4, [plain, odd, odd, plain])
    assert {0, 3} <= {place for part in bulk.parts for place in part.payload_of_row.tolist()}


@settings(max_examples=25)
@given(st.lists(st.sampled_from(list(FORMS)), min_size=1, max_size=8))
def test_any_mix_of_forms_gives_what_each_gives_alone(forms: list[str]) -> None:
    payloads = [FORMS[form]() for form in forms]
    assert_same_as_one_by_one(ArrowCodec(), [TOPIC] * len(payloads), payloads)


@settings(max_examples=100)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255), is_second=st.booleans())
def test_a_damaged_payload_gives_what_it_gives_alone(
    place: int, value: int, is_second: bool
) -> None:
    lists = pa.array([[3.7, 3.8], [], [3.9]], pa.list_(pa.float32()))
    columns = states(3) | {"cell_voltages_v": lists}
    for name in ("lat_deg", "lon_deg", "speed_mps"):
        columns.pop(name)
    plain = stream(columns)
    damaged = bytearray(plain)
    damaged[place % len(damaged)] = value
    topic = Topic("z", "vehicle", "v", "battery_state", "arrow")
    payloads = [plain, bytes(damaged), plain] if is_second else [bytes(damaged), plain, plain]
    assert_same_as_one_by_one(ArrowCodec(), [topic] * 3, payloads)


def test_lists_are_joined_with_their_own_offsets() -> None:
    topic = Topic("z", "vehicle", "v", "battery_state", "arrow")
    cells = ([[3.7, 3.8], []], [[], [3.9]], [[1.0], [2.0, 2.5]])
    payloads = [
        stream(
            {
                "sampled_at_ns": pa.array([T0, T0 + 1]),
                "cell_voltages_v": pa.array(rows, pa.list_(pa.float32())),
            }
        )
        for rows in cells
    ]
    bulk = assert_same_as_one_by_one(ArrowCodec(), [topic] * 3, payloads)
    values, offsets = bulk.parts[0].batch.lists("cell_voltages_v")
    np.testing.assert_allclose(values, [3.7, 3.8, 3.9, 1.0, 2.0, 2.5])
    assert offsets.tolist() == [0, 2, 2, 2, 3, 4, 6]


class CountingCodec(ArrowCodec):
    """Counts the payloads that were read by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.n_alone = 0

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:
        self.n_alone += 1
        return super().decode(topic, payload, received_at_ns)


def test_what_our_encoder_writes_is_read_together() -> None:
    codec = CountingCodec()
    whole = codec.decode(TOPIC, stream(states(9)), 0).batches[0]
    parts = codec.encode_parts(whole, [(0, 2), (2, 3), (3, 9)])
    codec.n_alone = 0
    (part,) = codec.decode_many([TOPIC] * 3, parts, [0] * 3).parts
    assert codec.n_alone == 0
    assert part.batch.to_records() == whole.to_records()
    assert part.payload_of_row.tolist() == [0, 0, 1, 2, 2, 2, 2, 2, 2]


def test_only_the_payload_that_cannot_be_read_is_read_by_itself() -> None:
    codec = CountingCodec()
    payloads = [stream(states(3, brake_on=pa.array([1, 0, code]))) for code in [1] * 10 + [300]]
    bulk = codec.decode_many([TOPIC] * 11, payloads, [0] * 11)
    assert codec.n_alone == 1
    assert [(place, reject.reason) for place, reject in bulk.rejects] == [
        (10, Reason.INVALID_ARROW)
    ]


def test_shapes_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_join, "MAX_SHAPES", 3)
    codec = ArrowCodec()
    payloads = [stream(states(n_rows)) for n_rows in (1, 2, 3, 4, 5, 1, 2)]
    assert_same_as_one_by_one(codec, [TOPIC] * 7, payloads)
    assert len(codec._shapes._known) <= 3


def test_the_encoder_leaves_out_what_the_decoder_puts_back() -> None:
    codec = ArrowCodec()
    (batch,) = codec.decode(TOPIC, stream(states(3)), 0).batches
    with pa.ipc.open_stream(codec.encode(batch)) as reader:
        sent = reader.read_all()
    assert sent.column_names == ["subject_id", "sampled_at_ns", "lat_deg", "lon_deg", "speed_mps"]
    assert sent.schema.field("subject_id").type == pa.utf8()
    assert sent.schema.metadata == {b"vrc.run_id": b"live", b"vrc.origin": b"live"}
    (again,) = codec.decode(TOPIC, codec.encode(batch), 0).batches
    assert again.to_records() == batch.to_records()


def test_a_sender_is_named_where_the_topic_cannot_tell() -> None:
    codec = ArrowCodec()
    (batch,) = codec.decode(TOPIC, stream(states(4)), 0).batches
    two = batch.with_columns({"source_id": ["r1", "r1", "r2", "r2"]})
    names = [
        "source_id" in pa.ipc.open_stream(part).schema.names
        for bounds in ([(0, 2), (2, 4)], [(0, 3), (3, 4)], [(1, 2)], [(0, 4)])
        for part in codec.encode_parts(two, bounds)
    ]
    assert names == [False, False, True, True, False, True]
