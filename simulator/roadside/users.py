"""Road users at one moment, as arrays: vehicles of the traffic engine and people on foot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.columns import column_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CLASSES = column_of("rsu_objects", "object_class").values
HEIGHT_M = {"car": 1.5, "truck": 3.8, "bus": 3.1, "motorcycle": 1.6, "bicycle": 1.7,
            "pedestrian": 1.5, "tram": 3.4, "emergency": 2.7}  # fmt: skip
"""Usual heights; EU limit for lorries is 4.0 m (Directive 96/53/EC)."""
OTHER_HEIGHT_M = 1.5
_HEIGHTS_M = np.array([HEIGHT_M.get(word, OTHER_HEIGHT_M) for word in CLASSES])
VULNERABLE = np.isin(CLASSES, ("motorcycle", "bicycle", "pedestrian"))


@dataclass(frozen=True)
class RoadUsers:
    """Every array (n,). Positions are those of the front's middle, as in `vehicle_state`."""

    number: IntArray
    """Who it is, for the whole run."""
    x_m: FloatArray
    y_m: FloatArray
    course_deg: FloatArray  # 0 north, clockwise
    speed_mps: FloatArray
    accel_mps2: FloatArray
    kind: IntArray  # place in CLASSES
    length_m: FloatArray
    width_m: FloatArray

    @property
    def n(self) -> int:
        """How many."""
        return len(self.number)

    @property
    def height_m(self) -> FloatArray:
        """By class, (n,)."""
        return np.asarray(_HEIGHTS_M[self.kind])

    @property
    def ahead(self) -> tuple[FloatArray, FloatArray]:
        """East and north part of the course, each (n,)."""
        turn = np.radians(self.course_deg)
        return np.sin(turn), np.cos(turn)

    def take(self, rows: IntArray) -> RoadUsers:
        """These rows, in this order."""
        return RoadUsers(*(getattr(self, f.name)[rows] for f in fields(self)))

    def back_by(self, lag_s: FloatArray) -> RoadUsers:
        """Where they were `lag_s` (n,) ago, at even acceleration along their course."""
        speed_mps = np.maximum(self.speed_mps - self.accel_mps2 * lag_s, 0.0)
        gone_m = 0.5 * (speed_mps + self.speed_mps) * lag_s
        east, north = self.ahead
        return RoadUsers(
            self.number, self.x_m - gone_m * east, self.y_m - gone_m * north, self.course_deg,
            speed_mps, self.accel_mps2, self.kind, self.length_m, self.width_m,
        )  # fmt: skip


def joined(groups: Sequence[RoadUsers]) -> RoadUsers:
    """All of them together."""
    return RoadUsers(
        *(np.concatenate([getattr(g, f.name) for g in groups]) for f in fields(RoadUsers))
    )
