"""What a window's speeds most likely were when only some vehicles report: the model, no state.

A *pass* is one vehicle driving one segment's length; what was seen counts in parts of passes. The
time of a pass is free time plus a delay at the segment's end,

    tau = a * length / limit + b        b by whether the segment ends at a signal

with a and the two b fitted, at every call, to everything that was seen on the whole map lately
(ridge regression: least squares with prior beliefs). That is what is said of a segment nobody was
on. A segment's own window speaks for itself as after Edie (distance by time); its past, faded, and
the map's model are added as further distance and time, worth at most so many passes:

    speed = (d + f d_past + k length) / (t + f t_past + k tau)

so that the more vehicles report, the less anything but the window counts. A ratio of sums, like
Edie's, needs no vehicle to pass whole; shrinking small samples towards what their kind does is
empirical Bayes (Efron and Morris 1975, doi:10.1080/01621459.1975.10479864). Smoothing along the
road (Treiber and Helbing, cond-mat/0210050) needs the positions of waves inside segments; with the
neighbours' windows added in its manner, errors grew in town (signals stand between segments).

Constants were chosen by hand on two networks; docs/traffic.md has what they reach there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from openvrc.contracts.maps import RoadMap

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MIN_RATIO_OF_FREE_TIME = 0.9
"""The map's model never believes in driving faster than the limit by more than a ninth."""
MAX_SPEED_RATIO = 1.3
"""Of the limit; a single speeder's pass does not make a road's speed."""
MIN_SPEED_MPS = 0.1


@dataclass(frozen=True)
class Beliefs:
    """Constants of the model; of pairs, the first is for plain ends, the second for signals."""

    free_time_ratio: float = 1.1
    """a: drivers lose a tenth of the limit on bends and behind each other."""
    end_delay_s: tuple[float, float] = (2.0, 15.0)
    """b: a junction's yielding; half a red of 30 s."""
    free_time_sd: float = 0.1
    end_delay_sd_s: tuple[float, float] = (2.0, 10.0)
    pass_sd_s: tuple[float, float] = (3.0, 15.0)
    """Spread of single passes: what one is worth in the fit."""
    model_passes: tuple[float, float] = (0.06, 0.4)
    """k: in town the own past is better than the kind, at signals single passes say little."""
    past_weight: tuple[float, float] = (0.45, 0.35)
    max_past_passes: tuple[float, float] = (2.0, 1.0)
    """What the past may outweigh: windows differ, so it is worth no more than this many passes."""


class Roads(NamedTuple):
    """What the model knows of segments; arrays (n_segments,)."""

    length_m: Floats
    limit_mps: Floats
    lane_count: Floats
    at_signal: Bools
    is_road: Bools
    """False inside junctions."""


class Seen(NamedTuple):
    """Time and distance that vehicles spent and drove on each segment; arrays (n_segments,)."""

    time_s: Floats
    distance_m: Floats


class Speeds(NamedTuple):
    """What is believed of each segment; arrays (n_segments,)."""

    speed_mps: Floats
    speed_sd_mps: Floats
    passes: Floats
    """Own evidence, in passes: the window's and half of the past's."""
    past_weight: Floats
    """What the past counted for beside the window."""


def roads_of(road_map: RoadMap) -> Roads:
    """The model's view of a map."""
    return Roads(
        road_map.segment_length_m,
        road_map.segment_speed_limit_mps,
        road_map.segment_lane_count.astype(np.float64),
        road_map.segment_ends_at_signal,
        ~road_map.segment_is_internal,
    )


def speeds(roads: Roads, window: Seen, past: Seen, unseen_share: float, beliefs: Beliefs) -> Speeds:
    """Speeds of one window. `past` is faded and does not hold the window.

    `unseen_share` is the share of vehicles that do not report, 0 to 1; 1 where it is unknown.
    """
    model_s = _model_time_s(roads, window, past, beliefs)
    weight = _by_end(roads, beliefs.past_weight) * unseen_share
    limit = _by_end(roads, beliefs.max_past_passes)
    past_passes = weight * past.distance_m / roads.length_m
    weight = weight * np.minimum(1.0, limit / np.maximum(past_passes, 1e-9))
    model = _by_end(roads, beliefs.model_passes) * max(unseen_share, 1e-3)
    distance_m = window.distance_m + weight * past.distance_m + model * roads.length_m
    time_s = window.time_s + weight * past.time_s + model * model_s
    speed_mps = np.minimum(distance_m / time_s, MAX_SPEED_RATIO * roads.limit_mps)
    pass_s = roads.length_m / np.maximum(speed_mps, MIN_SPEED_MPS)
    passes = (window.time_s + 0.5 * past.time_s) / pass_s
    sd_mps = _sd_mps(roads, speed_mps, passes, unseen_share)
    return Speeds(speed_mps, sd_mps, passes, weight)


def own_speeds(roads: Roads, seen: Seen, unseen_share: float) -> Speeds:
    """Speeds by what was seen alone, NaN where nobody was; with the error of so few passes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        speed_mps = np.where(seen.time_s > 0.0, seen.distance_m / seen.time_s, np.nan)
    pass_s = roads.length_m / np.maximum(speed_mps, MIN_SPEED_MPS)
    passes = np.where(seen.time_s > 0.0, seen.time_s / pass_s, 0.0)
    sd_mps = _sd_mps(roads, speed_mps, passes, unseen_share)
    return Speeds(speed_mps, sd_mps, passes, np.zeros_like(passes))


def _model_time_s(roads: Roads, window: Seen, past: Seen, beliefs: Beliefs) -> Floats:
    """Time of a pass that the map's model expects, per segment."""
    at_signal = roads.at_signal.astype(np.float64)
    terms = np.column_stack((roads.length_m / roads.limit_mps, 1.0 - at_signal, at_signal))
    worth = np.where(roads.is_road, _by_end(roads, beliefs.pass_sd_s) ** -2.0, 0.0)
    passes = (window.distance_m + past.distance_m) / roads.length_m * worth
    times_s = (window.time_s + past.time_s) * worth
    believed = np.array([beliefs.free_time_ratio, *beliefs.end_delay_s])
    trust = np.diag(np.array([beliefs.free_time_sd, *beliefs.end_delay_sd_s]) ** -2.0)
    fitted = np.linalg.solve(
        trust + (terms * passes[:, None]).T @ terms, trust @ believed + terms.T @ times_s
    )
    fitted = np.maximum(fitted, [0.8, 0.0, 0.0])
    free_s = roads.length_m / roads.limit_mps
    expected_s: Floats = np.maximum(terms @ fitted, MIN_RATIO_OF_FREE_TIME * free_s)
    return expected_s


FLOOR_SD_MPS = 0.25
"""Left when everybody reports: matching errors (measured 0.1 to 0.24 m/s)."""
SLOWED_SD_RATIO = 0.7
"""Of how far a pass lies below the limit: traffic that is held up differs from pass to pass."""
PASS_SD_S = (1.5, 7.0)
PASS_SD_RATIO = 0.15
PASSES_OF_NOTHING = 0.05


def _sd_mps(roads: Roads, speed_mps: Floats, passes: Floats, unseen_share: float) -> Floats:
    """Standard deviation of the error; its form is physics, its constants were fitted."""
    pass_s = roads.length_m / np.maximum(speed_mps, MIN_SPEED_MPS)
    below_mps = speed_mps * np.clip(1.0 - speed_mps / roads.limit_mps, 0.0, 1.0)
    pass_sd_s = np.hypot(_by_end(roads, PASS_SD_S), PASS_SD_RATIO * pass_s)
    one_mps = np.hypot(SLOWED_SD_RATIO * below_mps, speed_mps / pass_s * pass_sd_s)
    error_mps = one_mps * np.sqrt(unseen_share / (passes + PASSES_OF_NOTHING))
    sd_mps: Floats = np.hypot(FLOOR_SD_MPS, error_mps)
    return sd_mps


def _by_end(roads: Roads, pair: tuple[float, float]) -> Floats:
    return np.where(roads.at_signal, pair[1], pair[0])
