"""Who has to stop at the line before a junction: red, no room behind it, others go first."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.ahead import Ahead
from simulator.traffic.following import STANDSTILL_GAP_M
from simulator.traffic.network import TrafficNetwork
from simulator.traffic.plans import Plans
from simulator.traffic.signals import AMBER, GREEN, GREEN_YIELD, RED
from simulator.traffic.vehicles import Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

DECIDE_S, DECIDE_M = 1.0, 8.0
DECIDE_MPS2 = 2.0
"""From where one could stop softly at the line on, it is looked at."""
AMBER_MPS2 = 3.0
"""Who could stop softer than this at amber does (RiLSA: 3.5)."""
REACTION_S = 0.5
HARDEST_MPS2 = 6.0
"""Who would have to brake harder drives on, for a line; inside the junction nobody waits."""
LINE_GAP_M = 1.0
"""Where the first stops before a line."""
HOPS = 5
ROOM_M = 1.0
CREEPING_MPS = 3.0
"""Behind a last vehicle slower than this, without room, the junction is not entered."""
COMING_S, COMING_M = 7.0, 5.0
"""Who is nearer than this counts as coming."""
STANDING_MPS = 3.0
"""A standing vehicle that starts comes as if it drove this fast."""
CLEAR_M = 2.0
MARGIN_S = 1.0
"""Left between my tail and the next one's nose: makes critical gaps of 4.5 to 6 s (HCM 2010)."""
PATIENCE_S = 25.0
"""After that long a driver goes when the junction is clear, one at a time."""


def _sight_m(v: FloatArray) -> FloatArray:
    """From how far before a line drivers at speeds `v` (m/s) look at it."""
    return v * (v / (2 * DECIDE_MPS2) + DECIDE_S) + DECIDE_M


@dataclass
class RightOfWay:
    """The rules on one network."""

    network: TrafficNetwork
    is_joined: BoolArray = field(init=False)  # (n_links,) shares its lane behind with others
    _has_foes: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        counts = np.bincount(self.network.link_to, minlength=self.network.n_lanes)
        self.is_joined = counts[self.network.link_to] > 1
        self._has_foes = np.diff(self.network.conflicts.offsets) > 0

    def stopping(
        self, rows: Rows, ahead: Ahead, code_of_link: IntArray, plans: Plans
    ) -> tuple[IntArray, FloatArray, BoolArray]:
        """Rows that have to stop at a line, how far its stop is, and whether it ends their lane.

        A row may come twice, for lines beyond the end of its lane.
        `code_of_link` (n_links,) are the signals' codes. Who is asleep is left out.
        """
        n = self.network.n_normal
        rest_all_m = ahead.rest_m
        fastest = rows.speed_mps.max(initial=0.0)
        bound_m = max(float(_sight_m(fastest)), fastest * COMING_S + COMING_M)
        near = np.flatnonzero((rest_all_m < bound_m) & ~ahead.asleep)
        near = near[(rows.lane[near] < n) & (rows.next_lane[near] >= n)]
        v, near_m = rows.speed_mps[near], rest_all_m[near]
        in_sight, is_coming = near_m < _sight_m(v), near_m < v * COMING_S + COMING_M
        comers = near[is_coming & ~rows.is_stopping[near]]
        who = near[in_sight]
        lines = [(who, rows.next_lane[who] - n, rest_all_m[who])]
        lines += self._lines_beyond(rows, ahead, plans, rest_all_m)
        who, link, rest_m = (np.concatenate(part) for part in zip(*lines, strict=True))
        v = rows.speed_mps
        v, code = v[who], code_of_link[link]
        # Who has rolled past where one stops has the line itself still ahead.
        braking = v * v / (2 * np.maximum(rest_m, 0.1))
        rest_m = np.maximum(rest_m - LINE_GAP_M, 0.0)
        can_stop = v * (v / (2 * AMBER_MPS2) + REACTION_S) <= rest_m
        stops = (code == RED) & (braking < HARDEST_MPS2)
        stops |= (code == AMBER) & (can_stop | rows.is_stopping[who])
        is_head = np.zeros(rows.n, np.bool_)
        is_head[ahead.heads] = True
        asked = np.flatnonzero(~stops & is_head[who] & self._has_foes[link])
        asked = asked[braking[asked] < HARDEST_MPS2]
        if asked.size:
            full = self._is_full(rows, ahead, who[asked], link[asked])
            waits = self._must_wait(
                rows, ahead, comers, who[asked], link[asked], rest_m[asked], code_of_link
            )
            can = can_stop[asked] | rows.is_stopping[who[asked]]
            stops[asked] = (full & can) | waits
        ends_lane = np.arange(len(who)) < len(lines[0][0])
        return who[stops], rest_m[stops], ends_lane[stops]

    def _lines_beyond(
        self,
        rows: Rows,
        ahead: Ahead,
        plans: Plans,
        rest_all_m: FloatArray,
    ) -> list[tuple[IntArray, IntArray, FloatArray]]:
        """Lines behind the end of one's lane: where edges are short, of the next ones too."""
        network, n = self.network, self.network.n_normal
        who = ahead.lookers
        lane, far_m = rows.next_lane[who], rest_all_m[who]
        sight_m = _sight_m(rows.speed_mps[who])
        found = []
        for _ in range(HOPS):
            keep = np.flatnonzero((lane >= 0) & (far_m < sight_m))
            who, lane, far_m, sight_m = who[keep], lane[keep], far_m[keep], sight_m[keep]
            if not who.size:
                break
            far_m = far_m + network.length_m[lane]
            is_normal = lane < n
            onward = plans.connector[rows.plan[who], np.where(is_normal, lane, 0)].astype(np.int64)
            at = np.flatnonzero(is_normal & (onward >= n) & (far_m < sight_m))
            found.append((who[at], onward[at] - n, far_m[at]))
            lane = np.where(is_normal, onward, network.after[lane])
        return found

    def codes(self, shown: IntArray) -> IntArray:
        """What is shown to each link (n_links,), by what all heads show."""
        head = self.network.link_signal
        if not len(shown):
            return np.full(len(head), GREEN_YIELD, np.int64)
        return np.where(head >= 0, shown[head], GREEN_YIELD)

    def _is_full(self, rows: Rows, ahead: Ahead, who: IntArray, link: IntArray) -> BoolArray:
        """Whether there is no room behind the junction beyond what is on its way there."""
        network, n = self.network, self.network.n_normal
        inside = np.flatnonzero(rows.lane >= n)
        coming_m = np.bincount(
            network.after[rows.lane[inside]],
            weights=rows.length_m[inside] + STANDSTILL_GAP_M,
            minlength=n,
        )
        goal = network.link_to[link]
        last = ahead.hindmost[goal]
        room_m = rows.offset_m[last] - rows.length_m[last] - coming_m[goal]
        is_slow = rows.speed_mps[last] < CREEPING_MPS
        return (last >= 0) & is_slow & (room_m < rows.length_m[who] + ROOM_M)

    def _must_wait(
        self,
        rows: Rows,
        ahead: Ahead,
        comers: IntArray,
        who: IntArray,
        link: IntArray,
        rest_m: FloatArray,
        code_of_link: IntArray,
    ) -> BoolArray:
        """Whether somebody is in the way, or comes and goes first."""
        network, conflicts = self.network, self.network.conflicts
        first = conflicts.offsets[link]
        counts = conflicts.offsets[link + 1] - first
        asker = np.repeat(np.arange(len(who)), counts)
        pair = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
        rear_m = self._rears(rows, ahead)
        comes_s, comes_mps = self._coming(rows, ahead, comers, code_of_link)
        foe = conflicts.foe[pair]
        # Most foes are empty, and nobody comes.
        some = np.flatnonzero(np.isfinite(np.minimum(rear_m, comes_s))[foe])
        asker, pair, foe = asker[some], pair[some], foe[some]
        foe_m, is_merge = conflicts.foe_m[pair], conflicts.is_merge[pair]
        is_free_green = (code_of_link[link] == GREEN) & (network.link_signal[link] >= 0)
        yields = conflicts.is_yielding[pair] & ~is_free_green[asker]
        # Where ways join, who goes first and is inside is followed only from behind.
        occupied = (rear_m[foe] < foe_m + CLEAR_M) & (yields | ~is_merge)
        arrives_s = comes_s[foe] + foe_m / np.maximum(comes_mps[foe], STANDING_MPS)
        clear_m = rest_m[asker] + conflicts.own_m[pair] + rows.length_m[who[asker]] + CLEAR_M
        v, a = rows.speed_mps[who][asker], rows.max_accel_mps2[who][asker]
        clear_s = (np.sqrt(v * v + 2.0 * a * clear_m) - v) / a
        first_goes = yields & (arrives_s < clear_s + MARGIN_S)
        is_patient = ~self._may_push_in(rows, who, link, rest_m)
        blocked = occupied | (first_goes & is_patient[asker])
        return np.bincount(asker[blocked], minlength=len(who)) > 0

    def _rears(self, rows: Rows, ahead: Ahead) -> FloatArray:
        """How far into each link (n_links,) the last vehicle's tail is, inf where there is none."""
        n = self.network.n_normal
        last = ahead.hindmost[n:]
        rear_m = ahead.tail_m[n:].copy()
        taken = np.flatnonzero(last >= 0)
        row = last[taken]
        rear_m[taken] = np.minimum(rear_m[taken], rows.offset_m[row] - rows.length_m[row])
        return rear_m

    def _coming(
        self, rows: Rows, ahead: Ahead, who: IntArray, code_of_link: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """When the next of these enters each link (n_links,), s from now, and its speed."""
        n, n_links, rest_m = self.network.n_normal, len(self.network.link_from), ahead.rest_m
        link = rows.next_lane[who] - n
        moves = code_of_link[link] >= GREEN_YIELD
        who, link = who[moves], link[moves]
        enters_s = rest_m[who] / np.maximum(rows.speed_mps[who], STANDING_MPS)
        comes_s, comes_mps = np.full(n_links, np.inf), np.zeros(n_links)
        order = np.argsort(-enters_s, kind="stable")
        comes_s[link[order]] = enters_s[order]
        comes_mps[link[order]] = rows.speed_mps[who[order]]
        return comes_s, comes_mps

    def _may_push_in(
        self, rows: Rows, who: IntArray, link: IntArray, rest_m: FloatArray
    ) -> BoolArray:
        """The one of each junction who has waited too long, and whose turn it is."""
        waits = (rows.waited_s[who] > PATIENCE_S) & (rest_m < DECIDE_M)
        may = np.zeros(len(who), np.bool_)
        asking = np.flatnonzero(waits)
        if asking.size:
            longest = np.lexsort((link[asking], -rows.waited_s[who[asking]]))
            _, one = np.unique(self.network.link_junction[link[asking[longest]]], return_index=True)
            may[asking[longest[one]]] = True
        return may
