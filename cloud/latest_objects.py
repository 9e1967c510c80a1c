"""Road users that roadside units perceive, as they are now; most of them are not connected.

A unit numbers its own tracks, so a track is (source, subject). A sighting lives for a second or
two: there is nothing to keep over a restart. A connected vehicle is not shown a second time.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cloud.latest_tables import NEVER_NS, newest_rows
from openvrc.contracts.batch import Batch
from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import NS_PER_S

PRESENT_NS = 2 * NS_PER_S
"""Units perceive at 1 to 10 Hz: whoever was not seen for two seconds has left their sight."""
FORGET_NS = 10 * NS_PER_S
MOST_OBJECTS = 50_000
"""Beyond it new tracks are left out: a unit that numbers everything anew fills nothing."""
FIRST_SLOTS = 64
SAME_WITHIN_M = 5.0
"""An object this near to a connected vehicle is that vehicle: half a car and 3 m of two errors."""
MAX_SPEED_MPS = 60.0
"""Who says to be faster is carried on with this: one such report must not widen the search."""
MOST_MATCHED = 5_000
"""Objects; of more, which no page can draw apart, none is asked whether it is connected."""
MATCHED_AT_ONCE = 500
"""Bounds memory where very many stand in one place."""
METRES_PER_DEG = 111_195.0
"""Of latitude, on the sphere of IUGG's mean radius; a gate of metres needs no better."""

_COLUMNS: dict[str, tuple[type, Any]] = {
    "sampled_at_ns": (np.int64, NEVER_NS),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
    "speed_mps": (np.float32, np.nan),
    "heading_deg": (np.float32, np.nan),
    "object_class": (np.int8, -1),
    "confidence_ratio": (np.float32, np.nan),
}
_OF_VEHICLES = ("sampled_at_ns", "lat_deg", "lon_deg", "speed_mps", "heading_deg")
Floats = npt.NDArray[np.float64]
Track = tuple[str, str]
"""(source_id, subject_id)"""


class ObjectTable:
    """The newest `rsu_objects` record of each track of one run, one slot each; (capacity,)."""

    def __init__(self) -> None:
        self.columns: dict[str, npt.NDArray[Any]] = {
            name: np.full(FIRST_SLOTS, empty, dtype) for name, (dtype, empty) in _COLUMNS.items()
        }
        self._slot_of: dict[Hashable, int] = {}
        self._track_of: list[Track | None] = []
        self._free: list[int] = []
        self.version = 0
        """Raised by each change."""
        self.left_out = 0
        """Sightings that had no room."""

    def __len__(self) -> int:
        return len(self._slot_of)

    def track(self, slot: int) -> Track | None:
        """Whose slot it is."""
        return self._track_of[slot] if slot < len(self._track_of) else None

    def fold(self, batch: Batch) -> None:
        """Take sightings that are newer than what is known of their track."""
        batch = batch.filter(
            np.isfinite(batch.column("lat_deg")) & np.isfinite(batch.column("lon_deg"))
        )
        if not batch.n_rows:
            return
        sources, subjects = batch.codes("source_id"), batch.codes("subject_id")
        tracks = sources.astype(np.int64) << 32 | subjects
        newest = batch.take(newest_rows(np.unique(tracks, return_inverse=True)[1],
                                        batch.column("sampled_at_ns")))  # fmt: skip
        named = zip(newest.texts("source_id"), newest.texts("subject_id"), strict=True)
        slots = np.array([self._slot(track) for track in named], np.int64)
        sampled = newest.column("sampled_at_ns")
        has_room = slots >= 0
        self.left_out += int((~has_room).sum())
        is_taken = has_room & (sampled > self.columns["sampled_at_ns"][np.maximum(slots, 0)])
        slots, rows = slots[is_taken], np.flatnonzero(is_taken)
        for name in _COLUMNS:
            self.columns[name][slots] = newest.column(name)[rows]
        self.version += bool(len(slots))

    def present(self, now_ns: int) -> npt.NDArray[np.int64]:
        """Slots of what is in sight at zone time `now_ns`."""
        sampled = self.columns["sampled_at_ns"][: len(self._track_of)]
        heard = sampled != NEVER_NS
        return np.flatnonzero(heard & (now_ns - np.where(heard, sampled, now_ns) <= PRESENT_NS))

    def forget(self, now_ns: int) -> None:
        """Free the slots of tracks that ended FORGET_NS ago."""
        sampled = self.columns["sampled_at_ns"][: len(self._track_of)]
        gone = np.flatnonzero((sampled != NEVER_NS) & (sampled < now_ns - FORGET_NS))
        for slot in gone.tolist():
            del self._slot_of[self._track_of[slot]]
            self._track_of[slot] = None
        self.columns["sampled_at_ns"][gone] = NEVER_NS
        self._free += gone.tolist()

    def _slot(self, track: Track) -> int:
        slot = self._slot_of.get(track)
        if slot is not None:
            return slot
        if self._free:
            slot = self._free.pop()
            self._track_of[slot] = track
        elif len(self._track_of) < MOST_OBJECTS:
            slot = len(self._track_of)
            self._track_of.append(track)
            self._grow_to(slot + 1)
        else:
            return -1
        self._slot_of[track] = slot
        return slot

    def _grow_to(self, n: int) -> None:
        more = n - len(self.columns["sampled_at_ns"])
        if more <= 0:
            return
        more = max(more, n)  # doubled
        for name, (dtype, empty) in _COLUMNS.items():
            self.columns[name] = np.append(self.columns[name], np.full(more, empty, dtype))


def are_connected(
    objects: dict[str, npt.NDArray[Any]], vehicles: dict[str, npt.NDArray[Any]]
) -> npt.NDArray[np.bool_]:
    """Whether each object (n,) is a vehicle that reports itself.

    Vehicles are carried on to the object's time by their speed and heading, for they report each
    second and the road sees them ten times a second. None is where there are more objects than
    MOST_MATCHED. Columns: `sampled_at_ns`, `lat_deg`, `lon_deg`, and of vehicles `speed_mps`,
    `heading_deg`.
    """
    found = np.zeros(len(objects["lat_deg"]), np.bool_)
    reports = np.isfinite(vehicles["lat_deg"]) & np.isfinite(vehicles["lon_deg"])
    if not 0 < len(found) <= MOST_MATCHED or not reports.any():
        return found
    east_scale = METRES_PER_DEG * np.cos(np.radians(float(np.mean(objects["lat_deg"]))))
    known = {name: vehicles[name][reports] for name in _OF_VEHICLES}
    speed = np.clip(np.nan_to_num(known["speed_mps"]), 0.0, MAX_SPEED_MPS).astype(np.float64)
    turn = np.radians(np.nan_to_num(known["heading_deg"]).astype(np.float64))
    moving = _Moving(
        known["lon_deg"] * east_scale, known["lat_deg"] * METRES_PER_DEG, known["sampled_at_ns"],
        speed * np.sin(turn), speed * np.cos(turn),
    )  # fmt: skip
    reach_m = SAME_WITHIN_M + PRESENT_NS / NS_PER_S * float(speed.max())
    for first in range(0, len(found), MATCHED_AT_ONCE):
        part = slice(first, first + MATCHED_AT_ONCE)
        east, north = objects["lon_deg"][part] * east_scale, objects["lat_deg"][part]
        at_ns = objects["sampled_at_ns"][part]
        found[part] = _have_one_near(east, north * METRES_PER_DEG, at_ns, moving, reach_m)
    return found


class _Moving(NamedTuple):
    """Vehicles on a plane, each (n,): metres, when they were there, and their velocity."""

    east_m: Floats
    north_m: Floats
    at_ns: npt.NDArray[np.int64]
    east_mps: Floats
    north_mps: Floats


def _have_one_near(
    east_m: Floats, north_m: Floats, at_ns: npt.NDArray[np.int64], moving: _Moving, reach_m: float
) -> npt.NDArray[np.bool_]:
    """Whether a vehicle is SAME_WITHIN_M from each place (n,) at its time."""
    place, near = near_pairs(east_m, north_m, moving.east_m, moving.north_m, reach_m)
    waited_s = (at_ns[place] - moving.at_ns[near]) / NS_PER_S
    waited_s = np.clip(waited_s, -PRESENT_NS / NS_PER_S, PRESENT_NS / NS_PER_S)
    d_east_m = moving.east_m[near] + waited_s * moving.east_mps[near] - east_m[place]
    d_north_m = moving.north_m[near] + waited_s * moving.north_mps[near] - north_m[place]
    found = np.zeros(len(east_m), np.bool_)
    found[place[d_north_m**2 + d_east_m**2 < SAME_WITHIN_M**2]] = True
    return found
