"""Every kind of fault keeps its promises: the same bytes, a true ground truth, closed accounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from simulator.faults.faulty_world import FaultyWorld
from simulator.faults.kind import FaultError, FaultKind
from simulator.faults.outcome import RULE
from simulator.faults.spec import known_kinds, listing, parse
from simulator.world import Frame
from tests.support.faulty_runs import Taped, faulty, honest, payloads, through_the_edge

KINDS: dict[str, FaultKind] = known_kinds()
SOON = {
    "flooding": "vehicles_ratio=0.1,rate_hz=20",
    "sybil": "vehicles_ratio=0.1",
    "disconnects": "away_s=3,every_s=6",
    "delay": "median_ms=900,p99_ms=9000",
    "malformed": "messages_ratio=0.1",
    "clock": "skew_ms=-4000,senders_ratio=0.3",
}
"""Parameters under which a kind does something within the taped seconds."""


def asked(name: str, more: str = "") -> str:
    own = SOON.get(name) or ("messages_ratio=0.2" if "messages_ratio" in names(name) else "")
    own = own or "vehicles_ratio=0.2"
    return f"{name}:{own},{more}"


def names(name: str) -> set[str]:
    return {parameter.name for parameter in KINDS[name].parameters}


@dataclass(frozen=True)
class Ran:
    """One kind at work from second 3 to second 11."""

    name: str
    world: FaultyWorld
    frames: list[Frame]
    said: list[list[tuple[str, bytes]]]


BEGINS_S, LASTS_S = 3, 8


def as_expected(totals: Mapping[str, int]) -> dict[str, int]:
    return {term: totals[term] for term in ("sent", "missing", "duplicates")}


def expected_of(world: FaultyWorld) -> dict[str, int]:
    """What an edge must have counted over all runs, the live one with what nobody can read."""
    expected = world.outcomes.totals()
    return as_expected(expected) | {"sent": expected["sent"] + expected["unreadable"]}


def run(name: str, seed: int = 1) -> Ran:
    world = faulty(asked(name, f"from_s={BEGINS_S},for_s={LASTS_S}"), seed=seed)
    frames = list(world.frames())
    return Ran(name, world, frames, [payloads(frame) for frame in frames])


@pytest.fixture(scope="module", params=sorted(KINDS))
def ran(request: pytest.FixtureRequest) -> Ran:
    return run(request.param)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kind_says_what_it_is_and_what_its_numbers_mean(name: str) -> None:
    kind = KINDS[name]
    assert kind.description
    assert {"from_s", "for_s"} <= names(name)
    assert all(parameter.meaning for parameter in kind.parameters)
    assert f"{name}: {kind.description}" in listing()


def test_the_same_seed_gives_the_same_bytes_and_something_is_wrong(ran: Ran) -> None:
    assert run(ran.name).said == ran.said
    assert ran.said != honest()
    if ran.name != "clock":  # whose skew is the same for everybody it meets
        assert run(ran.name, seed=2).said != ran.said


def test_before_it_begins_a_fault_changes_nothing(ran: Ran) -> None:
    assert ran.said[:BEGINS_S] == honest()[:BEGINS_S]


def test_the_truth_tells_who_and_when_within_its_window(ran: Ran) -> None:
    events = [e for e in ran.world.ground_truth() if e.detail.get("fault") == ran.name]
    assert events
    begin_ns = ran.world.start_ns + BEGINS_S * NS_PER_S
    senders = {o.source_id for frame in ran.frames for o in frame.messages}
    subjects = {s for frame in ran.frames for b in frame.batches() for s in b.texts("subject_id")}
    for event in events:
        assert begin_ns <= event.from_ns
        assert event.to_ns is not None
        assert event.from_ns <= event.to_ns < begin_ns + LASTS_S * NS_PER_S
        assert event.detail["records"] > 0
        assert event.subject_id in senders | subjects


TOGETHER = [
    ["loss"],
    ["duplicates"],
    ["malformed"],
    ["sybil", "flooding"],
    ["delay", "reordering", "disconnects", "clock"],
]
OTHERS = sorted(set(KINDS) - {name for names_of in TOGETHER for name in names_of})


@pytest.mark.parametrize("kinds", [*TOGETHER, OTHERS], ids="+".join)
def test_the_edge_s_accounts_are_what_the_faults_say_they_must_be(kinds: list[str]) -> None:
    world = faulty(*map(asked, kinds))
    core = through_the_edge(world)
    totals, expected = core.totals(), world.outcomes.totals()
    assert totals["sent"] == totals["forwarded"] + totals["rejected"] + totals["missing"]
    assert as_expected(totals) == expected_of(world)
    assert totals["rejected"] >= expected["unfit"] + expected["unreadable"]
    (event,) = (e for e in world.ground_truth() if e.rule == RULE)
    assert event.detail == expected


def test_faults_together_still_close_and_none_hides_another() -> None:
    texts = [
        "loss:messages_ratio=0.1,burst_messages=3",
        "duplicates:messages_ratio=0.1,copies=2,after_ms=1500",
        "delay:median_ms=300",
        "reordering",
        "malformed:messages_ratio=0.1",
        "flooding:vehicles_ratio=0.05,rate_hz=20",
        "sybil:vehicles_ratio=0.05,ghosts=3",
        "stuck-sensor:vehicles_ratio=0.2",
    ]
    for codec in ("json", "arrow"):
        world = faulty(*texts)
        core = through_the_edge(world, codec)
        totals, expected = core.totals(), world.outcomes.totals()
        assert all(expected[term] > 0 for term in expected)
        assert as_expected(totals) == expected_of(world)
        reasons = core.rejected()
        assert reasons["out_of_range"] == expected["unfit"]
        units = sum(n for reason, n in reasons.items() if reason.startswith(("invalid", "not_utf")))
        assert units == expected["unreadable"]
    faults = {event.detail.get("fault") for event in world.ground_truth()} - {None}
    assert faults == {text.partition(":")[0] for text in texts}


def test_faults_on_a_world_with_faults_are_booked_once_and_draw_for_themselves() -> None:
    inner, outer = "loss:messages_ratio=0.2", "loss:messages_ratio=0.3"
    world = FaultyWorld(faulty(inner), [parse(outer)], 1)
    core = through_the_edge(world)
    assert as_expected(core.totals()) == expected_of(world)
    assert [e.detail for e in world.ground_truth() if e.rule == RULE] == [world.outcomes.totals()]
    alone = faulty(outer)
    list(alone.frames())
    # Had both drawn alike, no more would be lost than by the greater of the two.
    assert world.outcomes.totals()["missing"] > 1.2 * alone.outcomes.totals()["missing"]


def test_clocks_that_go_back_flood_nothing() -> None:
    world = faulty(
        "clock:skew_ms=-4000,from_s=5,senders_ratio=1", "flooding:vehicles_ratio=0.2,rate_hz=20"
    )
    core = through_the_edge(world)
    assert as_expected(core.totals()) == expected_of(world)


def unnumbered(frame: Frame) -> Frame:
    """A frame of senders that do not number."""
    absent = {"session": ABSENT_I64, "seq": ABSENT_I64}
    messages = tuple(
        replace(o, whole=o.whole.with_columns(absent))
        for o in frame.messages
        if o.message == "vehicle_state"
    )
    return Frame(frame.zone_time_ns, messages)


class Unnumbered(Taped):
    """The taped crossroads, told by senders that do not number."""

    def frames(self) -> Iterator[Frame]:
        """See World."""
        return map(unnumbered, super().frames())


def test_what_senders_without_numbers_lose_is_not_missing() -> None:
    world = FaultyWorld(Unnumbered(), [parse("loss:messages_ratio=0.2")], 1)
    core = through_the_edge(world)
    expected = expected_of(world)
    assert as_expected(core.totals()) == expected
    assert expected["sent"] > 0
    assert expected["missing"] == 0


@pytest.mark.parametrize(
    ("signal", "rule"),
    [
        ("position", "data.frozen_signal"),
        ("pack_voltage_v", "data.frozen_signal"),
        ("speed_mps", "fault.stuck-sensor"),
        ("soc_ratio", "fault.stuck-sensor"),
    ],
)
def test_only_a_signal_that_a_rule_judges_is_to_be_found_frozen(signal: str, rule: str) -> None:
    world = faulty(f"stuck-sensor:vehicles_ratio=1,signal={signal}")
    list(world.frames())
    assert {e.rule for e in world.ground_truth() if e.component == signal} == {rule}


def test_everything_held_comes_with_the_last_frame_and_counts_come_last() -> None:
    world = faulty("disconnects:away_s=1000,every_s=0,together=yes,from_s=6")
    frames = list(world.frames())
    both = (frames, list(Taped().frames()))
    records = [sum(o.n_rows for f in side for o in f.messages if o.message != "source_status")
               for side in both]  # fmt: skip
    assert records[0] == records[1]
    assert not any(frame.messages for frame in frames[6:-1])
    is_count = [o.message == "source_status" for o in frames[-1].messages]
    assert is_count == sorted(is_count)


def test_only_the_named_vehicle_lies() -> None:
    world = faulty("reversed-heading:vehicle=veh-007")
    list(world.frames())
    liars = {e.subject_id for e in world.ground_truth() if e.rule == "security.misbehaviour"}
    assert liars == {"veh-007"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("lost", "expected one of clock"),
        ("loss:messages=0.1", "expected param=value of from_s"),
        ("loss:messages_ratio", "expected param=value"),
        ("loss:messages_ratio=2", "expected 0 to 1"),
        ("loss:messages_ratio=nan", "expected 0 to 1"),
        ("loss:messages_ratio=much", "expected a number"),
        ("loss:from_s=inf", r"from_s is 'inf', expected 0 to 1e\+09"),
        ("disconnects:away_s=1e300", r"expected 0.001 to 1e\+09"),
        ("malformed:form=ugly", "expected one of mixed"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_was_expected(text: str, wrong: str) -> None:
    with pytest.raises(FaultError, match=wrong):
        parse(text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("loss:messages_ratio=0.9,burst_messages=2", "burst_messages of at least 9"),
        ("delay:median_ms=500,p99_ms=100", "at least median_ms"),
        ("disconnects:away_s=10,every_s=5", "more than away_s"),
        ("feigned-braking:brakes_s=20", "at most every_s"),
    ],
)
def test_numbers_that_contradict_one_another_are_refused(text: str, wrong: str) -> None:
    with pytest.raises(FaultError, match=wrong):
        faulty(text)


def test_bursts_lose_the_stated_share_and_are_as_long_as_stated() -> None:
    world = faulty("loss:messages_ratio=0.3,burst_messages=4")
    first = next(frame for frame in Taped().frames() if frame.messages)
    (loss,) = world._faults
    frames = (Frame(first.zone_time_ns, first.messages[:1]) for _ in range(8000))
    was_lost = [not loss.apply(frame).messages for frame in frames]
    bursts = sum(now and not before for before, now in pairwise([False, *was_lost]))
    assert sum(was_lost) / len(was_lost) == pytest.approx(0.3, abs=0.05)
    assert sum(was_lost) / bursts == pytest.approx(4.0, abs=0.5)
