"""Samples that came before: per message and subject, by their event time and their source.

A sample newer than all before cannot be a repeat. An older one is looked up among the last
`REMEMBERED` samples of its subject; further back only sequence numbers (and the store's own key)
tell. A remembered sample is one 64-bit mark of source and time: two different ones share a mark
once in 10^18.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from edge.slots import Grouped, Slots, not_before

REMEMBERED = 8
"""Samples kept per subject: 0.8 s of a 10 Hz sender, which is how far radio and broker
re-order; repeats of older samples carry their old sequence number."""
NEVER_NS = np.iinfo(np.int64).min

SPEC = {
    "heard_ns": (np.int64, NEVER_NS, 0),
    "recent": (np.uint64, 0, REMEMBERED),
    "next_place": (np.int8, 0, 0),
}
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""The constants of splitmix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195)."""

Marks = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


def text_mark(text: str) -> int:
    """A 64-bit mark of a source's name, the same in every process; never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") | 1


def sample_marks(source_marks: Marks, at_ns: npt.NDArray[np.int64]) -> Marks:
    """The mark of each sample (n,): splitmix64 of its source's mark and its time; never 0."""
    with np.errstate(over="ignore"):
        mixed = source_marks + at_ns.astype(np.uint64) * _ODD[0]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _ODD[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _ODD[2]
    marks: Marks = (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)
    return marks


def first_times(
    subjects: Slots, rows: Grouped, at_ns: npt.NDArray[np.int64], marks: Marks
) -> Bools:
    """Rows (n,) that are no repeat, in order of arrival; remembers them in `subjects`."""
    newer = not_before(rows, at_ns, subjects["heard_ns"], strictly=True)
    is_first = newer.copy() if rows.is_once else _of_clean_slots(subjects, rows, newer)
    if rows.is_once and not newer.all():
        older = np.flatnonzero(~newer)
        known = subjects["recent"][rows.slots[older]] == marks[older, None]
        is_first[older] = ~known.any(axis=1)
    _remember(subjects, rows, marks, is_first)
    if not rows.is_once:
        odd = np.flatnonzero(~is_first)
        is_first[odd] = _one_by_one(subjects, rows.slots[odd], marks[odd])
    rows.raise_to(subjects["heard_ns"], at_ns)
    return is_first


def _of_clean_slots(subjects: Slots, rows: Grouped, newer: Bools) -> Bools:
    """Rows of the slots whose rows are all newer than what was before them."""
    is_odd = np.zeros(subjects.end, np.bool_)
    is_odd[rows.slots[~newer]] = True
    clean: Bools = ~is_odd[rows.slots]
    return clean


def _remember(subjects: Slots, rows: Grouped, marks: Marks, is_first: Bools) -> None:
    slots, next_place = rows.slots, subjects["next_place"]
    if rows.is_once:
        slots, marks = slots[is_first], marks[is_first]
        places = next_place[slots]
        after = places + 1
    else:
        order = rows.order[is_first[rows.order]]
        starts = np.flatnonzero(Grouped(slots[order]).starts)
        lengths = np.diff(np.append(starts, len(order)))
        rank = np.arange(len(order)) - np.repeat(starts, lengths)
        slots, marks = slots[order], marks[order]
        places = (next_place[slots] + rank) % REMEMBERED
        after = places + 1  # of repeated slots the last assignment below holds: the last row
    subjects["recent"][slots, places] = marks
    next_place[slots] = after % REMEMBERED


def _one_by_one(subjects: Slots, slots: npt.NDArray[np.int64], marks: Marks) -> Bools:
    recent, place = subjects["recent"], subjects["next_place"]
    rings: dict[int, list[int]] = {}
    is_first = np.ones(len(slots), np.bool_)
    for row, (slot, mark) in enumerate(zip(slots.tolist(), marks.tolist(), strict=True)):
        ring = rings.get(slot)
        if ring is None:
            ring = rings[slot] = recent[slot].tolist()
        if mark in ring:
            is_first[row] = False
        else:
            ring[place[slot]] = mark
            place[slot] = (place[slot] + 1) % REMEMBERED
    for slot, ring in rings.items():
        recent[slot] = ring
    return is_first
