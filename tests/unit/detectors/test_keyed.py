"""Slots of a batch's ids, asked for by word or by number on a roll."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openvrc.contracts.words import words_of
from openvrc.detectors import roll as roll_module
from openvrc.detectors.keyed import Keyed
from openvrc.detectors.roll import Roll

SPEC = {"number": (np.int64, -1)}
BATCHES = st.lists(
    st.tuples(
        st.sets(st.integers(0, 40), min_size=1).map(list),
        st.sampled_from(["", "evict", "restart", "by word", "new roll"]),
    ),
    max_size=12,
)


def _told(keyed: Keyed, ids: list[int], slots: list[int]) -> None:
    """What was kept under each id is the id."""
    kept = keyed["number"]
    for one, slot in zip(ids, slots, strict=True):
        assert kept[slot] in (-1, one)
        assert keyed.keys[slot] == f"vehicle-{one}"
        kept[slot] = one


@given(BATCHES)
def test_slots_on_a_roll_are_those_of_the_words_whatever_comes_between(
    batches: list[tuple[list[int], str]],
) -> None:
    keyed, roll = Keyed(SPEC), Roll()
    known = set[int]()
    for ids, between in batches:
        words = words_of([f"vehicle-{one}" for one in ids])
        _told(keyed, ids, keyed.slots_on(roll, roll.call(words)).tolist())
        known |= set(ids)
        assert {int(word.split("-")[1]) for word in keyed.keys} == known
        if between == "evict":
            gone = np.array([int(word.split("-")[1]) % 3 == 0 for word in keyed.keys])
            keyed.evict(gone)
            known = {one for one in known if one % 3}
        elif between == "restart":
            keyed = Keyed.restore(SPEC, keyed.snapshot())
        elif between == "by word":
            _told(keyed, ids, keyed.slots_of(words).tolist())
            keyed.slots([f"vehicle-{one}" for one in range(3)])
            gone = np.arange(len(keyed)) < len(known | {0, 1, 2}) - len(known)
            keyed.evict(gone)  # as many as have come
            known = {int(word.split("-")[1]) for word in keyed.keys}
        elif between == "new roll":
            roll = Roll()


def test_a_roll_forgets_who_is_not_called_and_slots_stay() -> None:
    keyed, roll = Keyed(SPEC), Roll()
    first = words_of(["first"])
    slot = keyed.slots_on(roll, roll.call(first))
    keyed["number"][slot] = 7
    for begin in range(0, 5 * roll_module.FEWEST, 1000):
        roll.call(words_of([f"passer-{begin + one}" for one in range(1000)]))
    assert roll.generation > 0
    assert len(roll) < 3 * roll_module.FEWEST
    assert keyed["number"][keyed.slots_on(roll, roll.call(first))].tolist() == [7]
    assert len(keyed) == 1


def test_a_fleet_that_a_rule_keeps_stays_on_the_roll_however_its_batches_come() -> None:
    keyed, roll = Keyed(SPEC), Roll()
    words = [
        words_of([f"vehicle-{begin + one}" for one in range(2000)])
        for begin in range(0, 40_000, 2000)
    ]
    slots = [keyed.slots_on(roll, roll.call(some)).tolist() for some in words]
    generation = roll.generation
    for _ in range(3):  # each is a minority of all, and none is called twice in a row
        assert [keyed.slots_on(roll, roll.call(some)).tolist() for some in words] == slots
    assert roll.generation == generation == 0


def test_whom_a_rule_has_evicted_leaves_the_roll_and_a_rule_that_is_gone_keeps_nobody() -> None:
    keyed, gone, roll = Keyed(SPEC), Keyed(SPEC), Roll()
    gone.slots_on(roll, roll.call(words_of([f"once-{one}" for one in range(5000)])))
    del gone
    for turn in range(20):
        keyed.slots_on(roll, roll.call(words_of([f"p-{turn}-{one}" for one in range(2000)])))
        keyed.evict(np.ones(len(keyed), np.bool_))
    assert len(roll) <= 2 * roll_module.FEWEST
