"""`battery.connection`: one cell's voltage follows the load more than its mates'.

A loose, corroded or badly welded connector adds resistance: the cell's deviation from its pack
grows with current and vanishes at rest. Over each 4 h of event time (frames up to ten minutes
after a load of 10 A, at most one in 20 s) the deviation of every cell is regressed on current with
its own intercept, so that a slow drift with charge does not count:

    Sxx = sum(I^2) - sum(I)^2 / n        Sxy = sum(d I) - sum(d) sum(I) / n

Both are pooled over the past with a time constant of five days; the excess resistance is
-Sxy/Sxx, less the pack's median, less the median of the three neighbours on each side (cells are
scanned one after the other while the current moves, which shifts whole stretches of cells alike;
it left 30 uohm of robust spread at 10 s in a real car without, 10 uohm with).

A cell counts when its excess, with and without its neighbours, is

- 7.5 % of the pack's mean cell resistance (from load steps of the pack voltage within 10.5 s;
  75 uohm until known), but 20 uohm at least, and 5 robust sds of the cells; or
- has grown by 3.5 % of it, 12 uohm at least, and 8 robust sds of the cells' own changes, since its
  first three days. Not asked of a cell 20 mV below its pack: it moves along another part of the
  open-circuit curve, which looks like resistance that comes and goes with the season of charge.

Three of the last five periods raise; five in a row at under half the limit over three days clear.
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
from openvrc.detectors.battery.cell_votes import CellVotes, Episode, episodes_from, episodes_to
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
from openvrc.detectors.battery.view import COUNTS_PER_V, View, ordered
from openvrc.detectors.battery.wide import Wide
from openvrc.detectors.battery_health.previous import previous_values
from openvrc.detectors.keyed import Keyed

PERIOD_NS = 4 * 3600 * NS_PER_S
SAMPLE_NS = 20 * NS_PER_S
MEMORY_NS = 5 * 86_400 * NS_PER_S
CUT_V = 0.100  # 0.5 mohm at 200 A; with whole amperes below 1000 A sums of 720 fit 32 bits
MOST_A = 999.0
LOAD_A, BETWEEN_LOADS_NS = 10.0, 600 * NS_PER_S  # what is parked for longer says nothing of it
LEAST_FRAMES = 20
LEAST_SXX_A2 = 3e5  # 1200 frames that vary by 16 A: +-12 uohm at 7 mV of noise
BASELINE_NS = 3 * 86_400 * NS_PER_S

SHARE_LIMIT, LEAST_OHM, UNKNOWN_LIMIT_OHM = 0.075, 20e-6, 75e-6
UNKNOWN_DRIFT_OHM = 20e-6
DRIFT_SHARE_LIMIT, LEAST_DRIFT_OHM = 0.035, 12e-6
WEAK_V = 0.020
LEAST_Z, LEAST_DRIFT_Z = 5.0, 8.0
NOISE_FLOOR_OHM, DRIFT_FLOOR_OHM = 2.5e-6, 1.5e-6
NEIGHBOURS = 3
SERIOUS_SHARE = 0.5
STEP_A, STEP_GAP_NS = 25.0, 10.5 * NS_PER_S
LEAST_STEPS = 50

RULE = Rule(
    name="battery.connection",
    title="A cell's connection has too much resistance",
    meaning="One cell's voltage moves more with the load than its mates': a bad connector.",
    advice="Have bus bars, bolts and welds of the cell checked; it heats under high current.",
    actionable_for_s=604_800.0,
)

_FIELDS = {
    **SEEN,
    "load_at_ns": (np.int64, NEVER_NS),
    "last_a": (np.float32, np.nan),
    "last_v": (np.float32, np.nan),
    "step_n": (np.int64, 0),
    "step_va": (np.int64, 0),  # sum of -dV dI, in 0.1 mV x A
    "step_aa": (np.int64, 0),  # sum of dI^2, in A^2
    "pool_at_ns": (np.int64, NEVER_NS),
    "pool_began_ns": (np.int64, NEVER_NS),
    "sxx": (np.float64, 0.0),
    "has_baseline": (np.bool_, False),
}
_POOL = {"sxy": (np.float64, 0.0), "baseline": (np.float64, 0.0)}


@dataclass
class State:
    """Open sums, pooled sums, votes, episodes."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    sums: GroupSums = field(
        default_factory=lambda: GroupSums({"deviation": np.int32, "product": np.int32}, 3)
    )
    pool: Wide = field(default_factory=lambda: Wide(_POOL))
    votes: CellVotes = field(default_factory=CellVotes)
    episodes: dict[tuple[int, int], Episode] = field(default_factory=dict)


@dataclass(frozen=True)
class _Excess:
    """What the pooled sums of one vehicle say (c,)."""

    ohm: npt.NDArray[np.float64]
    """Less the pack's and the neighbours' median, whichever is smaller."""
    drift_ohm: npt.NDArray[np.float64]
    limit_ohm: float
    drift_limit_ohm: float
    noise_ohm: float
    cell_ohm: float

    @property
    def counts(self) -> npt.NDArray[np.bool_]:
        """(c,) cells over one of the limits."""
        counts: npt.NDArray[np.bool_] = (self.ohm >= self.limit_ohm) | (
            self.drift_ohm >= self.drift_limit_ohm
        )
        return counts

    @property
    def is_healthy(self) -> npt.NDArray[np.bool_]:
        """(c,) cells under half of both."""
        is_healthy: npt.NDArray[np.bool_] = (self.ohm < self.limit_ohm / 2) & (
            self.drift_ohm < self.drift_limit_ohm / 2
        )
        return is_healthy


class Connection:
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
        rows = rows.where(rows.of((view.n_measured >= LEAST_CELLS) & ~np.isnan(view.current_a)))
        if len(rows) == 0:
            return state, []
        _count_steps(rows, view, state.vehicles)
        load_at_ns = newest_event_ns(
            rows, np.abs(rows.of(view.current_a)) >= LOAD_A, state.vehicles, "load_at_ns"
        )
        counts = rows.at_ns - np.maximum(load_at_ns, 0) <= BETWEEN_LOADS_NS
        counts &= opens_period(rows, SAMPLE_NS) & ~rows.of(view.is_parked_charging)
        rows = rows.where(counts)
        if len(rows) == 0:
            return state, []
        closed = _fold_sums(state, rows, view)
        findings = []
        for group in range(len(closed.slot)):
            findings += _close(state, rows, view, closed, group)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a vehicle's own next frame ends its periods."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All sums, votes and episodes."""
        return (
            state.vehicles.snapshot()
            | state.sums.snapshot("sums.")
            | state.pool.snapshot("pool.")
            | state.votes.snapshot()
            | episodes_to(state.episodes)
        )

    def restore(self, context: Context, arrays: Arrays) -> State:
        """What `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(_FIELDS, arrays)
        state.sums.load(arrays, "sums.")
        state.pool = Wide.restore(_POOL, arrays, "pool.")
        state.votes.load(arrays)
        state.episodes = episodes_from(arrays)
        return state


def _count_steps(rows: Rows, view: View, vehicles: Keyed) -> None:
    """Load steps of the pack voltage, read with the current, for the mean cell's resistance."""
    amps, volts = (
        rows.of(view.current_a),
        rows.of(view.scalar("pack_voltage_v") / np.maximum(view.n_given, 1)),
    )
    change_a = amps - previous_values(rows, amps, vehicles, "last_a")
    change_v = volts - previous_values(rows, volts, vehicles, "last_v")
    gap_ns = rows.at_ns - np.maximum(rows.previous_at_ns, 0)
    is_step = (np.abs(change_a) >= STEP_A) & (gap_ns <= STEP_GAP_NS)
    if not some(is_step):
        return
    slot = rows.slot[is_step]
    step_a = np.rint(change_a[is_step]).astype(np.int64)
    step_v = np.rint(change_v[is_step] * COUNTS_PER_V).astype(np.int64)
    np.add.at(vehicles["step_n"], slot, 1)
    np.add.at(vehicles["step_va"], slot, -step_v * step_a)
    np.add.at(vehicles["step_aa"], slot, step_a * step_a)


def _fold_sums(state: State, rows: Rows, view: View) -> Closed:
    current = np.rint(np.clip(rows.of(view.current_a), -MOST_A, MOST_A)).astype(np.int32)
    counts = cut_counts(rows.of(view.deviation), CUT_V)
    wide = current.astype(np.int64)
    scalars = np.stack([wide, wide * wide, rows.of(view.n_given)], axis=1)
    tables = {"deviation": counts, "product": counts * current[:, None]}
    return state.sums.fold(rows, rows.at_ns // PERIOD_NS, scalars, tables)


def _close(state: State, rows: Rows, view: View, closed: Closed, group: int) -> list[Finding]:
    """Pool one closed period of one vehicle and vote."""
    n, slot = int(closed.n_rows[group]), int(closed.slot[group])
    n_cells = int(closed.scalars[group, 2]) // n
    sum_a = float(closed.scalars[group, 0])
    sxx = float(closed.scalars[group, 1]) - sum_a * sum_a / n
    if n < LEAST_FRAMES or sxx <= 0 or n_cells < LEAST_CELLS:
        return []
    deviation = closed.tables["deviation"][group].astype(np.float64)
    sxy = closed.tables["product"][group] - deviation * (sum_a / n)
    _pool(state, closed, group, sxx, sxy)
    if state.vehicles["sxx"][slot] < LEAST_SXX_A2:
        return []
    is_weak = deviation[:n_cells] <= -WEAK_V * COUNTS_PER_V * n
    excess = _excess(state, slot, n_cells, is_weak)
    counts = np.zeros(state.pool.width, np.bool_)
    counts[:n_cells] = excess.counts
    votes = state.votes.cast(slot, counts, int(closed.first_at_ns[group]))
    raised = {cell for cell in np.flatnonzero(counts).tolist() if votes.is_raised(cell)}
    open_cells = {cell for at, cell in state.episodes if at == slot and cell < n_cells}
    findings = []
    for cell in sorted(raised | open_cells):
        phase = _turn(state, (slot, cell), excess, closed, group, cell in raised, votes.began(cell))
        if phase is not None:
            findings.append(_finding(state, rows, view, closed, group, cell, excess, phase))
            if phase == "clear":
                del state.episodes[slot, cell]
    return findings


def _pool(
    state: State, closed: Closed, group: int, sxx: float, sxy: npt.NDArray[np.float64]
) -> None:
    slot, at_ns = int(closed.slot[group]), int(closed.last_at_ns[group])
    vehicles = state.vehicles
    state.pool.fit(len(vehicles), len(sxy))
    was_ns = int(vehicles["pool_at_ns"][slot])
    keep = 0.0 if was_ns == NEVER_NS else float(np.exp((was_ns - at_ns) / MEMORY_NS))
    if was_ns == NEVER_NS:
        vehicles["pool_began_ns"][slot] = int(closed.first_at_ns[group])
    vehicles["pool_at_ns"][slot] = at_ns
    vehicles["sxx"][slot] = vehicles["sxx"][slot] * keep + sxx
    pooled = state.pool["sxy"][slot]
    pooled *= keep
    pooled[: len(sxy)] += sxy


def _excess(state: State, slot: int, n_cells: int, is_weak: npt.NDArray[np.bool_]) -> _Excess:
    vehicles = state.vehicles
    ohm = -state.pool["sxy"][slot, :n_cells] / (vehicles["sxx"][slot] * COUNTS_PER_V)
    ohm -= np.median(ohm)
    alone = ohm - _neighbours(ohm)
    noise = max(NOISE_FLOOR_OHM, SD_PER_MAD * float(np.median(np.abs(alone - np.median(alone)))))
    cell_ohm = np.nan
    if vehicles["step_n"][slot] >= LEAST_STEPS:
        cell_ohm = vehicles["step_va"][slot] / vehicles["step_aa"][slot] / COUNTS_PER_V
    share = SHARE_LIMIT * cell_ohm if cell_ohm > 0 else UNKNOWN_LIMIT_OHM
    drift, drift_limit = _drift(state, slot, ohm)
    drift_share = DRIFT_SHARE_LIMIT * cell_ohm if cell_ohm > 0 else UNKNOWN_DRIFT_OHM
    return _Excess(
        ohm=np.minimum(ohm, alone),
        drift_ohm=np.where(is_weak, 0.0, drift),
        limit_ohm=max(share, LEAST_OHM, LEAST_Z * noise),
        drift_limit_ohm=max(drift_share, LEAST_DRIFT_OHM, drift_limit),
        noise_ohm=noise,
        cell_ohm=float(cell_ohm),
    )


def _drift(
    state: State, slot: int, ohm: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    """Change (c,) since the first three days and its limit; sets the baseline when it is due."""
    vehicles, n_cells = state.vehicles, len(ohm)
    baseline = state.pool["baseline"][slot, :n_cells]
    age_ns = int(vehicles["pool_at_ns"][slot]) - int(vehicles["pool_began_ns"][slot])
    if not vehicles["has_baseline"][slot]:
        if age_ns >= BASELINE_NS:
            baseline[:] = ohm
            vehicles["has_baseline"][slot] = True
        return np.zeros(n_cells), np.inf
    drift = ohm - baseline
    drift -= np.median(drift)
    alone = drift - _neighbours(drift)
    noise = max(DRIFT_FLOOR_OHM, SD_PER_MAD * float(np.median(np.abs(alone))))
    return np.minimum(drift, alone), LEAST_DRIFT_Z * noise


def _neighbours(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Median (c,) of three cells on each side, mirrored at the ends."""
    padded = np.pad(values, NEIGHBOURS, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    others = np.delete(windows, NEIGHBOURS, axis=1)
    median: npt.NDArray[np.float64] = np.median(others, axis=1)
    return median


def _turn(
    state: State,
    key: tuple[int, int],
    excess: _Excess,
    closed: Closed,
    group: int,
    is_raised: bool,
    began_at_ns: int,
) -> Phase | None:
    episode, cell = state.episodes.get(key), key[1]
    is_serious = excess.ohm[cell] >= SERIOUS_SHARE * excess.cell_ohm
    severity = int(Severity.SERIOUS if is_serious else Severity.WARNING)
    if episode is None:
        if not is_raised:
            return None
        state.episodes[key] = Episode(began_at_ns, severity)
        return "raise"
    is_over = episode.heals(
        bool(excess.is_healthy[cell]),
        int(closed.first_at_ns[group]),
        int(closed.last_at_ns[group]),
    )
    if is_over:
        return "clear"
    if is_raised and severity > episode.severity:
        episode.severity = severity
        return "raise"
    return None


def _finding(
    state: State,
    rows: Rows,
    view: View,
    closed: Closed,
    group: int,
    cell: int,
    excess: _Excess,
    phase: Phase,
) -> Finding:
    slot, closing = int(closed.slot[group]), int(closed.closing[group])
    episode = state.episodes[slot, cell]
    by_drift = excess.ohm[cell] < excess.limit_ohm
    value = float(excess.drift_ohm[cell] if by_drift else excess.ohm[cell])
    evidence: dict[str, Any] = {
        "excess_ohm": round(value, 7),
        "limit_ohm": round(excess.drift_limit_ohm if by_drift else excess.limit_ohm, 7),
        "method": "change since the first three days" if by_drift else "against the pack",
        "noise_ohm": round(excess.noise_ohm, 7),
        "cell_resistance_ohm": None if np.isnan(excess.cell_ohm) else round(excess.cell_ohm, 6),
        "current_spread_a2_samples": round(float(state.vehicles["sxx"][slot])),
    }
    micro = value * 1e6
    text = (
        f"Cell {cell + 1} has {micro:.0f} uohm more than its mates, "
        f"{value / excess.noise_ohm:.0f} times their spread; at 200 A it heats by "
        f"{value * 200**2:.1f} W more."
        if phase == "raise"
        else f"Cell {cell + 1} is back at the resistance of its mates."
    )
    days = 7 if episode.severity >= Severity.SERIOUS else 30
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[slot],
        component=f"cell:{cell + 1}",
        at_ns=int(rows.at_ns[closing]),
        started_at_ns=episode.started_at_ns,
        severity=Severity(episode.severity),
        confidence=0.85,
        evidence={
            "text": text,
            **evidence,
            **workshop(days),
            "span_started_at": iso_from_ns(episode.started_at_ns),
            "span_ended_at": iso_from_ns(int(closed.last_at_ns[group])),
            "bms_alarm_level": view.bms_alarm_level(int(rows.at[closing])),
        },
        is_late=bool(rows.is_late[closing]),
    )


PLUGIN: Detector = Connection()
