"""A lane that drivers used has emptied while the lanes beside it carry traffic.

No vehicle stands in a closed lane, so only its emptying shows it (`_lane_use`): for 90 s nobody has
been in 100 m of it or more, though so many passed on the other lanes that this had happened by
chance in one of a million cases; and these are about as many as passed before, on all lanes
together, for where a ramp dries up nobody has changed over. Where somebody stands right before the
empty stretch it is `lane_blocked`. It is over when somebody drives through.
"""

from __future__ import annotations

from openvrc.contracts.detection import Detector, Rule
from openvrc.detectors.traffic._emptied import EmptiedLane
from openvrc.detectors.traffic._lane_use import Emptied, LaneUse


def _is_mine(use: LaneUse, one: Emptied) -> bool:
    """Nobody stands where it begins, and its traffic is on the other lanes."""
    return not use.stands_before(one.first, one.raised_s) and use.have_changed_over(one)


RULE = Rule(
    name="traffic.lane_closed",
    title="Lane closed",
    meaning="A lane that was in use is empty while the lanes beside it carry traffic.",
    advice="Check whether works or signs close it; announce the closure upstream.",
    recovering_for_s=10.0,
    actionable_for_s=900.0,
)

PLUGIN: Detector = EmptiedLane(RULE, "Nobody stands before this lane.", _is_mine)
