"""Newest values by event time, of vehicles as arrays and of everything else as records.

"Latest" means newest by `sampled_at`, never last received: data that was held back by a link loss
does not move a vehicle back (Traccar #6015 is what happens otherwise).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, pack_words
from openvrc.contracts.units import NS_PER_S

Record = dict[str, Any]

NEVER_NS = np.iinfo(np.int64).min
FIRST_SLOTS = 64
DEFAULT_INTERVAL_NS = 5 * NS_PER_S
"""Assumed until a vehicle has reported twice: between the 1 s of V2X and the 10 s of telematics."""
MAX_INTERVAL_NS = 60 * NS_PER_S
"""A longer pause is an absence, not a reporting interval."""
PRESENT_INTERVALS = 3
"""A vehicle is present until it has been silent for this many of its own intervals: two lost
messages in a row are ordinary on radio."""
MIN_PRESENT_NS = 3 * NS_PER_S
PSEUDONYM_IDLE_NS = 300 * NS_PER_S
"""A changing pseudonym does not come back; its track is forgotten after this long (DESIGN 3)."""

_COLUMNS: dict[str, tuple[type, Any]] = {
    "sampled_at_ns": (np.int64, NEVER_NS),
    "interval_ns": (np.int64, DEFAULT_INTERVAL_NS),
    "lat_deg": (np.float64, np.nan),
    "lon_deg": (np.float64, np.nan),
    "speed_mps": (np.float32, np.nan),
    "heading_deg": (np.float32, np.nan),
    "vehicle_class": (np.int8, -1),
    "brake_on": (np.int8, -1),
    "id_kind": (np.int8, -1),
    "lane_index": (np.int64, -1),
    "battery_at_ns": (np.int64, NEVER_NS),
    "soc_ratio": (np.float32, np.nan),
    "pack_voltage_v": (np.float32, np.nan),
    "pack_current_a": (np.float32, np.nan),
    "cell_voltage_min_v": (np.float32, np.nan),
    "cell_voltage_max_v": (np.float32, np.nan),
    "probe_temperature_max_degc": (np.float32, np.nan),
}
_WORDS = ("segment_id", "source_id")
_STATE = (
    "lat_deg",
    "lon_deg",
    "speed_mps",
    "heading_deg",
    "vehicle_class",
    "brake_on",
    "id_kind",
    "lane_index",
)
_BATTERY = ("soc_ratio", "pack_voltage_v", "pack_current_a")


class VehicleTable:
    """The newest `vehicle_state` of every vehicle of one run, one slot each.

    A slot is a small stable number that stands for the vehicle on the live wire; slots of
    forgotten pseudonyms are used again. Arrays are (capacity,); use them with `alive`.
    """

    def __init__(self) -> None:
        self.slot_of: dict[str, int] = {}
        self.ids: list[str] = []
        self.columns: dict[str, npt.NDArray[Any]] = {
            name: np.full(FIRST_SLOTS, empty, dtype) for name, (dtype, empty) in _COLUMNS.items()
        }
        self.words: dict[str, npt.NDArray[np.object_]] = {
            name: np.full(FIRST_SLOTS, "", object) for name in _WORDS
        }
        self._free: list[int] = []
        self.version = 0
        """Raised by each change; what was made from an older one is stale."""

    def __len__(self) -> int:
        return len(self.slot_of)

    def fold(self, batch: Batch) -> None:
        """Take the rows of a `vehicle_state` batch that are newer than what is known."""
        has_place = np.isfinite(batch.column("lat_deg")) & np.isfinite(batch.column("lon_deg"))
        batch = batch if has_place.all() else batch.filter(has_place)
        rows = newest_rows(batch)
        subjects, words = batch.codes("subject_id")[rows], batch.dictionary("subject_id")
        slots = np.array([self._slot(words[code]) for code in subjects.tolist()], np.int64)
        sampled = batch.column("sampled_at_ns")[rows]
        known = self.columns["sampled_at_ns"][slots]
        is_newer = sampled > known
        rows, slots, sampled, known = (a[is_newer] for a in (rows, slots, sampled, known))
        if not len(rows):
            return
        has_known = known != NEVER_NS
        interval = np.minimum(sampled - np.where(has_known, known, sampled), MAX_INTERVAL_NS)
        self.columns["interval_ns"][slots] = np.where(has_known, interval, DEFAULT_INTERVAL_NS)
        self.columns["sampled_at_ns"][slots] = sampled
        for name in _STATE:
            self.columns[name][slots] = batch.column(name)[rows]
        for name in _WORDS:
            words_of_batch = np.array(batch.dictionary(name), object)
            self.words[name][slots] = words_of_batch[batch.codes(name)[rows]]
        self.version += 1

    def fold_battery(self, batch: Batch) -> None:
        """Take the newest frame of each vehicle of a `battery_state` batch, cells summed up."""
        rows = newest_rows(batch)
        words, subjects = batch.dictionary("subject_id"), batch.codes("subject_id")[rows]
        slots = np.array([self._slot(words[code]) for code in subjects.tolist()], np.int64)
        sampled = batch.column("sampled_at_ns")[rows]
        is_newer = sampled > self.columns["battery_at_ns"][slots]
        rows, slots = rows[is_newer], slots[is_newer]
        if not len(rows):
            return
        values = {name: batch.column(name)[rows] for name in ("id_kind", *_BATTERY)}
        values["battery_at_ns"] = sampled[is_newer]
        newest = batch.take(rows)
        low, high = _extremes(newest, "cell_voltages_v")
        values |= {"cell_voltage_min_v": low, "cell_voltage_max_v": high}
        values["probe_temperature_max_degc"] = _extremes(newest, "probe_temperatures_degc")[1]
        for name, column in values.items():
            self.columns[name][slots] = column

    def present(self, now_ns: int) -> npt.NDArray[np.int64]:
        """Slots of vehicles that still report, as seen from zone time `now_ns`."""
        sampled = self.columns["sampled_at_ns"][: len(self.ids)]
        patience = PRESENT_INTERVALS * self.columns["interval_ns"][: len(self.ids)]
        patience = np.maximum(patience, MIN_PRESENT_NS)
        # A clock ahead of the zone is present too: only silence makes a vehicle absent.
        heard = sampled != NEVER_NS
        return np.flatnonzero(heard & (now_ns - np.where(heard, sampled, now_ns) <= patience))

    def forget_pseudonyms(self, now_ns: int) -> None:
        """Free the slots of pseudonyms that have been silent for PSEUDONYM_IDLE_NS."""
        n = len(self.ids)
        idle = self.columns["sampled_at_ns"][:n] < now_ns - PSEUDONYM_IDLE_NS
        heard = self.columns["sampled_at_ns"][:n] != NEVER_NS
        for slot in np.flatnonzero(heard & idle & (self.columns["id_kind"][:n] == 1)).tolist():
            del self.slot_of[self.ids[slot]]
            self.ids[slot] = ""
            for name, (_, empty) in _COLUMNS.items():
                self.columns[name][slot] = empty
            self._free.append(slot)
            self.version += 1

    def snapshot(self) -> Arrays:
        """Everything as plain arrays."""
        n = len(self.ids)
        arrays: Arrays = {name: column[:n].copy() for name, column in self.columns.items()}
        arrays |= {name: pack_words(column[:n].tolist()) for name, column in self.words.items()}
        return arrays | {"vehicle_id": pack_words(self.ids)}

    @classmethod
    def restore(cls, arrays: Arrays) -> VehicleTable:
        """The table that `snapshot` wrote."""
        table = cls()
        table.ids = [str(word) for word in arrays["vehicle_id"]]
        table._grow_to(len(table.ids))
        for name in _COLUMNS:
            table.columns[name][: len(table.ids)] = arrays[name]
        for name in _WORDS:
            table.words[name][: len(table.ids)] = [str(word) for word in arrays[name]]
        table.slot_of = {word: slot for slot, word in enumerate(table.ids) if word}
        table._free = [slot for slot, word in enumerate(table.ids) if not word]
        return table

    def _slot(self, vehicle_id: str) -> int:
        slot = self.slot_of.get(vehicle_id)
        if slot is not None:
            return slot
        if self._free:
            slot = self._free.pop()
            self.ids[slot] = vehicle_id
        else:
            slot = len(self.ids)
            self.ids.append(vehicle_id)
            self._grow_to(len(self.ids))
        self.slot_of[vehicle_id] = slot
        return slot

    def _grow_to(self, n: int) -> None:
        capacity = len(self.columns["lat_deg"])
        if n <= capacity:
            return
        more = max(n, 2 * capacity) - capacity
        for name, (dtype, empty) in _COLUMNS.items():
            self.columns[name] = np.concatenate([self.columns[name], np.full(more, empty, dtype)])
        for name in _WORDS:
            self.words[name] = np.concatenate([self.words[name], np.full(more, "", object)])


class RecordTable:
    """The newest record by key, for messages of which there are few (signals, segments, RSUs)."""

    def __init__(self, key: Callable[[Record], Hashable], rank: Callable[[Record], Any]) -> None:
        self._key = key
        self._rank = rank
        self.records: dict[Hashable, Record] = {}
        self._changed: dict[Hashable, None] = {}

    def fold(self, batch: Batch) -> None:
        """Take what ranks above the known (ties replace nothing)."""
        for record in batch.to_records():
            key = self._key(record)
            known = self.records.get(key)
            if known is None or self._rank(record) > self._rank(known):
                self.records[key] = record
                self._changed[key] = None

    def take_changed(self) -> list[Record]:
        """Records that changed since the last call: conflated, so bounded by the table."""
        changed = [self.records[key] for key in self._changed]
        self._changed = {}
        return changed

    def to_json(self) -> str:
        """All records, for a snapshot."""
        return json.dumps(list(self.records.values()))

    def load_json(self, text: str) -> None:
        """The records of a snapshot."""
        self.records = {self._key(record): record for record in json.loads(text)}


def _extremes(batch: Batch, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Least and greatest element (n_rows,) of a list column, NaN where nothing was measured."""
    values, offsets = batch.lists(name)
    low, high = (np.full(batch.n_rows, np.nan, np.float32) for _ in range(2))
    has_any = offsets[1:] > offsets[:-1]
    if has_any.any():
        starts = offsets[:-1][has_any]  # rows without elements have no width: reduceat skips them
        low[has_any] = np.fmin.reduceat(values, starts)
        high[has_any] = np.fmax.reduceat(values, starts)
    return low, high


def newest_rows(batch: Batch) -> npt.NDArray[np.int64]:
    """For each subject of a batch the row with the newest `sampled_at` (the last of equals)."""
    subjects = batch.codes("subject_id")
    order = np.lexsort((batch.column("sampled_at_ns"), subjects))
    sorted_subjects = subjects[order]
    is_last = np.ones(len(order), np.bool_)
    is_last[:-1] = sorted_subjects[1:] != sorted_subjects[:-1]
    return np.sort(order[is_last]).astype(np.int64)
