"""Arrays keyed by an id (vehicle, segment, "vehicle/cell"): the state most detectors need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays
from openvrc.contracts.words import Words, WordTable, words_of
from openvrc.detectors.roll import Roll

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
    >>> slot = state.slots(["b"])
    >>> state["speed_mps"][slot] = 3.0
    >>> state["speed_mps"].tolist()
    [nan, 3.0]
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = dict(spec)
        self.keys = WordTable()
        self._store = {n: np.full(_FIRST_CAPACITY, fill, dt) for n, (dt, fill) in spec.items()}
        self._room = _FIRST_CAPACITY  # keys that fit without growing
        self._seats = _Seats()
        self._views: dict[str, npt.NDArray[Any]] = {}
        """Fields as they are given out for `_viewed_keys` keys: rules ask 200 times a batch."""
        self._viewed_keys = 0

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """View (n_keys,) of a field; writable; valid until the next new key."""
        if self._viewed_keys != len(self.keys):
            self._views = {}
            self._viewed_keys = len(self.keys)
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = self._store[name][: self._viewed_keys]
        return view

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

    def slots_on(self, roll: Roll, number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Slot (n,) of the ids that have these numbers on the roll; new keys get new slots."""
        slot_of = self._seats.of(roll, self.keys)
        slot: npt.NDArray[np.int64] = slot_of[number]
        is_new = slot < 0
        if is_new.any():
            new = np.unique(number[is_new])
            slot_of[new] = self.keys.append(roll.words(new))
            self._seats.n_keys = len(self.keys)
            self._reserve(len(self.keys))
            slot = slot_of[number]
        return slot

    def evict(self, drop: npt.NDArray[np.bool_]) -> None:
        """Forget the keys where `drop` (n_keys,) is true; slots are renumbered."""
        keep = np.flatnonzero(~drop)
        self._seats.evict(drop)
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
                self._views = {}
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


class _Seats:
    """Which slot of a `Keyed` each number of a roll has; all its keys are on the roll."""

    def __init__(self) -> None:
        self.n_keys = 0
        self._roll: Roll | None = None
        self._generation = 0
        self._slot_of = np.empty(0, np.int64)  # -1: not a key

    def of(self, roll: Roll, keys: WordTable) -> npt.NDArray[np.int64]:
        """Slot by number, for every number there is now; writable."""
        is_same = self._roll is roll and self._generation == roll.generation
        if not is_same or self.n_keys != len(keys):
            number = roll.add(keys.words())
            roll.is_read_by(self)
            self._roll, self._generation, self.n_keys = roll, roll.generation, len(keys)
            self._slot_of = np.full(2 * len(roll), -1, np.int64)
            self._slot_of[number] = np.arange(len(keys))
        elif len(self._slot_of) < len(roll):
            missing = 2 * len(roll) - len(self._slot_of)
            self._slot_of = np.pad(self._slot_of, (0, missing), constant_values=-1)
        return self._slot_of

    def uses(self, roll: Roll) -> npt.NDArray[np.int64]:
        """The numbers of this roll that have a slot."""
        if self._roll is not roll or self._generation != roll.generation:
            return np.empty(0, np.int64)
        return np.flatnonzero(self._slot_of[: len(roll)] >= 0)

    def evict(self, drop: npt.NDArray[np.bool_]) -> None:
        """The keys where `drop` (n_keys,) is true go, the others move up."""
        if self.n_keys != len(drop):  # some came by their words
            self._roll = None
        else:
            slot_of_old = np.append(np.where(drop, -1, np.cumsum(~drop) - 1), -1)
            self._slot_of = slot_of_old[self._slot_of]
            self.n_keys = int((~drop).sum())
