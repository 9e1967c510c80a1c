"""What `traffic.red_light` promises, on a small road with a signal at its end."""

from __future__ import annotations

from typing import Any

import pytest

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Finding, Severity
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic.red_light import PLUGIN
from tests.support.straight_road import LENGTH_M, START_NS, Row, batch_of, context, passing, row

CROSSES_S = 50.0  # 600 m at the 12 m/s of `passing`


def phases(
    red: tuple[float, float], *, groups: tuple[int, ...] = (0, 1), until_s: int = 70
) -> Batch:
    """Signal states of these groups, twice a second: red within a time, else green."""
    times = [(half / 2.0, group) for half in range(2 * until_s) for group in groups]
    return from_columns(
        "signal_state",
        zone="test",
        run_id="test",
        origin="simulated",
        n_rows=len(times),
        columns={
            "source_id": "x",
            "subject_id": [f"x:{group}" for _, group in times],
            "sampled_at_ns": [START_NS + round(at_s * NS_PER_S) for at_s, _ in times],
            "intersection_id": "x",
            "signal_group": [group for _, group in times],
            "phase": ["red" if red[0] <= at_s < red[1] else "green" for at_s, _ in times],
            "lateness": 0,
        },
    )


def through(**more: Any) -> list[Row]:
    """A vehicle that drives over the line 50 s after the start."""
    rows = passing("runner", 0.0, **more)
    gone = range(len(rows), len(rows) + 8)
    return rows + [
        row("runner", at_s, at_s * 12.0 - LENGTH_M, 12.0, segment_id="after") | more
        for at_s in gone
    ]


def found(rows: list[Row], signals: Batch) -> list[Finding]:
    state = PLUGIN.initial(context(signal=True))
    state, _ = PLUGIN.update(state, signals)
    state, _ = PLUGIN.update(state, batch_of(rows))
    return PLUGIN.advance(state, START_NS + 120 * NS_PER_S)[1]


def test_who_drives_over_the_line_at_red_is_found_with_lane_and_time() -> None:
    raised, cleared = found(through(), phases((45.0, 62.0)))
    assert (raised.phase, raised.subject_id, raised.component) == ("raise", "runner", "lane:0")
    assert abs((raised.at_ns - START_NS) / NS_PER_S - CROSSES_S) < 1.0
    assert raised.segment_id == "road"
    assert raised.severity == Severity.SERIOUS
    assert raised.evidence["red_s"] == pytest.approx(CROSSES_S - 45.0, abs=1.0)
    assert cleared.phase == "clear"


@pytest.mark.parametrize(
    "red",
    [(10.0, 47.0), (49.5, 62.0), (20.0, 50.5), (57.0, 66.0)],
    ids=["green again", "a moment of red", "starts early", "red later"],
)
def test_who_may_drive_is_not_found(red: tuple[float, float]) -> None:
    assert found(through(), phases(red)) == []


def test_nobody_is_accused_where_the_lane_beside_has_no_red() -> None:
    assert found(through(), phases((45.0, 62.0), groups=(0,))) == []


def test_a_controller_that_fell_silent_accuses_nobody() -> None:
    assert found(through(), phases((15.0, 99.0), until_s=20)) == []


@pytest.mark.parametrize("word", ["emergency", "bus", "tram", "bicycle"])
def test_who_has_other_signals_is_not_found(word: str) -> None:
    assert found(through(vehicle_class=word), phases((45.0, 62.0))) == []


def test_who_waits_at_the_line_and_slips_over_it_by_noise_is_not_found() -> None:
    waiting = [
        row(
            "waiter",
            at_s,
            598.0 if at_s % 3 else 1.0,
            0.1,
            segment_id="road" if at_s % 3 else "after",
        )
        for at_s in range(20, 50)
    ]
    assert found(waiting, phases((10.0, 58.0))) == []
