"""How fast the hottest probe of each vehicle warms: against frames 10 to 90 s older.

The first frame of each half minute of event time (aligned to UTC) is an anchor; a frame is
compared with the anchors of its own and of the half minute before. So the span is long enough
for probes of 1 K resolution, short enough for a runaway, and a function of event times alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.frames import NEVER_NS, Rows, first_of_run
from openvrc.detectors.keyed import Keyed

ANCHOR_NS = 30 * NS_PER_S
SHORTEST_NS = 10 * NS_PER_S
LONGEST_NS = 90 * NS_PER_S
LEAST_RISE_K = 3.0  # three steps of a 1 K probe

TREND = {
    "anchor_at_ns": (np.int64, NEVER_NS),
    "anchor_degc": (np.float32, np.nan),
    "older_at_ns": (np.int64, NEVER_NS),
    "older_degc": (np.float32, np.nan),
}
"""Fields that a `Keyed` needs for `rise_rates`."""


@dataclass(frozen=True)
class _Anchors:
    at_ns: npt.NDArray[np.int64]
    degc: npt.NDArray[np.float32]

    def at(self, index: npt.NDArray[np.int64]) -> _Anchors:
        return _Anchors(self.at_ns[index], self.degc[index])

    def where(self, keep: npt.NDArray[np.bool_], other: _Anchors) -> _Anchors:
        return _Anchors(
            np.where(keep, self.at_ns, other.at_ns), np.where(keep, self.degc, other.degc)
        )


def rise_rates(
    rows: Rows, hottest_degc: npt.NDArray[np.float32], vehicles: Keyed
) -> npt.NDArray[np.float64]:
    """Rate (n,) in K/s of each row's hottest probe; 0 where unknown, under 3 K or cooling.

    Moves the anchors in `vehicles` on.
    """
    if rows.is_single:
        return _rates_alone(rows, hottest_degc, vehicles)
    starts = np.flatnonzero(rows.is_first | first_of_run(rows.at_ns // ANCHOR_NS))
    slot, is_head = rows.slot[starts], rows.is_first[starts]
    own = _Anchors(rows.at_ns[starts], hottest_degc[starts])
    stored = _Anchors(vehicles["anchor_at_ns"][slot], vehicles["anchor_degc"][slot])
    stored_older = _Anchors(vehicles["older_at_ns"][slot], vehicles["older_degc"][slot])
    goes_on = is_head & (stored.at_ns // ANCHOR_NS == own.at_ns // ANCHOR_NS)
    anchor = stored.where(goes_on, own)
    before = anchor.at(np.maximum(np.arange(len(starts)) - 1, 0))
    older = stored_older.where(goes_on, stored).where(is_head, before)
    is_last = np.append(is_head[1:], True) if len(is_head) else is_head
    vehicles["anchor_at_ns"][slot[is_last]] = anchor.at_ns[is_last]
    vehicles["anchor_degc"][slot[is_last]] = anchor.degc[is_last]
    vehicles["older_at_ns"][slot[is_last]] = older.at_ns[is_last]
    vehicles["older_degc"][slot[is_last]] = older.degc[is_last]
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
    rates = [_rate(rows.at_ns, hottest_degc, a.at(group)) for a in (anchor, older)]
    is_cooling = hottest_degc < anchor.degc[group]
    return np.where(is_cooling, 0.0, np.maximum(rates[0], rates[1]))


def _rates_alone(
    rows: Rows, hottest_degc: npt.NDArray[np.float32], vehicles: Keyed
) -> npt.NDArray[np.float64]:
    """The same where each vehicle has one row: nothing happens between the rows of a batch."""
    slot, own = rows.slot, _Anchors(rows.at_ns, hottest_degc)
    stored = _Anchors(vehicles["anchor_at_ns"][slot], vehicles["anchor_degc"][slot])
    older = _Anchors(vehicles["older_at_ns"][slot], vehicles["older_degc"][slot])
    goes_on = stored.at_ns // ANCHOR_NS == own.at_ns // ANCHOR_NS
    anchor, older = stored.where(goes_on, own), older.where(goes_on, stored)
    vehicles["anchor_at_ns"][slot], vehicles["anchor_degc"][slot] = anchor.at_ns, anchor.degc
    vehicles["older_at_ns"][slot], vehicles["older_degc"][slot] = older.at_ns, older.degc
    rates = [_rate(rows.at_ns, hottest_degc, past) for past in (anchor, older)]
    return np.where(hottest_degc < anchor.degc, 0.0, np.maximum(rates[0], rates[1]))


def _rate(
    at_ns: npt.NDArray[np.int64], degc: npt.NDArray[np.float32], past: _Anchors
) -> npt.NDArray[np.float64]:
    span_ns = at_ns - np.maximum(past.at_ns, 0)
    rise_k = degc.astype(np.float64) - past.degc
    counts = (span_ns >= SHORTEST_NS) & (span_ns <= LONGEST_NS) & (rise_k >= LEAST_RISE_K)
    return np.where(counts, rise_k / np.maximum(span_ns, 1) * NS_PER_S, 0.0)
