"""What a signal controller says, held against itself and against who drives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Context, Finding
from openvrc.contracts.units import NS_PER_S, ns_from_iso
from openvrc.detectors.data.signal_timing import PLUGIN
from tests.support.town import road_map

START_NS = ns_from_iso("2026-01-01T08:00:00Z")
MAP = road_map()
PROGRAM = (("green", 20), ("amber", 3), ("red", 25), ("red_amber", 2))


def program(
    *, error_s: float = 0.0, phases: tuple[tuple[str, int], ...] = PROGRAM, group: int = 0
) -> Batch:
    """Ten minutes of one group, a report a second, with announced ends `error_s` off."""
    seconds, cycle_s = np.arange(600), sum(length for _, length in phases)
    ends = np.cumsum([length for _, length in phases])
    place = np.searchsorted(ends, seconds % cycle_s, side="right")
    ends_s = seconds - seconds % cycle_s + ends[place] + error_s
    return batch(
        "signal_state", len(seconds), subject_id=f"market:{group}", intersection_id="market",
        signal_group=group, phase=[phases[p][0] for p in place],
        sampled_at_ns=START_NS + seconds * NS_PER_S,
        likely_end_ns=START_NS + (ends_s * NS_PER_S).astype(np.int64),
    )  # fmt: skip


def batch(message: str, n_rows: int, **columns: Any) -> Batch:
    values = {"source_id": "controller", "lateness": 0, "id_kind": "permanent"} | columns
    return from_columns(
        message, zone="z", run_id="r", origin="simulated", n_rows=n_rows, columns=values
    )


def found(
    *batches: Batch,
    with_map: bool = True,
    step_s: int = 5,
    until_s: int = 700,
    restarts: bool = False,
) -> list[Finding]:
    """Findings of ten minutes, judged each `step_s`."""
    context = Context("z", "r", "simulated", MAP if with_map else None)
    state = PLUGIN.initial(context)
    findings: list[Finding] = []
    for each in batches:
        state, more = PLUGIN.update(state, each)
        findings += more
    for second in range(0, until_s + 1, step_s):
        state, more = PLUGIN.advance(state, START_NS + second * NS_PER_S)
        findings += more
        if restarts:
            state = PLUGIN.restore(context, PLUGIN.snapshot(state))
    return findings


def later(batch: Batch, by_s: int) -> Batch:
    """The same, told so much later."""
    names = [n for n in ("sampled_at_ns", "likely_end_ns") if n not in batch.absent]
    return batch.with_columns({n: batch.column(n) + by_s * NS_PER_S for n in names})


def crossing(*seconds: float) -> Batch:
    """Cars from the north, 6 m behind the stop line at these moments, at 10 m/s."""
    n = len(seconds)
    at_ns = START_NS + (np.array(seconds) * NS_PER_S).astype(np.int64)
    return batch(
        "vehicle_state", n, subject_id=[f"car-{i}" for i in range(n)], sampled_at_ns=at_ns,
        lat_deg=53.55, lon_deg=9.99, speed_mps=10.0, heading_deg=180.0, vehicle_class="car",
        segment_id=":market_north", lane_index=0, segment_offset_m=6.0,
    )  # fmt: skip


def test_a_program_that_keeps_its_word_is_right() -> None:
    assert found(program()) == []
    assert found(program(error_s=2.0)) == []


@pytest.mark.parametrize(
    ("error_s", "words"),
    [
        (3600.0, "3600 s earlier than announced, whole hours"),
        (-3600.0, "3600 s later than announced, whole hours"),
        (-60.0, "60 s later than announced, whole minutes"),
        (25.0, "25 s earlier than announced; 3 times"),
    ],
)
def test_an_announced_end_that_is_off_is_told_with_by_how_much(error_s: float, words: str) -> None:
    (finding,) = found(program(error_s=error_s))
    assert (finding.subject_id, finding.component) == ("market", "times")
    assert words in finding.evidence["text"]
    assert finding.evidence["error_s"] == error_s
    # The first change is at 20 s, the third at 48 s.
    assert finding.started_at_ns == START_NS + 20 * NS_PER_S
    assert finding.at_ns == START_NS + 48 * NS_PER_S


def test_phases_that_never_follow_one_another_are_told() -> None:
    (finding,) = found(program(phases=(("red", 20), ("amber", 3), ("green", 20))))
    assert finding.component == "phases"
    assert "amber follows red" in finding.evidence["text"]


def test_a_program_without_amber_is_no_fault() -> None:
    assert found(program(phases=(("red", 20), ("green", 20)))) == []
    assert found(program(phases=(("green", 20), ("amber", 3), ("green", 9), ("red", 9)))) == []


def test_what_is_right_again_is_cleared() -> None:
    wrong, right = program(error_s=600.0), program()
    half = START_NS + 300 * NS_PER_S
    first = wrong.take(np.flatnonzero(wrong.column("sampled_at_ns") < half))
    second = right.take(np.flatnonzero(right.column("sampled_at_ns") >= half))
    assert [f.phase for f in found(first, second)] == ["raise", "clear"]


def test_vehicles_that_pass_on_red_cycle_after_cycle_say_that_the_signal_is_wrong() -> None:
    on_red = [50.0 * cycle + 30.0 + 4.0 * n for cycle in range(3) for n in range(3)]
    (finding,) = found(program(), crossing(*on_red))
    assert (finding.subject_type, finding.subject_id) == ("segment", "north_in")
    assert finding.component == "movements"
    assert (finding.evidence["on_red_count"], finding.evidence["passed_count"]) == (5, 5)


def test_vehicles_that_pass_on_green_and_a_few_on_red_are_no_proof() -> None:
    on_green = [50.0 * cycle + 2.0 + 2.0 * n for cycle in range(12) for n in range(4)]
    just_red = [50.0 * cycle + 24.0 for cycle in range(12)]
    on_red = [50.0 * cycle + 40.0 for cycle in range(6)]
    assert found(program(), crossing(*on_green, *just_red, *on_red)) == []


def test_nobody_is_held_against_a_signal_that_is_silent_or_not_on_the_map() -> None:
    on_red = crossing(*[50.0 * cycle + 35.0 for cycle in range(12)])
    assert found(on_red) == []
    assert found(program(), on_red, with_map=False) == []
    assert found(program(group=1), on_red) == []


def test_who_passes_while_a_signal_is_silent_is_not_held_against_it_however_seldom_is_judged() -> (
    None
):
    report = program(phases=(("red", 600), ("green", 1)))
    seconds = (report.column("sampled_at_ns") - START_NS) // NS_PER_S
    silent = report.take(np.flatnonzero((seconds < 10) | (seconds > 300)))
    passing = crossing(*np.arange(30.0, 290.0, 20.0).tolist())
    for step_s in (1, 5, 600):
        assert found(silent, passing, step_s=step_s) == []
        assert len(found(report, passing, step_s=step_s)) == 1


@pytest.mark.parametrize("step_s", [5, 50, 2400])
@pytest.mark.parametrize("restarts", [False, True])
def test_of_a_wrong_signal_that_falls_silent_nothing_is_known_until_it_is_back(
    step_s: int, restarts: bool
) -> None:
    wrong = program(error_s=600.0)
    for back, last in ((program(error_s=600.0), "raise"), (program(), "clear")):
        findings = found(wrong, later(back, 1300), step_s=step_s, until_s=2400, restarts=restarts)
        assert [f.phase for f in findings] == ["raise", "unknown", last]
        assert findings[1].at_ns == START_NS + (599 + 600) * NS_PER_S
        assert len({f.started_at_ns for f in findings}) == 1


@pytest.mark.parametrize("step_s", [5, 8400])
def test_a_wrong_signal_can_be_right_again_after_hours_and_a_right_one_begins_anew(
    step_s: int,
) -> None:
    batches = [program(error_s=600.0), program(group=1), later(program(), 7200)]
    batches.append(later(program(group=1), 7200))
    findings = found(*batches, step_s=step_s, until_s=8400)
    assert [f.phase for f in findings] == ["raise", "unknown", "clear"]


def test_ends_that_are_no_longer_announced_are_no_longer_wrong() -> None:
    silent = later(program(), 600).with_columns({"likely_end_ns": np.zeros(600, np.int64)})
    findings = found(program(error_s=600.0), silent, until_s=1200)
    assert [(f.component, f.phase) for f in findings] == [("times", "raise"), ("times", "clear")]


@pytest.mark.parametrize("step_s", [5, 1000])
def test_of_a_signal_that_nobody_passes_any_more_nothing_is_known(step_s: int) -> None:
    on_red = [50.0 * cycle + 30.0 + 4.0 * n for cycle in range(3) for n in range(3)]
    findings = found(program(), crossing(*on_red), step_s=step_s, until_s=1000, restarts=True)
    assert [(f.component, f.phase) for f in findings] == [
        ("movements", "raise"), ("movements", "unknown"),
    ]  # fmt: skip
    assert findings[1].at_ns - START_NS == pytest.approx((138 + 600) * NS_PER_S, abs=NS_PER_S)


def test_names_that_are_said_once_are_forgotten_after_an_hour() -> None:
    n, state = 200, PLUGIN.initial(Context("z", "r", "simulated", None))
    said = batch(
        "signal_state", n, subject_id=[f"made up {i}:1" for i in range(n)], intersection_id="x",
        signal_group=1, phase="red", sampled_at_ns=START_NS,
    )  # fmt: skip
    state, _ = PLUGIN.update(state, said)
    state, _ = PLUGIN.advance(state, START_NS)
    assert len(PLUGIN.snapshot(state)["group"]) == n
    state, _ = PLUGIN.update(state, later(program(), 3700))
    state, _ = PLUGIN.advance(state, START_NS + 3800 * NS_PER_S)
    kept = PLUGIN.snapshot(state)
    assert kept["group"].tolist() == ["market:0"]
    assert len(kept["newest.at_ns"]) == 1
    state, findings = PLUGIN.advance(state, START_NS + 4400 * NS_PER_S)
    assert findings == []
