"""What the prepared look at a batch says of its rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openvrc.detectors.traffic._view import view_of
from tests.support.straight_road import batch_of, row

NAMES = st.sampled_from(["a", "b", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaaaaaaaaaaa", "a-b"])


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=12), st.integers(0, 11))
def test_a_row_is_relayed_if_its_sender_is_not_its_vehicle(
    pairs: list[tuple[str, str]], from_row: int
) -> None:
    batch = batch_of([row(vehicle, 0, 0.0, 10.0, source_id=sender) for sender, vehicle in pairs])
    for part, of in ((batch, pairs), (batch.slice(from_row), pairs[from_row:])):
        expected = [sender != vehicle for sender, vehicle in of]
        assert view_of(part, None).is_relayed.tolist() == expected
