"""Arrays keyed by an id (vehicle, segment, "vehicle/cell"): the state most detectors need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, pack_words

Spec = Mapping[str, tuple[Any, Any]]
"""Field name to (numpy dtype, value of a new key)."""

_FIRST_CAPACITY = 64


class Keyed:
    """Growing arrays, one slot per key in order of first appearance.

    >>> state = Keyed({"speed_mps": (np.float32, np.nan)})
    >>> state.slots(["a", "b", "a"]).tolist()
    [0, 1, 0]
    >>> state["speed_mps"][state.slots(["b"])] = 3.0
    >>> state["speed_mps"].tolist()
    [nan, 3.0]
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = dict(spec)
        self._slot_of: dict[str, int] = {}
        self.keys: list[str] = []
        self._store = {n: np.full(_FIRST_CAPACITY, fill, dt) for n, (dt, fill) in spec.items()}

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._slot_of

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """View (n_keys,) of a field; writable; valid until the next new key."""
        return self._store[name][: len(self.keys)]

    def slots(self, keys: Iterable[str]) -> npt.NDArray[np.int64]:
        """Slot of each key; new keys get new slots with the spec's values."""
        slot_of = self._slot_of
        found = []
        for key in keys:
            slot = slot_of.get(key)
            if slot is None:
                slot = slot_of[key] = len(self.keys)
                self.keys.append(key)
            found.append(slot)
        self._reserve(len(self.keys))
        return np.array(found, np.int64)

    def batch_slots(self, batch: Batch, column: str = "subject_id") -> npt.NDArray[np.int64]:
        """Slot (n_rows,) of each row's id: one dictionary look-up per distinct id."""
        codes = batch.codes(column)
        used, place = np.unique(codes, return_inverse=True)
        words = batch.dictionary(column)
        return self.slots([words[code] for code in used])[place]

    def evict(self, drop: npt.NDArray[np.bool_]) -> None:
        """Forget the keys where `drop` (n_keys,) is true; slots are renumbered."""
        keep = np.flatnonzero(~drop)
        n_keys = len(self.keys)
        self.keys = [self.keys[slot] for slot in keep]
        self._slot_of = {key: slot for slot, key in enumerate(self.keys)}
        for name, (_, fill) in self._spec.items():
            array = self._store[name]
            array[: len(keep)] = array[:n_keys][keep]
            array[len(keep) : n_keys] = fill

    def _reserve(self, n_keys: int) -> None:
        for name, (dtype, fill) in self._spec.items():
            array = self._store[name]
            if len(array) < n_keys:
                grown = np.full(max(n_keys, 2 * len(array)), fill, dtype)
                grown[: len(array)] = array
                self._store[name] = grown

    def snapshot(self, prefix: str = "") -> Arrays:
        """Copies of all fields and the keys, for a checkpoint."""
        arrays = {f"{prefix}{name}": self[name].copy() for name in self._spec}
        return arrays | {f"{prefix}keys": pack_words(self.keys)}

    @classmethod
    def restore(cls, spec: Spec, arrays: Arrays, prefix: str = "") -> Keyed:
        """What `snapshot` wrote."""
        state = cls(spec)
        state.slots(arrays[f"{prefix}keys"].tolist())
        for name in spec:
            state[name][:] = arrays[f"{prefix}{name}"]
        return state
