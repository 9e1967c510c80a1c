"""The quick path to a weak cell: 12 frames, freed from the load by a small Bayesian regression.

A cell's deviation from its pack in frame i is d_i = a + b I_i + e_i: `a` is what it would be at
rest, b the resistance it has more than its mates (connection, ageing), e the noise of the
sampling. With e ~ N(0, s2), b ~ N(0, t2) and a flat prior for a:

    b^ = Sxy / (Sxx + s2/t2),  a^ = mean(d) - b^ mean(I)
    var(a^) = s2/n + mean(I)^2 s2 / (Sxx + s2/t2)

At rest the second term vanishes; under a steady load of 100 A it makes a^ uncertain by 30 mV,
so that a resistive cell is not mistaken for an empty one; under a changing load Sxx is large and
both are told apart. Twelve frames cannot tell a lasting offset from a relaxing one, so the limit
is more than twice that of the rest batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.deviation import LEAST_CELLS, low_outliers
from openvrc.detectors.battery.frames import Rows
from openvrc.detectors.battery.group_sums import Closed
from openvrc.detectors.battery.view import COUNTS_PER_V

BLOCK_FRAMES = 12  # 12 s at 1 Hz: quick enough for a driver, sd of the mean 0.3 of a frame's
WATCH_NS = 600 * NS_PER_S  # after a frame with a cell as low as this path needs
LONGEST_GAP_NS = 120 * NS_PER_S  # a longer silence starts a new block
DEVIATION_LIMIT_V = 0.050  # healthy real packs stayed above -0.05 V in 9,000 blocks
LEAST_Z = 8.0
LEAST_FRAMES_LOW = 10  # of 12: a glitch of a few frames is a micro-short or dirt, not this
FRAME_LOW_V = 0.030
LEAST_SIGNIFICANCE = 4.0  # posterior sds
FRAME_NOISE_V = 5e-3  # cells are sampled up to some 10 ms apart while the current moves
RESISTANCE_SD_OHM = 3e-4  # connection faults of 0.05 to 0.5 mohm
CUT_V = 1.0  # keeps the sums of products inside 32 bits: 12 * 1e4 * 1e4 < 2**31
COUNTS_PER_A = 10.0


@dataclass(frozen=True)
class WeakInBlock:
    """Cells found in closed blocks, one entry each."""

    group: npt.NDArray[np.int64]
    cell: npt.NDArray[np.int64]
    """0-based."""
    deviation_v: npt.NDArray[np.float64]
    """At rest, estimated (a^, relative to the pack)."""
    sd_v: npt.NDArray[np.float64]
    noise_v: npt.NDArray[np.float64]


TABLES = {"deviation": np.int32, "product": np.int32, "low": np.int8}


def block_keys(
    rows: Rows, pos: npt.NDArray[np.int64], serial: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Number (n,) of the block each row falls into; a block ends after 12 rows or at a gap.

    `pos` and `serial` (n_vehicles,) are the vehicle's rows in its open block and that block's
    number; both are moved on. `rows.previous_at_ns` must be that of the vehicle's previous row.
    """
    n = len(rows)
    if n == 0:
        return np.empty(0, np.int64)
    is_gap = rows.at_ns - np.maximum(rows.previous_at_ns, 0) > LONGEST_GAP_NS
    index = np.arange(n)
    run_start = np.maximum.accumulate(np.where(is_gap | rows.is_first, index, 0))
    base = np.where(rows.is_first & ~is_gap, pos[rows.slot], 0)[run_start]
    place = base + index - run_start
    opens = place % BLOCK_FRAMES == 0
    opened = np.cumsum(opens)
    vehicle_start = np.maximum.accumulate(np.where(rows.is_first, index, 0))
    before = opened[vehicle_start] - opens[vehicle_start]
    key: npt.NDArray[np.int64] = serial[rows.slot] + opened - before
    is_last = rows.is_last
    pos[rows.slot[is_last]] = place[is_last] % BLOCK_FRAMES + 1
    serial[rows.slot[is_last]] = key[is_last]
    return key


def block_tables(
    counts: npt.NDArray[np.int32], current_counts: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[Any]]:
    """What a block sums up: deviations (n, c), their products with current, frames that are low."""
    return {
        "deviation": counts,
        "product": counts * current_counts[:, None],
        "low": (counts <= -FRAME_LOW_V * COUNTS_PER_V).view(np.int8),
    }


def weak_cells(blocks: Closed) -> WeakInBlock:
    """Cells that sit far below their pack in full blocks. Scalars: sum I, sum I^2, sum cells."""
    maybe = (blocks.tables["low"] >= LEAST_FRAMES_LOW).any(axis=1)
    group = np.flatnonzero(maybe & (blocks.n_rows == BLOCK_FRAMES))
    n = blocks.n_rows[group].astype(np.float64)
    n_cells = blocks.scalars[group, 2] // np.maximum(blocks.n_rows[group], 1)
    mean_a = blocks.scalars[group, 0] / n / COUNTS_PER_A
    sxx = blocks.scalars[group, 1] / COUNTS_PER_A**2 - n * mean_a**2
    mean_v = blocks.tables["deviation"][group] / n[:, None] / COUNTS_PER_V
    product = blocks.tables["product"][group] / (COUNTS_PER_A * COUNTS_PER_V)
    shrunk = sxx + FRAME_NOISE_V**2 / RESISTANCE_SD_OHM**2
    slope = (product - (n * mean_a)[:, None] * mean_v) / shrunk[:, None]
    at_rest_v = mean_v - slope * mean_a[:, None]
    sd_v = FRAME_NOISE_V * np.sqrt(1 / n + mean_a**2 / shrunk)
    is_low, centred_v, noise_v = low_outliers(
        at_rest_v, n_cells, limit_v=DEVIATION_LIMIT_V, least_z=LEAST_Z
    )
    is_low &= centred_v <= -LEAST_SIGNIFICANCE * sd_v[:, None]
    is_low &= blocks.tables["low"][group] >= LEAST_FRAMES_LOW
    is_low &= (n_cells >= LEAST_CELLS)[:, None]
    found, cell = np.nonzero(is_low)
    return WeakInBlock(group[found], cell, centred_v[found, cell], sd_v[found], noise_v[found])
