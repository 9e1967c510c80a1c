"""The sensing units of a zone: where they look from, how far, how late, by which clock.

Numbers of the model, all of them parameters: a mast of 6 m; 150 m of range, what a roadside lidar
or camera gives; position errors from half a metre near by to about 2 m far off, the order of
published evaluations of roadside systems (Kraemmer et al., Providentia, arXiv 1906.06789).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.maps import RoadMap
from simulator.roadside.weather import CLEAR, WeatherKind
from simulator.rsus import Rsus
from simulator.sampling import name_hashes, normal_pair, share_of

FloatArray = NDArray[np.float64]

LATENCY_SPREAD = 0.5
"""Units differ: latency from half to one and a half of the usual."""


@dataclass(frozen=True, kw_only=True)
class SensorModel:
    """How well units perceive; `0` for a rate or an error means none."""

    range_m: float = 150.0
    fov_deg: float = 360.0
    mast_m: float = 6.0
    rate_hz: float = 2.0
    latency_s: float = 0.12  # from the scene to its time stamp's record
    clock_sd_s: float = 0.0  # of the units' constant clock offsets
    detection_ratio: float = 0.98  # near by, in clear weather
    vulnerable_range_ratio: float = 0.6  # range for two-wheelers and people
    false_per_s: float = 0.02  # objects that are none, per unit
    position_m: float = 0.4  # standard deviation per axis near by ...
    position_per_m: float = 0.006  # ... and more per metre of distance
    calibration_m: float = 0.2  # constant offset of a unit, standard deviation per axis
    speed_mps: float = 0.3
    speed_per_m: float = 0.004
    heading_deg: float = 2.0
    confusion_ratio: float = 0.03  # wrong class near by; three times as often at the range's end
    break_per_s: float = 0.01  # a track goes on under a new number
    swap_per_s: float = 0.05  # two within SWAP_M exchange numbers
    weather: WeatherKind = CLEAR


@dataclass(frozen=True)
class Sensors:
    """Units by number, every array (n_units,)."""

    ids: tuple[str, ...]
    xy_m: FloatArray  # (n_units, 2)
    bearing_deg: FloatArray
    """Middle of the field of view."""
    latency_s: FloatArray
    clock_s: FloatArray
    """Own clock less reference."""
    offset_xy_m: FloatArray  # (n_units, 2), calibration
    hashes: NDArray[np.uint64]
    model: SensorModel

    @property
    def range_m(self) -> float:
        """In this weather."""
        return self.model.range_m * self.model.weather.range_ratio


def sensors_at(rsus: Rsus, road_map: RoadMap | None, model: SensorModel, seed: int) -> Sensors:
    """A sensor at each roadside unit; with a narrow view they look along the nearest road."""
    n, hashes = len(rsus.ids), name_hashes(seed, "sensor", rsus.ids)
    east, north = normal_pair(hashes, np.zeros(n, np.int64))
    clock, _ = normal_pair(hashes, np.ones(n, np.int64))
    spread = 1.0 + LATENCY_SPREAD * (2.0 * share_of(seed, "latency", rsus.ids) - 1.0)
    return Sensors(
        rsus.ids,
        rsus.xy_m,
        _along_roads(rsus.xy_m, road_map),
        model.latency_s * spread,
        np.round(model.clock_sd_s * clock, 4),
        model.calibration_m * np.column_stack([east, north]),
        hashes,
        model,
    )


def _along_roads(xy_m: FloatArray, road_map: RoadMap | None) -> FloatArray:
    if road_map is None or not len(xy_m):
        return np.zeros(len(xy_m))
    points = road_map.segment_points_xy_m
    steps = np.diff(points, axis=0)
    is_step = np.ones(len(steps), np.bool_)
    is_step[np.asarray(road_map.segment_point_offsets[1:-1]) - 1] = False  # between two segments
    is_step &= np.hypot(*steps.T) > 1e-6
    steps, middles = steps[is_step], (points[:-1] + steps / 2)[is_step]
    away_m = np.hypot(*(xy_m[:, None, :] - middles[None, :, :]).transpose(2, 0, 1))
    nearest = np.argmin(away_m, axis=1)
    return np.asarray(np.degrees(np.arctan2(steps[nearest, 0], steps[nearest, 1])) % 360.0)
