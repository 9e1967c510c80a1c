"""Simulated worlds for object fusion: what is said, and who is truly where, second by second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.plugins import discover
from openvrc.contracts.units import NS_PER_S
from simulator.roadside.users import RoadUsers
from simulator.sampling import name_hashes, normal_pair
from tests.support.gospa import Gospa, gospa

FloatArray = NDArray[np.float64]
OWN_SD_M = 1.5


@dataclass(frozen=True)
class Second:
    """One frame and the truth of its moment."""

    now_ns: int
    batches: list[Batch]
    frame: LocalFrame
    truth: RoadUsers
    is_covered: NDArray[np.bool_]
    """Truth that could be known: connected, or within some unit's range."""

    def xy_m(self, lat_deg: FloatArray, lon_deg: FloatArray) -> FloatArray:
        """Places in the plane of the truth, (n, 2)."""
        return np.column_stack(self.frame.to_xy_m(lat_deg, lon_deg))

    def score(self, places_m: FloatArray, c_m: float) -> Gospa:
        """Against the covered truth."""
        users = self.truth
        true_m = np.column_stack([users.x_m, users.y_m])[self.is_covered]
        return gospa(true_m, places_m, c_m)


def seconds(
    scenario: str = "corridor", duration_s: float = 60.0, seed: int = 1, **flags: Any
) -> Iterator[Second]:
    """A scenario with sensors, self-reports with white noise of OWN_SD_M per axis."""
    given = {"rsu_range_m": 250.0, "connected_ratio": 0.5} | flags
    world: Any = discover("simulator.scenarios")[scenario].make(
        zone="z", run_id="r", seed=seed, duration_s=duration_s, **given
    )
    road_map = world.road_map
    units_m = world.roadside.rsus.xy_m
    range_m = world.roadside.model.range_m
    for frame in world.frames():
        users = world.roadside.users(world.traffic)
        away_m = np.hypot(users.x_m[:, None] - units_m[:, 0], users.y_m[:, None] - units_m[:, 1])
        connected = np.array([world.is_connected(k) for k in users.number.tolist()], np.bool_)
        batches = [_noisy(batch, road_map.frame) for batch in frame.batches()]
        covered = connected | (away_m.min(axis=1) < range_m)
        yield Second(frame.zone_time_ns, batches, road_map.frame, users, covered)


def _noisy(batch: Batch, frame: LocalFrame) -> Batch:
    if batch.message != "vehicle_state":
        return batch
    x_m, y_m = frame.to_xy_m(batch.column("lat_deg"), batch.column("lon_deg"))
    hashes = name_hashes(7, "gnss", batch.texts("subject_id"))
    east, north = normal_pair(hashes, batch.column("sampled_at_ns") // NS_PER_S)
    lat_deg, lon_deg = frame.to_lat_lon_deg(x_m + OWN_SD_M * east, y_m + OWN_SD_M * north)
    return batch.with_columns({"lat_deg": lat_deg, "lon_deg": lon_deg})
