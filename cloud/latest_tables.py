"""Newest values by event time, of vehicles as arrays and of everything else as records.

"Latest" means newest by `sampled_at`, never last received: data that was held back by a link loss
does not move a vehicle back (Traccar #6015 is what happens otherwise).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.words import UNKNOWN, Words, WordTable

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
FORGET_SHARE = 4
"""Names are dropped once one in so many is of a pseudonym that went."""

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
    "soh_ratio": (np.float32, np.nan),
    "insulation_ohm": (np.float32, np.nan),
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
_BATTERY = ("soc_ratio", "pack_voltage_v", "pack_current_a", "soh_ratio", "insulation_ohm")


class VehicleTable:
    """The newest `vehicle_state` of every vehicle of one run, one slot each.

    A slot is a small stable number that stands for the vehicle on the live wire; slots of
    forgotten pseudonyms are used again. Arrays are (capacity,), numbers and words alike; a slot
    that no vehicle has is empty in all of them.
    """

    def __init__(self) -> None:
        self.columns: dict[str, npt.NDArray[Any]] = {
            name: np.full(FIRST_SLOTS, empty, dtype) for name, (dtype, empty) in _COLUMNS.items()
        }
        self._ids = WordTable()
        self._slot_of = np.empty(0, np.int64)  # (n_ids,) UNKNOWN: forgotten
        self._id_of = np.full(FIRST_SLOTS, UNKNOWN, np.int64)  # (capacity,) into _ids
        self._n_slots = 0
        self._free: list[int] = []
        self._words = {name: WordTable([""]) for name in _WORDS}
        self._word_of = {name: np.zeros(FIRST_SLOTS, np.int64) for name in _WORDS}
        self.version = 0
        """Raised by each change; what was made from an older one is stale."""

    def __len__(self) -> int:
        return self._n_slots - len(self._free)

    def slot(self, vehicle_id: str) -> int | None:
        """A vehicle's slot; None when it is not known."""
        number = self._ids.number(vehicle_id)
        slot = UNKNOWN if number == UNKNOWN else int(self._slot_of[number])
        return None if slot == UNKNOWN else slot

    def vehicle_id(self, slot: int) -> str:
        """Whose slot it is; "" when it is nobody's."""
        number = self._id_of[slot] if slot < self._n_slots else UNKNOWN
        return "" if number == UNKNOWN else self._ids[int(number)]

    def vehicle_ids(self) -> list[str]:
        """All that are known, in any order."""
        names = self._ids.to_list()
        return [names[number] for number in np.flatnonzero(self._slot_of != UNKNOWN).tolist()]

    def word(self, name: str, slot: int) -> str:
        """`segment_id` or `source_id` of a slot, "" where unknown."""
        return self._words[name][int(self._word_of[name][slot])]

    def fold(self, batch: Batch) -> None:
        """Take the rows of a `vehicle_state` batch that are newer than what is known."""
        has_place = np.isfinite(batch.column("lat_deg")) & np.isfinite(batch.column("lon_deg"))
        batch = batch if has_place.all() else batch.filter(has_place)
        if not batch.n_rows:
            return
        rows, slots = self._newest(batch)
        sampled = batch.column("sampled_at_ns")[rows]
        known = self.columns["sampled_at_ns"][slots]
        is_newer = sampled > known
        if not is_newer.all():
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
            words, place = batch.used_words(name)
            self._word_of[name][slots] = self._words[name].add(words)[place[rows]]
        self.version += 1

    def fold_battery(self, batch: Batch) -> None:
        """Take the newest frame of each vehicle of a `battery_state` batch, cells summed up."""
        if not batch.n_rows:
            return
        rows, slots = self._newest(batch)
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

    def _newest(self, batch: Batch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The newest row of each subject of a batch, and the subject's slot, (n_subjects,) each."""
        words, place = batch.used_words("subject_id")
        slots = self._slots(words)[place]
        rows = newest_rows(slots, batch.column("sampled_at_ns"))
        return rows, slots[rows]

    def _slots(self, words: Words) -> npt.NDArray[np.int64]:
        """Slot (n,) of each of some distinct ids; new ones get free slots, then further ones."""
        numbers = self._ids.add(words)
        n_new = len(self._ids) - len(self._slot_of)
        if n_new:
            self._slot_of = np.append(self._slot_of, np.full(n_new, UNKNOWN))
        slots = self._slot_of[numbers]
        homeless = np.unique(numbers[slots == UNKNOWN])
        if len(homeless):
            again = [self._free.pop() for _ in range(min(len(self._free), len(homeless)))]
            n_further = len(homeless) - len(again)
            further = np.arange(self._n_slots, self._n_slots + n_further)
            self._n_slots += n_further
            self._grow_to(self._n_slots)
            given = np.concatenate([np.array(again, np.int64), further])
            self._slot_of[homeless], self._id_of[given] = given, homeless
            slots = self._slot_of[numbers]
        return slots

    def present(self, now_ns: int) -> npt.NDArray[np.int64]:
        """Slots of vehicles that still report, as seen from zone time `now_ns`."""
        sampled = self.columns["sampled_at_ns"][: self._n_slots]
        patience = PRESENT_INTERVALS * self.columns["interval_ns"][: self._n_slots]
        patience = np.maximum(patience, MIN_PRESENT_NS)
        # A clock ahead of the zone is present too: only silence makes a vehicle absent.
        heard = sampled != NEVER_NS
        return np.flatnonzero(heard & (now_ns - np.where(heard, sampled, now_ns) <= patience))

    def forget_pseudonyms(self, now_ns: int) -> None:
        """Free the slots of pseudonyms that have been silent for PSEUDONYM_IDLE_NS."""
        n = self._n_slots
        idle = self.columns["sampled_at_ns"][:n] < now_ns - PSEUDONYM_IDLE_NS
        heard = self.columns["sampled_at_ns"][:n] != NEVER_NS
        gone = np.flatnonzero(heard & idle & (self.columns["id_kind"][:n] == 1))
        if not len(gone):
            return
        self._slot_of[self._id_of[gone]] = UNKNOWN
        self._id_of[gone] = UNKNOWN
        for name, (_, empty) in _COLUMNS.items():
            self.columns[name][gone] = empty
        for numbers in self._word_of.values():
            numbers[gone] = 0
        self._free += gone.tolist()
        self.version += 1
        self._forget_names()

    def _forget_names(self) -> None:
        """Drop the names that nobody has any more, once it is worth the work."""
        is_used = self._slot_of != UNKNOWN
        if FORGET_SHARE * int((~is_used).sum()) < len(is_used):
            return
        self._ids.keep(is_used)
        self._slot_of = self._slot_of[is_used]
        self._id_of[self._slot_of] = np.arange(len(self._slot_of))

    def snapshot(self) -> Arrays:
        """Everything as plain arrays."""
        n = self._n_slots
        arrays: Arrays = {name: column[:n].copy() for name, column in self.columns.items()}
        arrays |= {"ids": self._ids.to_array(), "id_of": self._id_of[:n].copy()}
        for name in _WORDS:
            arrays[f"{name}.words"] = self._words[name].to_array()
            arrays[f"{name}.of"] = self._word_of[name][:n].copy()
        return arrays

    @classmethod
    def restore(cls, arrays: Arrays) -> VehicleTable:
        """The table that `snapshot` wrote, also one of before 2026-11-27."""
        if "vehicle_id" in arrays:
            arrays = _of_texts(arrays)
        table = cls()
        table._n_slots = n = len(arrays["id_of"])
        table._grow_to(n)
        table._ids = WordTable.from_array(arrays["ids"])
        table._id_of[:n] = arrays["id_of"]
        has_id = np.flatnonzero(arrays["id_of"] != UNKNOWN)
        table._slot_of = np.full(len(table._ids), UNKNOWN, np.int64)
        table._slot_of[arrays["id_of"][has_id]] = has_id
        table._free = np.flatnonzero(arrays["id_of"] == UNKNOWN).tolist()
        for name in _COLUMNS.keys() & arrays.keys():  # a column of later has nothing to tell yet
            table.columns[name][:n] = arrays[name]
        for name in _WORDS:
            table._words[name] = WordTable.from_array(arrays[f"{name}.words"])
            table._word_of[name][:n] = arrays[f"{name}.of"]
        return table

    def _grow_to(self, n: int) -> None:
        capacity = len(self._id_of)
        if n <= capacity:
            return
        more = max(n, 2 * capacity) - capacity
        self._id_of = np.append(self._id_of, np.full(more, UNKNOWN))
        for name, (dtype, empty) in _COLUMNS.items():
            self.columns[name] = np.append(self.columns[name], np.full(more, empty, dtype))
        for name in _WORDS:
            self._word_of[name] = np.append(self._word_of[name], np.zeros(more, np.int64))


def _of_texts(arrays: Arrays) -> Arrays:
    """An older snapshot, in which every slot had its texts, in the form of today."""
    ids = arrays["vehicle_id"]
    is_used = ids != ""
    id_of = np.where(is_used, np.cumsum(is_used) - 1, UNKNOWN)
    found = arrays | {"ids": ids[is_used], "id_of": id_of}
    for name in _WORDS:
        words, found[f"{name}.of"] = np.unique(np.append(arrays[name], ""), return_inverse=True)
        found[f"{name}.words"] = words
        found[f"{name}.of"] = found[f"{name}.of"][:-1]
    return found


class RecordTable:
    """The newest record by key, for messages of which there are few (signals, segments, RSUs).

    With `most` only about so many of the highest rank are kept.
    """

    def __init__(
        self,
        key: Callable[[Record], Hashable],
        rank: Callable[[Record], Any],
        *,
        most: int | None = None,
    ) -> None:
        self._key = key
        self._most = most
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
        if self._most is not None and len(self.records) > 2 * self._most:  # seldom, then
            self._keep_newest(self._most)

    def _keep_newest(self, most: int) -> None:
        ranked = sorted(self.records.items(), key=lambda item: self._rank(item[1]))
        self.records = dict(ranked[-most:])
        self._changed = {key: None for key in self._changed if key in self.records}

    def take_changed(self) -> list[Record]:
        """Records that changed since the last call: conflated, so bounded by the table."""
        changed = [self.records[key] for key in self._changed]
        self._changed = {}
        return changed

    def to_list(self) -> list[Record]:
        """All records, for a snapshot; they are replaced, never changed."""
        return list(self.records.values())

    def load(self, records: list[Record]) -> None:
        """The records of a snapshot."""
        self.records = {self._key(record): record for record in records}


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


def newest_rows(
    slots: npt.NDArray[np.int64], sampled_at_ns: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The row with the newest `sampled_at` of each slot (the last of equals), by slot."""
    order = np.lexsort((sampled_at_ns, slots))
    ordered = slots[order]
    is_last = np.ones(len(order), np.bool_)
    is_last[:-1] = ordered[1:] != ordered[:-1]
    return order[is_last]
