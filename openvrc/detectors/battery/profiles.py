"""What rules need of `vehicle_profile`: chemistry and rated capacity, and limits that follow.

| class | chemistries | full | too high from | charging past | low under load | empty at rest |
|---|---|---|---|---|---|---|
| 4 V | nmc, nca, lmo | 4.20 V | 4.25 / 4.35 V | 4.23 / 4.30 V | 2.50 / 2.20 V | 2.50 V |
| lfp | lfp | 3.65 V | 4.00 / 4.20 V | 3.98 / 4.15 V | 2.00 / 1.80 V | 2.00 V |
| lto | lto | 2.80 V | 2.85 / 2.95 V | 2.83 / 2.90 V | 1.50 / 1.20 V | 1.50 V |
| unknown | none told, other | 4.35 V | 4.40 / 4.50 V | 4.38 / 4.45 V | 1.90 / 1.50 V | 2.00 V |

Ends of charge and discharge are those of data sheets (LG M50 4.20 and 2.50 V, LFP 3.65 and 2.50 V,
2.0 V in the cold, Toshiba SCiB 2.80 and 1.50 V): within them a cell is used as its maker allows.
"Too high" leaves 50 mV for the sensor; an LFP cell that is full before its mates shoots up within
a minute and is not hurt below 4 V. Beyond 4.35 V lithium plates on nmc's graphite and the
electrolyte oxidises. Without a chemistry only what no common cell may reach is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.detection import Arrays
from openvrc.detectors.battery.view import View
from openvrc.detectors.keyed import Keyed

_CHEMISTRIES = column_of("vehicle_profile", "chemistry").values
_CLASSES = ("4v", "lfp", "lto", "unknown")
_CLASS_OF = {"nmc": "4v", "nca": "4v", "lmo": "4v", "lfp": "lfp", "lto": "lto"}
LFP, LTO, UNKNOWN = (_CLASSES.index(word) for word in ("lfp", "lto", "unknown"))
FULL_V = np.array([4.20, 3.65, 2.80, 4.35])
HIGH_V = np.array([[4.25, 4.35], [4.00, 4.20], [2.85, 2.95], [4.40, 4.50]])
PAST_V = np.array([[4.23, 4.30], [3.98, 4.15], [2.83, 2.90], [4.38, 4.45]])
LOW_V = np.array([[2.50, 2.20], [2.00, 1.80], [1.50, 1.20], [1.90, 1.50]])
EMPTY_V = np.array([2.50, 2.00, 1.50, 2.00])

_FIELDS = {
    "at_ns": (np.int64, -(2**62)),
    "cell_class": (np.int8, UNKNOWN),
    "rated_ah": (np.float64, np.nan),
}


@dataclass
class Profiles:
    """The newest profile of each vehicle."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))

    def fold(self, batch: Batch) -> None:
        """Take in a batch of `vehicle_profile`; what a later one leaves out stays as it was."""
        vehicles = self.vehicles
        slots = vehicles.batch_slots(batch)
        at_ns, rated = batch.column("sampled_at_ns"), batch.column("rated_capacity_ah")
        chemistry = batch.column("chemistry")
        for row, slot in enumerate(slots.tolist()):  # a profile comes once a session
            if at_ns[row] < vehicles["at_ns"][slot]:
                continue
            vehicles["at_ns"][slot] = at_ns[row]
            if rated[row] > 0:
                vehicles["rated_ah"][slot] = rated[row]
            if chemistry[row] >= 0:
                word = _CLASS_OF.get(_CHEMISTRIES[chemistry[row]], "unknown")
                vehicles["cell_class"][slot] = _CLASSES.index(word)

    def _slot(self, view: View) -> npt.NDArray[np.int64]:
        slot: npt.NDArray[np.int64] = self.vehicles.keys.find(view.words)[view.place]
        return slot

    def cell_class(self, view: View) -> npt.NDArray[np.int64]:
        """Class (n,) of each row's cells: a row of the tables of limits."""
        if len(self.vehicles) == 0:
            return np.full(len(view), UNKNOWN, np.int64)
        slot = self._slot(view)
        return np.where(slot >= 0, self.vehicles["cell_class"][slot], UNKNOWN).astype(np.int64)

    def rated_ah(self, view: View) -> npt.NDArray[np.float64]:
        """Rated capacity (n,), NaN where unknown."""
        if len(self.vehicles) == 0:
            return np.full(len(view), np.nan)
        slot = self._slot(view)
        return np.where(slot >= 0, self.vehicles["rated_ah"][slot], np.nan)

    def snapshot(self) -> Arrays:
        """Copies for a checkpoint."""
        return self.vehicles.snapshot("profiles.")

    @classmethod
    def restore(cls, arrays: Arrays) -> Profiles:
        """What `snapshot` wrote."""
        return cls(Keyed.restore(_FIELDS, arrays, "profiles."))


def class_word(cell_class: int) -> str:
    """Name of a class, for evidence."""
    return _CLASSES[cell_class]
