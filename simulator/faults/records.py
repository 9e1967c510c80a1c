"""Faults that change values of records: a broken sensor, a clock, a sender that lies.

A kind gives a function from the rows it is wrong with to their new columns; who and when, putting
the values back into batches that many senders share, and the ground truth stand here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from simulator.emission import quantised
from simulator.faults.kind import Given
from simulator.sampling import mixed, normal_pair, uniform
from simulator.world import Frame, Outgoing, TruthEvent

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
METRES_PER_DEGREE = 111_320.0
"""Of latitude; of longitude at the equator."""


@dataclass(frozen=True)
class Affected:
    """The rows of a batch that a fault is wrong with."""

    whole: Batch
    rows: IntArray  # (n,) places in `whole`
    who: list[str]  # (n,)
    hashes: NDArray[np.uint64]  # (n,) of each row's sender or vehicle
    from_ns: int
    """When the fault begins."""

    def column(self, name: str) -> NDArray[Any]:
        """Values (n,) of a column."""
        return np.asarray(self.whole.column(name)[self.rows])

    @property
    def at_ns(self) -> IntArray:
        """When each row was sampled (n,)."""
        return self.column("sampled_at_ns")

    def own(self, draw: int = 0) -> FloatArray:
        """Uniform in [0, 1), one number for each sender or vehicle (n,), for ever the same."""
        return uniform(mixed(self.hashes, np.full(len(self.rows), draw, np.int64)))

    def uniform(self) -> FloatArray:
        """Uniform in [0, 1), another for each row (n,)."""
        return uniform(mixed(self.hashes, self.at_ns))

    def normal(self, draw: int = 0) -> tuple[FloatArray, FloatArray]:
        """Two standard normal numbers for each row (n,)."""
        return normal_pair(self.hashes, self.at_ns + draw)

    def moved(self, east_m: FloatArray, north_m: FloatArray) -> dict[str, FloatArray]:
        """Positions that far from the true ones."""
        lat_deg = self.column("lat_deg")
        per_lon_m = METRES_PER_DEGREE * np.cos(np.radians(lat_deg))
        return {
            "lat_deg": lat_deg + north_m / METRES_PER_DEGREE,
            "lon_deg": self.column("lon_deg") + east_m / per_lon_m,
        }


Change = Callable[[Affected], dict[str, Any]]
"""New values (n,) by column; columns that are left out stay true. NaN in `sampled_at_ns` has no
meaning; a row whose values all stay true is no lie but counts as one."""


class RecordFault:
    """See `Fault`."""

    def __init__(
        self,
        given: Given,
        change: Change,
        *,
        messages: tuple[str, ...] = ("vehicle_state",),
        who: str = "subject_id",
        rule: str = "security.misbehaviour",
        component: str = "",
    ) -> None:
        """`messages` () means every numbered one; `who` is the column that is drawn from."""
        self._given, self._change = given, change
        self._messages, self._who = messages, who
        self._rule, self._component = rule, component
        self._hashes: dict[str, int | None] = {}
        self._spans: dict[str, list[int]] = {}  # first and last sample, records

    def apply(self, frame: Frame) -> Frame:
        """See Fault."""
        changed: dict[int, Batch] = {}
        messages = []
        for outgoing in frame.messages:
            if not self._is_meant(outgoing):
                messages.append(outgoing)
                continue
            key = id(outgoing.whole)
            if key not in changed:
                changed[key] = self._changed(outgoing.whole)
            messages.append(replace(outgoing, whole=changed[key]))
        return Frame(frame.zone_time_ns, tuple(messages))

    def close(self, zone_time_ns: int) -> list[Outgoing]:
        """See Fault."""
        del zone_time_ns
        return []

    def truth(self) -> list[TruthEvent]:
        """See Fault: one event for each sender or vehicle."""
        return [
            TruthEvent(
                rule=self._rule,
                subject_id=name,
                from_ns=first_ns,
                to_ns=last_ns,
                component=self._component,
                detail={"fault": self._given.name, "records": n} | self._given.told(),
            )
            for name, (first_ns, last_ns, n) in self._spans.items()
        ]

    def _is_meant(self, outgoing: Outgoing) -> bool:
        if self._messages:
            return outgoing.message in self._messages
        return outgoing.message != "source_status"

    def _changed(self, whole: Batch) -> Batch:
        affected = self._affected(whole)
        if not affected.rows.size:
            return whole
        columns = {}
        for name, values in self._change(affected).items():
            column = whole.column(name).copy()
            column[affected.rows] = quantised(whole.message, name, values)
            columns[name] = column
        self._note(affected)
        return whole.with_columns(columns) if columns else whole

    def _affected(self, whole: Batch) -> Affected:
        words = whole.dictionary(self._who)
        hashes = [self._hash(word) for word in words]
        is_met = np.array([value is not None for value in hashes], np.bool_)
        codes, at_ns = whole.codes(self._who), whole.column("sampled_at_ns")
        is_due = (at_ns >= self._given.from_ns) & (at_ns < self._given.to_ns)
        rows = np.flatnonzero(is_met[codes] & is_due)
        codes = codes[rows]
        of_word = np.array([value or 0 for value in hashes], np.uint64)
        who = [words[code] for code in codes.tolist()]
        return Affected(whole, rows, who, of_word[codes], self._given.from_ns)

    def _hash(self, name: str) -> int | None:
        """None for who it is not wrong with."""
        if name not in self._hashes:
            meets = self._given.meets(name)
            self._hashes[name] = self._given.hash_of(name) if meets else None
        return self._hashes[name]

    def _note(self, affected: Affected) -> None:
        for name, at_ns in zip(affected.who, affected.at_ns.tolist(), strict=True):
            span = self._spans.setdefault(name, [at_ns, at_ns, 0])
            span[0], span[1], span[2] = min(span[0], at_ns), max(span[1], at_ns), span[2] + 1
