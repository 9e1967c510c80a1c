"""Faults that say more than is so: records of vehicles that are not there, or far too many.

What is added has senders or a session of its own, so that its numbers are gapless too and the
accounts can close.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from simulator.emission import Emitter, IntArray, session_of
from simulator.faults.kind import Given
from simulator.sampling import name_hash
from simulator.world import Frame, Outgoing, TruthEvent

COPIED = (
    "lat_deg", "lon_deg", "altitude_m", "speed_mps", "heading_deg", "accel_long_mps2",
    "vehicle_class", "length_m", "width_m", "position_accuracy_m",
)  # fmt: skip


@dataclass(frozen=True)
class Extra:
    """Rows to be said: `liar` (n,) is whose they are by its place in `Liars.who`."""

    subjects: list[str]  # (n,)
    at_ns: IntArray
    columns: dict[str, NDArray[Any]]
    liar: IntArray


@dataclass(frozen=True)
class Liars:
    """The liars' own rows of one frame."""

    whole: Batch
    rows: IntArray  # (n,)
    who: list[str]  # (n,)
    hashes: list[int]  # (n,)
    from_ns: int

    def copied(self, times: IntArray) -> dict[str, NDArray[Any]]:
        """The liars' rows, each so many times (n,)."""
        rows = np.repeat(self.rows, times)
        return {name: np.asarray(self.whole.column(name)[rows]) for name in COPIED}


class ExtraFault:
    """See `Fault`: `make` tells what the liars of a frame say beside the truth."""

    def __init__(
        self, given: Given, make: Callable[[Liars], Extra], *, component: str, has_own_names: bool
    ) -> None:
        """`has_own_names`: what is added comes from senders of its own, not from the liar."""
        self._given, self._make = given, make
        self._component, self._has_own_names = component, has_own_names
        session = name_hash(0, "session", f"{given.run_id}/{given.seed}") >> 16
        self._emitter = Emitter(
            zone=given.zone,
            run_id=given.run_id,
            origin=given.origin,
            session=session_of(given.run_id) if has_own_names else session,
        )
        self._spans: dict[str, list[int]] = {}

    def apply(self, frame: Frame) -> Frame:
        """See Fault."""
        if not self._given.covers(frame.zone_time_ns):
            return frame
        added: list[Outgoing] = []
        wholes = {id(o.whole): o.whole for o in frame.messages if o.message == "vehicle_state"}
        for whole in wholes.values():
            liars = self._liars(whole)
            if liars.rows.size:
                added += self._said(liars, self._make(liars))
        return Frame(frame.zone_time_ns, (*frame.messages, *added))

    def close(self, zone_time_ns: int) -> list[Outgoing]:
        """See Fault."""
        return list(self._emitter.final_frame(zone_time_ns).messages)

    def truth(self) -> list[TruthEvent]:
        """See Fault."""
        return [
            TruthEvent(
                rule="security.misbehaviour",
                subject_id=name,
                from_ns=first_ns,
                to_ns=last_ns,
                component=self._component,
                detail={"fault": self._given.name, "records": n} | self._given.told(),
            )
            for name, (first_ns, last_ns, n) in self._spans.items()
        ]

    def _liars(self, whole: Batch) -> Liars:
        words = whole.dictionary("subject_id")
        is_met = np.array([self._given.meets(word) for word in words], np.bool_)
        rows = np.flatnonzero(is_met[whole.codes("subject_id")])
        who = [words[code] for code in whole.codes("subject_id")[rows].tolist()]
        hashes = [self._given.hash_of(name) for name in who]
        return Liars(whole, rows, who, hashes, self._given.from_ns)

    def _said(self, liars: Liars, extra: Extra) -> list[Outgoing]:
        whose = [liars.who[place] for place in extra.liar.tolist()]
        for name, at_ns in zip(whose, extra.at_ns.tolist(), strict=True):
            span = self._spans.setdefault(name, [at_ns, at_ns, 0])
            span[1], span[2] = max(span[1], at_ns), span[2] + 1
        senders = extra.subjects if self._has_own_names else whose
        sources = np.array([self._emitter.source("vehicle", name) for name in senders], np.int64)
        words = sorted(set(extra.subjects))
        code = {word: place for place, word in enumerate(words)}
        subjects = np.array([code[word] for word in extra.subjects], np.int32)
        columns = extra.columns | {"sampled_at_ns": extra.at_ns}
        return self._emitter.emit("vehicle_state", sources, (subjects, words), columns)
