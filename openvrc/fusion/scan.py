"""One scan: reports to tracks. Arrays in, rows out; tracks are changed in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import NS_PER_S
from openvrc.fusion.assignment import assign
from openvrc.fusion.clocks import LEAST_MPS, Clocks
from openvrc.fusion.motion import UNKNOWN_VARIANCE, distance2, predicted, updated
from openvrc.fusion.reports import Reports
from openvrc.fusion.tracks import KINDS, NOBODY, ON_FOOT, Tracks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REACH_M = 10.0
"""No further from where a track should be: 3 standard deviations of two bad positions."""
GATE = 18.5
"""Squared distance in four dimensions that 99.9 % of true pairs stay below."""
FOREIGN = 4.0
"""What a pair costs more that the unit's own number does not suggest."""
FOOT_COST = 8.0
"""What a car as a pedestrian costs: units mistake classes, seldom these."""
LEAP_M, LEAP_GATE = 15.0, 60.0
"""A vehicle this far from its track begins anew: it was not there between."""
LOST_VARIANCE_M2 = 1e8
OTHERS_NS = 3 * NS_PER_S // 2
VOTE_OWN, VOTE_KEEPS = 5.0, 0.97
MOVING_MPS = 0.7
SIZE_GAIN = 0.2


def assigned(
    tracks: Tracks, hint: IntArray, reports: Reports, z: FloatArray, error: FloatArray
) -> IntArray:
    """Row of each report's track, -1 for a new one; `hint` is what its sender's number says."""
    row = np.full(len(z), -1, np.int64)
    if not tracks.n:
        return row
    certain = reports.is_own & (hint >= 0)
    row[certain] = hint[certain]
    _leap(tracks, row[certain], z[certain], reports.at_ns[certain])
    middle_ns = int(np.median(reports.at_ns))
    ahead_s = np.clip((middle_ns - tracks.at_ns) / NS_PER_S, -1.0, 5.0)
    spot = tracks.state[:, :2] + tracks.state[:, 2:] * ahead_s[:, None]
    r, t = near_pairs(z[:, 0], z[:, 1], spot[:, 0], spot[:, 1], REACH_M)
    is_free = ~certain[r] & ~(reports.is_own[r] & (tracks.vehicle[t] != NOBODY))
    r, t = r[is_free], t[is_free]
    order = np.lexsort((t, r))
    r, t = r[order], t[order]
    cost = _costs(tracks, reports, z, error, r, t) + np.where(hint[r] == t, 0.0, FOREIGN)
    _, scan = np.unique(reports.source, return_inverse=True)
    chosen = assign(r, scan[r] * tracks.n + t, cost, len(z), GATE + FOREIGN)
    is_given = chosen >= 0
    row[is_given] = t[chosen[is_given]]
    return row


def _costs(
    tracks: Tracks, reports: Reports, z: FloatArray, error: FloatArray, r: IntArray, t: IntArray
) -> FloatArray:
    """Squared distances of pairs (n,) of report and track, and what classes add."""
    dt_s = (reports.at_ns[r] - tracks.at_ns[t]) / NS_PER_S
    state, spread = predicted(tracks.state[t], tracks.spread[t], dt_s)
    cost = distance2(z[r] - state, spread + error[r])
    told, believed = reports.kind[r], tracks.kind[t]
    differs = (told >= 0) & (believed >= 0) & (ON_FOOT[told] != ON_FOOT[believed])
    return np.asarray(cost + np.where(differs, FOOT_COST, 0.0))


def _leap(tracks: Tracks, rows: IntArray, z: FloatArray, at_ns: IntArray) -> None:
    """Vehicles that are where they cannot be begin a new life under their track's number."""
    dt_s = (at_ns - tracks.at_ns[rows]) / NS_PER_S
    state, spread = predicted(tracks.state[rows], tracks.spread[rows], dt_s)
    far_m2 = ((z - state)[:, :2] ** 2).sum(axis=1)
    loose_m2 = np.trace(spread[:, :2, :2], axis1=1, axis2=2) / 2.0 + 1.0
    leaps = rows[(far_m2 > LEAP_M**2) & (far_m2 > LEAP_GATE * loose_m2)]
    tracks.spread[leaps] = np.diag([LOST_VARIANCE_M2] * 2 + [UNKNOWN_VARIANCE] * 2)


def learn_clocks(
    clocks: Clocks, tracks: Tracks, reports: Reports, row: IntArray, z: FloatArray
) -> None:
    """By road users that somebody else reports too, before their tracks take these reports."""
    fast = np.flatnonzero(
        ~reports.is_own & (np.hypot(tracks.state[row, 2], tracks.state[row, 3]) > LEAST_MPS)
    )
    row, at_ns = row[fast], reports.at_ns[fast]
    unit, clock = reports.source[fast], reports.clock[fast]
    is_other = (tracks.source[row] != unit[:, None]) & (
        at_ns[:, None] - tracks.source_ns[row] < OTHERS_NS
    )
    seen_too = is_other.any(axis=1) | (at_ns - tracks.own_ns[row] < OTHERS_NS)
    fast, row, at_ns, clock = fast[seen_too], row[seen_too], at_ns[seen_too], clock[seen_too]
    if not len(row):
        return
    velocity = tracks.state[row, 2:]
    dt_s = (at_ns - tracks.at_ns[row]) / NS_PER_S
    behind_m = tracks.state[row, :2] + velocity * dt_s[:, None] - z[fast, :2]
    clocks.learn(clock, (behind_m * velocity).sum(axis=1) / (velocity**2).sum(axis=1))


def update(
    tracks: Tracks, reports: Reports, row: IntArray, z: FloatArray, error: FloatArray
) -> None:
    """Reports to their tracks; several of one track one after the other."""
    order = np.argsort(row, kind="stable")
    starts = np.flatnonzero(np.diff(row[order], prepend=-1))
    rank = np.arange(len(row)) - np.repeat(starts, np.diff([*starts, len(row)]))
    for number in range(int(rank.max()) + 1 if len(rank) else 0):
        which = order[rank == number]
        _update_each(tracks, reports.take(which), row[which], z[which], error[which])


def _update_each(
    tracks: Tracks, reports: Reports, row: IntArray, z: FloatArray, error: FloatArray
) -> None:
    at_ns = reports.at_ns
    dt_s = (at_ns - tracks.at_ns[row]) / NS_PER_S
    # What is older than its track is carried on to it by its own velocity.
    late_s = np.maximum(-dt_s, 0.0)[:, None]
    z, error = z.copy(), error.copy()
    tells = error[:, 2:3, 2] < UNKNOWN_VARIANCE
    z[:, :2] += np.where(tells, z[:, 2:], tracks.state[row, 2:]) * late_s
    error[:, :2, :2] += (late_s**2)[:, :, None] * np.eye(2)
    state, spread = predicted(tracks.state[row], tracks.spread[row], np.maximum(dt_s, 0.0))
    tracks.state[row], tracks.spread[row] = updated(state, spread, z, error)
    tracks.at_ns[row] = np.maximum(tracks.at_ns[row], at_ns)
    _note(tracks, reports, row)


def begin(
    tracks: Tracks, first: int, reports: Reports, z: FloatArray, error: FloatArray
) -> IntArray:
    """Rows of new tracks, numbered from `first`."""
    rows = tracks.n + np.arange(len(z))
    if len(z):
        new = Tracks.fresh(first + np.arange(len(z)))
        new.state, new.spread = z.copy(), error.copy()
        new.at_ns, new.first_ns = reports.at_ns.copy(), reports.at_ns.copy()
        tracks.append(new)
        _note(tracks, reports, rows)
    return rows


def _note(tracks: Tracks, reports: Reports, row: IntArray) -> None:
    """Who has seen it, as what, how large; every row once."""
    own = reports.is_own
    tracks.seen_ns[row] = np.maximum(tracks.seen_ns[row], reports.at_ns)
    tracks.hits[row] += 1
    tracks.own_ns[row[own]] = np.maximum(tracks.own_ns[row[own]], reports.at_ns[own])
    tracks.vehicle[row[own]] = reports.key[own]
    tracks.note_source(row[~own], reports.source[~own], reports.key[~own], reports.at_ns[~own])
    tracks.votes[row] *= VOTE_KEEPS
    told = np.flatnonzero((reports.kind >= 0) & (reports.kind < len(KINDS)))
    tracks.votes[row[told], reports.kind[told]] += np.where(own[told], VOTE_OWN, 1.0)
    for said, held in (
        (reports.length_m, tracks.length_m),
        (reports.width_m, tracks.width_m),
    ):
        known = np.flatnonzero(np.isfinite(said))
        before = held[row[known]]
        before = np.where(np.isnan(before), said[known], before)
        held[row[known]] = before + SIZE_GAIN * (said[known] - before)
    _turn(tracks, reports.heading_deg, row)


def _turn(tracks: Tracks, said_deg: FloatArray, row: IntArray) -> None:
    """A course is that of the motion; who stands keeps its last one."""
    velocity = tracks.state[row, 2:]
    moves = np.hypot(velocity[:, 0], velocity[:, 1]) > MOVING_MPS
    course = np.degrees(np.arctan2(velocity[:, 0], velocity[:, 1])) % 360.0
    held = tracks.heading_deg[row]
    tracks.heading_deg[row] = np.where(moves, course, np.where(np.isnan(held), said_deg, held))
