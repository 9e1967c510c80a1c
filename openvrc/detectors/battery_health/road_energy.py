"""Energy and way by kind of road, told by the pace of five minutes.

No map is asked: what a road is like shows in the mean speed of five minutes of event time, stops
included: town under 35 km/h, country to 70 km/h, motorway beyond. Between two frames up to 70 s
apart the later one's current, voltage and speed held; frames of a parked charge and five minutes
of less than 300 m count for none. Sums are integers (0.1 V x 0.01 A x ms, cm/s x ms), exact in any
order; the five minutes that are not over yet are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.cleaning import BoolArray, FloatArray
from openvrc.detectors.battery.frames import NEVER_NS, Rows, chained
from openvrc.detectors.battery.group_sums import Closed, GroupSums
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.battery_health.rest_anchors import LONGEST_STEP_NS
from openvrc.detectors.keyed import Keyed

ROADS = ("town", "country", "motorway")
EDGES_MPS = (35.0 / 3.6, 70.0 / 3.6)
PERIOD_NS = 300 * NS_PER_S
LEAST_M = 300.0
ROAD_FIELDS = {"road_at_ns": (np.int64, NEVER_NS)}

_NS_PER_MS, _MS_PER_S, _MS_PER_H = 1_000_000, 1000, 3_600_000
_PER_V, _PER_A, _PER_MPS = 10, 100, 100
_PER_M = _PER_MPS * _MS_PER_S
_PER_KWH = _PER_V * _PER_A * _MS_PER_H * 1000


@dataclass(frozen=True)
class RoadUse:
    """One vehicle on one kind of road."""

    energy_kwh: float
    """Given out less taken in on the way."""
    driven_m: float


class RoadEnergy:
    """Sums of the open five minutes in a `GroupSums`, by kind of road in a `Wide`."""

    def __init__(self) -> None:
        self._open = GroupSums({}, 3)
        self._sums = Wide({"energy": (np.int64, 0), "way": (np.int64, 0)})

    def fold(
        self,
        rows: Rows,
        vehicles: Keyed,
        *,
        current_a: FloatArray,
        voltage_v: FloatArray,
        speed_mps: FloatArray,
        is_parked_charging: BoolArray,
    ) -> None:
        """Take in frames: arrays (n,) of `rows`, NaN where not measured."""
        self._sums.fit(len(vehicles), len(ROADS))
        told = np.isfinite(current_a) & np.isfinite(voltage_v) & np.isfinite(speed_mps)
        rows = chained(rows.where(told), vehicles, "road_at_ns")
        if len(rows) == 0:
            return
        gap_ns = rows.at_ns - np.maximum(rows.previous_at_ns, 0)
        counts = (gap_ns <= LONGEST_STEP_NS) & ~is_parked_charging[told]
        ms = np.where(counts, gap_ns // _NS_PER_MS, 0)
        amps, volts, speed = (
            np.rint(values[told].astype(np.float64) * scale).astype(np.int64)
            for values, scale in (
                (current_a, _PER_A),
                (voltage_v, _PER_V),
                (speed_mps, _PER_MPS),
            )
        )
        scalars = np.stack([amps * volts * ms, speed * ms, ms], axis=1)
        self._close(self._open.fold(rows, rows.at_ns // PERIOD_NS, scalars, {}))

    def _close(self, closed: Closed) -> None:
        energy, way, ms = closed.scalars.T
        drives = way >= LEAST_M * _PER_M
        mean_mps = way[drives] / _PER_MPS / ms[drives]
        at = (closed.slot[drives], np.searchsorted(EDGES_MPS, mean_mps, side="right"))
        np.add.at(self._sums["energy"], at, energy[drives])
        np.add.at(self._sums["way"], at, way[drives])

    def of(self, slot: int) -> dict[str, RoadUse]:
        """One vehicle's roads on which it drove."""
        sums = zip(
            ROADS,
            self._sums["energy"][slot].tolist(),
            self._sums["way"][slot].tolist(),
            strict=True,
        )
        return {road: RoadUse(e / _PER_KWH, w / _PER_M) for road, e, w in sums if w > 0}
