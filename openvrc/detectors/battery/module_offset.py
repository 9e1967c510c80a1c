"""`battery.module_offset`: a stretch of neighbouring cells stands off from the rest of its pack.

A module that was replaced, or whose sampling chip or harness is off, differs as a whole: no single
cell is an outlier and no cell rule may speak. Of frames at |I| under 5 A (at most one a minute)
the mean deviation of each cell is taken over 4 h, and two shapes are looked for:

- stretch: at least four neighbours, and at most half the pack, stand 15 mV off to the same side,
  their median 20 mV and 5 robust sds (4 mV at least) of all other cells;
- module: the pack is cut into equal modules, of every size from four cells to a third of the pack
  that divides it; one's median is the furthest out, 20 mV off the middle of the modules' medians
  and a quarter of that beyond the next one's, and four times its own cells' spread; and five
  standard errors of a median of so many cells that differ as all differ inside their modules: in
  an empty pack, which fans out, four neighbours come together by chance. Of several sizes the
  clearest counts: distance to the next module over the spread inside.

Three of the last five periods that agree on its first cell within two raise; five healthy periods
over three days clear.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.cell_votes import CellVotes, Episode, episodes_from, episodes_to
from openvrc.detectors.battery.deviation import (
    LEAST_CELLS,
    NOISE_FLOOR_V,
    SD_PER_MAD,
    cut_counts,
)
from openvrc.detectors.battery.frames import SEEN, Rows, opens_period, usable_rows
from openvrc.detectors.battery.group_sums import Closed, GroupSums
from openvrc.detectors.battery.rest_batches import CUT_V, REST_CURRENT_A
from openvrc.detectors.battery.view import COUNTS_PER_V, View, ordered
from openvrc.detectors.keyed import Keyed

PERIOD_NS = 4 * 3600 * NS_PER_S
SAMPLE_NS = 60 * NS_PER_S
LEAST_SAMPLES = 5
EDGE_V, MEDIAN_V, LEAST_Z = 0.015, 0.020, 5.0
LEAST_LENGTH, LARGEST_SHARE = 4, 0.5
TIMES_INSIDE, GAP_SHARE, INSIDE_FLOOR_V = 4.0, 0.25, 1e-3
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean
EDGE_CELLS = 2
SERIOUS_V = 0.100

RULE = Rule(
    name="battery.module_offset",
    title="A module stands off from its pack",
    meaning="Neighbouring cells lie together above or below all others: a module, not a cell.",
    advice="Compare the module's charge and its measuring board with the others; balance it.",
    actionable_for_s=604_800.0,
)


@dataclass(frozen=True)
class Stretch:
    """Cells `first` to `last`, from 0, that stand off together."""

    first: int
    last: int
    offset_v: float
    noise_v: float


@dataclass
class State:
    """Open sums, votes of first cells, episodes by first cell."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(SEEN))
    sums: GroupSums = field(default_factory=lambda: GroupSums({"rest": np.int32}, 1))
    votes: CellVotes = field(default_factory=CellVotes)
    episodes: dict[tuple[int, int], Episode] = field(default_factory=dict)
    lasts: dict[tuple[int, int], int] = field(default_factory=dict)
    """Last cell of each episode."""


class ModuleOffset:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; findings appear when a period ends."""
        view = ordered(batch)
        if view.cells_v.shape[1] < LEAST_CELLS:
            return state, []
        rows = usable_rows(batch, state.vehicles)
        # Every cell must be there: a module that drops out would leave a hole.
        is_whole = (view.n_measured == view.n_given) & (np.abs(view.current_a) < REST_CURRENT_A)
        rows = rows.where(rows.of(is_whole) & opens_period(rows, SAMPLE_NS))
        if len(rows) == 0:
            return state, []
        counts = cut_counts(rows.of(view.deviation), CUT_V)
        n_cells = rows.of(view.n_given)[:, None]
        closed = state.sums.fold(rows, rows.at_ns // PERIOD_NS, n_cells, {"rest": counts})
        findings = []
        for group in np.flatnonzero(closed.n_rows >= LEAST_SAMPLES).tolist():
            findings += _close(state, rows, view, closed, group)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a vehicle's own next frame ends its periods."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All sums, votes and episodes."""
        lasts = [(*key, last) for key, last in state.lasts.items()]
        return (
            state.vehicles.snapshot()
            | state.sums.snapshot("sums.")
            | state.votes.snapshot()
            | episodes_to(state.episodes)
            | {"lasts": np.array(lasts, np.int64).reshape(-1, 3)}
        )

    def restore(self, context: Context, arrays: Arrays) -> State:
        """What `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(SEEN, arrays)
        state.sums.load(arrays, "sums.")
        state.votes.load(arrays)
        state.episodes = episodes_from(arrays)
        state.lasts = {(slot, cell): last for slot, cell, last in arrays["lasts"].tolist()}
        return state


def offset_of(mean_v: npt.NDArray[np.float64]) -> Stretch | None:
    """What stands off among the cells (c,), if anything."""
    return stretch_of(mean_v) or module_of(mean_v)


def module_of(mean_v: npt.NDArray[np.float64]) -> Stretch | None:
    """The module that stands off most clearly, over all sizes that divide the pack (c,)."""
    n_cells, best, best_score = len(mean_v), None, 0.0
    for size in range(LEAST_LENGTH, n_cells // 3 + 1):
        if n_cells % size:
            continue
        groups_v = mean_v.reshape(-1, size)
        medians_v = np.median(groups_v, axis=1)
        off_v = medians_v - np.median(medians_v)
        k = int(np.argmax(np.abs(off_v)))
        sign = np.sign(off_v[k])
        gap_v = sign * off_v[k] - float(np.max(np.delete(sign * off_v, k)))
        inside_v = max(
            INSIDE_FLOOR_V, SD_PER_MAD * float(np.median(np.abs(groups_v[k] - medians_v[k])))
        )
        size_v = abs(float(off_v[k]))
        all_inside_v = SD_PER_MAD * float(np.median(np.abs(groups_v - medians_v[:, None])))
        by_chance_v = LEAST_Z * MEDIAN_ERROR * all_inside_v / size**0.5
        least_v = max(MEDIAN_V, TIMES_INSIDE * inside_v, by_chance_v)
        if size_v < least_v or gap_v < GAP_SHARE * size_v:
            continue
        if gap_v / inside_v > best_score:
            best_score = gap_v / inside_v
            best = Stretch(k * size, (k + 1) * size - 1, float(off_v[k]), inside_v)
    return best


def stretch_of(mean_v: npt.NDArray[np.float64]) -> Stretch | None:
    """The longest stretch of cells (c,) that stands off, if any."""
    centred_v = mean_v - np.median(mean_v)
    best: Stretch | None = None
    for sign in (1.0, -1.0):
        is_off = np.concatenate([[False], sign * centred_v >= EDGE_V, [False]]).astype(np.int8)
        edges = np.diff(is_off)
        for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            found = _judged(centred_v, int(first), int(end))
            if found and (best is None or found.last - found.first > best.last - best.first):
                best = found
    return best


def _judged(centred_v: npt.NDArray[np.float64], first: int, end: int) -> Stretch | None:
    length = end - first
    if length < LEAST_LENGTH or length > LARGEST_SHARE * len(centred_v):
        return None
    others_v = np.delete(centred_v, np.arange(first, end))
    middle_v = float(np.median(others_v))
    noise_v = max(NOISE_FLOOR_V, SD_PER_MAD * float(np.median(np.abs(others_v - middle_v))))
    offset_v = float(np.median(centred_v[first:end])) - middle_v
    if abs(offset_v) < max(MEDIAN_V, LEAST_Z * noise_v):
        return None
    return Stretch(first, end - 1, offset_v, noise_v)


def _close(state: State, rows: Rows, view: View, closed: Closed, group: int) -> list[Finding]:
    n, slot = int(closed.n_rows[group]), int(closed.slot[group])
    n_cells = int(closed.scalars[group, 0]) // n
    if n_cells < LEAST_CELLS:
        return []
    stretch = offset_of(closed.tables["rest"][group, :n_cells] / (n * COUNTS_PER_V))
    counts = np.zeros(n_cells, np.bool_)
    if stretch is not None:  # votes near a stretch's first cell count for it: its edge may waver
        near = slice(max(stretch.first - EDGE_CELLS, 0), stretch.first + EDGE_CELLS + 1)
        counts[near] = True
    votes = state.votes.cast(slot, counts, int(closed.first_at_ns[group]))
    findings = []
    if stretch is not None and votes.is_raised(stretch.first):
        known = [key for key in state.episodes if _is_same(key, slot, stretch)]
        if not known:
            key = (slot, stretch.first)
            severity = Severity.SERIOUS if abs(stretch.offset_v) >= SERIOUS_V else Severity.WARNING
            state.episodes[key] = Episode(votes.began(stretch.first), int(severity))
            state.lasts[key] = stretch.last
            findings.append(_finding(state, rows, view, closed, group, key, stretch, "raise"))
    for key in [key for key in state.episodes if key[0] == slot]:
        is_healthy = stretch is None or not _is_same(key, slot, stretch)
        times = int(closed.first_at_ns[group]), int(closed.last_at_ns[group])
        if state.episodes[key].heals(is_healthy, *times):
            findings.append(_finding(state, rows, view, closed, group, key, stretch, "clear"))
            del state.episodes[key], state.lasts[key]
    return findings


def _is_same(key: tuple[int, int], slot: int, stretch: Stretch) -> bool:
    return key[0] == slot and abs(key[1] - stretch.first) <= EDGE_CELLS


def _finding(
    state: State,
    rows: Rows,
    view: View,
    closed: Closed,
    group: int,
    key: tuple[int, int],
    stretch: Stretch | None,
    phase: Phase,
) -> Finding:
    slot, closing = key[0], int(closed.closing[group])
    episode = state.episodes[key]
    first, last = key[1] + 1, state.lasts[key] + 1
    evidence: dict[str, float | int | str] = {"text": f"Cells {first} to {last} are level again."}
    if phase == "raise" and stretch is not None:
        evidence = {
            "text": (
                f"Cells {first} to {last} stand {stretch.offset_v * 1e3:+.0f} mV off from the "
                f"other cells at rest, {abs(stretch.offset_v) / stretch.noise_v:.0f} times their "
                "spread."
            ),
            "offset_v": round(stretch.offset_v, 4),
            "cell_spread_v": round(stretch.noise_v, 4),
            "limit_v": max(MEDIAN_V, round(LEAST_Z * stretch.noise_v, 4)),
            "rest_samples": int(closed.n_rows[group]),
            **workshop(30),
        }
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[slot],
        component=f"cells:{first}-{last}",
        at_ns=int(rows.at_ns[closing]),
        started_at_ns=episode.started_at_ns,
        severity=Severity(episode.severity),
        confidence=0.9,
        evidence={
            **evidence,
            "span_started_at": iso_from_ns(episode.started_at_ns),
            "span_ended_at": iso_from_ns(int(closed.last_at_ns[group])),
            "bms_alarm_level": view.bms_alarm_level(int(rows.at[closing])),
        },
        is_late=bool(rows.is_late[closing]),
    )


PLUGIN: Detector = ModuleOffset()
