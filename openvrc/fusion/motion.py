"""The Kalman filter of all tracks together: east, north and their velocities in a plane.

Even motion with noise of its acceleration (white, Bar-Shalom, Li, Kirubarajan 2001, 6.2.2), more
along the course than across it where one is slow, more across it where one is fast and may turn.
Positions and velocities are both measured, so turns are followed without a model of turning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ALONG, ACROSS, TURNING = 2.0, 0.5, 0.01
"""Densities of acceleration noise: m2/s3, and of turning per (m/s)2: 1.4 m/s2 kept for a second,
and at 14 m/s a turn with 1.6 m/s2 sideways."""
SPEED_SD_MPS, HEADING_SD_DEG = 0.5, 5.0
LEAST_MPS = 1.0
"""For the error of a course of who stands."""
TIME_SD_S = 0.05
"""What a time stamp may be off beside its clock: times the speed it adds to the position's error
along the course."""
UNKNOWN_VARIANCE = 400.0
"""Of a velocity nobody told: 20 m/s squared."""
_EYE = np.eye(4)


def predicted(
    state: FloatArray, spread: FloatArray, dt_s: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """States (n, 4) and covariances (n, 4, 4) by `dt_s` (n,) later; backwards too."""
    moved = state.copy()
    moved[:, :2] += state[:, 2:] * dt_s[:, None]
    dt, size = dt_s[:, None, None], np.abs(dt_s)[:, None, None]
    noise = _noise(state)
    p, b, v = spread[:, :2, :2], spread[:, :2, 2:], spread[:, 2:, 2:]
    found = np.empty_like(spread)
    found[:, :2, :2] = p + dt * (b + b.transpose(0, 2, 1)) + dt * dt * v + size**3 / 3 * noise
    found[:, :2, 2:] = b + dt * v + dt * size / 2 * noise
    found[:, 2:, :2] = found[:, :2, 2:].transpose(0, 2, 1)
    found[:, 2:, 2:] = v + size * noise
    return moved, found


def _noise(state: FloatArray) -> FloatArray:
    """Density of the acceleration's noise (n, 2, 2) by speed and course."""
    speed2 = (state[:, 2:] ** 2).sum(axis=1)
    return turned(state[:, 2:], np.full(len(state), ALONG), ACROSS + TURNING * speed2)


def turned(velocity: FloatArray, along: FloatArray, across: FloatArray) -> FloatArray:
    """Matrices (n, 2, 2) with these variances along and across a velocity (n, 2)."""
    speed = np.sqrt((velocity**2).sum(axis=1))
    unit = velocity / np.maximum(speed, 1e-6)[:, None]
    unit[speed < 1e-6] = (1.0, 0.0)
    outer = unit[:, :, None] * unit[:, None, :]
    found: FloatArray = (along - across)[:, None, None] * outer
    found[:, 0, 0] += across
    found[:, 1, 1] += across
    return found


def measurement(
    xy_m: FloatArray, speed_mps: FloatArray, heading_deg: FloatArray, sd_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """What reports (n,) measure, (n, 4), and how well, (n, 4, 4); an unknown velocity is 0."""
    known = np.isfinite(speed_mps) & np.isfinite(heading_deg)
    stands = np.isfinite(speed_mps) & (speed_mps < 0.3)
    speed = np.where(known | stands, np.nan_to_num(speed_mps), 0.0)
    turn = np.radians(np.nan_to_num(heading_deg))
    velocity = speed[:, None] * np.column_stack([np.sin(turn), np.cos(turn)])
    wander = np.maximum(speed, LEAST_MPS) * np.radians(HEADING_SD_DEG)
    spread = np.zeros((len(speed), 4, 4))
    along = sd_m**2 + (TIME_SD_S * speed) ** 2
    spread[:, :2, :2] = turned(velocity, along, sd_m**2)
    spread[:, 2:, 2:] = turned(
        velocity, np.full(len(speed), SPEED_SD_MPS**2), wander**2 + (0.2 * SPEED_SD_MPS) ** 2
    )
    spread[~(known | stands), 2:, 2:] = UNKNOWN_VARIANCE * np.eye(2)
    return np.column_stack([xy_m, velocity]), spread


def updated(
    state: FloatArray, spread: FloatArray, measured: FloatArray, error: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """States and covariances with a measurement each."""
    gain = np.linalg.solve(spread + error, spread).transpose(0, 2, 1)
    found = state + np.einsum("nij,nj->ni", gain, measured - state)
    rest = (_EYE - gain) @ spread
    return found, 0.5 * (rest + rest.transpose(0, 2, 1))


def distance2(apart: FloatArray, spread: FloatArray) -> FloatArray:
    """Squares of Mahalanobis distances (n,) of differences (n, 4)."""
    return np.asarray((apart * np.linalg.solve(spread, apart[:, :, None])[:, :, 0]).sum(axis=1))
