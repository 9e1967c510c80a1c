"""A lane is empty ahead of somebody who stands on it: what stands there lets nobody through.

The lane has emptied while the lanes beside it carry traffic (`_lane_use`), and within 100 m before
the empty stretch somebody stood on it in the last 30 s: the vehicle that blocks it, or those who
wait behind something that reports nothing. Without anybody standing it is `lane_closed`. A single
vehicle is found sooner by `stopped_vehicle`; this rule needs none of those that block to report.
It is over when somebody drives through.
"""

from __future__ import annotations

from typing import Literal

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule
from openvrc.detectors.traffic import _emptied
from openvrc.detectors.traffic._emptied import Kind, State
from openvrc.detectors.traffic._lane_use import Emptied, LaneUse

NAME = "traffic.lane_blocked"


def _is_mine(use: LaneUse, one: Emptied) -> bool:
    """Somebody stands where it begins."""
    return use.stands_before(one.first, one.raised_s)


KIND = Kind(NAME, "The lane is blocked.", _is_mine)


class LaneBlocked:
    """`traffic.lane_blocked`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Lane blocked",
        meaning="Somebody stands on a lane, and everybody drives by on the lanes beside.",
        advice="Look at the camera of the place, warn upstream traffic, clear the lane.",
        recovering_for_s=10.0,
        actionable_for_s=900.0,
    )
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> State:
        """Lanes that nobody has used yet."""
        return _emptied.initial(context)

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Hold the batch back."""
        _emptied.update(state, batch)
        return state, []

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:
        """Fold what is complete, look at each fifth second."""
        return state, _emptied.advance(KIND, state, watermark_ns)

    def snapshot(self, state: State) -> Arrays:
        """Everything but the map."""
        return _emptied.snapshot(state)

    def restore(self, context: Context, arrays: Arrays) -> State:
        """The state that `snapshot` wrote."""
        return _emptied.restore(context, arrays)


PLUGIN: Detector = LaneBlocked()
