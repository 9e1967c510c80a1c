"""Arrays keyed by an id (vehicle, segment, "vehicle/cell"): the state most detectors need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays
from openvrc.contracts.words import Words, WordTable, words_of

Spec = Mapping[str, tuple[Any, Any]]
"""Field name to (numpy dtype, value of a new key)."""

_FIRST_CAPACITY = 64
EVICT_SHARE = 8
"""Forgetting costs, so it waits until one key in so many is to go."""


class Keyed:
    """Growing arrays, one slot per key.

    >>> state = Keyed({"speed_mps": (np.float32, np.nan)})
    >>> state.slots(["a", "a"]).tolist()
    [0, 0]
    >>> state["speed_mps"][state.slots(["b"])] = 3.0
    >>> state["speed_mps"].tolist()
    [nan, 3.0]
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = dict(spec)
        self.keys = WordTable()
        self._store = {n: np.full(_FIRST_CAPACITY, fill, dt) for n, (dt, fill) in spec.items()}
        self._room = _FIRST_CAPACITY  # keys that fit without growing

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """View (n_keys,) of a field; writable; valid until the next new key."""
        return self._store[name][: len(self.keys)]

    def slots(self, keys: Iterable[str]) -> npt.NDArray[np.int64]:
        """Slot of each key; new keys get new slots with the spec's values."""
        return self.slots_of(words_of(keys))

    def batch_slots(self, batch: Batch, column: str = "subject_id") -> npt.NDArray[np.int64]:
        """Slot (n_rows,) of each row's id: one look-up per distinct id."""
        words, place = batch.used_words(column)
        slots: npt.NDArray[np.int64] = self.slots_of(words)[place]
        return slots

    def slots_of(self, words: Words) -> npt.NDArray[np.int64]:
        """As `slots`, of words that are ready to be looked up."""
        slots = self.keys.add(words)
        self._reserve(len(self.keys))
        return slots

    def evict(self, drop: npt.NDArray[np.bool_]) -> None:
        """Forget the keys where `drop` (n_keys,) is true; slots are renumbered."""
        keep = np.flatnonzero(~drop)
        n_keys = len(self.keys)
        self.keys.keep(~drop)
        for name, (_, fill) in self._spec.items():
            array = self._store[name]
            array[: len(keep)] = array[:n_keys][keep]
            array[len(keep) : n_keys] = fill

    def evict_if_many(self, drop: npt.NDArray[np.bool_]) -> bool:
        """`evict` once it is worth its cost; whether it was done. Only memory may depend on it."""
        is_worth_it = bool(EVICT_SHARE * drop.sum() >= max(len(drop), 1))
        if is_worth_it:
            self.evict(drop)
        return is_worth_it

    def _reserve(self, n_keys: int) -> None:
        if n_keys <= self._room:
            return
        for name, (dtype, fill) in self._spec.items():
            array = self._store[name]
            if len(array) < n_keys:
                grown = np.full(max(n_keys, 2 * len(array)), fill, dtype)
                grown[: len(array)] = array
                self._store[name] = grown
        self._room = min((len(array) for array in self._store.values()), default=n_keys)

    def snapshot(self, prefix: str = "") -> Arrays:
        """Copies of all fields and the keys, for a checkpoint."""
        arrays = {f"{prefix}{name}": self[name].copy() for name in self._spec}
        return arrays | {f"{prefix}keys": self.keys.to_array()}

    @classmethod
    def restore(cls, spec: Spec, arrays: Arrays, prefix: str = "") -> Keyed:
        """What `snapshot` wrote."""
        state = cls(spec)
        state.keys = WordTable.from_array(arrays[f"{prefix}keys"])
        state._reserve(len(state.keys))
        for name in spec:
            state[name][:] = arrays[f"{prefix}{name}"]
        return state
