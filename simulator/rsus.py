"""Roadside units of a zone: where they stand, and which vehicles they relay.

Placed from the map alone: one at every signalled junction (those closer than 100 m share one),
then along fast roads so that none of their points is out of reach. Where a map has neither, along
every road.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from openvrc.contracts.maps import RoadMap

RANGE_M = 300.0
"""Reliable reach of ITS-G5 / LTE-V2X roadside radio in town (ETSI TR 101 607 gives 300-500 m)."""
FAST_ROAD_MPS = 22.0
"""80 km/h: roads above it are motorways and trunk roads without signals."""
SHARED_BELOW_M = 100.0
STEP_M = 50.0
"""Grid on which a road is looked over for holes in the coverage."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Rsus:
    """Roadside units by number."""

    ids: tuple[str, ...]
    xy_m: FloatArray  # (n_rsus, 2) in the map's frame
    lat_deg: FloatArray  # (n_rsus,)
    lon_deg: FloatArray  # (n_rsus,)
    range_m: float = RANGE_M
    _tree: cKDTree | None = field(default=None, compare=False)

    def nearest(self, x_m: FloatArray, y_m: FloatArray) -> NDArray[np.int64]:
        """Number of the nearest unit within range of every point, -1 where there is none.

        A point that is not finite is near to none.
        """
        nearest = np.full(len(x_m), -1, np.int64)
        is_point = np.isfinite(x_m) & np.isfinite(y_m)  # the tree refuses others
        if self._tree is None or not is_point.any():
            return nearest
        points = np.column_stack([x_m[is_point], y_m[is_point]])
        _, number = self._tree.query(points, distance_upper_bound=self.range_m)
        nearest[is_point] = np.where(number < len(self.ids), number, -1)
        return nearest


def place_rsus(road_map: RoadMap | None) -> Rsus:
    """Roadside units for a map, the same for the same map; none without a map."""
    if road_map is None:
        return rsus_at(None, np.empty((0, 2)))
    places = _at_signals(road_map)
    fast = road_map.segment_speed_limit_mps >= FAST_ROAD_MPS
    wanted = fast if places or fast.any() else np.ones(road_map.n_segments, np.bool_)
    for segment in np.flatnonzero(wanted & ~road_map.segment_is_internal):
        _cover(road_map.segment_points(int(segment)), places)
    return rsus_at(road_map, np.array(places).reshape(-1, 2))


def rsus_at(road_map: RoadMap | None, xy_m: FloatArray, range_m: float = RANGE_M) -> Rsus:
    """Roadside units "rsu-001", ... at these points of the map's frame."""
    ids = tuple(f"rsu-{number + 1:03d}" for number in range(len(xy_m)))
    if road_map is None or not len(xy_m):
        return Rsus((), np.empty((0, 2)), np.empty(0), np.empty(0), range_m)
    lat_deg, lon_deg = road_map.frame.to_lat_lon_deg(xy_m[:, 0], xy_m[:, 1])
    return Rsus(ids, xy_m, lat_deg, lon_deg, range_m, cKDTree(xy_m))


def _at_signals(road_map: RoadMap) -> list[FloatArray]:
    heads: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for head in road_map.signal_heads:
        x_m, y_m = road_map.frame.to_xy_m(head.lat_deg, head.lon_deg)
        heads[head.intersection_id].append((float(x_m), float(y_m)))
    places: list[FloatArray] = []
    for _, points in sorted(heads.items()):
        middle = np.mean(points, axis=0)
        if _distance_m(middle, places) > SHARED_BELOW_M:
            places.append(middle)
    return places


def _cover(points: FloatArray, places: list[FloatArray]) -> None:
    """Add places along a line until every grid point of it is within range of one."""
    along_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])

    def at(offset_m: float) -> FloatArray:
        return np.array([np.interp(offset_m, along_m, points[:, axis]) for axis in (0, 1)])

    for offset_m in np.arange(0.0, along_m[-1], STEP_M):
        if _distance_m(at(offset_m), places) > RANGE_M:
            # A unit one range ahead covers this point too and the road up to two ranges on;
            # a little less, for the road may bend.
            places.append(at(min(offset_m + 0.9 * RANGE_M, along_m[-1])))


def _distance_m(point: FloatArray, places: list[FloatArray]) -> float:
    if not places:
        return float("inf")
    return float(np.min(np.hypot(*(np.array(places) - point).T)))
