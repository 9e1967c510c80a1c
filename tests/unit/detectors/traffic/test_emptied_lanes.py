"""What `traffic.lane_closed` and `traffic.lane_blocked` promise, on a small road."""

from __future__ import annotations

from openvrc.contracts.detection import Detector, Finding
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic import lane_blocked, lane_closed
from tests.support.straight_road import START_NS, Row, context, in_time, passing, row, run

EMPTIES_S = 120


def traffic(until_s: int, *, again_s: int = 10_000, every_s: int = 4) -> list[Row]:
    """Cars on both lanes in turn; on the left one only from EMPTIES_S until `again_s`."""
    rows = []
    for start in range(0, until_s, every_s):
        is_shut = EMPTIES_S <= start < again_s
        lane = 1 if is_shut else start // every_s % 2
        rows += passing(f"car{start:04}", float(start), lane_index=lane)
    return rows


def standing(from_s: int, to_s: int, at_m: float) -> list[Row]:
    return [row("stander", at_s, at_m, 0.0) for at_s in range(from_s, to_s)]


def found(detector: Detector, rows: list[Row]) -> list[Finding]:
    return run(detector, context(), in_time(rows))


def test_a_lane_that_empties_while_the_other_carries_traffic_is_closed() -> None:
    (raised,) = found(lane_closed.PLUGIN, traffic(300))
    assert (raised.phase, raised.subject_id, raised.component) == ("raise", "road", "lane:0")
    after_s = (raised.at_ns - START_NS) / NS_PER_S - EMPTIES_S
    assert 90.0 <= after_s <= 150.0
    assert raised.evidence["vehicles_on_other_lanes"] >= 20
    assert found(lane_blocked.PLUGIN, traffic(300)) == []


def test_a_closed_lane_is_cleared_by_who_drives_through() -> None:
    phases = [f.phase for f in found(lane_closed.PLUGIN, traffic(360, again_s=280))]
    assert phases == ["raise", "clear"]


def test_a_lane_that_empties_ahead_of_somebody_who_stands_is_blocked() -> None:
    raised = found(lane_blocked.PLUGIN, traffic(300) + standing(115, 350, 210.0))
    assert [(f.phase, f.component) for f in raised] == [("raise", "lane:0")]
    assert raised[0].evidence["from_m"] in (250.0, 300.0)


def test_a_lane_that_was_hardly_used_may_be_empty() -> None:
    rows = [r for n in range(0, 400, 4) for r in passing(f"car{n:04}", float(n), lane_index=1)]
    rows += [r for n in (10, 70) for r in passing(f"rare{n}", float(n), lane_index=0)]
    assert found(lane_closed.PLUGIN, rows) == []


def test_a_road_on_which_nobody_drives_any_more_is_not_closed() -> None:
    rows = [r for r in traffic(300) if int(r["subject_id"][3:]) < EMPTIES_S]
    rows += [row("late", at_s, 300.0, 0.0, lane_index=1) for at_s in range(300, 320)]
    assert found(lane_closed.PLUGIN, rows) == []
