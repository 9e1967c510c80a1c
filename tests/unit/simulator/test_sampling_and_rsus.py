"""Shares, noise and loss by hash; roadside units by map."""

import numpy as np
import pytest

from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, RoadMap, Segment
from simulator.rsus import RANGE_M, place_rsus
from simulator.sampling import mixed, name_hashes, normal_pair, share_of, uniform
from simulator.scenarios.crossroads_map import build

NAMES = [f"veh-{n}" for n in range(20_000)]


def test_shares_are_uniform_and_independent_of_purpose_and_seed() -> None:
    shares = share_of(1, "penetration", NAMES)
    assert np.histogram(shares, bins=10, range=(0, 1))[0] == pytest.approx(2000, rel=0.1)
    for other in (share_of(2, "penetration", NAMES), share_of(1, "rsu", NAMES)):
        assert abs(np.corrcoef(shares, other)[0, 1]) < 0.03


def test_noise_depends_on_vehicle_and_time_only() -> None:
    hashes = name_hashes(1, "noise", NAMES)
    times = np.arange(len(NAMES)) * 10**9
    east, north = normal_pair(hashes, times)
    back = np.arange(len(NAMES))[::-1]
    assert (normal_pair(hashes[back], times[back])[0] == east[back]).all()
    for part in (east, north):
        assert part.mean() == pytest.approx(0, abs=0.03)
        assert part.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(east, north)[0, 1]) < 0.03
    assert np.isfinite(east).all()


def test_neighbouring_numbers_hash_apart() -> None:
    draws = uniform(mixed(np.full(20_000, 7, np.uint64), np.arange(20_000)))
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.03


def motorway(length_m: float) -> RoadMap:
    frame = LocalFrame(52.0, 10.0)
    lat_deg, lon_deg = frame.to_lat_lon_deg(np.array([0.0, length_m]), np.zeros(2))
    line = tuple(zip(lon_deg.tolist(), lat_deg.tolist(), strict=True))
    lane = Lane(id="a_0", index=0, length_m=length_m, width_m=3.5, coordinates=line)
    segment = Segment(
        id="a", length_m=length_m, speed_limit_mps=33.0, lanes=(lane,), coordinates=line
    )
    return RoadMap.build([segment])


def test_a_motorway_is_covered_by_units_about_600_m_apart() -> None:
    road_map = motorway(3000.0)
    rsus = place_rsus(road_map)
    x_m = np.sort(rsus.xy_m[:, 0])
    assert np.diff(x_m)[:-1] == pytest.approx(600, abs=60)  # the last stands at the road's end
    line = road_map.segment_points(0)
    along = np.linspace(line[0], line[-1], 301)
    covered = rsus.nearest(along[:, 0], along[:, 1]) >= 0
    assert covered.mean() > 0.95


def test_signalled_junctions_get_one_unit_each_and_the_same_every_time() -> None:
    rsus = place_rsus(build().road_map)
    assert rsus.ids == ("rsu-001", "rsu-002")
    assert (place_rsus(build().road_map).xy_m == rsus.xy_m).all()


def test_out_of_range_means_no_unit() -> None:
    rsus = place_rsus(motorway(500.0))
    assert rsus.nearest(rsus.xy_m[:1, 0], rsus.xy_m[:1, 1] + RANGE_M - 1).tolist() == [0]
    assert rsus.nearest(rsus.xy_m[:1, 0], rsus.xy_m[:1, 1] + RANGE_M + 1).tolist() == [-1]
    assert place_rsus(None).nearest(np.zeros(2), np.zeros(2)).tolist() == [-1, -1]
