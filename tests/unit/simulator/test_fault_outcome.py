"""What accounts must come to: leaping numbers, senders without any, counts nobody believes."""

from __future__ import annotations

import numpy as np
import pytest

from openvrc.contracts.units import ABSENT_I64
from simulator.faults.outcome import MAX_SEQ_STEP, Outcome


def received(*numbers: int, told: int = 0) -> Outcome:
    outcome = Outcome()
    outcome.tell(told)
    outcome.receive(np.array(numbers, np.int64), is_unfit=False)
    return outcome


def test_what_is_known_to_be_sent_is_the_count_or_the_highest_number() -> None:
    assert (received(0, 1, 4).sent, received(0, 1, 4).missing) == (5, 2)
    assert (received(0, 1, told=9).sent, received(0, 1, told=9).missing) == (9, 7)
    assert (received(0, 1, 2, told=2).sent, received(0, 1, 2, told=2).missing) == (3, 0)


def test_records_without_a_number_are_sent_and_never_missing() -> None:
    outcome = received(ABSENT_I64, ABSENT_I64)
    outcome.receive(np.array([ABSENT_I64]), is_unfit=True)
    assert (outcome.sent, outcome.missing, outcome.duplicates, outcome.unfit) == (3, 0, 0, 1)


def test_a_number_or_count_beyond_belief_declares_nothing_missing() -> None:
    outcome = received(0, 4 * 10**12)
    outcome.tell(4 * 10**12)
    assert (outcome.sent, outcome.missing, outcome.unnumbered) == (2, 0, 1)


def test_numbers_that_leap_as_far_as_is_believed_cost_no_more_than_a_few_blocks() -> None:
    outcome = Outcome()
    for number in range(0, 100 * MAX_SEQ_STEP, MAX_SEQ_STEP):
        outcome.receive(np.array([number]), is_unfit=False)
    assert (outcome.seen, outcome.missing) == (100, 99 * MAX_SEQ_STEP + 1 - 100)
    assert sum(block.nbytes for block in outcome._blocks.values()) < 100_000


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_plain_set(seed: int) -> None:
    random = np.random.default_rng(seed)
    outcome, plain, n_all = Outcome(), set[int](), 0
    for _ in range(40):
        numbers = random.integers(0, 2000, size=int(random.integers(1, 30)))
        outcome.receive(numbers, is_unfit=False)
        plain |= set(numbers.tolist())
        n_all += len(numbers)
    assert outcome.seen == len(plain)
    assert outcome.duplicates == n_all - len(plain)
    assert outcome.missing == max(plain) + 1 - len(plain)
