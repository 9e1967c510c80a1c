"""Self-reports and objects of roadside units as one picture: a fold over batches and watermarks.

Reports wait until the watermark has passed them; then they are taken in order of time, in steps of
STEP_NS, so that batches, ticks and restarts change nothing. In a step each scan of a unit, and all
self-reports together, are assigned to tracks (`assignment.py`), which a Kalman filter carries on
(`motion.py`). A unit's own number for an object is a hint, for such numbers break and swap; a
vehicle's id is certain. Who is not connected keeps its number as long as it was seen within
KEEP_NS. Who cannot wait for the watermark advances to where zone time is; what comes up to
STRAGGLER_NS later is still taken, and moves its track as far as it should.

Memory: MOST_TRACKS tracks, MOST_WAITING reports; what is beyond is counted in `left_out`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import ABSENT_I64, NS_PER_S
from openvrc.fusion import reports as reading
from openvrc.fusion.clocks import Clocks
from openvrc.fusion.memory import Memory
from openvrc.fusion.merging import merge, same_users
from openvrc.fusion.motion import measurement
from openvrc.fusion.picture import LEAST_HITS, Picture, picture_of
from openvrc.fusion.reports import Reports
from openvrc.fusion.scan import assigned, begin, learn_clocks, update
from openvrc.fusion.tracks import NEVER_NS, NOBODY, Tracks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEP_NS = NS_PER_S // 5
"""A step costs some milliseconds, whatever it holds; of 0.1 s it was no more exact."""
STRAGGLER_NS = 2 * NS_PER_S
KEEP_NS, YOUNG_KEEP_NS = 5 * NS_PER_S, 3 * NS_PER_S // 2
NEAR_UNITS_M = 25.0
"""Nearer than this to something perceived a vehicle may be it: twice the reach of an assignment."""
MOST_TRACKS = 50_000
MOST_WAITING = 1_000_000
FEW_NAMES = 10_000
METRES_PER_DEG = 111_195.0
"""Of latitude, on the sphere of IUGG's mean radius (6,371.0 km)."""


class Fusion:
    """The fold of one (zone, run).

    With `only_near_units` vehicles that nothing was perceived near to are left out: they are what
    they say, and it costs nothing.
    """

    def __init__(self, *, only_near_units: bool = False) -> None:
        self.tracks = Tracks.fresh(np.zeros(0, np.int64))
        self.late, self.left_out = 0, 0
        self.newest_ns = NEVER_NS
        """Time of the newest report."""
        self.names: dict[int, str] = {}
        """Of units, vehicles and units' objects, by hash."""
        self.clocks = Clocks()
        self._only_near_units = only_near_units
        self._memory = Memory()
        self._waiting: list[Reports] = []
        self._told: list[tuple[int, int, float]] = []
        self._n_waiting = 0
        self._closed_ns, self._has_stragglers = NEVER_NS, False
        self._next = 1
        self._parallel_deg: float | None = None

    @property
    def east_m_per_deg(self) -> float:
        """Of longitude at the parallel where units perceive, as first heard."""
        return float(METRES_PER_DEG * np.cos(np.radians(self._parallel_deg or 0.0)))

    @property
    def waiting_since_ns(self) -> int | None:
        """Time of the oldest report that waits, None where none does."""
        return min((int(part.at_ns.min()) for part in self._waiting), default=None)

    def degrees(self, x_m: FloatArray, y_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Latitude and longitude of places in the plane."""
        return y_m / METRES_PER_DEG, x_m / self.east_m_per_deg

    def fold(self, batch: Batch) -> None:
        """Take one batch; messages about nobody on the road change nothing."""
        if batch.message in ("vehicle_state", "rsu_objects"):
            self._take(batch)
        elif batch.message == "rsu_status":
            self._take_heartbeats(batch)
        elif batch.message == "tick":
            marks = batch.column("watermark_ns")
            if marks.max() != ABSENT_I64:
                self.advance(int(marks.max()))

    def _take(self, batch: Batch) -> None:
        found, late, names = reading.read(batch)
        is_open = found.at_ns >= self._closed_ns - STRAGGLER_NS
        self.late += late + int((~is_open).sum())
        found = found.take(is_open)
        room = max(MOST_WAITING - self._n_waiting, 0)
        self.left_out += max(len(found.at_ns) - room, 0)
        found = found.take(np.arange(min(len(found.at_ns), room)))
        if len(found.at_ns):
            self._has_stragglers |= bool(found.at_ns.min() < self._closed_ns)
            self.names |= names
            self._waiting.append(found)
            self.newest_ns = max(self.newest_ns, int(found.at_ns.max()))
            self._n_waiting += len(found.at_ns)

    def _take_heartbeats(self, batch: Batch) -> None:
        units, place = batch.used_words("source_id")
        self.names |= dict(zip(units.hashes.tolist(), units.to_list(), strict=True))
        offset_ms, at_ns = batch.column("clock_offset_ms"), batch.column("sampled_at_ns")
        for row in np.flatnonzero(np.isfinite(offset_ms)).tolist():
            told = int(at_ns[row]), int(units.hashes[place[row]]), float(offset_ms[row]) / 1e3
            if len(self._told) < MOST_TRACKS:
                self._told.append(told)

    def advance(self, watermark_ns: int) -> None:
        """Everything before the watermark has been given, beside what is marked late."""
        until_ns = max(watermark_ns // STEP_NS * STEP_NS, self._closed_ns)
        if until_ns == self._closed_ns and not self._has_stragglers:
            return
        self._closed_ns, self._has_stragglers = until_ns, False
        if self._waiting:
            waiting = reading.joined(self._waiting)
            due = waiting.at_ns < until_ns
            self._waiting = [waiting.take(~due)] if not due.all() else []
            self._n_waiting = int((~due).sum())
            self._steps(reading.in_order(waiting.take(due)))
        self._forget(until_ns)
        self._forget_names()

    def _steps(self, ordered: Reports) -> None:
        number = ordered.at_ns // STEP_NS
        starts = np.flatnonzero(np.diff(number, prepend=NEVER_NS))
        for first, last in zip(starts, [*starts[1:], len(number)][: len(starts)], strict=True):
            self._step(ordered.take(np.arange(first, last)), int(number[first]) * STEP_NS)

    def _step(self, reports: Reports, begins_ns: int) -> None:
        self._forget(begins_ns)
        self._hear_clocks(begins_ns + STEP_NS)
        offset_ns = np.round(self.clocks.offsets_s(reports.clock) * NS_PER_S).astype(np.int64)
        reports = reports._replace(at_ns=reports.at_ns - offset_ns)
        if self._parallel_deg is None:
            self._parallel_deg = self._found_parallel_deg(reports)
        if self._only_near_units:
            reports = reports.take(self._near_units(reports))
        if not len(reports.at_ns):
            return
        touched = np.zeros(0, np.int64)
        rank = _scan_rank(reports)
        for number in range(int(rank.max()) + 1):
            rows = self._scan(reports.take(rank == number) if rank.any() else reports)
            touched = np.union1d(touched, rows)
        stays, goes = same_users(self.tracks, touched)
        self._memory.rename(self.tracks.number[goes], self.tracks.number[stays])
        merge(self.tracks, stays, goes)

    def _found_parallel_deg(self, reports: Reports) -> float | None:
        """The plane lies where units are: a vehicle without a fix may say it is on the equator.

        Without anything perceived there is no plane yet where only vehicles near it count; else
        vehicles must do, most of which know where they are.
        """
        lat_deg = reports.lat_deg[~reports.is_own]
        if not len(lat_deg):
            if self._only_near_units:
                return None
            lat_deg = reports.lat_deg
        return float(np.round(np.median(lat_deg), 1))

    def _hear_clocks(self, until_ns: int) -> None:
        due = sorted(told for told in self._told if told[0] < until_ns)
        if due:
            self._told = [told for told in self._told if told[0] >= until_ns]
        for _, unit, offset_s in due:
            self.clocks.tell(unit, offset_s)

    def _xy_m(self, reports: Reports) -> FloatArray:
        return np.column_stack(
            [reports.lon_deg * self.east_m_per_deg, reports.lat_deg * METRES_PER_DEG]
        )

    def _near_units(self, reports: Reports) -> NDArray[np.bool_]:
        """Objects, and vehicles near one or near a track that some unit has seen."""
        own = reports.is_own
        rows = np.flatnonzero(own)
        if not len(rows):
            return ~own
        xy_m = self._xy_m(reports)
        seen = self.tracks.state[(self.tracks.source != NOBODY).any(axis=1), :2]
        places = np.concatenate([xy_m[~own], seen])
        near, _ = near_pairs(xy_m[rows, 0], xy_m[rows, 1], places[:, 0], places[:, 1], NEAR_UNITS_M)
        found = ~own
        found[rows[near]] = True
        return found

    def _scan(self, reports: Reports) -> IntArray:
        """At most one scan of each unit, one report of each vehicle; rows of their tracks."""
        tracks = self.tracks
        z, error = measurement(
            self._xy_m(reports), reports.speed_mps, reports.heading_deg, reports.sd_m
        )
        hint = tracks.rows_of(self._memory.numbers(reports.memory))
        row = assigned(tracks, hint, reports, z, error)
        known = np.flatnonzero(row >= 0)
        learn_clocks(self.clocks, tracks, reports.take(known), row[known], z[known])
        update(tracks, reports.take(known), row[known], z[known], error[known])
        new = np.flatnonzero(row < 0)
        room = max(MOST_TRACKS - tracks.n, 0)
        self.left_out += max(len(new) - room, 0)
        new = new[:room]
        row[new] = begin(tracks, self._next, reports.take(new), z[new], error[new])
        self._next += len(new)
        held = np.flatnonzero(row >= 0)
        self._memory.note(reports.memory[held], tracks.number[row[held]], reports.at_ns[held])
        return np.unique(row[held])

    def _forget(self, now_ns: int) -> None:
        """Before a step begins: the same for steps that nothing was told in."""
        tracks = self.tracks
        is_young = (tracks.hits < LEAST_HITS) & (tracks.vehicle == NOBODY)
        alive = now_ns - tracks.seen_ns <= np.where(is_young, YOUNG_KEEP_NS, KEEP_NS)
        if not alive.all():
            tracks.keep(alive)
        self._memory.forget(now_ns)

    def _forget_names(self) -> None:
        tracks = self.tracks
        if len(self.names) <= FEW_NAMES + 20 * (tracks.n + self._n_waiting):
            return
        used = [tracks.vehicle, tracks.source.ravel(), tracks.source_key.ravel()]
        used += [part for r in self._waiting for part in (r.source, r.key)]
        wanted = set(np.concatenate(used).tolist())
        self.names = {key: name for key, name in self.names.items() if key in wanted}

    def picture(self, at_ns: int) -> Picture:
        """What is believed of `at_ns` from all that was taken so far."""
        return picture_of(self.tracks, at_ns)

    def snapshot(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Plain facts and arrays, copied."""
        waiting = reading.joined(self._waiting) if self._waiting else reading.empty()
        arrays = {f"track/{name}": values for name, values in self.tracks.snapshot().items()}
        arrays |= {f"waiting/{name}": values for name, values in waiting._asdict().items()}
        arrays |= {f"memory/{name}": values for name, values in self._memory.snapshot().items()}
        facts = {
            "late": self.late,
            "left_out": self.left_out,
            "names": [[key, name] for key, name in self.names.items()],
            "clocks": self.clocks.snapshot(),
            "told": [list(one) for one in self._told],
            "closed_ns": self._closed_ns,
            "newest_ns": self.newest_ns,
            "next": self._next,
            "parallel_deg": self._parallel_deg,
            "only_near_units": self._only_near_units,
        }
        return facts, arrays

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Fusion:
        """What `snapshot` gave."""
        found = cls(only_near_units=facts["only_near_units"])
        found.tracks = Tracks.restore(_under("track/", arrays))
        found._memory = Memory.restore(_under("memory/", arrays))
        waiting = Reports(**_under("waiting/", arrays))
        found._n_waiting = len(waiting.at_ns)
        found._has_stragglers = bool((waiting.at_ns < facts["closed_ns"]).any())
        found._waiting = [waiting] if found._n_waiting else []
        found.late, found.left_out = facts["late"], facts["left_out"]
        found.names = {int(key): name for key, name in facts["names"]}
        found.clocks = Clocks.restore(facts["clocks"])
        found._told = [(int(at), int(unit), float(off)) for at, unit, off in facts["told"]]
        found._closed_ns, found._next = facts["closed_ns"], facts["next"]
        found.newest_ns = facts["newest_ns"]
        found._parallel_deg = facts["parallel_deg"]
        return found


def _under(start: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {n.removeprefix(start): a for n, a in arrays.items() if n.startswith(start)}


def _scan_rank(reports: Reports) -> IntArray:
    """Which scan of its unit in this step each report (n,) is of, from 0; of a vehicle, which."""
    group = np.where(reports.is_own, reports.key, reports.source)
    order = np.lexsort((reports.at_ns, group))
    g, t = group[order], reports.at_ns[order]
    begins = np.ones(len(g), np.bool_)
    begins[1:] = g[1:] != g[:-1]
    later = np.zeros(len(g), np.bool_)
    later[1:] = ~begins[1:] & (t[1:] != t[:-1])
    count = np.cumsum(later)
    rank = np.empty(len(g), np.int64)
    rank[order] = count - np.maximum.accumulate(np.where(begins, count, 0))
    return rank
