"""The sum sent = forwarded + rejected + missing holds whatever comes in whatever order."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.ledger import MAX_SEQ_STEP, Ledger
from edge.ledger_rows import ledger_batches
from edge.seq_set import MAX_INTERVALS, SeqSet
from edge.state_file import pack_state, unpack_state
from openvrc.contracts.units import ABSENT_I64
from tests.support.edge_world import vehicles

SEQ = st.integers(0, 40)


@given(st.lists(SEQ), st.lists(st.integers(1, 7)))
def test_a_seq_set_equals_a_set(seqs: list[int], cuts: list[int]) -> None:
    seen, truth = SeqSet(), set[int]()
    rest = list(seqs)
    for cut in [*cuts, len(seqs) or 1]:
        part, rest = rest[:cut], rest[cut:]
        if part:
            expected = [seq not in truth and not truth.add(seq) for seq in part]  # type: ignore[func-returns-value]
            assert seen.add_all(part) == expected
    assert seen.count == len(truth)
    assert seen.end == max(truth, default=-1) + 1
    missing = {n for low, high in seen.gaps(45, 100) for n in range(low, high + 1)}
    assert missing == set(range(45)) - truth


def test_a_seq_set_stays_bounded_and_never_counts_a_number_twice() -> None:
    seen = SeqSet()
    for seq in range(0, 4 * MAX_INTERVALS, 2):
        assert seen.add(seq)
    assert len(seen.snapshot()[1]) <= MAX_INTERVALS
    assert seen.count == 2 * MAX_INTERVALS
    assert not seen.add(0)


Step = st.one_of(
    st.tuples(st.just("receive"), st.lists(st.one_of(SEQ, st.just(ABSENT_I64)), min_size=1)),
    st.tuples(st.just("count"), st.integers(0, 60)),
    st.tuples(st.just("refuse"), st.none()),
    st.tuples(st.just("drop"), st.sampled_from(["dropped", "expired"])),
)


@settings(max_examples=200)
@given(st.lists(Step), st.randoms(use_true_random=False))
def test_the_sum_closes_after_every_step(steps: list[tuple[str, object]], random: object) -> None:
    ledger = Ledger()
    slot = ledger.slot("v", 1, "live", 1)
    for kind, what in steps:
        version = ledger["version"][slot]
        if kind == "receive":
            assert isinstance(what, list)
            new = sum(ledger.receive_numbers(slot, what))
            taken = random.randint(0, new)  # type: ignore[attr-defined]
            ledger.forward(np.full(taken, slot))
            if new > taken:
                ledger.reject(slot, "out_of_range", new - taken)
            assert ledger["version"][slot] > version
        elif kind == "count":
            assert isinstance(what, int)
            ledger.state_count(slot, what)
        elif kind == "drop" and ledger["forwarded"][slot]:
            ledger.give_up(slot, str(what), 1)
        elif ledger["forwarded"][slot]:
            ledger.refuse(slot, "refused_by_store")
        total = dict(ledger.totals())
        parts = ("forwarded", "rejected", "dropped", "expired", "missing")
        assert total["sent"] == sum(total[name] for name in parts)
        assert min(total.values()) >= 0


def test_a_sent_count_shows_what_was_lost_at_the_end() -> None:
    ledger = Ledger()
    slot = ledger.slot("v", 1, "live", 1)
    ledger.receive_numbers(slot, [0, 1, 2])
    ledger.state_count(slot, 5)
    assert (ledger.sent[slot], ledger.missing[slot]) == (5, 2)
    assert ledger.gaps(slot) == [(3, 4)]


def test_a_wild_number_does_not_declare_millions_missing() -> None:
    ledger = Ledger()
    batch = vehicles([("v", 0, 0), ("w", 0, 0)], seqs=[0, 2**60])
    wild = ledger.wild_numbers(batch)
    assert wild.tolist() == [False, True]
    receipt = ledger.receive(batch, 1, wild)
    assert receipt.is_new.all()
    assert len(ledger) == 1
    assert (ledger.sent[0], ledger.missing[0]) == (2, 0)
    assert ledger.receive_one(0, 2**61)
    ledger.state_count(0, int(ledger.numbered[0]) + MAX_SEQ_STEP + 1)
    assert ledger.missing[0] == 0


def test_each_source_and_session_has_its_own_account() -> None:
    ledger = Ledger()
    ledger.receive(vehicles([("v", 0, 0)], seqs=[0], source_id="a", session=1), 1)
    ledger.receive(vehicles([("v", 0, 0)], seqs=[0], source_id="a", session=2), 1)
    ledger.receive(vehicles([("v", 0, 0)], seqs=[0], source_id="b", session=1), 1)
    assert set(ledger.keys) == {("a", 1), ("a", 2), ("b", 1)}
    assert ledger.received.tolist() == [1, 1, 1]


Run = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([1, 2]),
    st.lists(st.one_of(SEQ, st.just(ABSENT_I64)), min_size=1, max_size=5),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(Run, min_size=1, max_size=12), min_size=1, max_size=4), st.booleans())
def test_a_batch_is_booked_as_its_rows_one_by_one(
    batches: list[list[tuple[str, int, list[int]]]], in_order: bool
) -> None:
    together, single = Ledger(), Ledger()
    for runs in batches:
        next_seq: dict[tuple[str, int], int] = {}
        rows = []
        for source_id, session, seqs in runs:
            for seq in seqs:
                slot = together.slot(source_id, session, "live", 1)
                begin = next_seq.setdefault((source_id, session), int(together["end"][slot]))
                rows.append((source_id, session, begin if in_order else seq))
                next_seq[source_id, session] += 1
        sources, sessions, numbers = (list(column) for column in zip(*rows, strict=True))
        batch = vehicles([("v", 0, 0)] * len(rows), seqs=numbers).with_columns(
            {"source_id": sources, "session": np.array(sessions, np.int64)}
        )
        receipt = together.receive(batch, 1)
        expected = [
            single.receive_numbers(single.slot(source_id, session, "live", 1), [seq])[0]
            for source_id, session, seq in rows
        ]
        assert receipt.is_new.tolist() == expected
        assert [together.keys[slot] for slot in receipt.slot_of_row] == [row[:2] for row in rows]
    for key in single.keys:
        mine, theirs = (ledger.slot(*key, "live", 1) for ledger in (together, single))
        for name in ("end", "seen", "unnumbered", "duplicates"):
            assert together[name][mine] == single[name][theirs]
        assert together.gaps(mine) == single.gaps(theirs)


def test_no_account_waits_for_ever_while_others_change() -> None:
    ledger = Ledger()
    told = set()
    for turn in range(5):
        for number in range(10):
            ledger.receive_numbers(ledger.slot(f"s{number}", 1, "live", 1), [turn])
        told |= {ledger.keys[slot] for slot in ledger.take_changed(2)}
    assert len(told) == 10


def test_rows_carry_the_sum_and_are_taken_once_per_change() -> None:
    ledger = Ledger()
    receipt = ledger.receive(vehicles([("v", 0, 0), ("v", 1, 5)], seqs=[0, 3]), 7)
    receipt.forward(receipt.is_new.nonzero()[0])
    slots = ledger.take_changed(10)
    (batch,) = ledger_batches("z", "r", ledger, slots, edge_id="e", edge_epoch=5, now_ns=9)
    (record,) = batch.to_records()
    assert record["gaps"] == "[[1,2]]"
    assert (record["sent"], record["forwarded"], record["missing"]) == (4, 2, 2)
    assert ledger.take_changed(10).size == 0
    restored = Ledger.restore(unpack_state(pack_state(ledger.snapshot())))
    assert pack_state(restored.snapshot()) == pack_state(ledger.snapshot())
    assert len(restored.take_changed(10)) == 1
