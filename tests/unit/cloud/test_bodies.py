"""What an edge's body may hold: looked at before it takes its place in the queue."""

import pytest

from cloud.pipeline import _unpack_body
from openvrc.contracts.errors import ContractError
from openvrc.contracts.wire import WireError, pack
from tests.support.edge_world import announce, tick


def test_control_records_that_steer_nothing_are_refused_not_retried() -> None:
    nameless = announce().with_columns({"state": None})
    with pytest.raises(ContractError, match=r"zone_announce\.state"):
        _unpack_body(pack([nameless]), "edge-1/1/1")
    with pytest.raises(ContractError, match=r"tick\.sampled_at_ns"):
        _unpack_body(pack([tick(1).with_columns({"sampled_at_ns": -5})]), "edge-1/1/1")


def test_good_control_records_pass_and_need_a_batch_id() -> None:
    body = _unpack_body(pack([announce(), tick(1)]), "edge-1/1/1")
    assert [batch.message for batch in body.batches] == ["zone_announce", "tick"]
    with pytest.raises(WireError, match="X-VRC-Batch"):
        _unpack_body(pack([tick(1)]), "")
