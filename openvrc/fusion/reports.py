"""Self-reports and perceived objects as plain arrays, in one shape.

A report that tells no speed or heading has no velocity (NaN); one that the edge marked as behind
the zone's watermark is left out, for its time is over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.messages.record import CLOCK_CORRECTED, LATE_IN_ZONE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Hashes = NDArray[np.uint64]

OWN = np.uint64(0)
"""Source of self-reports, whoever relayed them."""
PUT_RIGHT = np.uint64(0x5555555555555555)
"""A unit whose times the edge has moved has another offset left than its heartbeat tells."""
OWN_SD_M = 1.5
"""Of a position whose accuracy is not said: satellite navigation in the open."""
LEAST_SD_M, MOST_SD_M = 0.3, 30.0
SEEN_SD_M, UNSURE_SD_M = 0.8, 2.0
"""Of a perceived position: sure ones, and what is added for those that are not sure at all. Half of
such an error stays from scan to scan, so less would make the filter believe itself too much."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Reports(NamedTuple):
    """Every array (n,)."""

    at_ns: IntArray
    source: Hashes  # hash of the unit's name, OWN for a self-report
    clock: Hashes  # the same; another one where the edge has put the clock right
    key: Hashes  # hash of vehicle or unit's object
    lat_deg: FloatArray
    lon_deg: FloatArray
    speed_mps: FloatArray
    heading_deg: FloatArray
    kind: NDArray[np.int8]  # code of the class, -1 unknown
    length_m: FloatArray
    width_m: FloatArray
    sd_m: FloatArray

    @property
    def is_own(self) -> NDArray[np.bool_]:
        """Whether each is a vehicle's own."""
        return np.asarray(self.source == OWN)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Reports:
        """These rows."""
        return Reports._make(values[rows] for values in self)

    @property
    def memory(self) -> Hashes:
        """What tells its sender's subject from all others: the unit's number of it, or the car."""
        with np.errstate(over="ignore"):
            return np.asarray(self.key ^ (self.source * _MIX))


def joined(parts: list[Reports]) -> Reports:
    """All of them, in order."""
    return Reports._make(np.concatenate(values) for values in zip(*parts, strict=True))


def empty() -> Reports:
    """None."""
    return reports_of_arrays(np.zeros(0, np.int64))


def reports_of_arrays(at_ns: IntArray) -> Reports:
    """Reports of these times that say nothing yet."""
    n, gap = len(at_ns), np.full(len(at_ns), np.nan)
    none = np.zeros(n, np.uint64)
    return Reports(
        at_ns, none, none, none, gap, gap, gap, gap, np.full(n, -1, np.int8), gap, gap, gap
    )


def read(batch: Batch) -> tuple[Reports, int, dict[int, str]]:
    """Reports of a batch, how many were late, and the names that hashes stand for."""
    known = np.isfinite(batch.column("lat_deg")) & np.isfinite(batch.column("lon_deg"))
    lateness = np.maximum(batch.column("lateness"), 0)
    late = (lateness & LATE_IN_ZONE) != 0
    rows = np.flatnonzero(known & ~late)
    is_own = batch.message == "vehicle_state"
    words, place = batch.used_words("subject_id")
    names = dict(zip(words.hashes.tolist(), words.to_list(), strict=True))
    source = np.zeros(batch.n_rows, np.uint64)
    if not is_own:
        units, of_row = batch.used_words("source_id")
        source = units.hashes[of_row]
        names |= dict(zip(units.hashes.tolist(), units.to_list(), strict=True))
    found = Reports(
        batch.column("sampled_at_ns"),
        source,
        source ^ np.where((lateness & CLOCK_CORRECTED) != 0, PUT_RIGHT, OWN),
        words.hashes[place],
        batch.column("lat_deg"),
        batch.column("lon_deg"),
        batch.column("speed_mps").astype(np.float64),
        batch.column("heading_deg").astype(np.float64),
        batch.column("vehicle_class" if is_own else "object_class"),
        batch.column("length_m").astype(np.float64),
        batch.column("width_m").astype(np.float64),
        _own_sd_m(batch) if is_own else _seen_sd_m(batch),
    )
    return found.take(rows), int((known & late).sum()), names


def _own_sd_m(batch: Batch) -> FloatArray:
    sd_m = batch.column("position_accuracy_m").astype(np.float64)
    return np.clip(np.where(np.isnan(sd_m), OWN_SD_M, sd_m), LEAST_SD_M, MOST_SD_M)


def _seen_sd_m(batch: Batch) -> FloatArray:
    """A unit is less sure of what is far away, and errs more there."""
    sure = batch.column("confidence_ratio").astype(np.float64)
    return np.asarray(SEEN_SD_M + UNSURE_SD_M * (1.0 - np.where(np.isnan(sure), 0.7, sure)))


def in_order(reports: Reports) -> Reports:
    """By time, sender and subject, each once: the same for any split into batches."""
    order = np.lexsort((reports.lon_deg, reports.lat_deg, reports.key, reports.source,
                        reports.at_ns))  # fmt: skip
    ordered = reports.take(order)
    same = np.zeros(len(order), np.bool_)
    same[1:] = (
        (ordered.at_ns[1:] == ordered.at_ns[:-1])
        & (ordered.source[1:] == ordered.source[:-1])
        & (ordered.key[1:] == ordered.key[:-1])
    )
    return ordered.take(~same)
