"""Road users that roadside units perceive, as they are now; most of them are not connected.

A unit numbers its own tracks, so a track is (source, subject). A sighting lives for a second or
two: there is nothing to keep over a restart. A connected vehicle is not shown a second time.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.latest_tables import NEVER_NS, newest_rows
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S

PRESENT_NS = 2 * NS_PER_S
"""Units perceive at 1 to 10 Hz: whoever was not seen for two seconds has left their sight."""
FORGET_NS = 10 * NS_PER_S
MOST_OBJECTS = 50_000
"""Beyond it new tracks are left out: a unit that numbers everything anew fills nothing."""
FIRST_SLOTS = 64
SAME_WITHIN_M = 5.0
"""An object this near to a connected vehicle is that vehicle: half a car and 3 m of two errors."""
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
    second and the road sees them ten times a second. Columns: `sampled_at_ns`, `lat_deg`,
    `lon_deg`, and of vehicles `speed_mps`, `heading_deg`.
    """
    found = np.zeros(len(objects["lat_deg"]), np.bool_)
    if not len(found) or not len(vehicles["lat_deg"]):
        return found
    east_scale = METRES_PER_DEG * np.cos(np.radians(float(np.mean(objects["lat_deg"]))))
    order = np.argsort(vehicles["lat_deg"])
    north = vehicles["lat_deg"][order] * METRES_PER_DEG
    east = vehicles["lon_deg"][order] * east_scale
    speed = np.nan_to_num(vehicles["speed_mps"][order]).astype(np.float64)
    turn = np.radians(np.nan_to_num(vehicles["heading_deg"][order]).astype(np.float64))
    reach_m = SAME_WITHIN_M + PRESENT_NS / NS_PER_S * float(speed.max())
    at_north = objects["lat_deg"] * METRES_PER_DEG
    first = np.searchsorted(north, at_north - reach_m)
    last = np.searchsorted(north, at_north + reach_m)
    n_near = last - first  # pairs of an object and each vehicle of its latitude
    pair = np.repeat(np.arange(len(found)), n_near)
    near = np.arange(len(pair)) - np.repeat(np.cumsum(n_near) - n_near, n_near) + first[pair]
    waited_s = (objects["sampled_at_ns"][pair] - vehicles["sampled_at_ns"][order][near]) / NS_PER_S
    moved_m = np.clip(waited_s, -PRESENT_NS / NS_PER_S, PRESENT_NS / NS_PER_S) * speed[near]
    d_north = north[near] + moved_m * np.cos(turn[near]) - at_north[pair]
    d_east = east[near] + moved_m * np.sin(turn[near]) - objects["lon_deg"][pair] * east_scale
    found[pair[d_north**2 + d_east**2 < SAME_WITHIN_M**2]] = True
    return found
