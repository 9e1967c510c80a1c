"""Rest anchors: rested cell voltages, and the charge that flowed between them.

A frame is rested when its vehicle said nothing for 90 min (it slept), no current flowed before or
after, and it is the first one since: its median cell is an open-circuit voltage. Between two such
frames the current is integrated by trapezoids over gaps of up to 70 s, charging and driving alike
(integers of 0.01 A x 1 ms / 2, exact in any order of batches). A gap that begins under load loses
charge that nobody counted: it begins a new chain, and only anchors of one chain are compared.

Each vehicle keeps its newest 128 anchors that differ by charge (3.6 kB). What they say of capacity
needs the open-circuit curve of the model, which `fleet_mates.py` learns from all its vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import NS_PER_MS, NS_PER_S
from openvrc.detectors.battery.cleaning import BoolArray, FloatArray
from openvrc.detectors.battery.frames import NEVER_NS, Rows, chained
from openvrc.detectors.battery.rest_batches import REST_CURRENT_A
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.battery_health.previous import last_of_vehicle, previous_values
from openvrc.detectors.keyed import Keyed

SLEEP_NS = 5400 * NS_PER_S  # diffusion has settled to a millivolt or two
RESTED_A = 2.0
LONGEST_STEP_NS = 70 * NS_PER_S  # chargers are logged each minute
LEAST_CHARGE_AH = 0.5  # anchors nearer than this are one
N_ANCHORS = 128

_PER_A = 100
COUNTS_PER_AH = 2 * _PER_A * 3_600_000

ANCHOR_FIELDS = {
    "flow_at_ns": (np.int64, NEVER_NS),
    "flow_a": (np.int64, 0),
    "flow": (np.int64, 0),  # charge taken in since the vehicle's first frame
    "drive_ms": (np.int64, 0),
    "chain": (np.int64, 0),
    "n_anchors": (np.int64, 0),
}
_RING = {
    "rested_v": (np.float32, np.nan),
    "soc_ratio": (np.float32, np.nan),
    "flow": (np.int64, 0),
    "drive_ms": (np.int64, 0),
    "chain": (np.int32, -1),
}

IntArray = npt.NDArray[np.int64]
WideFloats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Two anchors in a row (m,) of one vehicle and chain."""

    slot: IntArray
    from_v: WideFloats
    to_v: WideFloats
    from_soc: WideFloats
    to_soc: WideFloats
    charge_ah: WideFloats
    """Taken in between them; negative where it was given out."""
    drive_h: WideFloats
    """Time under load between them."""

    def where(self, keep: npt.NDArray[np.bool_]) -> Pairs:
        """The pairs where `keep` (m,)."""
        return Pairs(**{name: values[keep] for name, values in vars(self).items()})


class RestAnchors:
    """The newest anchors of each vehicle, in a ring; counters are in `ANCHOR_FIELDS`."""

    def __init__(self) -> None:
        self._ring = Wide(_RING)

    def fold(
        self,
        rows: Rows,
        vehicles: Keyed,
        *,
        median_v: FloatArray,
        current_a: FloatArray,
        soc_ratio: FloatArray,
        is_charging: BoolArray,
    ) -> None:
        """Take in frames: arrays (n,) of `rows`, NaN where not measured."""
        self._ring.fit(len(vehicles), N_ANCHORS)
        known = np.isfinite(current_a) & np.isfinite(median_v)
        rows = chained(rows.where(known), vehicles, "flow_at_ns")
        if len(rows) == 0:
            return
        amps = np.rint(current_a[known].astype(np.float64) * _PER_A).astype(np.int64)
        before = previous_values(rows, amps, vehicles, "flow_a")
        gap_ns = np.where(rows.previous_at_ns == NEVER_NS, 0, rows.at_ns - rows.previous_at_ns)
        is_step = gap_ns <= LONGEST_STEP_NS
        step_ms = np.where(is_step, gap_ns // NS_PER_MS, 0)
        flow = _running(rows, -(amps + before) * step_ms, vehicles, "flow")
        drive = _running(rows, np.where(is_charging[known], 0, step_ms), vehicles, "drive_ms")
        was_calm = np.abs(before) < REST_CURRENT_A * _PER_A
        chain = _running(rows, (~is_step & ~was_calm).astype(np.int64), vehicles, "chain")
        is_rested = (gap_ns >= SLEEP_NS) & was_calm & (np.abs(amps) < RESTED_A * _PER_A)
        volts, socs = median_v[known], soc_ratio[known]
        for i in np.flatnonzero(is_rested & np.isfinite(socs)).tolist():  # a few a day and vehicle
            values = (volts[i], socs[i], flow[i], drive[i], chain[i])
            self._keep(int(rows.slot[i]), vehicles, values)

    def _keep(self, slot: int, vehicles: Keyed, values: tuple[float, ...]) -> None:
        """One anchor; a newer one of the same charge takes the place of the one before."""
        n = int(vehicles["n_anchors"][slot])
        newest = (n - 1) % N_ANCHORS
        moved = abs(values[2] - int(self._ring["flow"][slot, newest])) / COUNTS_PER_AH
        is_new = n == 0 or moved >= LEAST_CHARGE_AH
        is_new |= values[4] != self._ring["chain"][slot, newest]
        place = n % N_ANCHORS if is_new else newest
        for name, value in zip(_RING, values, strict=True):
            self._ring[name][slot, place] = value
        vehicles["n_anchors"][slot] = n + is_new

    def pairs(self, vehicles: Keyed) -> Pairs:
        """All pairs of neighbours in time, by vehicle."""
        n = vehicles["n_anchors"]
        self._ring.fit(len(vehicles), N_ANCHORS)
        held = np.minimum(n, N_ANCHORS)
        begin = np.where(n > N_ANCHORS, n % N_ANCHORS, 0)
        slot = np.repeat(np.arange(len(n)), held)
        rank = np.arange(len(slot)) - np.repeat(np.cumsum(held) - held, held)
        place = (begin[slot] + rank) % N_ANCHORS
        v, soc, flow, drive, chain = (self._ring[name][slot, place] for name in _RING)
        ok = np.flatnonzero((slot[1:] == slot[:-1]) & (chain[1:] == chain[:-1]))
        return Pairs(
            slot[ok],
            v[ok].astype(np.float64),
            v[ok + 1].astype(np.float64),
            soc[ok].astype(np.float64),
            soc[ok + 1].astype(np.float64),
            (flow[ok + 1] - flow[ok]) / COUNTS_PER_AH,
            (drive[ok + 1] - drive[ok]) / 3.6e6,
        )


def _running(rows: Rows, added: IntArray, vehicles: Keyed, field: str) -> IntArray:
    """Sum (n,) of each vehicle's values up to each row, over all batches."""
    total = np.cumsum(added)
    heads = np.flatnonzero(rows.is_first)
    offset = vehicles[field][rows.slot[heads]] - (total[heads] - added[heads])
    total += np.repeat(offset, np.diff(np.append(heads, len(rows))))
    is_last = last_of_vehicle(rows)
    vehicles[field][rows.slot[is_last]] = total[is_last]
    return total
