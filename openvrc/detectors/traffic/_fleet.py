"""Every vehicle of a zone as arrays: where it is, since when it stands, what happened around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.detectors.keyed import Keyed, Spec
from openvrc.detectors.traffic._seconds import Columns, SecondsBuffer, second_of
from openvrc.detectors.traffic._view import HAZARD, ONE_BLINKER, View

BoolArray = NDArray[np.bool_]

STANDING_MPS = 0.5  # GNSS and wheel speed of a standing car stay below this
MOVING_MPS = 1.0  # hysteresis: creeping up in a queue is faster, sensor noise slower
MOVED_ON_M = 15.0  # ten standard deviations of position noise, two places in a queue
FREE_MPS = 8.0  # faster than between two waves of a queue
DRIVEN_MPS = 2.0  # faster than this it is traffic; a car first seen parked is not
IDLE_S = 60  # a pseudonym silent this long has gone or changed; what comes is a new track
OPEN_IDLE_S = 600  # an episode waits longer for its vehicle: tunnels, lost radio

METRES_PER_DEG = 111_320.0

SPEC: Spec = {
    "newest_ns": (np.int64, ABSENT_I64),  # of any row given, also one not yet folded
    "at_ns": (np.int64, ABSENT_I64),
    "segment": (np.int64, -1),
    "lane": (np.int64, -1),
    "offset_m": (np.float64, np.nan),
    "speed_mps": (np.float64, np.nan),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
    "length_m": (np.float64, 5.0),
    "vehicle_class": (np.int64, -1),
    "has_driven": (np.bool_, False),
    "creeps": (np.bool_, False),  # stood before and has not driven freely since
    "standing_since_ns": (np.int64, ABSENT_I64),
    "anchor_lat_deg": (np.float64, np.nan),
    "anchor_lon_deg": (np.float64, np.nan),
    "free_since_ns": (np.int64, ABSENT_I64),
    "passers": (np.int64, 0),
    "blinked_ns": (np.int64, ABSENT_I64),
    "has_hazard_lights": (np.bool_, False),
    "open_since_ns": (np.int64, ABSENT_I64),
    "open_lane": (np.int64, -1),
    "open_segment": (np.int64, -1),
    "is_unknown": (np.bool_, False),
}

ROW_TYPES: dict[str, Any] = {
    "at_ns": np.int64,
    "slot": np.int64,
    "segment": np.int64,
    "lane": np.int64,
    "offset_m": np.float64,
    "speed_mps": np.float64,
    "lat_deg": np.float64,
    "lon_deg": np.float64,
    "length_m": np.float64,
    "vehicle_class": np.int64,
    "blinker": np.int8,
    "accuracy_m": np.float64,
}
EMPTY_ROWS: Columns = {name: np.empty(0, dtype) for name, dtype in ROW_TYPES.items()}


def hold_back(buffer: SecondsBuffer, fleet: Keyed, view: View, every_s: int = 1) -> None:
    """Add the rows that zone-level rules use: of motor vehicles, in time and with a position.

    Of every second, or of each that `every_s` divides.
    """
    rows, chosen = view.zone_rows
    if every_s > 1:
        looked = second_of(rows["at_ns"]) % every_s == 0
        if not looked.all():
            chosen = np.flatnonzero(looked) if chosen is None else chosen[looked]
            rows = {name: values[looked] for name, values in rows.items()}
    if not len(rows["at_ns"]):
        return
    slot = view.slots(fleet, chosen)
    np.maximum.at(fleet["newest_ns"], slot, rows["at_ns"])
    buffer.add(rows | {"slot": slot}, is_of_one_row_each=view.is_of_one_row_each)


def displaced(fleet: Keyed, rows: Columns) -> BoolArray:
    """Whether each row is away from where its vehicle came to a stand, (n_rows,)."""
    slot = rows["slot"]
    north_m = (rows["lat_deg"] - fleet["anchor_lat_deg"][slot]) * METRES_PER_DEG
    east_m = (rows["lon_deg"] - fleet["anchor_lon_deg"][slot]) * METRES_PER_DEG
    east_m *= np.cos(np.radians(rows["lat_deg"]))
    return north_m * north_m + east_m * east_m > MOVED_ON_M * MOVED_ON_M  # type: ignore[no-any-return]


def fold(fleet: Keyed, rows: Columns) -> None:
    """Bring every vehicle of one second's rows (one row each) forward."""
    slot, at_ns, speed_mps = rows["slot"], rows["at_ns"], rows["speed_mps"]
    _begin_tracks(fleet, rows)
    since_ns = fleet["standing_since_ns"]
    was_standing = since_ns[slot] != ABSENT_I64
    moved = was_standing & displaced(fleet, rows)
    # A sample without a speed changes nothing about standing: neither comparison holds.
    starts = (speed_mps < STANDING_MPS) & (~was_standing | moved)
    stops = was_standing & ((speed_mps > MOVING_MPS) | moved) & ~starts
    began, ended = slot[starts], slot[stops]
    since_ns[ended] = ABSENT_I64
    fleet["creeps"][ended] = True
    fleet["creeps"][slot[speed_mps > FREE_MPS]] = False
    since_ns[began] = at_ns[starts]
    fleet["anchor_lat_deg"][began] = rows["lat_deg"][starts]
    fleet["anchor_lon_deg"][began] = rows["lon_deg"][starts]
    fleet["passers"][began] = 0
    fleet["free_since_ns"][began] = ABSENT_I64
    fleet["has_driven"][slot[speed_mps > DRIVEN_MPS]] = True
    fleet["blinked_ns"][slot[rows["blinker"] == ONE_BLINKER]] = at_ns[
        rows["blinker"] == ONE_BLINKER
    ]
    fleet["has_hazard_lights"][slot] = rows["blinker"] == HAZARD
    _move(fleet, rows)


def _begin_tracks(fleet: Keyed, rows: Columns) -> None:
    """What comes after long silence is a new track: nothing of the old one holds."""
    slot = rows["slot"]
    silent_ns = rows["at_ns"] - fleet["at_ns"][slot]
    is_open = fleet["open_since_ns"][slot] != ABSENT_I64
    limit_ns = np.where(is_open, OPEN_IDLE_S, IDLE_S) * NS_PER_S
    known = fleet["at_ns"][slot] != ABSENT_I64
    again = slot[known & (silent_ns > limit_ns)]
    if not len(again):
        return
    for name, (_, fill) in SPEC.items():
        if name != "newest_ns":
            fleet[name][again] = fill


def _move(fleet: Keyed, rows: Columns) -> None:
    slot = rows["slot"]
    # A standing vehicle that slips off the map by noise stays where it was found.
    on_map = (rows["segment"] >= 0) | (fleet["standing_since_ns"][slot] == ABSENT_I64)
    for name in ("segment", "lane", "offset_m"):
        fleet[name][slot[on_map]] = rows[name][on_map]
    for name in ("at_ns", "speed_mps", "lat_deg", "lon_deg", "length_m", "vehicle_class"):
        fleet[name][slot] = rows[name]


FORGET_EVERY_NS = 10 * NS_PER_S
"""Looking for who has gone silent costs as much as a second's fold."""


class Forgetting:
    """When to look for silent vehicles again. Only memory depends on it, so it is no state."""

    def __init__(self) -> None:
        self._due_ns = ABSENT_I64

    def is_due(self, watermark_ns: int) -> bool:
        """Whether it is time; then not again for a while."""
        if watermark_ns < self._due_ns:
            return False
        self._due_ns = watermark_ns + FORGET_EVERY_NS
        return True


def evict_idle(fleet: Keyed, buffer: SecondsBuffer, watermark_ns: int) -> None:
    """Forget vehicles silent so long that whatever they say next begins a new track."""
    is_open = fleet["open_since_ns"] != ABSENT_I64
    limit_ns = np.where(is_open, OPEN_IDLE_S, IDLE_S) * NS_PER_S
    evict(fleet, buffer, fleet["newest_ns"] < watermark_ns - limit_ns)


def evict(fleet: Keyed, buffer: SecondsBuffer, gone: NDArray[np.bool_]) -> None:
    """Forget the vehicles where `gone` (n_vehicles,) is true, once they are many."""
    if fleet.evict_if_many(gone):
        buffer.renumber(np.cumsum(~gone) - 1)


def ended_episodes(fleet: Keyed, end_ns: NDArray[np.int64], watermark_ns: int) -> list[int]:
    """Vehicles whose open episode is over by `end_ns` (n_vehicles,), in the order of their ends."""
    opened = np.flatnonzero(fleet["open_since_ns"] != ABSENT_I64)
    over = opened[end_ns[opened] <= watermark_ns]
    return sorted(over.tolist(), key=lambda one: (end_ns[one], fleet.keys[one]))
