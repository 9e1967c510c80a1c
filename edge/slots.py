"""Arrays keyed by id: one slot per key, reused after the key was forgotten.

A slot number stays with its key until `free`, so other arrays may be indexed by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch

Spec = Mapping[str, tuple[Any, Any, int]]
"""Field name to (numpy dtype, value of a new key, width; 0 is a plain column)."""

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
        self._slot_of: dict[str, int] = {}
        self._free: list[int] = []
        self.keys: list[str] = []
        """Key of each slot; "" is a free one."""
        self._store = {name: _fresh(row, _FIRST_CAPACITY) for name, row in spec.items()}

    def __len__(self) -> int:
        """Keys held now."""
        return len(self._slot_of)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The field's array (n_slots, ...): writable, valid until the next new key."""
        return self._store[name][: len(self.keys)]

    def of(self, keys: Iterable[str]) -> npt.NDArray[np.int64]:
        """Slot of each key; a new key gets a fresh one."""
        slot_of = self._slot_of
        found = [slot_of[key] if key in slot_of else self._add(key) for key in keys]
        return np.array(found, np.int64)

    def of_batch(self, batch: Batch, column: str = "subject_id") -> npt.NDArray[np.int64]:
        """Slot (n_rows,) of each row's id: one look-up per distinct id."""
        codes = batch.codes(column)
        used, place = np.unique(codes, return_inverse=True)
        words = batch.dictionary(column)
        return self.of([words[code] for code in used])[place]

    def _add(self, key: str) -> int:
        if self._free:
            slot = self._free.pop()
            self.keys[slot] = key
        else:
            slot = len(self.keys)
            self.keys.append(key)
            self._reserve(slot + 1)
        self._slot_of[key] = slot
        return slot

    def _reserve(self, n_slots: int) -> None:
        for name, row in self._spec.items():
            array = self._store[name]
            if len(array) < n_slots:
                self._store[name] = np.concatenate([array, _fresh(row, len(array))])

    def free(self, slots: npt.NDArray[np.int64]) -> None:
        """Forget the keys of these slots; the slots go to the next new keys."""
        for slot in slots.tolist():
            del self._slot_of[self.keys[slot]]
            self.keys[slot] = ""
            self._free.append(slot)
        for name, (_, fill, _width) in self._spec.items():
            self._store[name][slots] = fill

    def older_than(self, name: str, limit: int) -> npt.NDArray[np.int64]:
        """Slots in use whose field is below `limit`."""
        below = np.flatnonzero(self[name] < limit)
        return below[[bool(self.keys[slot]) for slot in below.tolist()]] if below.size else below

    def snapshot(self) -> dict[str, Any]:
        """Copies of all fields, keys and free slots, for a checkpoint."""
        fields = {name: self[name].copy() for name in self._spec}
        return {"fields": fields, "keys": list(self.keys), "free": list(self._free)}

    @classmethod
    def restore(cls, spec: Spec, tree: Mapping[str, Any]) -> Slots:
        """What `snapshot` wrote."""
        state = cls(spec)
        state.keys = list(tree["keys"])
        state._free = list(tree["free"])
        state._slot_of = {key: slot for slot, key in enumerate(state.keys) if key}
        n_slots = len(state.keys)
        for name, row in spec.items():
            array = _fresh(row, max(n_slots, _FIRST_CAPACITY))
            array[:n_slots] = tree["fields"][name]
            state._store[name] = array
        return state


def _fresh(row: tuple[Any, Any, int], n_slots: int) -> npt.NDArray[Any]:
    dtype, fill, width = row
    return np.full((n_slots, width) if width else n_slots, fill, dtype)


def not_before(
    slots: npt.NDArray[np.int64],
    time_ns: npt.NDArray[np.int64],
    newest_ns: npt.NDArray[np.int64],
    *,
    strictly: bool,
) -> npt.NDArray[np.bool_]:
    """Rows (n,) that are newer than every earlier row of their slot and than `newest_ns[slot]`.

    Rows stand in order of arrival; without `strictly` an equal time passes too. `newest_ns` is
    indexed by slot and not changed. Vectorised where each slot's rows are in time order; only
    slots that are not cost a loop.
    """
    order = np.argsort(slots, kind="stable")
    slot, time = slots[order], time_ns[order]
    before = np.empty_like(time)
    before[1:] = time[:-1]
    starts = np.ones(len(slot), np.bool_)
    starts[1:] = slot[1:] != slot[:-1]
    before[starts] = newest_ns[slot[starts]]
    passes = time > before if strictly else time >= before
    if not passes.all():
        _loop_over(np.unique(slot[~passes]), slot, time, newest_ns, passes, strictly)
    result = np.empty_like(passes)
    result[order] = passes
    return result


def _loop_over(
    odd: npt.NDArray[np.int64],
    slot: npt.NDArray[np.int64],
    time: npt.NDArray[np.int64],
    newest_ns: npt.NDArray[np.int64],
    passes: npt.NDArray[np.bool_],
    strictly: bool,
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
