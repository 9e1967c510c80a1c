"""`battery.self_discharge`: one cell lies lower than its mates when the load is taken away.

A cell that discharges itself (soft internal short, leak, lost capacity) falls behind its pack.
Two paths find it, both on frames whose dirt is masked (cleaning.py):

- rest batches (rest_batches.py): 22 mV and 5.5 robust sds at rest in 3 of 5 batches of 4 h, or a
  drift of 5 mV and 7 sds from the vehicle's first days (rest_drift.py);
- blocks of 12 frames, freed from load (cell_blocks.py): 50 mV and 8 sds, for the obvious case.

Only low cells count: a leak never lifts one. One episode per cell, raised once; it is updated
when it gets worse and cleared after five healthy batches over three days. A missing frame makes
a block end one frame later; a missing cell value counts as "no deviation" in its frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery import cell_blocks, cell_events, rest_batches
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.cell_blocks import COUNTS_PER_A, block_keys, block_tables
from openvrc.detectors.battery.cell_events import CellEvent
from openvrc.detectors.battery.deviation import LEAST_CELLS, cut_counts
from openvrc.detectors.battery.frames import (
    NEVER_NS,
    SEEN,
    Rows,
    chained,
    newest_event_ns,
    opens_period,
    usable_rows,
)
from openvrc.detectors.battery.group_sums import GroupSums
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.view import COUNTS_PER_V, View, ordered
from openvrc.detectors.keyed import Keyed

SERIOUS_V = 0.100  # about 10 % of charge on a mid curve: the pack's usable energy is cut
UPDATE_STEP_V = 0.010  # a change worth telling; smaller ones follow the state of charge

RULE = Rule(
    name="battery.self_discharge",
    title="A cell lies below its pack",
    meaning=(
        "At rest one cell's voltage is lower than its mates' by more than the pack's spread "
        "explains: it discharges itself or has lost capacity."
    ),
    advice="Have the cell measured; watch its deviation, and charge under supervision until then.",
    pending_for_s=0.0,
    recovering_for_s=0.0,
    actionable_for_s=86400.0,
)

_FIELDS = {
    **SEEN,
    "low_at_ns": (np.int64, NEVER_NS),  # newest frame with a low cell
    "watched_at_ns": (np.int64, NEVER_NS),  # newest frame that went into a block
    "pos": (np.int64, 0),
    "serial": (np.int64, 0),
}


@dataclass
class _Episode:
    started_at_ns: int
    severity: int
    reported_v: float
    healthy_since_ns: int = 0
    healthy_batches: int = 0
    """Batches of rest in a row in which the cell was close to its pack, and the first's start."""


class State:
    """Per vehicle: open sums of both paths, votes; per weak cell: its episode."""

    def __init__(self) -> None:
        self.vehicles = Keyed(_FIELDS)
        self.blocks = GroupSums(cell_blocks.TABLES, n_scalars=3)
        self.rest = GroupSums({"rest": np.int32}, n_scalars=2)
        self.votes = rest_batches.RestVotes()
        self.episodes: dict[tuple[int, int], _Episode] = {}


class SelfDischarge:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("battery_state",)
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames; findings appear when a block or a batch of rest samples ends."""
        view = ordered(batch)
        if view.cells_v.shape[1] < LEAST_CELLS:
            return state, []
        rows = usable_rows(batch, state.vehicles)
        rows = rows.where(rows.of(_is_usable(view)))
        if len(rows) == 0:
            return state, []
        events = _from_blocks(state, rows, view)
        watched: dict[int, set[int]] = {}
        for slot, cell in [*state.episodes, *((event.slot, event.cell) for event in events)]:
            watched.setdefault(slot, set()).add(cell)
        events += _from_rest(state, rows, view, watched)
        events.sort(key=lambda event: (event.closing, event.is_rest, event.cell))
        findings = []
        for event in events:
            level = view.bms_alarm_level(int(rows.at[event.closing]))
            finding = _fold_event(state, rows, event, level)
            if finding is not None:
                findings.append(finding)
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a vehicle's own next frame ends its blocks, so ticks cannot matter."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All sums, votes and episodes."""
        episodes = [
            (*key, e.started_at_ns, e.severity, e.healthy_since_ns, e.healthy_batches)
            for key, e in state.episodes.items()
        ]
        reported_v = [e.reported_v for e in state.episodes.values()]
        return (
            state.vehicles.snapshot()
            | state.blocks.snapshot("blocks.")
            | state.rest.snapshot("rest.")
            | state.votes.snapshot()
            | {
                "episodes": np.array(episodes, np.int64).reshape(-1, 6),
                "reported_v": np.array(reported_v, np.float64),
            }
        )

    def restore(self, context: Context, arrays: Arrays) -> State:
        """What `snapshot` wrote."""
        state = self.initial(context)
        state.vehicles = Keyed.restore(_FIELDS, arrays)
        state.blocks.load(arrays, "blocks.")
        state.rest.load(arrays, "rest.")
        state.votes.load(arrays)
        for row, reported_v in zip(
            arrays["episodes"].tolist(), arrays["reported_v"].tolist(), strict=True
        ):
            slot, cell, started_at_ns, severity, *healthy = row
            state.episodes[slot, cell] = _Episode(started_at_ns, severity, reported_v, *healthy)
        return state


def _is_usable(view: View) -> npt.NDArray[np.bool_]:
    is_usable: npt.NDArray[np.bool_] = (view.n_measured >= LEAST_CELLS) & ~np.isnan(view.current_a)
    return is_usable


def _from_blocks(state: State, rows: Rows, view: View) -> list[CellEvent]:
    """Only frames within ten minutes of one with a low cell are looked at cell by cell."""
    is_low = rows.of(view.lowest_deviation_v) <= -cell_blocks.FRAME_LOW_V
    low_at_ns = newest_event_ns(rows, is_low, state.vehicles, "low_at_ns")
    near = rows.at_ns - np.maximum(low_at_ns, 0) <= cell_blocks.WATCH_NS
    if not some(near):
        return []
    watched = chained(rows.where(near), state.vehicles, "watched_at_ns")
    current_a = watched.of(view.current_a)
    current = np.rint(current_a * COUNTS_PER_A).astype(np.int32)
    scalars = np.stack([current, current.astype(np.int64) ** 2, watched.of(view.n_given)], axis=1)
    key = block_keys(watched, state.vehicles["pos"], state.vehicles["serial"])
    counts = cut_counts(watched.of(view.deviation), cell_blocks.CUT_V)
    closed = state.blocks.fold(watched, key, scalars, block_tables(counts, current))
    return cell_events.from_blocks(closed, np.flatnonzero(near))


def _from_rest(
    state: State, rows: Rows, view: View, watched: dict[int, set[int]]
) -> list[CellEvent]:
    is_rest = np.abs(rows.of(view.current_a)) < rest_batches.REST_CURRENT_A
    is_rest &= opens_period(rows, rest_batches.SAMPLE_NS)
    if not some(is_rest):
        return []
    resting = rows.where(is_rest)
    counts = cut_counts(resting.of(view.deviation), rest_batches.CUT_V)
    middle = np.rint(resting.of(view.median_v) * COUNTS_PER_V).astype(np.int64)
    scalars = np.stack([resting.of(view.n_given), middle], axis=1)
    key = resting.at_ns // rest_batches.BATCH_NS
    closed = state.rest.fold(resting, key, scalars, {"rest": counts})
    verdicts = state.votes.cast(closed)
    return cell_events.from_rest(closed, verdicts, np.flatnonzero(is_rest), watched)


def _fold_event(
    state: State, rows: Rows, event: CellEvent, bms_alarm_level: int | None
) -> Finding | None:
    key = (event.slot, event.cell)
    episode = state.episodes.get(key)
    if not event.is_low:
        if episode is None or not _has_healed(episode, event):
            return None
        del state.episodes[key]
        return _finding(state, rows, event, episode, "clear", bms_alarm_level)
    severity = Severity.SERIOUS if event.deviation_v <= -SERIOUS_V else Severity.WARNING
    if episode is not None:
        episode.healthy_batches = 0
    else:
        episode = state.episodes[key] = _Episode(
            event.began_at_ns, int(severity), event.deviation_v
        )
        return _finding(state, rows, event, episode, "raise", bms_alarm_level)
    is_worse = event.deviation_v <= episode.reported_v - UPDATE_STEP_V
    if not is_worse and severity <= episode.severity:
        return None
    episode.severity = max(episode.severity, int(severity))
    episode.reported_v = event.deviation_v
    return _finding(state, rows, event, episode, "raise", bms_alarm_level)


def _has_healed(episode: _Episode, event: CellEvent) -> bool:
    """Count a batch in which the cell is not low; whether health has lasted."""
    if not event.is_healthy:
        episode.healthy_batches = 0
        return False
    if episode.healthy_batches == 0:
        episode.healthy_since_ns = event.batch_began_at_ns
    episode.healthy_batches += 1
    span_ns = event.ended_at_ns - episode.healthy_since_ns
    is_long = span_ns >= rest_batches.HEALTHY_SPAN_NS
    return is_long and episode.healthy_batches >= rest_batches.HEALTHY_BATCHES


def _finding(
    state: State,
    rows: Rows,
    event: CellEvent,
    episode: _Episode,
    phase: Phase,
    bms_alarm_level: int | None,
) -> Finding:
    deviation_mv = event.deviation_v * 1e3
    z_score = event.deviation_v / event.noise_v
    text = (
        f"Cell {event.cell + 1} is {-deviation_mv:.0f} mV below its pack at rest, "
        f"{-z_score:.0f} times the spread of its mates."
    )
    drift_v = float(event.evidence.get("drift_v", 0.0))
    if event.is_rest and event.deviation_v > -rest_batches.DEVIATION_LIMIT_V:
        text = (
            f"Cell {event.cell + 1} has drifted by {drift_v * 1e3:.0f} mV at rest since the first "
            f"days of its vehicle, while its mates stayed; it is at {deviation_mv:+.0f} mV now."
        )
    if phase == "clear":
        text = f"Cell {event.cell + 1} is back within {rest_batches.HEALTHY_V * 1e3:.0f} mV."
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=state.vehicles.keys[event.slot],
        component=f"cell:{event.cell + 1}",
        at_ns=int(rows.at_ns[event.closing]),
        started_at_ns=episode.started_at_ns,
        severity=Severity(episode.severity),
        confidence=event.confidence,
        evidence={
            "text": text,
            "deviation_v": round(event.deviation_v, 4),
            "z_score": round(z_score, 1),
            "cell_spread_v": round(event.noise_v, 4),
            **event.evidence,
            **workshop(7 if episode.severity >= Severity.SERIOUS else 30),
            "span_started_at": iso_from_ns(event.began_at_ns),
            "span_ended_at": iso_from_ns(event.ended_at_ns),
            "span_s": round((event.ended_at_ns - event.began_at_ns) / NS_PER_S, 1),
            "bms_alarm_level": bms_alarm_level,
        },
        is_late=bool(rows.is_late[event.closing]),
    )


PLUGIN: Detector = SelfDischarge()
