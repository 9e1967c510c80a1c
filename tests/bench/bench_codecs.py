"""What decoding and encoding cost, beside pydantic record by record and the library alone.

    python -m tests.bench.bench_codecs [--records 10000] [--rounds 9]

CPU microseconds per record, the least of the rounds, which take turns. "ours" is
`decode_many` from payloads to one validated Batch, or `encode_parts` from a Batch to payloads.
"pydantic" validates the same payloads one message at a time by the contract's models, and writes
them by `to_json` from dicts. "library" is msgspec into Structs without ranges and without columns
(or Structs to text), pyarrow reading (or writing) one stream per message: what no code of ours can
go below while it uses them so. Every sender column is filled; subjects are drawn without
repetition out of 100,000, senders are 200, ids have six digits. The wire's rows: `pack` and
`unpack` of the same Batch with the edge's marks, and the check of all its ranges.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter
from pydantic_core import to_json

from openvrc.contracts import wire
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.arrow_codec import PLUGIN as ARROW
from openvrc.contracts.codecs.bulk import decode_many
from openvrc.contracts.codecs.json_codec import PLUGIN as JSON
from openvrc.contracts.codecs.json_struct import struct_of
from openvrc.contracts.columns import columns_of
from openvrc.contracts.messages import message_type
from openvrc.contracts.ranges import require_in_range
from openvrc.contracts.topics import Topic

N_VEHICLES = 100_000
N_SENDERS = 200
N_CELLS, N_PROBES = 96, 24
RECORDS_PER_MESSAGE = 50
START_NS = 1_767_225_600_000_000_000
Work = Callable[[], Any]


def filled(message: str, n_rows: int) -> Batch:
    """Records with a value in every sender column."""
    rng = np.random.default_rng(1)
    vehicles = rng.permutation(N_VEHICLES)[:n_rows]
    senders = np.arange(n_rows) // RECORDS_PER_MESSAGE % N_SENDERS
    columns: dict[str, Any] = {
        "source_id": [f"rsu-{number:03d}" for number in senders],
        "subject_id": [f"vehicle-{number:06d}" for number in vehicles],
        "session": START_NS // 1_000_000,
        "seq": np.arange(n_rows),
        "sampled_at_ns": START_NS + np.arange(n_rows) * 10_000,
        "published_at_ns": START_NS + 123_456_789,
    }
    for column in columns_of(message):
        if column.name in columns:
            continue
        if column.kind == "code":
            n_words = len(column.values)
            columns[column.name] = rng.integers(0, n_words, n_rows).astype(np.int8)
        elif column.kind == "i64":
            columns[column.name] = rng.integers(0, 4, n_rows)
        elif column.kind == "f32_list":
            per_row, low, high = (N_CELLS, 3.6, 3.7) if column.unit == "V" else (N_PROBES, 20, 25)
            values = rng.uniform(low, high, n_rows * per_row).astype(np.float32)
            offsets = np.arange(n_rows + 1, dtype=np.int32) * per_row
            columns[column.name] = (values, offsets)
        elif column.kind == "text":
            columns[column.name] = "segment-1"
        else:
            low, high = column.low or 0.0, min(column.high or 100.0, 1000.0)
            columns[column.name] = rng.uniform(low, high, n_rows)
    return from_columns(
        message, zone="bench", run_id="live", origin="live", columns=columns, n_rows=n_rows
    )


def cheapest(work: dict[str, Work], n_rows: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU per record, the least of all rounds; they take turns."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, run in work.items():
            began_s = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - began_s)
    return {name: spent_s / n_rows * 1e6 for name, spent_s in best.items()}


def json_work(batch: Batch, per_message: int) -> tuple[dict[str, Work], dict[str, Work], float]:
    """How to decode and to encode it as JSON, and the bytes of a record."""
    bounds = _bounds(batch.n_rows, per_message)
    payloads = JSON.encode_parts(batch, bounds)
    one: Any = struct_of(batch.message)
    decoder: Any = msgspec.json.Decoder(list[one] if per_message > 1 else one)
    model: Any = message_type(batch.message).model
    adapter: TypeAdapter[Any] = TypeAdapter(list[model] if per_message > 1 else model)
    structs = [decoder.decode(payload) for payload in payloads]
    encoder = msgspec.json.Encoder()

    def pydantic_encode() -> None:
        records = batch.to_records(with_marks=False)
        for start, end in bounds:
            to_json(records[start:end] if per_message > 1 else records[start])

    given = _with_topics(batch, payloads, per_message, "json")
    decode: dict[str, Work] = {
        "ours": lambda: decode_many(JSON, *given),
        "pydantic": lambda: [adapter.validate_json(payload) for payload in payloads],
        "library": lambda: [decoder.decode(payload) for payload in payloads],
    }
    encode: dict[str, Work] = {
        "ours": lambda: JSON.encode_parts(batch, bounds),
        "pydantic": pydantic_encode,
        "library": lambda: [encoder.encode(some) for some in structs],
    }
    return decode, encode, sum(map(len, payloads)) / batch.n_rows


def arrow_work(batch: Batch, per_message: int) -> tuple[dict[str, Work], dict[str, Work], float]:
    """How to decode and to encode it as Arrow, and the bytes of a record."""
    bounds = _bounds(batch.n_rows, per_message)
    payloads = ARROW.encode_parts(batch, bounds)
    model: Any = message_type(batch.message).model
    adapter: TypeAdapter[Any] = TypeAdapter(list[model])
    parts = [pa.ipc.open_stream(payload).read_next_batch() for payload in payloads]
    identity = {"source_id": "rsu-000"}

    def pydantic_decode() -> None:
        for payload in payloads:
            records = pa.ipc.open_stream(payload).read_all().to_pylist()
            adapter.validate_python([_worded(batch, r | identity) for r in records])

    def library_encode() -> None:
        for part in parts:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.schema) as writer:
                writer.write_batch(part)
            sink.getvalue().to_pybytes()

    given = _with_topics(batch, payloads, per_message, "arrow")
    decode: dict[str, Work] = {
        "ours": lambda: decode_many(ARROW, *given),
        "pydantic": pydantic_decode,
        "library": lambda: [pa.ipc.open_stream(payload).read_all() for payload in payloads],
    }
    encode: dict[str, Work] = {
        "ours": lambda: ARROW.encode_parts(batch, bounds),
        "library": library_encode,
    }
    return decode, encode, sum(map(len, payloads)) / batch.n_rows


def _worded(batch: Batch, record: dict[str, Any]) -> dict[str, Any]:
    for column in columns_of(batch.message):
        if column.kind == "code" and column.name in record:
            words: Any = (False, True) if column.is_bool else column.values
            record[column.name] = words[record[column.name]]
    return record


def wire_work(batch: Batch) -> dict[str, Work]:
    """What edge and cloud do with a group on its way between them."""
    body = wire.pack([batch])
    return {
        "pack": lambda: wire.pack([batch]),
        "unpack": lambda: wire.unpack(body),
        "ranges": lambda: require_in_range(batch),
    }


def _bounds(n_rows: int, per_message: int) -> list[tuple[int, int]]:
    return [(row, row + per_message) for row in range(0, n_rows, per_message)]


def _with_topics(
    batch: Batch, payloads: list[bytes], per_message: int, codec: str
) -> tuple[list[Topic], list[bytes], list[int]]:
    sources = batch.texts("source_id")[::per_message]
    kind = message_type(batch.message).senders[0]
    topics = [Topic(batch.zone, kind, source, batch.message, codec) for source in sources]
    return topics, payloads, [0] * len(payloads)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=10_000, help="records of a group")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    n_rows = given.records // RECORDS_PER_MESSAGE * RECORDS_PER_MESSAGE
    gc.set_threshold(100_000, 50, 50)  # as the edge does
    print("| message | traffic | | ours | pydantic | library | B/record |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    for message in ("vehicle_state", "battery_state"):
        batch = filled(message, n_rows)
        for traffic, work, per_message in (
            ("arrow50", arrow_work, RECORDS_PER_MESSAGE),
            ("json50", json_work, RECORDS_PER_MESSAGE),
            ("json1", json_work, 1),
        ):
            *both, n_bytes = work(batch, per_message)
            for verb, runs in zip(("decode", "encode"), both, strict=True):
                us = cheapest(runs, n_rows, given.rounds)
                cells = [f"{us[name]:.2f}" if name in us else "-" for name in COLUMNS]
                row = [message, traffic, verb, *cells, f"{n_bytes:.0f}"]
                print("| " + " | ".join(row) + " |", flush=True)  # noqa: T201
        us = cheapest(wire_work(batch), n_rows, given.rounds)
        for name, spent_us in us.items():
            print(f"| {message} | wire | {name} | {spent_us:.2f} | - | - | |", flush=True)  # noqa: T201


COLUMNS = ("ours", "pydantic", "library")

if __name__ == "__main__":
    main()
