"""Completed segment states as the API gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.api import present
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import States
from openvrc.traffic.service_level import LEVELS

SPILLBACK_RATIO = 0.9
"""Of the segment's length: the last car's tail then stands in the junction before."""
TEN_TO_NINETY = 1.28
"""Standard deviations to each side that hold the middle 80 % of a normal distribution."""
_NUMBERS = {
    "speed_mps": 2,
    "speed_standard_error_mps": 2,
    "speed_low_mps": 2,
    "speed_high_mps": 2,
    "density_vpkm": 2,
    "flow_vph": 1,
    "travel_time_s": 1,
    "delay_s": 1,
}


def segment_states(road_map: RoadMap, states: States) -> list[dict[str, Any]]:
    """One item of each segment that has a state, by segment id."""
    given = np.flatnonzero(np.isfinite(states.speed_mps))
    sd_mps = states.speed_sd_mps
    columns = {
        "speed_mps": states.speed_mps,
        "speed_standard_error_mps": sd_mps,
        "speed_low_mps": np.maximum(states.speed_mps - TEN_TO_NINETY * sd_mps, 0.0),
        "speed_high_mps": states.speed_mps + TEN_TO_NINETY * sd_mps,
        "density_vpkm": states.density_vpkm,
        "flow_vph": states.flow_vph,
        "travel_time_s": states.travel_time_s,
        "delay_s": states.delay_s,
    }
    numbers = {
        name: np.round(values[given], _NUMBERS[name]).tolist() for name, values in columns.items()
    }
    common = {
        "window_start_ns": states.window_end_ns - states.window_s * NS_PER_S,
        "sampled_at_ns": states.window_end_ns,
        "window_s": states.window_s,
        "map_version": road_map.map_version,
        "penetration_ratio": None if states.share is None else round(states.share, 4),
    }
    queues = {
        "queue_m": states.queues.middle_m,
        "queue_low_m": states.queues.low_m,
        "queue_high_m": states.queues.high_m,
    }
    items = []
    for place, segment in enumerate(given.tolist()):
        item = {"segment_id": road_map.segment_ids[segment]} | common
        item |= {name: values[place] for name, values in numbers.items()}
        item |= {name: _queue(values, segment) for name, values in queues.items()}
        item["is_spillback"] = _is_spillback(road_map, states, segment)
        item["level_of_service"] = LEVELS[states.level[segment]]
        item["basis"] = "observed" if states.is_observed[segment] else "estimated"
        items.append(present.public(item))
    return items


def _queue(values: npt.NDArray[np.float64], segment: int) -> float | None:
    length_m = float(values[segment])
    return None if np.isnan(length_m) else round(length_m, 1)


def _is_spillback(road_map: RoadMap, states: States, segment: int) -> bool:
    """The queue fills the segment, and somebody was seen in it."""
    full_m = SPILLBACK_RATIO * float(road_map.segment_length_m[segment])
    is_full = float(states.queues.middle_m[segment]) >= full_m
    return is_full and bool(states.queues.is_observed[segment])
