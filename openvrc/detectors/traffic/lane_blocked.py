"""A lane is empty ahead of somebody who stands on it: what stands there lets nobody through.

The lane has emptied while the lanes beside it carry traffic (`_lane_use`), and within 100 m before
the empty stretch somebody stood on it in the last 30 s: the vehicle that blocks it, or those who
wait behind something that reports nothing. Without anybody standing it is `lane_closed`. A single
vehicle is found sooner by `stopped_vehicle`; this rule needs none of those that block to report.
It is over when somebody drives through.
"""

from __future__ import annotations

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.traffic._emptied import EmptiedLane
from openvrc.detectors.traffic._lane_use import Emptied, LaneUse


def _is_mine(use: LaneUse, one: Emptied) -> bool:
    """Somebody stands where it begins."""
    return use.stands_before(one.first, one.raised_s)


RULE = Rule(
    name="traffic.lane_blocked",
    title="Lane blocked",
    meaning="Somebody stands on a lane, and everybody drives by on the lanes beside.",
    advice="Look at the camera of the place, warn upstream traffic, clear the lane.",
    recovering_for_s=10.0,
    actionable_for_s=900.0,
)

PLUGIN: Detector = EmptiedLane(RULE, "The lane is blocked.", _is_mine)
