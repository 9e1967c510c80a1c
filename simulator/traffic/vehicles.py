"""The vehicles on the road, as arrays in order of lane and place in it.

Each vehicle's leader in its lane is the row behind its own. The order is kept by merging the few
that have changed lanes into the rest, which is a tenth of the cost of sorting.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STRIDE_M = 1e6
"""Longer than any lane: lane * STRIDE_M + offset orders all vehicles."""
STALE_M = -1.0
"""As `lane_m` of who has come into another lane: what it means is worked out in the next step."""
TURNS = 120
"""Drivers take turns in thinking; divides by all usual numbers of steps a second."""


@dataclass
class Rows:
    """Vehicles on the road, every array (n,)."""

    lane: IntArray
    offset_m: FloatArray  # of the front bumper from the lane's start
    speed_mps: FloatArray
    accel_mps2: FloatArray
    vehicle: IntArray  # number in the table of all vehicles
    plan: IntArray
    next_lane: IntArray  # behind the lane's end; NOWHERE: must change lanes, ARRIVED: leaves
    came_from: IntArray  # lane before this one, NOWHERE after a lane change
    came_from2: IntArray  # lane before that
    to_left_m: FloatArray  # across the lane, still to drift after a lane change
    changed_s: FloatArray  # when the lane was last changed
    waited_s: FloatArray  # standing since so long
    is_stopping: NDArray[np.bool_]  # for the line at the lane's end
    length_m: FloatArray
    headway_s: FloatArray
    max_accel_mps2: FloatArray
    braking_mps2: FloatArray  # comfortable
    turn: NDArray[np.int8]  # in which steps the driver thinks of other lanes
    # What the lane means for the driver, see `lane_facts`; the first is negative where it is stale.
    lane_m: FloatArray
    free_mps: FloatArray  # desired here
    next_mps: FloatArray  # desired behind the lane's end
    slow_at_m: FloatArray  # where to begin slowing for it
    until_m: FloatArray  # how far one's way can be driven without changing lanes
    change: NDArray[np.int8]  # lanes to go left for one's way
    is_fast: NDArray[np.bool_]  # a road where one keeps right

    @property
    def n(self) -> int:
        """How many."""
        return len(self.lane)

    @classmethod
    def empty(cls) -> Rows:
        """Nobody."""
        kinds = {
            "lane": np.int64,
            "vehicle": np.int64,
            "plan": np.int64,
            "next_lane": np.int64,
            "came_from": np.int64,
            "came_from2": np.int64,
            "is_stopping": np.bool_,
            "turn": np.int8,
            "change": np.int8,
            "is_fast": np.bool_,
        }
        return cls(*(np.empty(0, kinds.get(f.name, np.float64)) for f in fields(cls)))

    def key(self) -> FloatArray:
        """What they are ordered by."""
        return self.lane * STRIDE_M + self.offset_m

    def take(self, rows: IntArray) -> None:
        """Keep these rows, in this order."""
        for name in _NAMES:
            setattr(self, name, getattr(self, name).take(rows, mode="clip"))  # unchecked

    def append(self, others: Rows) -> None:
        """Add rows at the end; the order must be restored after."""
        for name in _NAMES:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(others, name)]))

    def restore_order(self, moved: NDArray[np.bool_], stays: NDArray[np.bool_]) -> None:
        """Put `moved` rows where they belong and drop those that do not `stay`.

        All others must be in order.
        """
        kept = np.flatnonzero(stays & ~moved)
        new = np.flatnonzero(stays & moved)
        if not new.size and len(kept) == self.n:
            return
        key = self.key()
        new = new[np.argsort(key[new], kind="stable")]
        places = key[kept].searchsorted(key[new])
        order = np.empty(len(kept) + len(new), np.int64)
        at = places + np.arange(len(new))
        is_old = np.ones(len(order), np.bool_)
        is_old[at] = False
        order[at] = new
        order[is_old] = kept
        self.take(order)


_NAMES = tuple(f.name for f in fields(Rows))
