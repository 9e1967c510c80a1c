"""A uniform grid over the straight pieces of all lanes: which of them are near a position?

Each cell lists, per heading sector, the pieces that lie within reach of any point of the cell
and point roughly that way, so one look-up per position yields few candidates. Pure arrays; a
map that does not change is indexed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.aggregate.runs import counts_up, group_starts
from openvrc.contracts.maps import RoadMap

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]

SECTORS = 8  # of 45 deg; list number SECTORS holds every direction, for an unknown heading
SECTOR_DEG = 360.0 / SECTORS
# A lane more than this off the sector's edge is another road or the other carriageway.
MAX_TURN_DEG = 60.0
# 8 m halves the candidates of 20 m cells; smaller ones cost more memory than they save.
CELL_M = 8.0
MAX_CELLS = 16_000_000  # 64 MB of cell numbers; a larger map gets larger cells
# Cell and piece pairs, each listed about 5 times: 100 MB. Reached at some 1,800 km of lanes.
MAX_PAIRS = 4_000_000
BLOCK_PIECES = 4096  # entered at a time, to bound the memory while indexing
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
        self._cell_m = _cell_m(float(span_m.prod()), float(geometry[:, 4].sum()), reach_m)
        self._shape = np.floor(span_m / self._cell_m).astype(np.int64) + 1  # (columns, rows)
        blocks = [
            self._near(geometry, first, reach_m) for first in range(0, len(geometry), BLOCK_PIECES)
        ]
        # Sorted by hand: np.unique hashes first, which takes ten times as long.
        pairs = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *blocks]))
        cell, piece = np.divmod(pairs[group_starts(pairs)], max(len(geometry), 1))
        starts = group_starts(cell)
        number = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(cell)))
        self._used = max(len(starts), 1)
        self._cell_number = np.full(int(self._shape.prod()), -1, dtype=np.int32)
        self._cell_number[cell[starts]] = np.arange(len(starts), dtype=np.int32)
        self.listed, self._offsets = self._sort_by_sector(number, piece, geometry[:, 5])
        self.listed = chosen[self.listed].astype(np.int32)

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
        listing = np.where(number >= 0, sector.astype(np.int64) * self._used + number, 0)
        start = self._offsets[listing]
        return start, np.where(number >= 0, self._offsets[listing + 1] - start, 0)

    def _near(self, geometry: FloatArray, first: int, reach_m: float) -> IndexArray:
        """Which cells a block of pieces is near to, as cell * n_pieces + piece."""
        piece, start, unit, length_m = _parts(geometry, first)
        end = start + unit * length_m[:, None]
        low = np.floor((np.minimum(start, end) - reach_m - self._low_m) / self._cell_m)
        high = np.floor((np.maximum(start, end) + reach_m - self._low_m) / self._cell_m)
        low = np.maximum(low, 0).astype(np.int64)
        size = np.minimum(high, self._shape - 1).astype(np.int64) - low + 1
        cells = size.prod(axis=1)
        part, count = np.repeat(np.arange(len(piece)), cells), counts_up(cells)
        column = low[part, 0] + count % size[part, 0]
        row = low[part, 1] + count // size[part, 0]
        away = self._low_m + (np.column_stack((column, row)) + 0.5) * self._cell_m - start[part]
        along_m = np.clip((away * unit[part]).sum(axis=1), 0.0, length_m[part])
        gap = away - unit[part] * along_m[:, None]
        near = np.hypot(gap[:, 0], gap[:, 1]) <= reach_m + self._cell_m * np.sqrt(0.5)
        cell = (row * self._shape[0] + column)[near]
        return np.asarray(cell * len(geometry) + piece[part][near])

    def _sort_by_sector(
        self, number: IndexArray, piece: IndexArray, heading_deg: FloatArray
    ) -> tuple[Int32Array, IndexArray]:
        """Lists by sector, then cell, and their offsets; pairs come in order of their cells."""
        listed, sizes = [], []
        for sector in range(SECTORS + 1):
            centre_deg = (sector + 0.5) * SECTOR_DEG
            turn_deg = np.abs((heading_deg - centre_deg + 180.0) % 360.0 - 180.0)
            fits = (turn_deg <= SECTOR_DEG / 2.0 + MAX_TURN_DEG) | (sector == SECTORS)
            chosen = fits[piece]
            listed.append(piece[chosen].astype(np.int32))
            sizes.append(np.bincount(number[chosen], minlength=self._used))
        offsets = np.concatenate(([0], np.cumsum(np.concatenate(sizes))))
        return np.concatenate(listed), offsets.astype(np.int64)


def _cell_m(area_m2: float, lanes_m: float, reach_m: float) -> float:
    """The smallest cell, from CELL_M up, that keeps the index within its bounds."""
    cell_m = max(CELL_M, float(np.sqrt(area_m2 / MAX_CELLS)))
    while lanes_m * (2.0 * reach_m + cell_m) / cell_m**2 > MAX_PAIRS:
        cell_m *= 1.25
    return cell_m


def _parts(
    geometry: FloatArray, first: int
) -> tuple[IndexArray, FloatArray, FloatArray, FloatArray]:
    """The block's pieces cut into parts: piece, start (n, 2), unit (n, 2), length in m."""
    block = geometry[first : first + BLOCK_PIECES]
    parts = np.maximum(np.ceil(block[:, 4] / MAX_PART_M), 1.0).astype(np.int64)
    of = np.repeat(np.arange(len(block)), parts)
    length_m = block[of, 4] / parts[of]
    unit = block[of, 2:4]
    start = block[of, 0:2] + unit * (length_m * counts_up(parts))[:, None]
    return of + first, start, unit, length_m
