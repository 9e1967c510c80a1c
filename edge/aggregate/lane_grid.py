"""A uniform grid over the straight pieces of all lanes: which of them are near a position?

Each cell lists, per heading sector, the pieces that lie within reach of any point of the cell
and point roughly that way, so one look-up per position yields few candidates. Pure arrays; a
map that does not change is indexed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

SECTORS = 8  # of 45 deg; list number SECTORS holds every direction, for an unknown heading
SECTOR_DEG = 360.0 / SECTORS
# A lane more than this off the sector's edge is another road or the other carriageway.
MAX_TURN_DEG = 60.0
# 8 m halves the candidates of 20 m cells; smaller ones cost more memory than they save.
CELL_M = 8.0
MAX_CELLS = 16_000_000  # 64 MB of cell numbers; a larger map gets larger cells
# Long pieces are entered in parts, or the cells of their bounding box would be mostly empty.
MAX_PART_M = 40.0


@dataclass(frozen=True)
class Pieces:
    """The straight pieces of the lanes' centre lines, one row each."""

    geometry: NDArray[np.float32]  # (n, 6) start x, y; unit x, y; length, heading in deg
    lane: NDArray[np.int32]  # (n,) index into the map's lanes
    start_m: NDArray[np.float32]  # (n,) drawn length of the lane before the piece
    drawn_length_m: NDArray[np.float32]  # (n,) drawn length of the whole lane


def lane_pieces(road_map: RoadMap, usable: NDArray[np.bool_]) -> Pieces:
    """The pieces of the lanes marked in `usable` (n_lanes,), in lane order."""
    points, offsets = road_map.lane_points_xy_m, road_map.lane_point_offsets
    lane_of_point = np.repeat(np.arange(road_map.n_lanes), np.diff(offsets))
    step = np.diff(points, axis=0)
    length_m = np.hypot(step[:, 0], step[:, 1])
    within = lane_of_point[1:] == lane_of_point[:-1]
    along_m = np.concatenate(([0.0], np.cumsum(np.where(within, length_m, 0.0))))
    start_m = along_m[:-1] - along_m[offsets[lane_of_point[:-1]]]
    drawn_m = along_m[offsets[1:] - 1] - along_m[offsets[:-1]]  # (n_lanes,)
    # A piece of no length has no direction; lanes of one point twice keep nothing.
    keep = np.flatnonzero(within & (length_m > 1e-3) & usable[lane_of_point[:-1]])
    unit = step[keep] / length_m[keep, None]
    heading_deg = np.degrees(np.arctan2(unit[:, 0], unit[:, 1])) % 360.0
    geometry = np.column_stack((points[keep], unit, length_m[keep], heading_deg))
    return Pieces(
        geometry=np.ascontiguousarray(geometry, dtype=np.float32),
        lane=lane_of_point[keep].astype(np.int32),
        start_m=start_m[keep].astype(np.float32),
        drawn_length_m=drawn_m[lane_of_point[keep]].astype(np.float32),
    )


class LaneGrid:
    """Look-up of the pieces near a position, by cell and heading sector.

    `reach_m` is how far a piece may be from the position and still be listed for sure.
    """

    def __init__(self, pieces: Pieces, chosen: IndexArray, reach_m: float) -> None:
        """Index the `chosen` pieces; a grid of no pieces finds nothing."""
        geometry = pieces.geometry[chosen].astype(np.float64)
        ends = geometry[:, 0:2] + geometry[:, 2:4] * geometry[:, 4:5]
        corners = np.concatenate((geometry[:, 0:2], ends))
        if len(corners) == 0:
            corners = np.zeros((1, 2))
        self._low_m = corners.min(axis=0) - reach_m
        span_m = corners.max(axis=0) + reach_m - self._low_m
        self._cell_m = max(CELL_M, float(np.sqrt(span_m[0] * span_m[1] / MAX_CELLS)))
        self._shape = np.floor(span_m / self._cell_m).astype(np.int64) + 1  # (columns, rows)
        cell, piece = self._near(geometry, reach_m)
        self._number_cells(cell, piece, geometry[:, 5])
        self.listed: NDArray[np.int32] = chosen[self._listed].astype(np.int32)

    def lists(
        self, x_m: FloatArray, y_m: FloatArray, heading_deg: FloatArray
    ) -> tuple[IndexArray, IndexArray]:
        """(start, count) of each position's list in `listed`; count 0 away from every lane.

        A NaN heading means unknown and lists every direction; positions must be finite.
        """
        column = np.floor((x_m - self._low_m[0]) / self._cell_m)
        row = np.floor((y_m - self._low_m[1]) / self._cell_m)
        inside = (column >= 0) & (column < self._shape[0]) & (row >= 0) & (row < self._shape[1])
        flat = np.where(inside, row * self._shape[0] + column, 0.0).astype(np.int64)
        number = np.where(inside, self._cell_number[flat], -1)
        sector = np.where(np.isnan(heading_deg), SECTORS, heading_deg // SECTOR_DEG % SECTORS)
        listing = np.where(number >= 0, number * (SECTORS + 1) + sector.astype(np.int64), 0)
        start = self._offsets[listing]
        return start, np.where(number >= 0, self._offsets[listing + 1] - start, 0)

    def _near(self, geometry: FloatArray, reach_m: float) -> tuple[IndexArray, IndexArray]:
        """All (cell, piece) whose distance is at most the reach, at some point of the cell."""
        parts = np.maximum(np.ceil(geometry[:, 4] / MAX_PART_M), 1.0).astype(np.int64)
        piece = np.repeat(np.arange(len(geometry)), parts)
        part = counts_up(parts)
        length_m = geometry[piece, 4] / parts[piece]
        unit = geometry[piece, 2:4]
        start = geometry[piece, 0:2] + unit * (length_m * part)[:, None]
        end = start + unit * length_m[:, None]
        low = np.floor((np.minimum(start, end) - reach_m - self._low_m) / self._cell_m)
        high = np.floor((np.maximum(start, end) + reach_m - self._low_m) / self._cell_m)
        low = np.maximum(low, 0).astype(np.int64)
        high = np.minimum(high, self._shape - 1).astype(np.int64)
        size = high - low + 1
        of_part = np.repeat(np.arange(len(piece)), size[:, 0] * size[:, 1])
        count = counts_up(size[:, 0] * size[:, 1])
        column = low[of_part, 0] + count % size[of_part, 0]
        row = low[of_part, 1] + count // size[of_part, 0]
        away = self._low_m + (np.column_stack((column, row)) + 0.5) * self._cell_m - start[of_part]
        along_m = np.clip((away * unit[of_part]).sum(axis=1), 0.0, length_m[of_part])
        gap = away - unit[of_part] * along_m[:, None]
        near = np.hypot(gap[:, 0], gap[:, 1]) <= reach_m + self._cell_m * np.sqrt(0.5)
        cell = (row * self._shape[0] + column)[near]
        pairs = np.unique(cell * max(len(geometry), 1) + piece[of_part][near])
        return np.divmod(pairs, max(len(geometry), 1))

    def _number_cells(self, cell: IndexArray, piece: IndexArray, heading_deg: FloatArray) -> None:
        used, number = np.unique(cell, return_inverse=True)
        self._cell_number = np.full(int(self._shape.prod()), -1, dtype=np.int32)
        self._cell_number[used] = np.arange(len(used), dtype=np.int32)
        centre_deg = (np.arange(SECTORS) + 0.5) * SECTOR_DEG
        turn_deg = np.abs((heading_deg[piece, None] - centre_deg + 180.0) % 360.0 - 180.0)
        fits = turn_deg <= SECTOR_DEG / 2.0 + MAX_TURN_DEG  # (n_pairs, SECTORS)
        pair, sector = np.nonzero(np.column_stack((fits, np.ones(len(piece), dtype=np.bool_))))
        listing = number[pair] * (SECTORS + 1) + sector
        order = np.argsort(listing, kind="stable")
        self._listed = piece[pair][order]
        sizes = np.bincount(listing, minlength=max(len(used), 1) * (SECTORS + 1))
        self._offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def counts_up(sizes: IndexArray) -> IndexArray:
    """0, 1, .. size - 1 for each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes, sizes)
