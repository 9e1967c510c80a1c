"""What the two paths to a weak cell say, in one form: one event per cell and closed group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.detectors.battery import cell_blocks, rest_batches, rest_drift
from openvrc.detectors.battery.group_sums import Closed

QUICK_CONFIDENCE = 0.7  # 12 frames cannot tell a lasting offset from a relaxing one
VOTE_CONFIDENCE = {3: 0.85, 4: 0.9, 5: 0.95}


@dataclass(frozen=True)
class CellEvent:
    """What was found of a cell when row `closing` came."""

    closing: int
    is_rest: bool
    slot: int
    cell: int
    """0-based."""
    is_low: bool
    is_healthy: bool
    began_at_ns: int
    """Of the evidence: the block, or the oldest batch that agrees."""
    batch_began_at_ns: int
    ended_at_ns: int
    deviation_v: float
    noise_v: float
    confidence: float
    evidence: dict[str, Any]


def from_blocks(closed: Closed, place: npt.NDArray[np.int64]) -> list[CellEvent]:
    """Cells that are low in a block of frames; `place` leads from watched rows to all rows."""
    weak = cell_blocks.weak_cells(closed)
    return [_of_block(closed, weak, i, place) for i in range(len(weak.group))]


def _of_block(
    closed: Closed, weak: cell_blocks.WeakInBlock, i: int, place: npt.NDArray[np.int64]
) -> CellEvent:
    group = int(weak.group[i])
    mean_counts = int(closed.scalars[group, 0]) / int(closed.n_rows[group])
    return CellEvent(
        closing=int(place[closed.closing[group]]),
        is_rest=False,
        slot=int(closed.slot[group]),
        cell=int(weak.cell[i]),
        is_low=True,
        is_healthy=False,
        began_at_ns=int(closed.first_at_ns[group]),
        batch_began_at_ns=int(closed.first_at_ns[group]),
        ended_at_ns=int(closed.last_at_ns[group]),
        deviation_v=float(weak.deviation_v[i]),
        noise_v=float(weak.noise_v[i]),
        confidence=QUICK_CONFIDENCE,
        evidence={
            "method": "12 frames, load removed by regression",
            "limit_v": -cell_blocks.DEVIATION_LIMIT_V,
            "deviation_sd_v": round(float(weak.sd_v[i]), 4),
            "frames": cell_blocks.BLOCK_FRAMES,
            "mean_current_a": round(mean_counts / cell_blocks.COUNTS_PER_A, 1),
        },
    )


def from_rest(
    closed: Closed,
    verdicts: list[rest_batches.RestVerdict],
    place: npt.NDArray[np.int64],
    watched: dict[int, set[int]],
) -> list[CellEvent]:
    """Verdicts on cells that are low, or watched because an episode is or may become open.

    `place` (n_rest,) leads from rest rows to all rows; `watched` are cells by slot.
    """
    events = []
    for verdict in verdicts:
        cells = watched.setdefault(int(closed.slot[verdict.group]), set())
        cells.update(np.flatnonzero(verdict.is_low).tolist())
        events += [
            _of_batch(closed, verdict, cell, place)
            for cell in sorted(cells)
            if cell < len(verdict.is_low)
        ]
    return events


def _of_batch(
    closed: Closed, verdict: rest_batches.RestVerdict, cell: int, place: npt.NDArray[np.int64]
) -> CellEvent:
    votes = int(verdict.votes[cell])
    return CellEvent(
        closing=int(place[closed.closing[verdict.group]]),
        is_rest=True,
        slot=int(closed.slot[verdict.group]),
        cell=cell,
        is_low=bool(verdict.is_low[cell]),
        is_healthy=bool(verdict.is_healthy[cell]),
        began_at_ns=int(verdict.began_at_ns[cell]),
        batch_began_at_ns=int(closed.first_at_ns[verdict.group]),
        ended_at_ns=int(closed.last_at_ns[verdict.group]),
        deviation_v=float(verdict.deviation_v[cell]),
        noise_v=verdict.noise_v,
        confidence=VOTE_CONFIDENCE.get(votes, QUICK_CONFIDENCE),
        evidence={
            "method": "batches of 4 h at rest",
            "limit_v": -rest_batches.DEVIATION_LIMIT_V,
            "drift_v": round(float(verdict.drift_v[cell]), 4),
            "limit_drift_v": -rest_drift.LIMIT_V,
            "rest_samples": int(closed.n_rows[verdict.group]),
            "rest_current_limit_a": rest_batches.REST_CURRENT_A,
            "batches_agreeing": votes,
            "batches": rest_batches.VOTES_OF,
        },
    )
