"""Geodesy against theory, independent implementations (pyproj) and its own inverses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from openvrc.contracts import geo
from openvrc.contracts.geo import Datum, LocalFrame

LATITUDES = st.floats(-85.0, 85.0)
LONGITUDES = st.floats(-180.0, 180.0)
ORIGINS = [(53.55, 9.99), (0.0, 0.0), (-33.9, 151.2), (31.2, 121.5), (69.6, 18.9), (52.0, 180.0)]


def around(lat_deg: float, lon_deg: float, reach_m: float) -> tuple[np.ndarray, np.ndarray]:
    """A cross of positions up to about `reach_m` from the origin."""
    steps_deg = np.linspace(-reach_m, reach_m, 41) / 111_195.0
    north, east = np.meshgrid(steps_deg, steps_deg / np.cos(np.radians(lat_deg)))
    return lat_deg + north.ravel(), lon_deg + east.ravel()


@pytest.mark.parametrize("origin", ORIGINS)
def test_the_local_frame_equals_projs_topocentric_conversion(origin: tuple[float, float]) -> None:
    lat, lon = around(*origin, 21_000.0)
    pipeline = (
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=cart"
        f" +ellps=WGS84 +step +proj=topocentric +ellps=WGS84 +lat_0={origin[0]} +lon_0={origin[1]}"
    )
    east, north, _ = Transformer.from_pipeline(pipeline).transform(lon, lat, np.zeros_like(lat))
    x_m, y_m = LocalFrame(*origin).to_xy_m(lat, lon)
    assert np.abs(x_m - east).max() < 1e-6
    assert np.abs(y_m - north).max() < 1e-6


@pytest.mark.parametrize("origin", ORIGINS)
def test_the_local_frame_returns_where_it_came_from(origin: tuple[float, float]) -> None:
    frame = LocalFrame(*origin)
    lat, lon = around(*origin, 30_000.0)
    back_lat, back_lon = frame.to_lat_lon_deg(*frame.to_xy_m(lat, lon))
    assert np.abs(back_lat - lat).max() < 1e-12 * 90
    assert np.abs(geo.heading_difference_deg(back_lon, lon)).max() < 1e-12 * 360


def test_local_lengths_agree_with_the_geodesic_near_the_origin() -> None:
    lat, lon = around(53.55, 9.99, 1_000.0)
    x_m, y_m = LocalFrame(53.55, 9.99).to_xy_m(lat, lon)
    _, _, geodesic_m = Geod(ellps="WGS84").inv(
        np.full_like(lon, 9.99), np.full_like(lat, 53.55), lon, lat
    )
    assert np.abs(np.hypot(x_m, y_m) - geodesic_m).max() < 1e-4


def test_a_local_frame_refuses_an_origin_that_is_no_position() -> None:
    with pytest.raises(ValueError, match="origin_lat_deg is 91"):
        LocalFrame(91.0, 0.0)


@given(LATITUDES, LONGITUDES, st.floats(-1_000.0, 20_000.0))
def test_ecef_and_back_gives_the_same_position(lat: float, lon: float, altitude_m: float) -> None:
    back = geo.geodetic_from_ecef(*geo.ecef_from_geodetic(lat, lon, altitude_m))
    assert abs(back[0] - lat) < 1e-9
    assert abs(geo.heading_difference_deg(back[1], lon)) < 1e-9
    assert abs(back[2] - altitude_m) < 1e-5


def test_distance_is_within_six_per_mille_of_the_ellipsoids_geodesic() -> None:
    lat, lon = around(53.55, 9.99, 20_000.0)
    _, _, geodesic_m = Geod(ellps="WGS84").inv(
        np.full_like(lon, 9.99), np.full_like(lat, 53.55), lon, lat
    )
    away = geodesic_m > 1.0
    got_m = geo.distance_m(53.55, 9.99, lat, lon)
    assert np.abs(got_m[away] / geodesic_m[away] - 1.0).max() < 6e-3


@pytest.mark.parametrize(
    ("north", "east", "expected_deg"), [(1, 0, 0.0), (0, 1, 90.0), (-1, 0, 180.0), (0, -1, 270.0)]
)
def test_bearings_run_clockwise_from_north(north: int, east: int, expected_deg: float) -> None:
    got = geo.bearing_deg(10.0, 20.0, 10.0 + north * 1e-3, 20.0 + east * 1e-3)
    assert abs(geo.heading_difference_deg(got, expected_deg)) < 1e-3


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_a_heading_difference_is_the_short_way_round(a_deg: float, b_deg: float) -> None:
    difference = float(geo.heading_difference_deg(a_deg, b_deg))
    assert -180.0 < difference <= 180.0
    assert np.cos(np.radians(difference)) == pytest.approx(
        np.cos(np.radians(a_deg - b_deg)), abs=1e-9
    )


def test_half_a_turn_is_plus_180_either_way() -> None:
    assert geo.heading_difference_deg([0.0, 180.0], [180.0, 0.0]).tolist() == [180.0, 180.0]


def test_gcj02_shifts_a_chinese_map_by_hundreds_of_metres() -> None:
    # Tiananmen Square: the shift used by every published implementation.
    lat, lon = geo.gcj02_from_wgs84(39.908722, 116.397499)
    assert (float(lat), float(lon)) == pytest.approx((39.910125, 116.403743), abs=2e-5)
    assert 300.0 < geo.distance_m(39.908722, 116.397499, lat, lon) < 800.0


def test_gcj02_leaves_hamburg_where_it_is() -> None:
    assert [float(v) for v in geo.gcj02_from_wgs84(53.55, 9.99)] == [53.55, 9.99]


@given(st.floats(3.0, 53.0), st.floats(74.0, 135.0), st.sampled_from(list(Datum)))
def test_every_datum_is_undone_by_its_inverse(lat: float, lon: float, datum: Datum) -> None:
    back_lat, back_lon = geo.to_wgs84(*geo.from_wgs84(lat, lon, datum), datum)
    assert abs(back_lat - lat) < 1e-9
    assert abs(back_lon - lon) < 1e-9


def test_bd09_adds_its_published_offset() -> None:
    lat, lon = geo.bd09_from_gcj02(39.915, 116.404)
    assert (float(lat), float(lon)) == pytest.approx((39.92134, 116.41036), abs=1e-4)


def test_a_missing_position_stays_missing() -> None:
    x_m, y_m = LocalFrame(53.0, 10.0).to_xy_m([53.0, np.nan], [10.0, 10.0])
    assert np.isnan(x_m[1])
    assert abs(x_m[0]) < 1e-6
    assert np.isnan(y_m[1])
    assert np.isnan(geo.from_wgs84(np.nan, np.nan, Datum.BD09)[0])
