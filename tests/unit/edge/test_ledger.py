"""The sum sent = forwarded + rejected + missing holds whatever comes in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.ledger import MAX_SEQ_STEP, Account, Ledger, ledger_batches
from edge.seq_set import MAX_INTERVALS, SeqSet
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
)


@settings(max_examples=200)
@given(st.lists(Step), st.randoms(use_true_random=False))
def test_the_sum_closes_after_every_step(steps: list[tuple[str, object]], random: object) -> None:
    account = Account(1, "live")
    for kind, what in steps:
        version = account.version
        if kind == "receive":
            assert isinstance(what, list)
            new = sum(account.receive(what))
            taken = random.randint(0, new)  # type: ignore[attr-defined]
            if taken:
                account.forward(taken)
            if new > taken:
                account.reject("out_of_range", new - taken)
            assert account.version > version
        elif kind == "count":
            assert isinstance(what, int)
            account.state_count(what)
        elif account.forwarded:
            account.refuse("refused_by_store")
        rejected = sum(account.rejected.values())
        assert account.sent == account.forwarded + rejected + account.missing
        assert account.missing >= 0


def test_a_sent_count_shows_what_was_lost_at_the_end() -> None:
    account = Account(1, "live")
    account.forward(sum(account.receive([0, 1, 2])))
    account.state_count(5)
    assert (account.sent, account.missing) == (5, 2)
    assert account.seen.gaps(account.numbered) == [(3, 4)]


def test_a_wild_number_does_not_declare_millions_missing() -> None:
    ledger = Ledger()
    batch = vehicles([("v", 0, 0), ("w", 0, 0)], seqs=[0, 2**60])
    wild = ledger.wild_numbers(batch)
    assert wild.tolist() == [False, True]
    receipt = ledger.receive(batch, 1, wild)
    assert receipt.is_new.all()
    (account,) = ledger.accounts.values()
    assert (account.sent, account.missing) == (2, 0)
    assert not account.receive_one(2**61) or account.missing == 0
    account.state_count(account.numbered + MAX_SEQ_STEP + 1)
    assert account.missing == 0


def test_each_source_and_session_has_its_own_account() -> None:
    ledger = Ledger()
    ledger.receive(vehicles([("v", 0, 0)], seqs=[0], source_id="a", session=1), 1)
    ledger.receive(vehicles([("v", 0, 0)], seqs=[0], source_id="a", session=2), 1)
    ledger.receive(vehicles([("v", 0, 0)], seqs=[0], source_id="b", session=1), 1)
    assert set(ledger.accounts) == {("a", 1), ("a", 2), ("b", 1)}
    assert all(account.received == 1 for account in ledger.accounts.values())


def test_no_account_waits_for_ever_while_others_change() -> None:
    ledger = Ledger()
    told = set()
    for turn in range(5):
        for number in range(10):
            ledger.account(f"s{number}", 1, "live", 1).receive([turn])
        told |= {source_id for source_id, _, _ in ledger.take_changed(2)}
    assert len(told) == 10


def test_rows_carry_the_sum_and_are_taken_once_per_change() -> None:
    ledger = Ledger()
    receipt = ledger.receive(vehicles([("v", 0, 0), ("v", 1, 5)], seqs=[0, 3]), 7)
    receipt.forward(receipt.is_new.nonzero()[0])
    rows = ledger.take_changed(10)
    (batch,) = ledger_batches("z", "r", rows, edge_id="e", edge_epoch=5, now_ns=9)
    (record,) = batch.to_records()
    assert record["gaps"] == "[[1,2]]"
    assert (record["sent"], record["forwarded"], record["missing"]) == (4, 2, 2)
    assert ledger.take_changed(10) == []
    restored = Ledger.restore(ledger.snapshot())
    assert restored.snapshot() == ledger.snapshot()
    assert len(restored.take_changed(10)) == 1
