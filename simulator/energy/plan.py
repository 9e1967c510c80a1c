"""A day of many vehicles as steps: what each does from step to step, and which steps it reports.

While awake a step is a frame of ten seconds, or six of them in a slow charge. A sleeping vehicle
makes one step to its next wake-up. Steps are step-major, (n_steps, n): vehicles in order of falling
number of steps, so that those still busy at a step are its first columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.energy.drivers import DAY_S, Session
from simulator.energy.driving import FRAME_S, TRACE_FRAMES
from simulator.energy.models import VehicleModel

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

ASLEEP, AWAKE, DRIVE, AC, DC = range(5)
MODE_OF = {"drive": DRIVE, "ac_charge": AC, "dc_charge": DC, "stand": AWAKE}
SLOW_FRAMES = 6
"""Frames in a step of a slow charge: hours in which a minute changes nothing that a straight line
between its ends would not show."""
AWAKE_AFTER_FRAMES = 2
"""A car reports this long after it has been switched off or unplugged."""


@dataclass(frozen=True)
class Steps:
    """A day's steps. Column k is vehicle `order[k]`."""

    order: IntArray  # (n,)
    n_active: IntArray  # (n_steps,) columns still busy
    dt_s: Float32Array  # (n_steps, n) each of these
    end_s: Float32Array
    mode: NDArray[np.int8]
    is_frame: NDArray[np.bool_]
    road: NDArray[np.int8]
    trace_place: NDArray[np.int16]
    limit_w: Float32Array
    target_ratio: Float32Array
    is_first: NDArray[np.bool_]
    """First step of its session."""


@dataclass
class _Segments:
    """Runs of equal steps, vehicle by vehicle."""

    rows: list[tuple[int, int, float, int, bool, int, int, float, float, bool]]

    def add(
        self,
        vehicle: int,
        n: int,
        dt_s: float,
        mode: int,
        *,
        is_frame: bool = True,
        is_first: bool = True,
        road: int = 0,
        place: int = 0,
        limit_w: float = 0.0,
        target: float = 1.0,
    ) -> None:
        if n > 0 and dt_s > 0:
            row = (vehicle, n, dt_s, mode, is_frame, road, place, limit_w, target, is_first)
            self.rows.append(row)


def steps_of(
    days: Sequence[Sequence[Session]],
    models: Sequence[VehicleModel],
    random: np.random.Generator,
) -> Steps:
    """The steps of all vehicles' days; `days[k]` in order and apart, see `drivers.in_order`.

    Every vehicle's steps sum up to a day.
    """
    segments = _Segments([])
    places = random.integers(0, TRACE_FRAMES, sum(map(len, days)) or 1).tolist()
    for vehicle, (sessions, model) in enumerate(zip(days, models, strict=True)):
        now_s = 0
        for session in sessions:
            _park(segments, vehicle, session.start_s - now_s, model, was_awake=now_s > 0)
            _busy(segments, vehicle, session, places.pop())
            now_s = session.end_s - session.duration_s % int(FRAME_S)
        _park(segments, vehicle, DAY_S - now_s, model, was_awake=now_s > 0)
    return _expanded(segments, len(days))


def _busy(segments: _Segments, vehicle: int, session: Session, place: int) -> None:
    """A session frame by frame; a slow charge in steps of six frames once it runs."""
    mode = MODE_OF[session.activity]
    n_frames = session.duration_s // int(FRAME_S)
    counts: tuple[tuple[int, float], ...] = ((n_frames, FRAME_S),)
    if mode == AC and n_frames > 2 * SLOW_FRAMES:
        n_slow, n_last = divmod(n_frames - SLOW_FRAMES, SLOW_FRAMES)
        counts = ((SLOW_FRAMES, FRAME_S), (n_slow, SLOW_FRAMES * FRAME_S), (n_last, FRAME_S))
    for part, (n, dt_s) in enumerate(counts):
        segments.add(
            vehicle,
            n,
            dt_s,
            mode,
            is_first=part == 0,
            road=session.road,
            place=place,
            limit_w=session.limit_w,
            target=session.target_ratio,
        )


def _park(
    segments: _Segments, vehicle: int, gap_s: int, model: VehicleModel, *, was_awake: bool
) -> None:
    """Awake for a moment, then asleep with wake-ups until the gap's end."""
    if was_awake:
        n = min(AWAKE_AFTER_FRAMES, int(gap_s // FRAME_S))
        segments.add(vehicle, n, FRAME_S, AWAKE)
        gap_s -= int(n * FRAME_S)
    more_s = (model.wake_frames - 1) * FRAME_S
    while gap_s > model.wake_every_s:
        segments.add(vehicle, 1, model.wake_every_s - more_s, ASLEEP)
        segments.add(vehicle, model.wake_frames - 1, FRAME_S, AWAKE)
        gap_s -= int(model.wake_every_s)
    segments.add(vehicle, 1, float(gap_s), ASLEEP, is_frame=False)


def _expanded(segments: _Segments, n: int) -> Steps:
    columns = [np.array(column) for column in zip(*segments.rows, strict=True)]
    vehicle, counts = columns[0].astype(np.int64), columns[1].astype(np.int64)
    per_vehicle = np.bincount(vehicle, weights=counts, minlength=n).astype(np.int64)
    order = np.argsort(-per_vehicle, kind="stable")
    column_of = np.argsort(order)
    n_steps = int(per_vehicle.max())
    first = np.cumsum(counts) - counts
    within = np.arange(int(counts.sum())) - np.repeat(first, counts)
    starts = np.cumsum(per_vehicle) - per_vehicle
    row = np.arange(len(within)) - np.repeat(starts, per_vehicle)
    column = np.repeat(column_of[vehicle], counts)

    def grid(values: NDArray[np.generic], dtype: type, fill: float = 0) -> NDArray[np.generic]:
        result: NDArray[np.generic] = np.full((n_steps, n), fill, dtype)
        result[row, column] = values
        return result

    def repeated(place: int) -> FloatArray:
        return np.repeat(columns[place].astype(np.float64), counts)

    dt_s = grid(repeated(2), np.float32)
    steps_left = np.sort(per_vehicle)[::-1]
    return Steps(
        order=order,
        n_active=np.searchsorted(-steps_left, -np.arange(n_steps), side="left"),
        dt_s=dt_s,  # type: ignore[arg-type]
        end_s=np.cumsum(dt_s, axis=0, dtype=np.float64).astype(np.float32),
        mode=grid(repeated(3), np.int8),  # type: ignore[arg-type]
        is_frame=grid(repeated(4), np.bool_),  # type: ignore[arg-type]
        road=grid(repeated(5), np.int8),  # type: ignore[arg-type]
        trace_place=grid((repeated(6) + within) % TRACE_FRAMES, np.int16),  # type: ignore[arg-type]
        limit_w=grid(repeated(7), np.float32),  # type: ignore[arg-type]
        target_ratio=grid(repeated(8), np.float32, 1.0),  # type: ignore[arg-type]
        is_first=grid((within == 0) & (repeated(9) > 0), np.bool_),  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class ToldFrames:
    """The frames that some steps of one vehicle report."""

    column: int
    rows: IntArray  # (n,) the step each frame belongs to
    share: Float32Array  # (n,) how much of the step is over
    end_s: FloatArray  # (n,)
    is_plain: bool
    """Whether every frame is the end of a step."""

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values (n_steps, n_vehicles) at the frames, on a line between the steps' ends."""
        column = values[:, self.column]
        there = column[self.rows]
        if self.is_plain:
            return there
        before = column[np.maximum(self.rows - 1, 0)]
        return np.asarray(before + (there - before) * self.share, values.dtype)


def told_frames(steps: Steps, rows: IntArray, column: int) -> ToldFrames:
    """The frames of these steps (n_rows,) of a vehicle: one each, six in a slow charge's."""
    is_slow = steps.dt_s[rows, column] == SLOW_FRAMES * FRAME_S
    is_slow &= steps.mode[rows, column] == AC
    counts = np.where(is_slow, SLOW_FRAMES, 1)
    each = np.repeat(rows, counts)
    within = np.arange(len(each)) - np.repeat(np.cumsum(counts) - counts, counts)
    left = np.repeat(counts, counts) - 1 - within
    share = (within + 1) / np.repeat(counts, counts)
    end_s = steps.end_s[each, column].astype(np.float64) - left * FRAME_S
    return ToldFrames(column, each, share.astype(np.float32), end_s, not is_slow.any())
