"""Who is on the road at a moment, as tracks believe it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.units import NS_PER_S
from openvrc.fusion.motion import predicted
from openvrc.fusion.reports import Hashes
from openvrc.fusion.tracks import NOBODY, Tracks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHOWN_NS, YOUNG_SHOWN_NS, OWN_SHOWN_NS = 8 * NS_PER_S // 5, NS_PER_S, 5 * NS_PER_S // 2
"""Shown since the last report: two of a unit's usual pauses and more, one for a young track, two
pauses of vehicles that report each second."""
OLD_HITS, LEAST_HITS = 5, 2
"""One sighting alone may be nobody."""


class Picture(NamedTuple):
    """Every array (n,), NaN or -1 where nobody told; places are in the tracks' plane."""

    at_ns: int
    number: IntArray
    vehicle: Hashes
    """Who it says to be, 0 for who does not report."""
    x_m: FloatArray
    y_m: FloatArray
    speed_mps: FloatArray
    heading_deg: FloatArray
    kind: IntArray
    length_m: FloatArray
    width_m: FloatArray
    sd_m: FloatArray
    """Of the position, per axis."""
    first_ns: IntArray
    seen_ns: IntArray
    own_ns: IntArray  # newest self-report, long ago for none
    is_connected: NDArray[np.bool_]
    sources: Hashes
    """(n, N_SOURCES) units that see it now, 0 for none."""
    source_keys: Hashes
    """(n, N_SOURCES) as which of their objects."""

    def take(self, rows: IntArray) -> Picture:
        """These rows."""
        return Picture._make(v if isinstance(v, int) else v[rows] for v in self)


def picture_of(tracks: Tracks, at_ns: int) -> Picture:
    """Those that are shown, carried on to that moment."""
    shown_ns = np.where(tracks.hits < OLD_HITS, YOUNG_SHOWN_NS, SHOWN_NS)
    connected = at_ns - tracks.own_ns <= OWN_SHOWN_NS
    is_seen = (tracks.hits >= LEAST_HITS) & (at_ns - tracks.seen_ns <= shown_ns)
    shown = connected | is_seen
    part, connected = tracks.take(shown), connected[shown]
    dt_s = (at_ns - part.at_ns) / NS_PER_S
    state, spread = predicted(part.state, part.spread, dt_s)
    is_now = at_ns - part.source_ns <= SHOWN_NS
    return Picture(
        at_ns,
        part.number,
        np.where(connected, part.vehicle, NOBODY),
        state[:, 0],
        state[:, 1],
        np.hypot(state[:, 2], state[:, 3]),
        part.heading_deg,
        part.kind,
        part.length_m,
        part.width_m,
        np.sqrt(np.trace(spread[:, :2, :2], axis1=1, axis2=2) / 2.0),
        part.first_ns,
        part.seen_ns,
        part.own_ns,
        connected,
        np.where(is_now, part.source, NOBODY),
        np.where(is_now, part.source_key, NOBODY),
    )
