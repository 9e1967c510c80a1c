"""Puts vehicles onto the road: map matching, and the marks that carry its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge.aggregate.matching import Matcher, MatcherState, MatchResult
from edge.slots import Slots
from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.maps import RoadMap

NEVER_NS = np.iinfo(np.int64).min
_SUBJECTS = {"newest_ns": (np.int64, NEVER_NS, 0)}
_CLASSES = column_of("vehicle_state", "vehicle_class").values
_OFF_THE_ROAD = [_CLASSES.index(name) for name in ("bicycle", "pedestrian")]
"""Classes that use cycle and foot paths too; everything else drives on motor lanes."""


class Joined(NamedTuple):
    """A `vehicle_state` batch with its road marks, and what windows need of each row (n,)."""

    batch: Batch
    slots: npt.NDArray[np.int64]
    match: MatchResult


class Join:
    """The fold of one (zone, run) with one map."""

    def __init__(self, road_map: RoadMap) -> None:
        self.road_map = road_map
        self.subjects = Slots(_SUBJECTS)
        self._matcher = Matcher(road_map)
        self._state = self._matcher.initial()

    def fold(self, batch: Batch) -> Joined:
        """Match each row's position and write `segment_id`, `lane_index`, `segment_offset_m`."""
        slots = self.subjects.of_batch(batch)
        at_ns = batch.column("sampled_at_ns")
        np.maximum.at(self.subjects["newest_ns"], slots, at_ns)
        match = self._matcher.update(
            self._state,
            slots.astype(np.int32),
            at_ns,
            batch.column("lat_deg"),
            batch.column("lon_deg"),
            batch.column("heading_deg").astype(np.float64),
            batch.column("speed_mps").astype(np.float64),
            ~np.isin(batch.column("vehicle_class"), _OFF_THE_ROAD),
        )
        used, codes = np.unique(match.segment_index, return_inverse=True)
        ids = self.road_map.segment_ids
        words = ["" if index < 0 else ids[index] for index in used.tolist()]
        marks = {
            "segment_id": (codes.astype(np.int32), words),
            "lane_index": match.lane_index.astype(np.int64),
            "segment_offset_m": match.offset_m,
        }
        return Joined(batch.with_columns(marks), slots, match)

    def forget_idle(self, limit_ns: int) -> npt.NDArray[np.int64]:
        """Free the slots of vehicles not heard since `limit_ns`; returns them."""
        idle = self.subjects.older_than("newest_ns", limit_ns)
        self.subjects.free(idle)
        self._state.evict(idle)
        return idle

    def snapshot(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"subjects": self.subjects.snapshot(), "matcher": self._state.snapshot()}

    @classmethod
    def restore(cls, road_map: RoadMap, tree: Mapping[str, Any]) -> Join:
        """What `snapshot` wrote."""
        join = cls(road_map)
        join.subjects = Slots.restore(_SUBJECTS, tree["subjects"])
        join._state = MatcherState.restore(tree["matcher"])
        return join


def without_map(batch: Batch) -> Batch:
    """The marks of vehicles in a zone that has no map: on no segment, on no lane."""
    return batch.with_columns({"segment_id": "", "lane_index": -1, "segment_offset_m": np.nan})
