"""Every discovered detector through one suite: splits, ticks, gaps, restarts, texts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Literal

import numpy as np
import pytest

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Detector, Finding, Rule
from openvrc.contracts.plugins import discover
from tests.conformance import worlds
from tests.conformance.detector_checks import (
    Plan,
    check_findings,
    check_inputs_unchanged,
    check_same,
    check_snapshots_are_copies,
    check_texts,
    merged_times,
    raised,
    run,
    steps,
)

DETECTORS: dict[str, Detector] = discover("openvrc.detectors")
each_detector = pytest.mark.parametrize("name", DETECTORS)
N_CUTS = 30


@cache
def world_of(kind: str) -> worlds.World:
    return getattr(worlds, kind)()  # type: ignore[no-any-return]


def all_worlds_for(detector: Detector) -> list[worlds.World]:
    """Worlds with its messages."""
    every = [
        world_of(kind)
        for kind in ("street", "works", "braking", "days", "drives", "mornings", "charges")
    ]
    return [w for w in every if any(m in w.batches for m in detector.inputs)]


def worlds_for(detector: Detector) -> list[worlds.World]:
    """Of these, those in which it has something to find: for checks that run many times."""
    able = all_worlds_for(detector)
    if DETECTORS.get(detector.name) is not detector:
        return able
    return [w for w in able if baseline(detector.name, w.name)] or able


def coarse(world: worlds.World) -> int:
    """Every how many ticks one comes, so that some thirty do; that spacing changes nothing has
    a test of its own."""
    first_ns = min(int(times[0]) for times in world.admitted_ns.values())
    return max(5, (world.end_ns - first_ns) // world.tick_step_ns // 30)


def few_ticks(world: worlds.World) -> Plan:
    return Plan(every_nth_tick=coarse(world))


@cache
def baseline(name: str, kind: str) -> tuple[Finding, ...]:
    return tuple(run(DETECTORS[name], world_of(kind)))


def cuts_at(detector: Detector, world: worlds.World, seed: int) -> tuple[int, ...]:
    """Some places anywhere in the rows."""
    n_rows = len(merged_times(world, detector.inputs))
    return tuple(np.sort(np.random.default_rng(seed).integers(0, n_rows + 1, N_CUTS)).tolist())


@each_detector
def test_detector_texts_and_names_follow_the_design(name: str) -> None:
    check_texts(DETECTORS[name])
    assert DETECTORS[name].name == name


@each_detector
def test_detector_fires_where_its_fault_is(name: str) -> None:
    found = [f for w in worlds_for(DETECTORS[name]) for f in baseline(name, w.name)]
    assert raised(found), f"{name} finds nothing: add its fault to tests/conformance/worlds.py"


@each_detector
def test_detector_findings_are_well_formed(name: str) -> None:
    for world in worlds_for(DETECTORS[name]):
        check_findings(DETECTORS[name], list(baseline(name, world.name)))


@each_detector
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_detector_does_not_depend_on_batch_splits(name: str, seed: int) -> None:
    detector = DETECTORS[name]
    for world in worlds_for(detector):
        found = run(detector, world, Plan(cuts_at(detector, world, seed), coarse(world)))
        check_same(name, list(baseline(name, world.name)), found, "batch splits")


@each_detector
def test_detector_may_get_every_row_in_a_batch_of_its_own(name: str) -> None:
    detector = DETECTORS[name]
    for world in all_worlds_for(detector):
        middle = len(merged_times(world, detector.inputs)) // 2
        plan = Plan(tuple(range(middle - 20, middle + 20)), coarse(world))
        found = run(detector, world, plan)
        check_same(name, list(baseline(name, world.name)), found, "single-row batches")


@each_detector
@pytest.mark.parametrize("every_nth", [pytest.param(2, marks=pytest.mark.slow), 7, 1000])
def test_detector_does_not_depend_on_tick_spacing(name: str, every_nth: int) -> None:
    detector = DETECTORS[name]
    for world in worlds_for(detector):
        found = run(detector, world, Plan(every_nth_tick=every_nth))
        check_same(name, list(baseline(name, world.name)), found, "tick spacing")


@each_detector
@pytest.mark.parametrize("seed", [1, 2])
def test_detector_still_fires_when_one_sample_is_missing(name: str, seed: int) -> None:
    detector = DETECTORS[name]
    for world in worlds_for(detector):
        rng = np.random.default_rng(seed)
        message = str(rng.choice([m for m in detector.inputs if m in world.batches]))
        row = int(rng.integers(world.batches[message].n_rows))
        found = run(detector, worlds.without_row(world, message, row), few_ticks(world))
        assert raised(found) >= raised(baseline(name, world.name)), f"lost row {row} of {message}"


@each_detector
def test_detector_finds_nothing_where_every_value_is_absent(name: str) -> None:
    for world in worlds_for(DETECTORS[name]):
        assert run(DETECTORS[name], worlds.nothing_but_absence(world), few_ticks(world)) == []


@each_detector
def test_detector_is_not_moved_by_a_vehicle_without_values(name: str) -> None:
    for world in worlds_for(DETECTORS[name]):
        found = run(DETECTORS[name], worlds.with_absent_vehicle(world), few_ticks(world))
        check_same(name, list(baseline(name, world.name)), found, "a vehicle without values")


@each_detector
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_detector_goes_on_from_a_snapshot_as_if_never_stopped(name: str, share: float) -> None:
    detector = DETECTORS[name]
    for world in worlds_for(detector):
        plan = Plan(cuts_at(detector, world, 3), coarse(world))
        n_steps = len(list(steps(world, detector.inputs, plan)))
        found = run(detector, world, replace(plan, restart_after=int(share * n_steps)))
        check_same(name, list(baseline(name, world.name)), found, "a restart")


@each_detector
def test_detector_snapshots_do_not_change_with_the_state(name: str) -> None:
    for world in worlds_for(DETECTORS[name]):
        check_snapshots_are_copies(DETECTORS[name], world, few_ticks(world))


@each_detector
def test_detector_leaves_input_batches_unchanged(name: str) -> None:
    for world in worlds_for(DETECTORS[name]):
        check_inputs_unchanged(DETECTORS[name], world, few_ticks(world))


@each_detector
def test_detector_takes_empty_batches(name: str) -> None:
    detector = DETECTORS[name]
    for world in worlds_for(detector):
        state = detector.initial(world.context)
        for message in detector.inputs:
            if message in world.batches:
                state, found = detector.update(state, world.batches[message].slice(0, 0))
                assert found == []


class Broken:
    """A detector with a wish: wrong in one way, chosen at its making."""

    name = "data.broken"
    rule = Rule("data.broken", "Broken", "It is broken.", "Repair it.")
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def __init__(self, how: str) -> None:
        self.how = how
        self._shared = np.zeros(1, np.int64)

    def initial(self, context: Any) -> dict[str, int]:
        return {"rows": 0, "updates": 0, "ticks": 0}

    def update(self, state: dict[str, int], batch: Batch) -> tuple[Any, list[Finding]]:
        state["rows"] += batch.n_rows
        state["updates"] += 1
        if self.how == "writes into its input" and batch.n_rows:
            _force_write(batch.column("pack_current_a"))
        return state, []

    def advance(self, state: dict[str, int], watermark_ns: int) -> tuple[Any, list[Finding]]:
        state["ticks"] += 1
        if watermark_ns < world_of("street").end_ns:
            return state, []
        return state, [_finding(state[self.how] if self.how in state else state["rows"])]

    def snapshot(self, state: dict[str, int]) -> dict[str, Any]:
        if self.how == "objects":
            return {"state": np.array([state], dtype=object)}
        if self.how == "shares":
            self._shared[0] = state["rows"]
            return {"state": self._shared}
        return {"state": np.array([state["rows"]])}

    def restore(self, context: Any, arrays: dict[str, Any]) -> dict[str, int]:
        rows = 0 if self.how == "forgets" else int(arrays["state"][0])
        return {"rows": rows, "updates": 0, "ticks": 0}


def _force_write(array: Any) -> None:
    import ctypes

    ctypes.memset(array.ctypes.data, 0x41, array.nbytes)


def _finding(count: int) -> Finding:
    return Finding(
        rule="data.broken",
        phase="raise",
        subject_type="vehicle",
        subject_id="x",
        at_ns=1,
        started_at_ns=1,
        evidence={"text": "It counts.", "count": count},
    )


def test_the_suite_sees_a_detector_that_counts_batches() -> None:
    detector, world = Broken("updates"), world_of("street")
    expected = run(detector, world)
    with pytest.raises(AssertionError, match="depend on batch splits"):
        check_same("x", expected, run(detector, world, Plan((5, 50))), "batch splits")


def test_the_suite_sees_a_detector_that_counts_ticks() -> None:
    detector, world = Broken("ticks"), world_of("street")
    expected = run(detector, world)
    with pytest.raises(AssertionError, match="depend on tick spacing"):
        check_same("x", expected, run(detector, world, Plan(every_nth_tick=7)), "tick spacing")


def test_the_suite_sees_a_state_that_is_not_restored() -> None:
    detector, world = Broken("forgets"), world_of("street")
    expected = run(detector, world)
    with pytest.raises(AssertionError, match="depend on a restart"):
        check_same("x", expected, run(detector, world, Plan(restart_after=40)), "a restart")


def test_the_suite_sees_objects_in_a_snapshot() -> None:
    with pytest.raises(AssertionError, match="dtype object"):
        run(Broken("objects"), world_of("street"), Plan(restart_after=40))


def test_the_suite_sees_a_snapshot_that_shares_its_array() -> None:
    with pytest.raises(AssertionError, match="expected a copy"):
        check_snapshots_are_copies(Broken("shares"), world_of("street"))


def test_the_suite_sees_a_changed_input() -> None:
    with pytest.raises(AssertionError, match="changed a batch"):
        check_inputs_unchanged(Broken("writes into its input"), worlds.street(seed=2))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"started_at_ns": 2}, "ends before it began"),
        ({"phase": "clear"}, "not open"),
        ({"evidence": {"text": "It is 3.", "speed": 3.0}}, "no unit"),
        ({"evidence": {"text": "no full stop"}}, "no sentence"),
        ({"evidence": {}}, "no text"),
        ({"confidence": 0.0}, "confidence"),
        ({"rule": "data.other"}, "rule"),
        ({"component": "Cell 81"}, "odd component"),
    ],
)
def test_the_suite_sees_a_malformed_finding(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_findings(Broken("rows"), [replace(_finding(1), **change)])


def test_the_suite_sees_evidence_that_is_no_json() -> None:
    wrong = replace(_finding(1), evidence={"text": "NaN.", "speed_mps": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        check_findings(Broken("rows"), [wrong])


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Rule("data.other", "T", "M.", "A."), "has rule"),
        (Rule("data.broken", "", "M.", "A."), "title is empty"),
        (Rule("data.broken", "T", "M", "A."), "no full sentences"),
    ],
)
def test_the_suite_sees_missing_texts(rule: Rule, reason: str) -> None:
    detector = Broken("rows")
    detector.rule = rule
    with pytest.raises(AssertionError, match=reason):
        check_texts(detector)


def test_the_suite_sees_a_name_outside_the_design() -> None:
    detector = Broken("rows")
    detector.name = "battery.gremlins"
    detector.rule = Rule("battery.gremlins", "T", "M.", "A.")
    with pytest.raises(AssertionError, match="not in the design"):
        check_texts(detector)
