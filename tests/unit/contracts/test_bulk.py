"""Many payloads at once, through codecs that can and through codecs that cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.codecs.base import Bulk, Decoded, Part
from openvrc.contracts.codecs.bulk import decode_many
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic

TOPIC = Topic("z", "zone", "driver", "tick", "odd")


def ticks(n_rows: int, *, zone: str = "z", run_id: str = "live") -> Batch:
    columns = {"source_id": "driver", "subject_id": "z", "sampled_at_ns": np.arange(n_rows)}
    return from_columns(
        "tick", zone=zone, run_id=run_id, origin="live", columns=columns, n_rows=n_rows
    )


class OddCodec:
    """Its payload is b"RUN ROWS"; raises for what is no number, and knows a zone too many."""

    name, content_type = "odd", "application/x-odd"

    def decode(self, topic: Topic, payload: bytes, received_at_ns: int) -> Decoded:
        run_id, n_rows = payload.decode().split()
        zone = "elsewhere" if run_id == "other" else topic.zone
        return Decoded((ticks(int(n_rows), zone=zone, run_id=run_id),))

    def encode(self, batch: Batch) -> bytes:
        return b""

    def encode_parts(self, batch: Batch, bounds: Sequence[tuple[int, int]]) -> list[bytes]:
        return [b"" for _ in bounds]


class RaisingBulkCodec(OddCodec):
    def decode_many(
        self, topics: Sequence[Topic], payloads: Sequence[bytes], received_at_ns: Sequence[int]
    ) -> Bulk:
        raise ZeroDivisionError("in somebody else's code")


class MisplacingBulkCodec(OddCodec):
    def decode_many(
        self, topics: Sequence[Topic], payloads: Sequence[bytes], received_at_ns: Sequence[int]
    ) -> Bulk:
        return Bulk((Part(ticks(1, zone="elsewhere"), np.zeros(1, np.int32)),))


@pytest.mark.parametrize("codec", [OddCodec(), RaisingBulkCodec(), MisplacingBulkCodec()])
def test_rows_are_joined_by_run_and_know_their_payload(codec: OddCodec) -> None:
    payloads = [b"a 2", b"b 1", b"a 0", b"a 1"]
    bulk = decode_many(codec, [TOPIC] * 4, payloads, [0] * 4)
    assert [(p.batch.run_id, p.payload_of_row.tolist()) for p in bulk.parts] == [
        ("a", [0, 0, 3]),
        ("b", [1]),
    ]
    assert all(p.payload_of_row.dtype == np.int32 for p in bulk.parts)
    assert bulk.rejects == ()


@pytest.mark.parametrize("codec", [OddCodec(), RaisingBulkCodec(), MisplacingBulkCodec()])
def test_a_codecs_fault_costs_the_payloads_at_fault(codec: OddCodec) -> None:
    payloads = [b"a 2", b"a two", b"other 1", b"a 1"]
    bulk = decode_many(codec, [TOPIC] * 4, payloads, [0] * 4)
    assert [part.payload_of_row.tolist() for part in bulk.parts] == [[0, 0, 3]]
    assert [(place, r.reason, r.is_whole) for place, r in bulk.rejects] == [
        (1, Reason.CODEC_FAILED, True),
        (2, Reason.CODEC_FAILED, True),
    ]
    assert "ValueError" in bulk.rejects[0][1].detail
    assert "another message or zone" in bulk.rejects[1][1].detail
    assert bulk.rejects[0][1].payload == b"a two"


@pytest.mark.parametrize(
    ("codec", "fault"),
    [
        (OddCodec(), ""),
        (RaisingBulkCodec(), "ZeroDivisionError"),
        (MisplacingBulkCodec(), "another message or zone"),
    ],
)
def test_a_decode_many_that_fails_is_told(codec: OddCodec, fault: str) -> None:
    said = decode_many(codec, [TOPIC], [b"a 2"], [0]).fault
    assert fault in said
    assert bool(said) == bool(fault)


def test_no_payloads_give_nothing() -> None:
    assert decode_many(OddCodec(), [], [], []) == Bulk()
