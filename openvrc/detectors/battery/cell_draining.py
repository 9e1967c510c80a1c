"""`battery.cell_draining`: one cell loses charge within minutes while its pack stands.

A hard internal short drains its cell minutes to hours before it heats up. At rest (|I| under 5 A,
from five minutes after the last load, at most one frame in 30 s) the deviation of every cell is
averaged over five minutes and held against the first such mean of the same rest. What all cells do
together (the pack's median change) does not count, and what differs between sound cells as they
relax is in their robust spread:

| a cell counts | when |
|---|---|
| falls | 5 mV and 8 robust sds (0.5 mV at least) since the rest began |
| alone | no other cell by half of that |
| falls on | twice a later mean is lower by 1 mV and 3 sds more: a balancer's step is none |
| not after a charge | two hours since the last frame of a charge, which relaxes downwards |

A rest is held against itself for three hours, then anew. What takes days is
`battery.self_discharge`. The episode ends with an hour of rest in which the cell fell by less than
1 mV.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.cleaning import row_median
from openvrc.detectors.battery.deviation import LEAST_CELLS, SD_PER_MAD, cut_counts
from openvrc.detectors.battery.frames import (
    NEVER_NS,
    SEEN,
    Rows,
    newest_event_ns,
    opens_period,
    usable_rows,
)
from openvrc.detectors.battery.group_sums import Closed, GroupSums
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.rest_batches import CUT_V, REST_CURRENT_A, SAMPLE_NS
from openvrc.detectors.battery.view import COUNTS_PER_V, View, ordered
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.keyed import Keyed

WINDOW_NS = 300 * NS_PER_S
LEAST_FRAMES = 5
LONGEST_NS = 3 * 3600 * NS_PER_S
AFTER_CHARGE_NS = 2 * 3600 * NS_PER_S
LIMIT_V, LEAST_Z, NOISE_FLOOR_V = 0.005, 8.0, 0.0005
ALONE_SHARE = 0.5
FALLS_ON_V, FALLS_ON_Z, VOTES_TO_RAISE = 0.001, 3.0, 3
QUIET_NS, QUIET_V = 3600 * NS_PER_S, 0.001

RULE = Rule(
    name="battery.cell_draining",
    title="A cell loses charge within minutes",
    meaning="While the pack stands, one cell falls and no other does: an internal short drains it.",
    advice="Park in the open, do not charge; have the cell looked at today.",
    actionable_for_s=86_400.0,
)

_FIELDS = {
    **SEEN,
    "load_at_ns": (np.int64, NEVER_NS),
    "charged_at_ns": (np.int64, NEVER_NS),
    "base_load_ns": (np.int64, NEVER_NS),  # the load before the rest that the base is of
    "base_at_ns": (np.int64, NEVER_NS),
    "vote_cell": (np.int64, -1),
    "vote_v": (np.float64, 0.0),  # how far that cell had fallen at its newest vote
    "votes": (np.int64, 0),
}
_BASE = {"base_v": (np.float32, np.nan)}
FloatArray = npt.NDArray[np.float64]


@dataclass
class State:
    """The open mean and the first one of each vehicle's rest, votes, episodes' starts."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    sums: GroupSums = field(default_factory=lambda: GroupSums({"rest": np.int32}, 3))
    base: Wide = field(default_factory=lambda: Wide(_BASE))
    episodes: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Mean:
    """One closed mean against the first one of its rest."""

    slot: int
    closing: int
    from_ns: int
    to_ns: int
    change_v: FloatArray
    """(c,) less the pack's median change, NaN beyond its cells."""
    noise_v: float


class CellDraining:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; findings appear when a mean ends."""
        view, vehicles = ordered(batch), state.vehicles
        if view.cells_v.shape[1] < LEAST_CELLS:
            return state, []
        rows = usable_rows(batch, vehicles)
        usable = (view.n_measured >= np.maximum(LEAST_CELLS, view.n_given)) & ~np.isnan(
            view.current_a
        )
        rows = rows.where(rows.of(usable))
        if len(rows) == 0:
            return state, []
        is_rest = np.abs(rows.of(view.current_a)) < REST_CURRENT_A
        charges = rows.of(view.is_parked_charging)
        load_ns = np.maximum(newest_event_ns(rows, ~is_rest, vehicles, "load_at_ns"), 0)
        charged_ns = np.maximum(newest_event_ns(rows, charges, vehicles, "charged_at_ns"), 0)
        keep = is_rest & opens_period(rows, SAMPLE_NS) & (rows.at_ns - load_ns >= WINDOW_NS)
        keep &= rows.at_ns - charged_ns >= AFTER_CHARGE_NS
        if not some(keep):
            return state, []
        rows, load_ns = rows.where(keep), load_ns[keep]
        closed = _fold_sums(state, rows, view, load_ns)
        return state, self._fold_means(state, rows, view, closed)

    def _fold_means(self, state: State, rows: Rows, view: View, closed: Closed) -> list[Finding]:
        """Each vehicle's first closed mean, then each one's second: mostly one round."""
        counts = np.flatnonzero(closed.n_rows >= LEAST_FRAMES)
        findings: list[tuple[int, Finding]] = []
        while len(counts):
            _, first = np.unique(closed.slot[counts], return_index=True)
            now = counts[np.sort(first)]
            counts = np.setdiff1d(counts, now, assume_unique=True)
            for mean in _against_base(state, closed, now):
                findings += [(mean.closing, f) for f in _vote(state, rows, view, mean)]
        findings.sort(key=lambda pair: pair[0])
        return [finding for _, finding in findings]

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a vehicle's own next frame ends its means."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All sums, bases and episodes."""
        episodes = [(*key, started_ns) for key, started_ns in state.episodes.items()]
        return (
            state.vehicles.snapshot()
            | state.sums.snapshot("sums.")
            | state.base.snapshot("base.")
            | {"episodes": np.array(episodes, np.int64).reshape(-1, 3)}
        )

    def restore(self, context: Context, arrays: Arrays) -> State:
        """What `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(_FIELDS, arrays)
        state.sums.load(arrays, "sums.")
        state.base = Wide.restore(_BASE, arrays, "base.")
        state.episodes = {(slot, cell): at for slot, cell, at in arrays["episodes"].tolist()}
        return state


def _fold_sums(state: State, rows: Rows, view: View, load_ns: npt.NDArray[np.int64]) -> Closed:
    # The load's whole seconds and their rest name the rest exactly; both are the same in all its
    # rows, so their sums over n rows give them back.
    seconds, rest_ns = np.divmod(load_ns, NS_PER_S)
    scalars = np.stack([rows.of(view.n_given), seconds, rest_ns], axis=1)
    window = (rows.at_ns - load_ns) // WINDOW_NS
    counts = cut_counts(rows.of(view.deviation), CUT_V)
    return state.sums.fold(rows, load_ns + window, scalars, {"rest": counts})


def _against_base(state: State, closed: Closed, now: npt.NDArray[np.int64]) -> list[_Mean]:
    """Means (g,) of different vehicles against their bases; sets the bases that are due."""
    slot, n = closed.slot[now], closed.n_rows[now]
    vehicles = state.vehicles
    load_ns = closed.scalars[now, 1] // n * NS_PER_S + closed.scalars[now, 2] // n
    n_cells = closed.scalars[now, 0] // n
    mean_v = closed.tables["rest"][now] / (n[:, None] * COUNTS_PER_V)
    mean_v[np.arange(mean_v.shape[1]) >= n_cells[:, None]] = np.nan
    state.base.fit(len(vehicles), mean_v.shape[1])
    base_v = state.base["base_v"]
    first_ns, last_ns = closed.first_at_ns[now], closed.last_at_ns[now]
    is_same = vehicles["base_load_ns"][slot] == load_ns
    is_same &= last_ns - np.maximum(vehicles["base_at_ns"][slot], 0) <= LONGEST_NS
    fresh = ~is_same
    base_v[slot[fresh]] = state.base.padded(mean_v[fresh].astype(np.float32), np.nan)
    vehicles["base_load_ns"][slot[fresh]] = load_ns[fresh]
    vehicles["base_at_ns"][slot[fresh]] = first_ns[fresh]
    vehicles["vote_cell"][slot[fresh]] = -1
    old = np.flatnonzero(is_same)
    if len(old) == 0:
        return []
    change_v = (mean_v[old] - base_v[slot[old], : mean_v.shape[1]]).astype(np.float32)
    change_v -= row_median(change_v)[:, None]
    noise_v = np.maximum(NOISE_FLOOR_V, SD_PER_MAD * row_median(np.abs(change_v)))
    lowest_v = np.fmin.reduce(change_v, axis=1)
    falls = lowest_v <= -np.maximum(LIMIT_V, LEAST_Z * noise_v)
    watched = np.isin(slot[old], [at for at, _ in state.episodes])
    vehicles["vote_cell"][slot[old][~falls]] = -1
    return [
        _Mean(
            int(slot[old[k]]),
            int(closed.closing[now[old[k]]]),
            int(vehicles["base_at_ns"][slot[old[k]]]),
            int(last_ns[old[k]]),
            change_v[k].astype(np.float64),
            float(noise_v[k]),
        )
        for k in np.flatnonzero(falls | watched).tolist()
    ]


def _vote(state: State, rows: Rows, view: View, mean: _Mean) -> list[Finding]:
    vehicles, slot = state.vehicles, mean.slot
    findings = []
    for at, cell in [key for key in state.episodes if key[0] == slot]:
        is_quiet = mean.to_ns - mean.from_ns >= QUIET_NS and mean.change_v[cell] > -QUIET_V
        if is_quiet:
            findings.append(_finding(state, rows, view, mean, cell, "clear"))
            del state.episodes[at, cell]
    cell = int(np.nanargmin(mean.change_v))
    fall_v = -float(mean.change_v[cell])
    others_v = np.delete(mean.change_v, cell)
    is_alone = float(np.nanmin(others_v)) > -ALONE_SHARE * fall_v
    if fall_v < max(LIMIT_V, LEAST_Z * mean.noise_v) or not is_alone:
        vehicles["vote_cell"][slot] = -1
        return findings
    is_first = vehicles["vote_cell"][slot] != cell
    further_v = max(FALLS_ON_V, FALLS_ON_Z * mean.noise_v)
    if not is_first and fall_v < vehicles["vote_v"][slot] + further_v:
        return findings
    vehicles["vote_cell"][slot], vehicles["vote_v"][slot] = cell, fall_v
    vehicles["votes"][slot] = 1 if is_first else vehicles["votes"][slot] + 1
    if vehicles["votes"][slot] < VOTES_TO_RAISE or (slot, cell) in state.episodes:
        return findings
    state.episodes[slot, cell] = mean.from_ns
    return [*findings, _finding(state, rows, view, mean, cell, "raise")]


def _finding(state: State, rows: Rows, view: View, mean: _Mean, cell: int, phase: Phase) -> Finding:
    at_ns, at = int(rows.at_ns[mean.closing]), int(rows.at[mean.closing])
    started_ns = state.episodes[mean.slot, cell]
    fall_v, minutes = -float(mean.change_v[cell]), (mean.to_ns - mean.from_ns) / NS_PER_S / 60
    text = (
        f"Cell {cell + 1} fell by {fall_v * 1e3:.1f} mV against its pack in {minutes:.0f} minutes "
        f"of rest, {fall_v / mean.noise_v:.0f} times what cells differ by, and goes on falling."
        if phase == "raise"
        else f"Cell {cell + 1} has kept its voltage over an hour of rest."
    )
    evidence: dict[str, Any] = {
        "fall_v": round(fall_v, 4),
        "fall_v_per_h": round(fall_v / minutes * 60, 4),
        "limit_v": round(max(LIMIT_V, LEAST_Z * mean.noise_v), 4),
        "cell_spread_v": round(mean.noise_v, 5),
    }
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[mean.slot],
        component=f"cell:{cell + 1}",
        at_ns=at_ns,
        started_at_ns=started_ns,
        severity=Severity.SERIOUS,
        confidence=0.8,
        evidence={
            "text": text,
            **evidence,
            **workshop(1, "Park in the open, do not charge."),
            "span_started_at": iso_from_ns(started_ns),
            "span_ended_at": iso_from_ns(at_ns),
            "bms_alarm_level": view.bms_alarm_level(at),
        },
        is_late=bool(rows.is_late[mean.closing]),
    )


PLUGIN: Detector = CellDraining()
