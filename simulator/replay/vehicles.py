"""The vehicles of a traffic recording, and their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.columns import column_of
from simulator.emission import topic_id
from simulator.replay.options import ReplayOptions
from simulator.replay.sumo_words import body_of
from simulator.sampling import name_hash, uniform

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.int32]


@dataclass(frozen=True)
class TrafficRows:
    """Rows of one or many vehicles; absent numbers are NaN, absent lights -1."""

    time_ns: NDArray[np.int64]  # (n,)
    vehicle: CodeArray  # (n,) numbers in a Vehicles table
    lat_deg: FloatArray
    lon_deg: FloatArray
    speed_mps: FloatArray
    heading_deg: FloatArray
    accel_long_mps2: FloatArray
    lights: NDArray[np.int32]  # SUMO's bits

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Self:
        """The chosen rows."""
        return type(self)(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def joined(parts: list[TrafficRows]) -> TrafficRows:
    """All rows, one part after the other."""
    names = TrafficRows.__dataclass_fields__
    return TrafficRows(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def steps_of(rows: TrafficRows) -> Iterator[TrafficRows]:
    """Rows in order of time, those of one time at a time."""
    starts = np.flatnonzero(np.diff(rows.time_ns, prepend=rows.time_ns[0] - 1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(rows.time_ns)], strict=True):
        yield rows.take(slice(start, end))


_CLASSES = {
    word: code for code, word in enumerate(column_of("vehicle_state", "vehicle_class").values)
}


@dataclass
class Vehicles:
    """A growing table of vehicles: what follows from id and type is worked out once."""

    options: ReplayOptions
    ids: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _facts: list[tuple[float, float, int, int, float, float]] = field(default_factory=list)
    _arrays: tuple[NDArray[np.float64], NDArray[np.uint64]] | None = None

    def number_of(self, vehicle_id: str, type_id: str = "") -> int:
        """The vehicle's number, a new one for a new id."""
        number = self._numbers.get(vehicle_id)
        if number is None:
            number = self._numbers[vehicle_id] = len(self.ids)
            self.ids.append(topic_id(vehicle_id))
            body, seed = body_of(type_id), self.options.seed
            hashes = [
                name_hash(seed, purpose, vehicle_id) for purpose in ("penetration", "rsu", "noise")
            ]
            shares = uniform(np.array(hashes[:2], np.uint64))
            code = _CLASSES.get(body.vehicle_class or "", -1)
            self._facts.append((shares[0], shares[1], hashes[2], code, body.length_m, body.width_m))
            self._arrays = None
        return number

    def is_connected(self) -> NDArray[np.bool_]:
        """(n_vehicles,) whether the vehicle is among the connected share."""
        return np.asarray(self._table()[:, 0] < self.options.penetration)

    def is_relayed(self) -> NDArray[np.bool_]:
        """(n_vehicles,) whether a roadside unit relays it where one is within range."""
        return np.asarray(self._table()[:, 1] < self.options.rsu_share)

    def class_code(self) -> NDArray[np.int8]:
        """(n_vehicles,) code of vehicle_class, -1 unknown."""
        return self._table()[:, 2].astype(np.int8)

    def size_m(self) -> tuple[FloatArray, FloatArray]:
        """Length and width (n_vehicles,), NaN where unknown."""
        return self._table()[:, 3], self._table()[:, 4]

    def noise_hash(self) -> NDArray[np.uint64]:
        """(n_vehicles,) seeds of each vehicle's noise."""
        self._table()
        assert self._arrays is not None
        return self._arrays[1]

    def _table(self) -> FloatArray:
        if self._arrays is None:
            table = np.array([(a, b, c, x, y) for a, b, _, c, x, y in self._facts], np.float64)
            hashes = np.array([fact[2] for fact in self._facts], np.uint64)
            self._arrays = (table.reshape(-1, 5), hashes)
        return self._arrays[0]
