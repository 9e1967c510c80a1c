"""Rules at the edge: what they find goes up and out, and survives a restart."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import journal
from edge.core import EdgeCore, Group
from edge.journal import BATCHES, Input
from edge.pipeline import Pipeline
from edge.spool import Spool
from edge.warnings import advisories
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding
from openvrc.contracts.messages.roadside import Advisory
from openvrc.contracts.topics import is_down
from openvrc.contracts.wire import pack
from openvrc.detectors.traffic import conflict
from tests.support.edge_world import RUN, T0, ZONE, announce, of, road_map, tick, vehicles

RULES: dict[str, Detector] = {conflict.NAME: conflict.PLUGIN}
SECONDS = 18


def closing_in(second: int) -> Batch:
    """One stands at 200 m, one comes from 60 m with 12 m/s and stops behind it."""
    behind_m = min(60.0 + 12.0 * second, 190.0)
    speed_mps = 12.0 if behind_m < 190.0 else 0.0
    batch = vehicles([("stands", second, 200.0), ("comes", second, behind_m)])
    numbers = {"session": 1, "seq": np.array([2 * second, 2 * second + 1])}
    return batch.with_columns({"speed_mps": np.array([0.0, speed_mps])} | numbers)


def inputs() -> list[list[Input]]:
    """A group a second."""
    groups = [[Input(BATCHES, T0, "", pack([announce()]))]]
    for second in range(1, SECONDS):
        parts = [pack([closing_in(second)]), pack([tick(second)])]
        groups.append([Input(BATCHES, T0 + second, "", part) for part in parts])
    return groups


def core_with(rules: dict[str, Detector]) -> EdgeCore:
    return EdgeCore({}, "edge-1", 1, detectors=rules)


def run(*, restart_at: int | None = None, rules: dict[str, Detector] = RULES) -> list[Group]:
    core, groups = core_with(rules), []
    for number, group in enumerate(inputs()):
        for place, entry in enumerate(group):
            entry.apply(core, place)
        groups.append(core.take_group())
        if number == restart_at:
            data, core = core.snapshot(), core_with(rules)
            core.restore(data)
    return groups


def findings(groups: list[Group]) -> list[dict[str, Any]]:
    return [row for group in groups for row in of(group, "finding")]


def test_two_on_a_collision_course_are_found_behind_the_records_that_show_it() -> None:
    groups = run()
    raised = [row for row in findings(groups) if row["phase"] == "raise"]
    assert {row["subject_id"] for row in raised} == {"comes"}
    assert raised[0]["source_id"] == "edge-1"
    assert json.loads(raised[0]["evidence"])["other_id"] == "stands"
    messages = next([b.message for b in g.batches] for g in groups if of(g, "finding"))
    assert messages.index("vehicle_state") < messages.index("finding") < messages.index("tick")
    assert [row["phase"] for row in findings(groups)][-1] == "clear"


@pytest.mark.parametrize("restart_at", range(1, SECONDS - 1, 2))
def test_a_restart_changes_no_finding(restart_at: int) -> None:
    assert findings(run(restart_at=restart_at)) == findings(run())


def test_the_journal_leads_to_the_same_findings() -> None:
    core, blobs, groups = core_with(RULES), list[bytes](), list[Group]()
    for number, group in enumerate(inputs()):
        for place, entry in enumerate(group):
            entry.apply(core, place)
        taken = core.take_group()
        groups.append(taken)
        blobs.append(journal.write(group, taken.steps, pack(taken.batches)))
        if number % 3 == 0:
            core = core_with(RULES)
            journal.replay(core, blobs)
    assert findings(groups) == findings(run())


def test_without_rules_everything_else_is_the_same() -> None:
    def others(groups: list[Group]) -> list[Any]:
        batches = [b for group in groups for b in group.batches if b.message != "finding"]
        return [batch.to_records() for batch in batches]

    assert others(run(rules={})) == others(run())
    assert not findings(run(rules={}))


def test_a_checkpoint_without_rules_is_gone_on_from_with_rules_and_the_other_way() -> None:
    for before, after in ((RULES, {}), ({}, RULES)):
        core = core_with(before)
        for group in inputs()[:4]:
            for entry in group:
                entry.apply(core, 0)
        core.take_group()
        again = core_with(after)
        again.restore(core.snapshot())
        again.on_batch(closing_in(5), T0)
        assert of(again.take_group(), "vehicle_state")


def test_who_is_on_a_collision_course_is_told() -> None:
    told = [said for group in run() for said in advisories(group.batches, "edge-1")]
    topics = {topic for topic, _ in told}
    assert topics == {f"vrc/v1/{ZONE}/vehicle/comes/down/advisory"}
    said = Advisory.model_validate_json(told[0][1])
    assert (said.kind, said.subject_id, said.run_id) == ("warning", "comes", RUN)
    assert said.text is not None
    assert "stands" in said.text
    assert said.expires_at_ns > said.sampled_at_ns


def test_a_vehicle_that_no_topic_can_name_is_not_told() -> None:
    group = next(g for g in run() if of(g, "finding"))
    batches = [b for b in group.batches if b.message == "finding"]
    renamed = [b.with_columns({"subject_id": ["a/b#1"] * b.n_rows}) for b in batches]
    assert list(advisories(renamed, "edge-1")) == []


def test_what_is_said_to_others_is_no_dead_letter() -> None:
    core = core_with({})
    topic = f"vrc/v1/{ZONE}/vehicle/comes/down/advisory"
    assert is_down(topic)
    core.on_payload(topic, b"{}", T0)
    assert core.take_group().batches == []
    core.on_payload(f"vrc/v1/{ZONE}/vehicle/comes/advisory", b"{}", T0)
    assert of(core.take_group(), "dead_letter")


class Failing(conflict.Conflict):
    """Fails at every batch."""

    def update(self, state: conflict.State, batch: Batch) -> Any:
        raise ZeroDivisionError("on purpose")


def test_a_rule_that_fails_says_so_and_stops_nothing() -> None:
    groups = run(rules={conflict.NAME: Failing()})
    assert {row["rule"] for row in findings(groups)} == {"platform.detector_failed"}
    assert {row["component"] for row in findings(groups)} == {conflict.NAME}
    assert len([row for group in groups for row in of(group, "vehicle_state")]) == 2 * SECONDS - 2


class Saying(conflict.Conflict):
    """Says one thing about each batch."""

    def __init__(self, **changed: Any) -> None:
        self._changed = changed

    def update(self, state: conflict.State, batch: Batch) -> Any:
        at_ns = int(batch.column("sampled_at_ns").max())
        return state, [
            Finding(conflict.NAME, "raise", "vehicle", "v", at_ns, at_ns, **self._changed)
        ]


def said(**changed: Any) -> dict[str, Any]:
    """The finding that came of one batch."""
    core = core_with({conflict.NAME: Saying(**changed)})
    core.on_batch(announce(), T0)
    core.on_batch(closing_in(1), T0)
    core.on_batch(tick(1), T0)
    (row,) = of(core.take_group(), "finding")
    return row


def test_evidence_may_hold_numpys_numbers_and_none_where_there_is_no_number() -> None:
    row = said(evidence={"ttc_s": np.float32(1.5), "n": np.int64(3), "gap_m": float("nan")})
    assert json.loads(row["evidence"]) == {"ttc_s": 1.5, "n": 3, "gap_m": None}


@pytest.mark.parametrize(
    "changed",
    [
        {"evidence": {"text": "x" * 8001}},
        {"component": "lane:" + "1" * 60},
        {"evidence": 3},
        {"evidence": {"deep": json.loads("[" * 20 + "]" * 20)}},
        {"confidence": float("nan")},
        {"severity": 2},
        {"evidence": {"text": "\ud800"}},
    ],
)
def test_a_finding_that_cannot_be_told_is_a_failure_of_its_rule(changed: dict[str, Any]) -> None:
    row = said(**changed)
    assert (row["rule"], row["component"]) == ("platform.detector_failed", conflict.NAME)


class OfAnotherVersion(conflict.Conflict):
    """Wants a column that the checkpoint does not have."""

    def restore(self, context: Context, arrays: Arrays) -> conflict.State:
        return super().restore(context, {"told_ego": arrays["renamed"]})


def test_a_rule_that_cannot_read_its_checkpoint_begins_anew_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "s", "edge-1", 10**9)
    line = Pipeline(spool, {}, "edge-1", max_payload_bytes=10**7, detectors=RULES)
    for entry in [entry for group in inputs()[:6] for entry in group]:
        line.give(entry)
    line.commit([], T0)
    spool.checkpoint(line.core.snapshot())
    newer = {conflict.NAME: OfAnotherVersion()}
    with caplog.at_level(logging.WARNING, "edge.pipeline"):
        again = Pipeline(spool, {}, "edge-1", max_payload_bytes=10**7, detectors=newer)
    assert f"checkpoint of {conflict.NAME} cannot be read (KeyError: 'renamed')" in caplog.text
    again.core.on_batch(closing_in(6), T0)
    assert of(again.core.take_group(), "vehicle_state")
    spool.close()


def test_another_map_ends_what_was_found_on_the_one_before() -> None:
    core = core_with(RULES)
    for entry in [entry for group in inputs()[:11] for entry in group]:
        entry.apply(core, 0)
    before = core.take_group()
    assert [row["phase"] for row in findings([before])][-1] == "raise"
    core.on_batch(announce(at_s=11, map_document=road_map(400.0).to_document()), T0)
    group = core.take_group()
    (end,) = findings([group])
    assert (end["phase"], end["subject_id"]) == ("clear", "comes")
    assert end["started_at_ns"] == findings([before])[0]["started_at_ns"]
