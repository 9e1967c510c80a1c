"""Speed traces of three kinds of road, as trips of acceleration, cruise, braking and idling.

Cut to frames of ten seconds: in eight of them the mean power counts, in the last two the power
of that moment, which is what a frame's current and voltage show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.energy.models import VehicleModel
from simulator.energy.road_load import traction_power_w

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

FRAME_S = 10.0
SAMPLE_S = 2.0
SAMPLES = 5
"""Per frame; the first four are its mean part."""
TRACE_FRAMES = 2048


@dataclass(frozen=True)
class Road:
    """A kind of road: cruise speed (mean, sd), length of a cruise, idling, share of stops."""

    name: str
    cruise_mps: tuple[float, float]
    cruise_s: float
    idle_s: float


ROADS = (
    Road("urban", (10.5, 3.0), 20.0, 15.0),
    Road("suburban", (16.0, 4.0), 60.0, 12.0),
    Road("motorway", (28.5, 3.5), 600.0, 4.0),
)
MEAN_SPEED_MPS = (5.6, 11.5, 26.0)
"""About, for planning a day; what is driven is in the traces."""


@dataclass(frozen=True)
class Traces:
    """Frames of every road, each array (n_roads, TRACE_FRAMES)."""

    speed_mps: Float32Array
    """At the frame's end."""
    distance_m: Float32Array
    mean_power_w: Float32Array
    last_power_w: Float32Array


def speed_trace_mps(road: Road, n_samples: int, random: np.random.Generator) -> FloatArray:
    """Speed each `SAMPLE_S` (n_samples,)."""
    parts: list[FloatArray] = []
    total = 0
    while total < n_samples:
        top = float(np.clip(random.normal(*road.cruise_mps), 3.0, 36.0))
        up_s, down_s = top / random.uniform(0.7, 1.8), top / random.uniform(0.7, 1.9)
        cruise_s = random.exponential(road.cruise_s) + 4.0
        idle_s = random.exponential(road.idle_s) + 2.0
        ends = np.cumsum([0.0, up_s, cruise_s, down_s, idle_s])
        at_s = np.arange(0.0, ends[-1], SAMPLE_S)
        speed = np.interp(at_s, ends, [0.0, top, top, 0.0, 0.0])
        is_cruise = (at_s > ends[1]) & (at_s < ends[2])
        sway = np.cumsum(random.normal(0.0, 0.25, len(at_s)))
        sway -= np.interp(at_s, [ends[1], ends[2]], np.interp(ends[1:3], at_s, sway))
        speed = np.where(is_cruise, np.clip(speed + sway, 0.5 * top, 1.15 * top), speed)
        parts.append(speed)
        total += len(at_s)
    return np.concatenate(parts)[:n_samples]


def traces_of(model: VehicleModel, random: np.random.Generator) -> Traces:
    """The power this model takes on every road's trace."""
    columns: list[list[FloatArray]] = [[], [], [], []]
    for road in ROADS:
        speed = speed_trace_mps(road, TRACE_FRAMES * SAMPLES + 1, random)
        middle = 0.5 * (speed[1:] + speed[:-1])
        power = traction_power_w(middle, np.diff(speed) / SAMPLE_S, model)
        power = power.reshape(TRACE_FRAMES, SAMPLES)
        columns[0].append(speed[1:].reshape(TRACE_FRAMES, SAMPLES)[:, -1])
        columns[1].append(middle.reshape(TRACE_FRAMES, SAMPLES).sum(axis=1) * SAMPLE_S)
        columns[2].append(power[:, :-1].mean(axis=1))
        columns[3].append(power[:, -1])
    return Traces(*(np.array(column, np.float32) for column in columns))
