"""Completed segment states as the API gives them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cloud.api import present
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from openvrc.traffic.completion import States
from openvrc.traffic.service_level import LEVELS

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
    items = []
    for place, segment in enumerate(given.tolist()):
        item = {"segment_id": road_map.segment_ids[segment]} | common
        item |= {name: values[place] for name, values in numbers.items()}
        item["level_of_service"] = LEVELS[states.level[segment]]
        item["basis"] = "observed" if states.is_observed[segment] else "estimated"
        items.append(present.public(item))
    return items
