"""Whether a roadside unit that relays others can be believed about their direction.

A unit that mirrors positions and courses makes every vehicle it relays a wrong-way driver. One that
is right relays many who drive along their lanes. Counted is what each source says of vehicles that
are not the source itself, in spans of 10 s of event time; only spans that are over for 5 s speak,
longer than a record may be late, so that no batch or tick matters. What it says of the vehicle that
is judged speaks neither for nor against it: on a quiet road that may be nearly all it says. A
source that spoke of no other is that vehicle's own device.

Counts are kept by a part of the vehicle's hash: a table of every vehicle would grow with traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.detection import Arrays, pack_words
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.traffic._view import View

IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SPAN_NS = 10 * NS_PER_S
SETTLED_NS = 5 * NS_PER_S
SPANS = 60  # ten minutes: a quiet road has some traffic in them
FEWEST = 20  # reports; a vehicle in reach of a unit gives as many
FEWEST_OTHERS = 10  # of vehicles that are not judged: one that passes quickly
PARTS = 64  # the share of the others that is left out with the judged vehicle is one of so many
MAX_AGAINST = 0.2  # one ghost among five, or a road that the map lacks


@dataclass
class Span:
    """What one source said within 10 s."""

    reports: int = 0
    against: int = 0
    lowest: int = 2**64 - 1
    """Hashes of the vehicles' ids: where the two differ it spoke of several."""
    highest: int = 0
    parts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Reports and those against, by the hash's part."""

    def add(self, part: int, reports: int, against: int, ids: tuple[int, int]) -> None:
        """More of what it said of vehicles of one part, whose hashes lie between `ids`."""
        before = self.parts.get(part, (0, 0))
        self.parts[part] = before[0] + reports, before[1] + against
        self.reports += reports
        self.against += against
        self.lowest, self.highest = min(self.lowest, ids[0]), max(self.highest, ids[1])


@dataclass
class Units:
    """The sources of one zone that relay others."""

    spans: dict[tuple[str, int], Span] = field(default_factory=dict)

    def learn(self, view: View, rows: IndexArray, is_against: BoolArray) -> None:
        """Reports (n,) of moving vehicles on the map, and which of them are off or against."""
        relayed = view.is_relayed[rows]
        if not relayed.any():
            return
        rows, is_against = rows[relayed], is_against[relayed]
        batch = view.batch
        words, place = batch.used_words("subject_id")
        subject = words.hashes[place[rows]]
        source = batch.codes("source_id")[rows].astype(np.int64)
        span = view.at_ns[rows] // SPAN_NS
        part = (subject % PARTS).astype(np.int64)
        keys, which = np.unique(np.stack((source, span, part)), axis=1, return_inverse=True)
        which = which.reshape(-1)
        lowest = np.full(keys.shape[1], 2**64 - 1, np.uint64)
        highest = np.zeros(keys.shape[1], np.uint64)
        np.minimum.at(lowest, which, subject)
        np.maximum.at(highest, which, subject)
        reports = np.bincount(which)
        against = np.bincount(which, is_against).astype(np.int64)
        names = batch.dictionary("source_id")
        for one, (code, number, of) in enumerate(keys.T.tolist()):
            told = self.spans.setdefault((names[code], number), Span())
            ids = int(lowest[one]), int(highest[one])
            told.add(of, int(reports[one]), int(against[one]), ids)

    def is_believed(self, source: str, subject: int, at_ns: int) -> bool:
        """Whether what this source said of others than this vehicle (its hash) speaks for it."""
        now = (at_ns - SETTLED_NS) // SPAN_NS
        told = [
            span
            for number in range(now - SPANS, now)
            if (span := self.spans.get((source, number))) is not None
        ]
        if not told:
            return False
        if all(s.lowest == s.highest == subject for s in told):
            return True
        own = [s.parts.get(subject % PARTS, (0, 0)) for s in told]
        reports = sum(s.reports for s in told)
        others = reports - sum(part[0] for part in own)
        against = sum(s.against for s in told) - sum(part[1] for part in own)
        is_enough = reports >= FEWEST and others >= FEWEST_OTHERS
        return is_enough and against <= MAX_AGAINST * others

    def forget(self, watermark_ns: int) -> None:
        """Drop spans that nobody asks for any more."""
        oldest = watermark_ns // SPAN_NS - SPANS - 2
        self.spans = {key: span for key, span in self.spans.items() if key[1] >= oldest}

    def snapshot(self) -> Arrays:
        """All spans."""
        counts = [(n, s.reports, s.against) for (_, n), s in self.spans.items()]
        ids = [(s.lowest, s.highest) for s in self.spans.values()]
        parts = [
            (place, part, *counted)
            for place, s in enumerate(self.spans.values())
            for part, counted in s.parts.items()
        ]
        return {
            "unit_source": pack_words([source for source, _ in self.spans]),
            "unit_counts": np.array(counts, np.int64).reshape(-1, 3),
            "unit_ids": np.array(ids, np.uint64).reshape(-1, 2),
            "unit_parts": np.array(parts, np.int64).reshape(-1, 4),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Units:
        """What `snapshot` wrote; a checkpoint of before there was this knows no unit."""
        if "unit_source" not in arrays:
            return cls()
        rows = zip(
            arrays["unit_source"].tolist(),
            arrays["unit_counts"].tolist(),
            arrays["unit_ids"].tolist(),
            strict=True,
        )
        spans = {
            (source, number): Span(reports, against, lowest, highest)
            for source, (number, reports, against), (lowest, highest) in rows
        }
        every = list(spans.values())
        # Not in snapshots before 2026-11-28: for ten minutes the judged vehicle's own count, too.
        for place, part, reports, against in arrays.get("unit_parts", np.empty((0, 4))).tolist():
            every[place].parts[part] = reports, against
        return cls(spans)
