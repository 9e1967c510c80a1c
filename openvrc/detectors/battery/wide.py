"""Rows of numbers per vehicle, one column per cell or probe: the state `Keyed` has no room for.

Vehicles differ in their numbers of cells, so every table is as wide as the largest pack seen and
padded with its fill value. 100,000 vehicles of 96 cells need 38 MB per int32 table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Arrays

Spec = Mapping[str, tuple[Any, Any]]
"""Table name to (numpy dtype, fill value)."""


class Wide:
    """Tables (n_vehicles, width) that grow in both directions; slots are those of a `Keyed`.

    >>> state = Wide({"last_v": (np.float32, np.nan)})
    >>> state.fit(1, 2)
    >>> state["last_v"][0] = [3.7, 3.6]
    >>> state.fit(1, 3)
    >>> state["last_v"][0].tolist()[2]
    nan
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = dict(spec)
        self.n_slots = 0
        self.width = 0
        self._store = {name: np.full((0, 0), fill, dt) for name, (dt, fill) in spec.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """View (n_slots, width) of a table; writable; valid until the next `fit` that grows."""
        return self._store[name][: self.n_slots]

    def fit(self, n_slots: int, width: int) -> None:
        """Make room for so many vehicles and columns; never shrinks."""
        self.width = max(self.width, width)
        self.n_slots = max(self.n_slots, n_slots)
        for name, (dtype, fill) in self._spec.items():
            old = self._store[name]
            if old.shape[0] >= self.n_slots and old.shape[1] >= self.width:
                continue
            rows = old.shape[0] if old.shape[0] >= self.n_slots else 2 * self.n_slots
            grown = np.full((rows, self.width), fill, dtype)
            grown[: old.shape[0], : old.shape[1]] = old
            self._store[name] = grown

    def padded(self, values: npt.NDArray[Any], fill: Any) -> npt.NDArray[Any]:
        """`values` (n, k) widened to (n, width) with `fill`; the same array when it fits."""
        if values.shape[1] == self.width:
            return values
        wide = np.full((values.shape[0], self.width), fill, values.dtype)
        wide[:, : values.shape[1]] = values
        return wide

    def snapshot(self, prefix: str = "") -> Arrays:
        """Copies of all tables, for a checkpoint."""
        return {f"{prefix}{name}": self[name].copy() for name in self._spec}

    @classmethod
    def restore(cls, spec: Spec, arrays: Arrays, prefix: str = "") -> Wide:
        """What `snapshot` wrote."""
        state = cls(spec)
        for name in spec:
            saved = arrays[f"{prefix}{name}"]
            state.fit(*saved.shape)
            state[name][:] = saved
        return state
