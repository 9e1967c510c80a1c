"""The fast reader of JSON takes what the contract takes, value for value, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openvrc.contracts.codecs.base import Decoded
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.codecs.json_fast import decoder_of
from openvrc.contracts.columns import Column, columns_of
from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic
from tests.support.bulk import assert_same_as_one_by_one

ODD_VALUES = [
    *("null", "true", "false", '""', '"2"', '"a"', '"live"', '"a b"', '"car-1\\n"', '"UTC"'),
    *("0", "1", "-1", "2", "4", "-0", "-0.0", "1.0", "1e0", "1.5", "01", "+1", ".5", "1.", "1e5"),
    *("89.99999999999999", "90.00000000000001", "150.000001", "0.1", "1e-400", "1e400", "-1e400"),
    *("9007199254740993", "4611686018427387904", "4611686018427387905", "7258118400000000001"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "1e18", "1e38"),
    *("3.4028235e38", "3.5e38", "1e300", "123456789012345678901234567890", "NaN", "-Infinity"),
    *(
        "[]",
        "[null]",
        "[1, null, 2.5]",
        "[61]",
        '["1"]',
        "[true]",
        "[1e39]",
        "[[1]]",
        "{}",
        '{"a":1}',
    ),
    *(
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\u0000"',
        '"\u00e4"',
        '"car\\u002d1"',
    ),
    json.dumps("x" * 96),
    json.dumps("x" * 97),
    json.dumps("\U0001f600" * 64),
    json.dumps([1.0] * 1001),
]
ODD_KEYS = ["colour", "segment_id", "lateness", "source_id", "run_id", "origin", "Lat_deg", ""]


def good_values(column: Column) -> st.SearchStrategy[Any]:
    """Values the contract takes, as JSON writes them."""
    low = column.low if column.low is not None else -1e6
    high = column.high if column.high is not None else 1e6
    by_kind: dict[str, st.SearchStrategy[Any]] = {
        "i64": st.integers(int(low), int(high)),
        "text": st.text("abcXYZ09_.:@-", min_size=1, max_size=9),
    }
    if column.kind in by_kind:
        values = by_kind[column.kind]
    elif column.kind == "code":
        values = st.sampled_from([False, True] if column.is_bool else list(column.values))
    else:
        values = st.floats(low, high) | st.integers(int(low), int(high))
        if column.kind == "f32_list":
            return st.lists(values | st.none(), max_size=4)
    return values if column.is_required or column.default is not None else values | st.none()


@st.composite
def records(draw: st.DrawFn, message: str) -> str:
    """One record's text: right, or with a few fields left out, replaced, repeated or added."""
    pairs: list[tuple[str, str]] = []
    for column in columns_of(message):
        if column.is_mark or column.name in ("source_id", "subject_id"):
            continue
        if column.is_required or draw(st.booleans()):
            pairs.append((column.name, json.dumps(draw(good_values(column)))))
    for name in draw(st.lists(st.sampled_from(["source_id", "subject_id"]), unique=True)):
        sender = draw(st.sampled_from(['"sender-1"'] * 5 + ['"car-2"']))
        pairs.append((name, sender))
    names = [name for name, _ in pairs]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(pairs)))
        name = draw(st.sampled_from([*names, *ODD_KEYS]))
        odd = (name, draw(st.sampled_from(ODD_VALUES)))
        pairs[place : place + draw(st.integers(0, 1))] = [odd]
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in pairs) + "}"


@st.composite
def payloads(draw: st.DrawFn, message: str) -> bytes:
    """One record, a list of them, or what is neither."""
    some = draw(st.lists(records(message), min_size=1, max_size=3))
    whole = some[0] if len(some) == 1 and draw(st.booleans()) else "[" + ",".join(some) + "]"
    whole = draw(st.sampled_from([whole] * 6 + ["[]", " " + whole + "\n", whole + "]", whole[:-2]]))
    return whole.encode("utf-8", "surrogatepass")


def topic_of(message: str) -> Topic:
    return Topic("z", MESSAGES[message].senders[0], "sender-1", message)


@pytest.mark.parametrize("message", MESSAGES)
def test_every_contract_can_be_read_fast(message: str) -> None:
    assert decoder_of(message) is not None


@pytest.mark.parametrize("message", MESSAGES)
@settings(max_examples=8)
@given(data=st.data())
def test_the_fast_reader_agrees_with_the_contract(message: str, data: st.DataObject) -> None:
    some = data.draw(st.lists(payloads(message), min_size=1, max_size=4))
    assert_same_as_one_by_one(JsonCodec(), [topic_of(message)] * len(some), some)


REQUIRED: dict[str, Any] = {
    "sampled_at_ns": 1_767_225_600_000_000_000,
    "lat_deg": 53.5,
    "lon_deg": 10.0,
    "speed_mps": 13.5,
}


@pytest.mark.parametrize("value", ODD_VALUES)
@pytest.mark.parametrize(
    "name", ["speed_mps", "heading_deg", "seq", "brake_on", "id_kind", "subject_id", "run_id"]
)
def test_an_odd_value_costs_its_record_only_and_has_the_contracts_reason(
    name: str, value: str
) -> None:
    text = ", ".join(f"{json.dumps(n)}: {json.dumps(v)}" for n, v in REQUIRED.items() if n != name)
    odd = f'[{json.dumps(REQUIRED)}, {{{text}, "{name}": {value}}}]'.encode()
    plain = json.dumps(REQUIRED).encode()
    topics = [topic_of("vehicle_state")] * 3
    bulk = assert_same_as_one_by_one(JsonCodec(), topics, [plain, odd, plain])
    places = [place for part in bulk.parts for place in part.payload_of_row.tolist()]
    assert {0, 2} <= set(places)


class CountingCodec(JsonCodec):
    """Counts the payloads that pydantic looked at."""

    n_slow = 0

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:
        self.n_slow += 1
        return super().decode(topic, payload, received_at_ns)


def test_good_records_with_nulls_and_several_runs_are_all_read_fast() -> None:
    codec = CountingCodec()
    changes: list[dict[str, Any]] = [
        {"heading_deg": None, "vehicle_class": None, "brake_on": None, "seq": None},
        {"speed_mps": 13, "subject_id": "car#2/3"},
        {"run_id": "r2", "origin": "replay", "source_id": "sender-1"},
    ]
    some = [json.dumps(REQUIRED | change).encode() for change in changes] * 2
    bulk = codec.decode_many([topic_of("vehicle_state")] * 6, some, [0] * 6)
    assert codec.n_slow == 0
    assert [(p.batch.run_id, p.payload_of_row.tolist()) for p in bulk.parts] == [
        ("live", [0, 1, 3, 4]),
        ("r2", [2, 5]),
    ]


def test_only_payloads_that_are_refused_are_looked_at_again() -> None:
    codec = CountingCodec()
    some = [json.dumps(REQUIRED | {"speed_mps": speed}).encode() for speed in range(300)]
    bulk = codec.decode_many([topic_of("vehicle_state")] * 300, some, [0] * 300)
    assert codec.n_slow == 149
    assert {reject.reason for _, reject in bulk.rejects} == {Reason.OUT_OF_RANGE}


@pytest.mark.parametrize(
    ("message", "name", "value"),
    [("tick", "watermark_ns", 2**63), ("segment_state", "density_vpkm", 1e39)],
)
def test_a_number_no_column_can_hold_is_out_of_range(message: str, name: str, value: Any) -> None:
    others = {
        c.name: 1 if c.kind == "i64" else 1.0 for c in columns_of(message) if c.is_required
    } | {"map_version": "1", "subject_id": "z", "source_id": "sender-1"}
    known = {c.name for c in columns_of(message) if not c.is_mark}
    record = {n: v for n, v in others.items() if n in known} | {name: value}
    bulk = assert_same_as_one_by_one(
        JsonCodec(), [topic_of(message)], [json.dumps(record).encode()]
    )
    ((_, reject),) = bulk.rejects
    assert reject.reason is Reason.OUT_OF_RANGE
    assert name in reject.detail
