"""Points along lanes: the straight pieces of all lanes' lines in one table.

Which piece an offset lies in is found by a lane's bins of equal length, each knowing the piece it
begins in: a search in the sorted table would be three quarters of the price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BIN_M = 8.0
"""Few lines bend twice within this."""
LEAST_PIECE_M = 1e-6


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of all lanes in a row; those of a lane from its first point to its last."""

    along_m: FloatArray  # (n_pieces,) where each begins, from its lane's start
    next_m: FloatArray  # (n_pieces,) where it ends, inf for a lane's last
    x_m: FloatArray
    y_m: FloatArray
    east: FloatArray  # direction, scaled as lengths of lanes are to their drawn lines
    north: FloatArray
    course_deg: FloatArray
    first_bin: IntArray  # (n_lanes,)
    piece_of_bin: IntArray  # (n_bins,)

    def place(
        self, lane: IntArray, offset_m: FloatArray, to_left_m: FloatArray | float
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y (m) and course (deg) of points `offset_m` along lanes, moved across, all (n,)."""
        bins = np.maximum(offset_m * (1.0 / BIN_M), 0.0).astype(np.int64)
        bins += self.first_bin.take(lane)
        piece = self.piece_of_bin.take(bins, mode="clip")
        late = np.flatnonzero(offset_m >= self.next_m.take(piece))
        while late.size:
            piece[late] += 1
            late = late[offset_m[late] >= self.next_m[piece[late]]]
        rest_m = offset_m - self.along_m.take(piece)
        east, north = self.east.take(piece), self.north.take(piece)
        x_m = self.x_m.take(piece) + rest_m * east - to_left_m * north
        y_m = self.y_m.take(piece) + rest_m * north + to_left_m * east
        return x_m, y_m, self.course_deg.take(piece)


def pieces_of(lines_xy_m: Sequence[FloatArray], length_m: FloatArray) -> Pieces:
    """The pieces of these lines, each (n_points, 2), whose lengths are said to be `length_m`."""
    counts = np.array([len(line) for line in lines_xy_m], np.int64)
    points = np.concatenate(lines_xy_m)
    line_of = np.repeat(np.arange(len(counts)), counts)
    steps = np.diff(points, axis=0)
    drawn_m = np.hypot(steps[:, 0], steps[:, 1])
    keep = (line_of[1:] == line_of[:-1]) & (drawn_m > LEAST_PIECE_M)
    lane, starts = line_of[:-1][keep], points[:-1][keep]
    steps, drawn_m = steps[keep], drawn_m[keep]
    # A line that is only a point gets a piece northwards.
    bare = np.setdiff1d(np.arange(len(counts)), lane)
    first_point = np.cumsum(counts) - counts
    lane = np.concatenate([lane, bare])
    order = np.argsort(lane, kind="stable")
    lane = lane[order]
    starts = np.concatenate([starts, points[first_point[bare]]])[order]
    steps = np.concatenate([steps, np.tile([0.0, 1.0], (len(bare), 1))])[order]
    drawn_m = np.concatenate([drawn_m, np.ones(len(bare))])[order]
    scale = length_m / np.bincount(lane, weights=drawn_m, minlength=len(counts))
    reach_m = np.cumsum(drawn_m)
    firsts = np.searchsorted(lane, np.arange(len(counts)))
    along_m = (reach_m - drawn_m - (reach_m - drawn_m)[firsts][lane]) * scale[lane]
    is_last = np.append(lane[1:] != lane[:-1], True)
    next_m = np.where(is_last, np.inf, np.append(along_m[1:], np.inf))
    unit = steps / drawn_m[:, None]
    n_bins = np.floor(length_m / BIN_M).astype(np.int64) + 2  # also a little beyond
    first_bin = np.cumsum(n_bins) - n_bins
    lane_of_bin = np.repeat(np.arange(len(counts)), n_bins)
    at_m = (np.arange(n_bins.sum()) - first_bin[lane_of_bin]) * BIN_M
    keys = along_m + lane * LANE_STRIDE_M
    piece_of_bin = keys.searchsorted(at_m + lane_of_bin * LANE_STRIDE_M, side="right") - 1
    return Pieces(
        along_m=along_m,
        next_m=next_m,
        x_m=np.ascontiguousarray(starts[:, 0]),
        y_m=np.ascontiguousarray(starts[:, 1]),
        east=unit[:, 0] / scale[lane],
        north=unit[:, 1] / scale[lane],
        course_deg=np.degrees(np.arctan2(unit[:, 0], unit[:, 1])) % 360.0,
        first_bin=first_bin,
        piece_of_bin=np.maximum(piece_of_bin, firsts[lane_of_bin]),
    )


LANE_STRIDE_M = 1e6
"""Longer than any lane, so that one sorted array holds all lanes."""
