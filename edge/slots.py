"""Arrays keyed by id: one slot per key, reused after the key was forgotten.

A slot number stays with its key until `free`, so other arrays may be indexed by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from openvrc.contracts.batch import Batch
from openvrc.contracts.text_index import TextIndex, Texts

Spec = Mapping[str, tuple[Any, Any, int]]
"""Field name to (numpy dtype, value of a new key, width; 0 is a plain column)."""
Places = npt.NDArray[np.int64]
Times = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_FIRST_CAPACITY = 64


class Slots:
    """Growing arrays with one row per key.

    >>> state = Slots({"newest_ns": (np.int64, -1, 0)})
    >>> state.of(["a", "b", "a"]).tolist()
    [0, 1, 0]
    >>> state["newest_ns"][1] = 7
    >>> state.free(np.array([1])); state.of(["c"]).tolist(), int(state["newest_ns"][1])
    ([1], -1)
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = dict(spec)
        self._index = TextIndex()
        self._store = {name: _fresh(row, _FIRST_CAPACITY) for name, row in spec.items()}

    def __len__(self) -> int:
        """Keys held now."""
        return len(self._index)

    @property
    def end(self) -> int:
        """One more than the highest slot."""
        return self._index.end

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The field's array (n_slots, ...): writable, valid until the next new key."""
        return self._store[name][: self._index.end]

    def key(self, slot: int) -> str:
        """The key of a slot, "" of a free one."""
        return self._index.text(slot)

    def of(self, keys: Texts) -> Places:
        """Slot of each key; a new key gets a fresh one."""
        slots = self._index.add(keys)
        self._reserve(self._index.end)
        return slots

    def of_batch(self, batch: Batch, column: str = "subject_id") -> Places:
        """Slot (n_rows,) of each row's id: one look-up per distinct id."""
        codes, words = batch.codes(column), batch.data.column(column).dictionary
        is_used = np.zeros(len(words), np.bool_)
        is_used[codes] = True
        if is_used.all():
            return self.of(words)[codes]
        used = np.flatnonzero(is_used)
        slot_of_word = np.empty(len(words), np.int64)
        slot_of_word[used] = self.of(words.take(pa.array(used)))
        return slot_of_word[codes]

    def _reserve(self, n_slots: int) -> None:
        for name, row in self._spec.items():
            array = self._store[name]
            if len(array) < n_slots:
                more = max(n_slots, 2 * len(array)) - len(array)
                self._store[name] = np.concatenate([array, _fresh(row, more)])

    def free(self, slots: Places) -> None:
        """Forget the keys of these slots; the slots go to the next new keys."""
        self._index.remove(slots)
        for name, (_, fill, _width) in self._spec.items():
            self._store[name][slots] = fill

    def older_than(self, name: str, limit: int) -> Places:
        """Slots in use whose field is below `limit`."""
        return np.flatnonzero((self[name] < limit) & self._index.is_held())

    def snapshot(self) -> dict[str, Any]:
        """Copies of all fields, keys and free slots, for a checkpoint."""
        fields = {name: self[name].copy() for name in self._spec}
        return {"fields": fields, "index": self._index.snapshot()}

    @classmethod
    def restore(cls, spec: Spec, tree: Mapping[str, Any]) -> Slots:
        """What `snapshot` wrote."""
        state = cls(spec)
        state._index = TextIndex.restore(tree["index"])
        state._reserve(state._index.end)
        for name in spec.keys() & tree["fields"].keys():  # a field may be younger than the snapshot
            state[name][:] = tree["fields"][name]
        return state


def _fresh(row: tuple[Any, Any, int], n_slots: int) -> npt.NDArray[Any]:
    dtype, fill, width = row
    return np.full((n_slots, width) if width else n_slots, fill, dtype)


class Grouped:
    """Rows (n,) in order of arrival, and which of them belong to one slot.

    Mostly each slot has one row in a group; then nothing needs sorting.
    """

    def __init__(self, slots: Places) -> None:
        self.slots = slots

    @cached_property
    def is_once(self) -> bool:
        """Whether no slot has two rows."""
        if not self.slots.size:
            return True
        row_of_slot = np.empty(int(self.slots.max()) + 1, np.int32)
        rows = np.arange(len(self.slots), dtype=np.int32)
        row_of_slot[self.slots] = rows
        return bool((row_of_slot[self.slots] == rows).all())

    @cached_property
    def order(self) -> Places:
        """Rows by slot, each slot's in order of arrival."""
        return np.argsort(self.slots, kind="stable")

    @cached_property
    def starts(self) -> Bools:
        """Within `order`: where a new slot begins."""
        slot = self.slots[self.order]
        starts = np.ones(len(slot), np.bool_)
        starts[1:] = slot[1:] != slot[:-1]
        return starts

    def at(self, rows: Bools) -> Grouped:
        """The rows where `rows` (n,) is true."""
        return self if rows.all() else Grouped(self.slots[rows])

    def raise_to(self, newest: Times, values: Times) -> None:
        """Raise `newest`, indexed by slot, to each slot's highest value (n,)."""
        if self.is_once:
            newest[self.slots] = np.maximum(newest[self.slots], values)
        else:
            np.maximum.at(newest, self.slots, values)

    def last(self) -> Places:
        """The last row of each slot that has one."""
        if self.is_once:
            return np.arange(len(self.slots))
        ends = np.append(np.flatnonzero(self.starts)[1:], len(self.slots)) - 1
        last: Places = self.order[ends]
        return last


def not_before(rows: Grouped, time_ns: Times, newest_ns: Times, *, strictly: bool) -> Bools:
    """Rows (n,) that are newer than every earlier row of their slot and than `newest_ns[slot]`.

    Without `strictly` an equal time passes too. `newest_ns` is indexed by slot and not changed.
    Vectorised where each slot's rows are in time order; only slots that are not cost a loop.
    """
    if rows.is_once:
        base_ns = newest_ns[rows.slots]
        newer: Bools = time_ns > base_ns if strictly else time_ns >= base_ns
        return newer
    slot, time, starts = rows.slots[rows.order], time_ns[rows.order], rows.starts
    before = np.empty_like(time)
    before[1:] = time[:-1]
    before[starts] = newest_ns[slot[starts]]
    passes = time > before if strictly else time >= before
    if not passes.all():
        _loop_over(np.unique(slot[~passes]), slot, time, newest_ns, passes, strictly)
    result = np.empty_like(passes)
    result[rows.order] = passes
    return result


def _loop_over(
    odd: Places, slot: Places, time: Times, newest_ns: Times, passes: Bools, strictly: bool
) -> None:
    lows, highs = np.searchsorted(slot, odd), np.searchsorted(slot, odd, side="right")
    for which, low, high in zip(odd.tolist(), lows.tolist(), highs.tolist(), strict=True):
        newest = int(newest_ns[which])
        for row, now in enumerate(time[low:high].tolist(), low):
            passes[row] = now > newest if strictly else now >= newest
            newest = max(newest, now)


def last_of_each(keys: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Row of the last appearance of each distinct key, in the order of `np.unique(keys)`."""
    array = np.asarray(keys)
    _, first_from_behind = np.unique(array[::-1], return_index=True)
    return len(array) - 1 - first_from_behind
