"""Networks made by rule: a grid, a ring, an arterial of signals, a motorway with ramps."""

from __future__ import annotations

import numpy as np

from simulator.traffic.builder import LANE_WIDTH_M, Builder, Road
from simulator.traffic.network import NetworkError, TrafficNetwork

TOWN_MPS, MOTORWAY_MPS, RAMP_MPS = 50 / 3.6, 120 / 3.6, 80 / 3.6
STUB_M = 150.0
"""Length of the roads over which traffic enters and leaves a grid or an arterial."""


def grid(
    columns: int = 4,
    rows: int = 4,
    spacing_m: float = 250.0,
    lanes: int = 2,
    speed_limit_mps: float = TOWN_MPS,
    signals: bool = True,
    wave_mps: float = 0.0,
) -> TrafficNetwork:
    """A grid of two-way streets; entries and exits ("in_...", "out_...") on all sides.

    With `wave_mps` plans are shifted along the columns so that a group at that speed meets green.
    Raises NetworkError for fewer than one junction or blocks too short for their junctions.
    """
    box_m = lanes * LANE_WIDTH_M + 6.0
    if columns < 1 or rows < 1 or spacing_m < 4 * box_m:
        raise NetworkError(f"grid of {columns} x {rows} at {spacing_m} m: too small or too tight")
    builder = Builder()
    for i in range(columns):
        for j in range(rows):
            if signals:
                builder.signalled[f"n{i}_{j}"] = i * spacing_m / wave_mps if wave_mps else 0.0
            for di, dj in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                _street(
                    builder,
                    (i, j),
                    (di, dj),
                    (columns, rows),
                    spacing_m,
                    box_m,
                    lanes,
                    speed_limit_mps,
                )
    return builder.network()


def _street(
    builder: Builder,
    at: tuple[int, int],
    step: tuple[int, int],
    size: tuple[int, int],
    spacing_m: float,
    box_m: float,
    lanes: int,
    limit_mps: float,
) -> None:
    """The road from a junction to its neighbour; over the border also the one back."""
    i, j, ahead = *at, np.array(step, np.float64)
    x, y = i + step[0], j + step[1]
    centre = np.array([i, j]) * spacing_m
    here = f"n{i}_{j}"
    if 0 <= x < size[0] and 0 <= y < size[1]:
        end = np.array([x, y]) * spacing_m - box_m * ahead
        start = centre + box_m * ahead
        builder.straight(f"{here}-n{x}_{y}", (here, f"n{x}_{y}"), start, end, lanes, limit_mps)
        return
    side = {(1, 0): "e", (0, 1): "n", (-1, 0): "w", (0, -1): "s"}[step]
    number = j if step[0] else i
    near, far = centre + box_m * ahead, centre + (box_m + STUB_M) * ahead
    name = f"{side}{number}"
    builder.straight(f"out_{name}", (here, name), near, far, lanes, limit_mps)
    builder.straight(f"in_{name}", (name, here), far, near, lanes, limit_mps)


def arterial(
    junctions: int = 5,
    spacing_m: float = 350.0,
    lanes: int = 2,
    wave_mps: float = 13.0,
    speed_limit_mps: float = TOWN_MPS,
) -> TrafficNetwork:
    """A street from west to east over signals, with side streets; in_w0 and out_e0 are its ends.

    `wave_mps` is the speed of the green wave eastwards, 0 for none.
    """
    return grid(junctions, 1, spacing_m, lanes, speed_limit_mps, True, wave_mps)


def ring(
    length_m: float = 1000.0, lanes: int = 1, speed_limit_mps: float = 30.0, pieces: int = 8
) -> TrafficNetwork:
    """A ring road in `pieces` edges "ring_0", ...; see `Plans.loop`. Its outer lane is lane 0."""
    builder = Builder()
    radius_m = length_m / (2 * np.pi)
    for k in range(pieces):
        angle = np.linspace(2 * np.pi * k / pieces, 2 * np.pi * (k + 1) / pieces - 0.001, 24)
        lines = tuple(
            (radius_m - index * LANE_WIDTH_M) * np.column_stack([np.cos(angle), np.sin(angle)])
            for index in range(lanes)
        )
        ends = (f"r{k}", f"r{(k + 1) % pieces}")
        builder.road(Road(f"ring_{k}", *ends, lines, speed_limit_mps))
        pairs = [(index, index) for index in range(lanes)]
        builder.connect(f"ring_{k}", f"ring_{(k + 1) % pieces}", pairs)
    return builder.network()


def motorway(
    ramps: int = 2,
    spacing_m: float = 2000.0,
    lanes: int = 2,
    speed_limit_mps: float = MOTORWAY_MPS,
    weave_m: float = 250.0,
) -> TrafficNetwork:
    """One carriageway eastwards with `ramps` interchanges: first an exit, then an entry.

    Edges: main_0 (entry) to main_R (exit) in between, off_K and on_K the ramps, dec_K and acc_K the
    pieces with a deceleration or acceleration lane at the right.
    """
    builder = Builder()
    x_m = 0.0

    def piece(name: str, ends: tuple[str, str], length_m: float, n: int) -> None:
        nonlocal x_m
        left_m = LANE_WIDTH_M * lanes  # the left edge stays on one line
        lines = tuple(
            np.array(
                [
                    [x_m, left_m - (n - k - 0.5) * LANE_WIDTH_M],
                    [x_m + length_m, left_m - (n - k - 0.5) * LANE_WIDTH_M],
                ]
            )
            for k in range(n)
        )
        builder.road(Road(name, *ends, lines, speed_limit_mps))
        x_m += length_m + 2.0

    piece("main_0", ("start", "d0"), spacing_m, lanes)
    for k in range(ramps):
        piece(f"dec_{k}", (f"d{k}", f"x{k}"), weave_m, lanes + 1)
        split_m = x_m
        piece(f"mid_{k}", (f"x{k}", f"m{k}"), weave_m, lanes)
        join_m = x_m
        piece(f"acc_{k}", (f"m{k}", f"a{k}"), weave_m, lanes + 1)
        piece(f"main_{k + 1}", (f"a{k}", f"d{k + 1}"), spacing_m, lanes)
        low_m = -0.5 * LANE_WIDTH_M
        off = np.array([[split_m, low_m], [split_m + 80, low_m - 12], [split_m + 200, -70]])
        on = np.array([[join_m - 202, -70], [join_m - 82, low_m - 12], [join_m - 2, low_m]])
        builder.road(Road(f"off_{k}", f"x{k}", f"off{k}", (off,), RAMP_MPS))
        builder.road(Road(f"on_{k}", f"on{k}", f"m{k}", (on,), RAMP_MPS))
        through = [(index, index + 1) for index in range(lanes)]
        back = [(index + 1, index) for index in range(lanes)]
        builder.connect(f"main_{k}", f"dec_{k}", [(0, 0), *through])
        builder.connect(f"dec_{k}", f"off_{k}", [(0, 0)])
        builder.connect(f"dec_{k}", f"mid_{k}", back)
        builder.connect(f"mid_{k}", f"acc_{k}", through)
        builder.connect(f"on_{k}", f"acc_{k}", [(0, 0)])
        builder.connect(f"acc_{k}", f"main_{k + 1}", back)
    return builder.network()
