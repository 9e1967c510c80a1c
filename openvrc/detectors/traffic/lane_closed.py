"""A lane that drivers used has emptied while the lanes beside it carry traffic.

No vehicle stands in a closed lane, so only its emptying shows it (`_lane_use`): for 90 s nobody has
been in 100 m of it or more, though so many passed on the other lanes that this had happened by
chance in one of a million cases; and these are about as many as passed before, on all lanes
together, for where a ramp dries up nobody has changed over. Where somebody stands right before the
empty stretch it is `lane_blocked`. It is over when somebody drives through.
"""

from __future__ import annotations

from typing import Literal

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Rule
from openvrc.detectors.traffic import _emptied
from openvrc.detectors.traffic._emptied import Kind, State
from openvrc.detectors.traffic._lane_use import Emptied, LaneUse

NAME = "traffic.lane_closed"


def _is_mine(use: LaneUse, one: Emptied) -> bool:
    """Nobody stands where it begins, and its traffic is on the other lanes."""
    return not use.stands_before(one.first, one.raised_s) and use.have_changed_over(one)


KIND = Kind(NAME, "Nobody stands before this lane.", _is_mine)


class LaneClosed:
    """`traffic.lane_closed`."""

    name = NAME
    rule = Rule(
        name=NAME,
        title="Lane closed",
        meaning="A lane that was in use is empty while the lanes beside it carry traffic.",
        advice="Check whether works or signs close it; announce the closure upstream.",
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


PLUGIN: Detector = LaneClosed()
