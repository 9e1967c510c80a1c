"""A day of many vehicles as steps: what each does from step to step, and which steps it reports.

While awake a step is a frame of ten seconds. A sleeping vehicle makes one step to its next
wake-up. Steps are step-major, (n_steps, n): vehicles in order of falling number of steps, so that
those still busy at a step are its first columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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

    rows: list[tuple[int, int, float, int, bool, int, int, float, float]]

    def add(
        self,
        vehicle: int,
        n: int,
        dt_s: float,
        mode: int,
        *,
        is_frame: bool = True,
        road: int = 0,
        place: int = 0,
        limit_w: float = 0.0,
        target: float = 1.0,
    ) -> None:
        if n > 0 and dt_s > 0:
            self.rows.append((vehicle, n, dt_s, mode, is_frame, road, place, limit_w, target))


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
            n_frames, rest_s = divmod(session.duration_s, int(FRAME_S))
            mode = MODE_OF[session.activity]
            segments.add(
                vehicle,
                n_frames,
                FRAME_S,
                mode,
                road=session.road,
                place=places.pop(),
                limit_w=session.limit_w,
                target=session.target_ratio,
            )
            now_s = session.end_s - rest_s
        _park(segments, vehicle, DAY_S - now_s, model, was_awake=now_s > 0)
    return _expanded(segments, len(days))


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

    def repeated(place: int) -> NDArray[np.generic]:
        return np.repeat(columns[place], counts)

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
        trace_place=grid((repeated(6) + within) % TRACE_FRAMES, np.int16),  # type: ignore[operator,arg-type]
        limit_w=grid(repeated(7), np.float32),  # type: ignore[arg-type]
        target_ratio=grid(repeated(8), np.float32, 1.0),  # type: ignore[arg-type]
        is_first=grid(within == 0, np.bool_),  # type: ignore[arg-type]
    )
