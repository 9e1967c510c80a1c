"""An Arrow payload that was cut off is one rejected unit, wherever it was cut."""

from openvrc.contracts.codecs.arrow_codec import ArrowCodec
from openvrc.contracts.codecs.arrow_join import END_OF_STREAM
from openvrc.contracts.codecs.bulk import decode_many
from openvrc.contracts.reasons import Reason
from openvrc.contracts.topics import Topic
from tests.support.edge_world import vehicles

TOPIC = Topic("z", "rsu", "rsu-1", "vehicle_state", "arrow")


def test_a_stream_cut_off_behind_its_schema_is_rejected_whole() -> None:
    codec, batch = ArrowCodec(), vehicles([("a", 0.0, 1.0)], seqs=[0])
    payload = codec.encode(batch)
    schema_bytes = 8 + int.from_bytes(payload[4:8], "little")
    (reject,) = codec.decode(TOPIC, payload[:schema_bytes], 0).rejects
    assert (reject.reason, reject.is_whole) == (Reason.INVALID_ARROW, True)
    bulk = decode_many(codec, [TOPIC] * 2, [payload, payload[:schema_bytes]], [0, 0])
    assert [place for place, _ in bulk.rejects] == [1]
    assert sum(part.batch.n_rows for part in bulk.parts) == 1


def test_a_stream_of_no_records_that_ends_as_it_should_is_fine() -> None:
    payload = ArrowCodec().encode(vehicles([("a", 0.0, 1.0)], seqs=[0]))
    schema_bytes = 8 + int.from_bytes(payload[4:8], "little")
    assert not ArrowCodec().decode(TOPIC, payload[:schema_bytes] + END_OF_STREAM, 0).rejects
