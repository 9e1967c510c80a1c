"""When a hot probe is not believed: it stands alone and got there as no heat can.

Heat reaches neighbours and hurts cells. A probe that jumps between two frames by more than
10 K (+ 2 K per second between them, at most 40 K), or that is first seen 60 K above its mates,
while no other probe moves by 5 K and no cell is 0.3 V out of line, is a sensor's or a wire's
fault. The doubt lasts until the probe is back within 10 K of its mates, or until something else
confirms the heat: another probe over 50 degC or 5 K warmer than when the doubt began, or a cell
out of line. Real runaways passed this test in their first frame: cells stood at 2 to 5 V.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.cleaning import FloatArray, row_median
from openvrc.detectors.battery.frames import Rows

JUMP_K, JUMP_K_PER_S, LARGEST_JUMP_K = 10.0, 2.0, 40.0
COMPARABLE_NS = 60 * NS_PER_S  # frames further apart say nothing about a jump
ALONE_K = 60.0  # above its mates at first sight; a pack's spread alarm starts at 25 K
OTHERS_MOVE_K = 5.0
OTHERS_HOT_DEGC = 50.0
BACK_K = 10.0
CELL_OUT_V = 0.3
LEAST_PROBES = 3  # two probes cannot outvote one another


def jump_limit_k(span_ns: npt.NDArray[np.int64] | int) -> npt.NDArray[np.float64]:
    """Largest rise of a probe between frames `span_ns` apart that heat can make."""
    span_s = np.asarray(span_ns) / NS_PER_S
    return np.minimum(JUMP_K + JUMP_K_PER_S * np.maximum(span_s - 1.0, 0.0), LARGEST_JUMP_K)


def is_odd(
    rows: Rows,
    probes_degc: FloatArray,
    before_degc: FloatArray,
    above_k: FloatArray,
    may_jump: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """(n,) frames in which some probe jumped or stands apart: worth asking `Doubt`.

    `above_k` (n,) is the hottest probe above the middle one; `may_jump` (n,) is false where no
    probe can have risen by `JUMP_K`: only the others are looked at probe by probe.
    """
    span_ns = rows.at_ns - np.maximum(rows.previous_at_ns, 0)
    jumped = np.zeros(len(rows), np.bool_)
    asked = np.flatnonzero(may_jump)
    if len(asked):
        rise_k = probes_degc[asked] - before_degc[asked]
        largest_k = np.fmax.reduce(rise_k, axis=1, initial=np.float32(-np.inf))
        jumped[asked] = largest_k > jump_limit_k(span_ns[asked])
    odd: npt.NDArray[np.bool_] = (jumped & (span_ns <= COMPARABLE_NS)) | (above_k > ALONE_K)
    return odd


def largest_cell_deviation(cells_v: FloatArray) -> float:
    """Furthest cell from the median of one frame (c,) in V; 0 without cells."""
    if len(cells_v) == 0 or np.isnan(cells_v).all():
        return 0.0
    return float(np.nanmax(np.abs(cells_v - row_median(cells_v[None, :])[0])))


@dataclass(frozen=True)
class Doubt:
    """The probe of one vehicle that is not believed, -1 for none."""

    probe: int
    others_degc: float
    """Hottest other probe when the doubt began."""

    def after(
        self,
        probes_degc: FloatArray,
        before_degc: FloatArray,
        span_ns: int,
        cell_deviation_v: float,
    ) -> Doubt:
        """The doubt once a frame `span_ns` after the one before has come."""
        if (~np.isnan(probes_degc)).sum() < LEAST_PROBES:
            return self
        probe = self.probe if self.probe >= 0 else int(np.nanargmax(probes_degc))
        others = np.delete(probes_degc, probe)
        if np.isnan(others).all():
            return self
        others_degc = float(np.nanmax(others))
        if cell_deviation_v > CELL_OUT_V or others_degc >= OTHERS_HOT_DEGC:
            return Doubt(-1, np.nan)
        if self.probe >= 0:
            is_back = abs(probes_degc[probe] - np.nanmedian(others)) <= BACK_K
            has_spread = others_degc - self.others_degc > OTHERS_MOVE_K
            return Doubt(-1, np.nan) if is_back or has_spread else self
        if not _is_impossible(probes_degc, before_degc, probe, span_ns):
            return self
        return Doubt(probe, others_degc)


def _is_impossible(
    probes_degc: FloatArray, before_degc: FloatArray, probe: int, span_ns: int
) -> bool:
    others = np.delete(probes_degc, probe)
    if span_ns > COMPARABLE_NS or np.isnan(before_degc[probe]):
        return bool(probes_degc[probe] - np.nanmedian(others) > ALONE_K)
    rise_k = probes_degc - before_degc
    others_moved = np.nanmax(np.abs(np.delete(rise_k, probe)), initial=0.0)
    return bool(rise_k[probe] > jump_limit_k(span_ns) and others_moved <= OTHERS_MOVE_K)
