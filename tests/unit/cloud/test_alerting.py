"""The life of an alert, in event time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cloud.alerting import AlertBook, AlertTransition, alert_id_of
from openvrc.contracts.detection import Finding, Rule, Severity
from openvrc.contracts.units import NS_PER_S

RULE = Rule(
    "traffic.test",
    "Test",
    "Something is true.",
    "Do something.",
    pending_for_s=10,
    recovering_for_s=20,
    actionable_for_s=100,
)
AT_ONCE = Rule("traffic.test", "Test", "Something is true.", "Do something.")


def finding(phase: Any, at_s: float, started_s: float = 0.0, **facts: Any) -> Finding:
    subject = facts.pop("subject_id", "car-1")
    at_ns, started_ns = int(at_s * NS_PER_S), int(started_s * NS_PER_S)
    return Finding("traffic.test", phase, "vehicle", subject, at_ns, started_ns, **facts)


class World:
    """A book and everything it told."""

    def __init__(self, rule: Rule = RULE) -> None:
        self.book = AlertBook("run-1")
        self.rule = rule
        self.told: list[AlertTransition] = []

    def take(self, *args: Any, **facts: Any) -> list[str]:
        return self._note(self.book.take(finding(*args, **facts), self.rule, "west", "replay"))

    def advance(self, to_s: float, zone: str = "west") -> list[str]:
        return self._note(self.book.advance(zone, int(to_s * NS_PER_S)))

    def _note(self, told: list[AlertTransition]) -> list[str]:
        self.told += told
        return [transition.change for transition in told]

    @property
    def last(self) -> Any:
        return self.told[-1].alert


def test_an_alert_opens_once_its_condition_has_held_long_enough() -> None:
    world = World()
    assert world.take("raise", 0) == []
    assert world.advance(9.9) == []
    assert world.advance(10) == ["opened"]
    assert (world.last.state, world.last.detected_at_ns) == ("active", 10 * NS_PER_S)
    assert world.last.id == alert_id_of("run-1", "traffic.test", "car-1", "", 0)


def test_a_raise_that_has_held_already_opens_without_a_tick() -> None:
    assert World().take("raise", 10) == ["opened"]


def test_a_condition_that_ends_while_pending_is_never_told() -> None:
    world = World()
    world.take("raise", 0)
    assert world.take("clear", 9) == []
    assert world.advance(100) == []


def test_a_condition_that_held_between_two_far_ticks_is_told_all_the_same() -> None:
    world = World()
    world.take("raise", 0)
    assert world.take("clear", 50) == ["opened", "recovering"]
    assert world.advance(70) == ["cleared"]
    assert world.last.cleared_at_ns == 50 * NS_PER_S


def test_an_alert_recovers_before_it_clears() -> None:
    world = World()
    world.take("raise", 10)
    assert world.take("clear", 30) == ["recovering"]
    assert world.advance(49) == []
    assert world.advance(50) == ["cleared"]
    assert (world.last.state, world.last.cleared_at_ns) == ("cleared", 30 * NS_PER_S)


@pytest.mark.parametrize("ticks", [(), (35,), (35, 49, 51, 60)])
def test_a_short_gap_continues_the_same_alert_whatever_the_ticks(ticks: tuple[int, ...]) -> None:
    world = World()
    world.take("raise", 10)
    world.take("clear", 30)
    for tick in ticks:
        world.advance(tick)
    assert world.take("raise", 60, 49) == ["updated"]
    assert len({told.alert.id for told in world.told}) == 1
    assert (world.last.state, world.last.cleared_at_ns) == ("active", None)


@pytest.mark.parametrize("ticks", [(), (35,), (35, 49, 51, 60)])
def test_a_long_gap_opens_another_alert_whatever_the_ticks(ticks: tuple[int, ...]) -> None:
    world = World()
    world.take("raise", 10)
    world.take("clear", 30)
    for tick in ticks:
        world.advance(tick)
    world.take("raise", 65, 51)
    states = {told.alert.id: told.alert.state for told in world.told}
    assert list(states.values()) == ["cleared", "active"]


def test_severity_rises_at_once_and_falls_only_when_it_stays_lower() -> None:
    world = World()
    world.take("raise", 10, severity=Severity.WARNING)
    assert world.take("raise", 11, severity=Severity.CRITICAL) == ["updated"]
    assert world.last.severity == Severity.CRITICAL
    world.take("raise", 12, severity=Severity.INFO)
    world.take("raise", 20, severity=Severity.CRITICAL)
    world.take("raise", 30, severity=Severity.WARNING)
    world.advance(59)
    assert world.last.severity == Severity.CRITICAL
    assert world.advance(60) == ["updated"]
    assert world.last.severity == Severity.WARNING


def test_new_evidence_alone_is_told_every_ten_seconds_and_never_lost() -> None:
    world = World(AT_ONCE)
    changes = [world.take("raise", at_s, evidence={"at_s": at_s}) for at_s in range(25)]
    assert [at_s for at_s, change in enumerate(changes) if change] == [0, 10, 20]
    assert world.advance(30) == ["updated"]
    assert world.last.evidence == {"at_s": 24}


def test_silence_marks_and_never_clears() -> None:
    world = World()
    world.take("raise", 10)
    assert world.take("unknown", 20) == ["updated"]
    assert world.last.is_unknown
    assert world.take("unknown", 30) == []
    assert world.advance(10_000) == []
    assert world.take("raise", 10_001) == ["updated"]
    assert not world.last.is_unknown


def test_a_pending_alert_of_a_silent_subject_does_not_open() -> None:
    world = World()
    world.take("raise", 0)
    world.take("unknown", 5)
    assert world.advance(60) == []


def test_a_late_finding_that_nothing_contradicts_is_current() -> None:
    world = World(AT_ONCE)
    world.advance(1000)
    assert world.take("raise", 995, 990, is_late=True) == ["opened"]
    assert world.last.detected_at_ns == 1000 * NS_PER_S


def test_a_late_finding_beyond_its_time_to_act_is_history() -> None:
    world = World()
    world.advance(1000)
    assert world.take("raise", 899, 880, is_late=True) == ["historical"]
    assert world.last.state == "historical"
    assert world.take("raise", 899, 880, is_late=True) == []
    assert world.take("clear", 899.5, 880, is_late=True) == ["historical"]
    assert world.last.cleared_at_ns == 899.5 * NS_PER_S


def test_a_late_finding_that_a_newer_clear_contradicts_is_history() -> None:
    world = World(AT_ONCE)
    world.take("raise", 50, 50)
    world.take("clear", 60, 50)
    world.advance(70)
    assert world.take("raise", 55, 54, is_late=True) == ["historical"]


def test_a_late_clear_does_not_end_what_newer_data_raised() -> None:
    world = World()
    world.take("raise", 50, 0)
    assert world.take("clear", 40, 0, is_late=True) == []
    assert world.book.open_alerts()


def test_an_alert_cleared_by_hand_is_quiet_until_it_gets_worse_or_begins_anew() -> None:
    world = World(AT_ONCE)
    world.take("raise", 10, 10)
    assert [told.change for told in world.book.clear(world.last.id)] == ["cleared"]
    assert world.take("raise", 11, 10) == []
    assert world.take("raise", 12, 10, severity=Severity.CRITICAL) == ["updated"]
    world.book.clear(world.last.id)
    world.take("clear", 20, 10)
    assert world.take("raise", 30, 30) == ["opened"]


def test_watermarks_of_another_zone_change_nothing() -> None:
    world = World()
    world.take("raise", 0)
    assert world.advance(1000, zone="east") == []


def storm(world: World, n_subjects: int, **facts: Any) -> None:
    for number in range(n_subjects):
        world.take("raise", 10 + number / 10, 10, subject_id=f"car-{number}", **facts)


def test_fifty_alerts_in_a_minute_are_no_storm() -> None:
    world = World(AT_ONCE)
    storm(world, 50)
    assert {told.alert.rule for told in world.told} == {"traffic.test"}


def test_a_storm_folds_what_is_over_fifty_and_ends_by_itself() -> None:
    world = World(AT_ONCE)
    storm(world, 80)
    storms = [told.alert for told in world.told if told.alert.rule == "platform.alert_storm"]
    assert len({alert.id for alert in storms}) == 1
    folded = [told.alert for told in world.told if told.alert.folded_into]
    assert len(folded) == 30
    assert {alert.folded_into for alert in folded} == {storms[0].id}
    world.advance(19)
    assert world.advance(26) == ["updated"]
    assert world.last.evidence["folded_count"] == 30
    assert world.advance(80)[-1] == "recovering"
    assert "cleared" in world.advance(141)


def test_critical_alerts_stay_out_of_a_storm() -> None:
    world = World(AT_ONCE)
    storm(world, 80)
    world.take("raise", 19, 19, subject_id="hot", severity=Severity.CRITICAL)
    assert (world.last.subject_id, world.last.folded_into) == ("hot", "")


def test_a_healthy_fleet_that_tells_what_it_is_like_is_no_storm() -> None:
    world = World(replace(AT_ONCE, tells_a_trait=True))
    storm(world, 80, severity=Severity.INFO)
    assert {(told.alert.rule, told.alert.folded_into) for told in world.told} == {
        (AT_ONCE.name, "")
    }


def test_a_track_of_a_checkpoint_before_traits_is_read() -> None:
    world = World()
    world.take("raise", 10)
    kept = json.loads(json.dumps(world.book.snapshot()))
    del kept["tracks"][0]["tells_a_trait"]
    world.book = AlertBook.restore("run-1", kept)
    assert world.take("clear", 20) == ["recovering"]


def test_a_book_goes_on_exactly_from_its_snapshot() -> None:
    steps: list[tuple[Any, ...] | int] = [
        ("raise", 10, 0), ("raise", 12, 0), ("clear", 30, 0), 35, ("raise", 45, 44), 60,
        ("unknown", 61, 44), ("clear", 70, 44), 80, 95, ("raise", 300, 290), 320,
    ]  # fmt: skip

    def run(split: int) -> list[AlertTransition]:
        world = World()
        for place, step in enumerate(steps):
            if place == split:
                kept = json.loads(json.dumps(world.book.snapshot()))
                world.book = AlertBook.restore("run-1", kept)
            world.take(*step) if isinstance(step, tuple) else world.advance(step)
        return world.told

    whole = run(-1)
    assert [told.sequence for told in whole] == list(range(1, len(whole) + 1))
    for split in range(len(steps)):
        assert run(split) == whole
