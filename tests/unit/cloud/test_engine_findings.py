"""What rules at an edge found becomes alerts like the cloud's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloud.engine import FAILED_RULE, FAILURE_OVER_NS, Engine
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Detector, Finding, Severity
from openvrc.contracts.finding_rows import findings_batch, findings_of
from openvrc.detectors.traffic import conflict, hard_braking
from tests.support.store_world import tick

NOW_NS = 1_767_225_600_000_000_000
RULES: dict[str, Detector] = {
    conflict.NAME: conflict.PLUGIN,
    hard_braking.NAME: hard_braking.PLUGIN,
}
FOUND = Finding(
    rule=conflict.NAME,
    phase="raise",
    subject_type="vehicle",
    subject_id="car-1",
    at_ns=NOW_NS,
    started_at_ns=NOW_NS,
    severity=Severity.SERIOUS,
    component="lane:1",
    confidence=0.5,
    segment_id="a",
    lat_deg=53.5,
    lon_deg=10.0,
    evidence={"text": "Meets car-2 in 0.7 s.", "ttc_s": 0.7},
)
BARE = replace(FOUND, phase="clear", component="", segment_id="", lat_deg=None, lon_deg=None)


def batch_of(*found: Finding) -> Batch:
    return findings_batch(
        found, zone="z", run_id="r", origin="simulated", edge_id="e", received_at_ns=NOW_NS
    )


def test_findings_come_back_from_their_batch() -> None:
    assert findings_of(batch_of(FOUND, BARE)) == [FOUND, BARE]


def test_a_finding_of_an_edge_opens_and_ends_an_alert() -> None:
    engine = Engine(RULES)
    told = engine.process([batch_of(FOUND)]).transitions
    assert [t.alert.rule for t in told][-1] == conflict.NAME
    assert [a.subject_id for a in engine.open_alerts()] == ["car-1"]
    engine.process([batch_of(replace(FOUND, phase="clear", at_ns=NOW_NS + 10**9, evidence={}))])
    again = Engine(RULES)
    again.restore(engine.snapshot())
    assert [a.state for a in again.open_alerts()] in ([], ["recovering"])


def test_a_rule_that_runs_at_the_edge_does_not_run_in_the_cloud_too() -> None:
    assert list(Engine(RULES)._detectors) == [hard_braking.NAME]


def test_a_finding_of_an_unknown_rule_is_reported_and_stops_nothing() -> None:
    engine = Engine(RULES)
    output = engine.process([batch_of(replace(FOUND, rule="traffic.unheard_of"), FOUND)])
    assert output.n_failures == 1
    assert {a.rule for a in engine.open_alerts()} == {"platform.detector_failed", conflict.NAME}


def test_findings_of_a_rule_that_was_not_chosen_are_left_out_and_counted() -> None:
    chosen = {hard_braking.NAME: RULES[hard_braking.NAME]}
    engine = Engine(chosen, left_out=RULES.keys() - chosen.keys())
    output = engine.process([batch_of(FOUND, replace(FOUND, rule="traffic.unheard_of"))])
    assert (output.n_left_out, output.n_failures) == (1, 1)
    assert {a.rule for a in engine.open_alerts()} == {FAILED_RULE.name}
    assert engine.process([batch_of(BARE)]).n_left_out == 1


def test_evidence_that_is_no_object_is_reported_and_stops_nothing() -> None:
    engine = Engine(RULES)
    broken = batch_of(FOUND).with_columns({"evidence": ["[1]"]})
    assert engine.process([broken]).n_failures == 1


@pytest.mark.parametrize("evidence", ["[" * 8000, '{"a":' * 17 + "1" + "}" * 17])
def test_evidence_that_is_nested_too_deep_is_reported_and_stops_nothing(evidence: str) -> None:
    engine = Engine(RULES)
    nested = batch_of(FOUND).with_columns({"evidence": [evidence]})
    assert engine.process([nested]).n_failures == 1
    assert engine.process([batch_of(FOUND)]).n_failures == 0


def test_nested_evidence_of_a_few_levels_is_taken() -> None:
    found = replace(FOUND, evidence={"others": [{"id": "a", "at": [1.0, 2.0]}]})
    assert findings_of(batch_of(found)) == [found]


def test_a_rule_that_failed_at_an_edge_counts_as_well_after_a_while_without_another() -> None:
    engine = Engine(RULES)
    failed = replace(
        FOUND, rule=FAILED_RULE.name, subject_type="zone", subject_id="z", component=conflict.NAME
    )

    def clock(at_ns: int) -> Batch:
        return tick(at_ns, zone="z", run_id="r")

    engine.process([batch_of(failed), clock(NOW_NS + FAILURE_OVER_NS - 1)])
    assert [a.state for a in engine.open_alerts()] == ["active"]
    again = Engine(RULES)
    again.restore(engine.snapshot())
    again.process([clock(NOW_NS + FAILURE_OVER_NS), clock(NOW_NS + 2 * FAILURE_OVER_NS)])
    assert not again.open_alerts()
