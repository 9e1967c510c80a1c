"""Geodesy: where a point is, how far two points are apart, and which datum a map uses.

Every angle is in degrees, every length in metres. Latitude and longitude are WGS-84 unless a
name says otherwise; headings run clockwise from north. All functions take scalars or arrays of
one shape (or shapes that broadcast) and return arrays of that shape; NaN in gives NaN out.

Sources: WGS-84 ellipsoid and ECEF, NIMA TR8350.2; local east-north-up frame, EN ISO 19111
annex; GCJ-02 ("Mars coordinates") and BD-09: the formulas published by the community, since
the official ones are not public; they agree with the services within about a metre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
LatLon = tuple[FloatArray, FloatArray]

WGS84_SEMI_MAJOR_M = 6_378_137.0
WGS84_FLATTENING = 1.0 / 298.257_223_563
WGS84_ECCENTRICITY_SQUARED = WGS84_FLATTENING * (2.0 - WGS84_FLATTENING)
WGS84_SEMI_MINOR_M = WGS84_SEMI_MAJOR_M * (1.0 - WGS84_FLATTENING)
MEAN_EARTH_RADIUS_M = 6_371_008.8  # IUGG mean radius R1, for great-circle lengths

# GCJ-02 is defined on the Krasovsky 1940 ellipsoid.
KRASOVSKY_SEMI_MAJOR_M = 6_378_245.0
KRASOVSKY_ECCENTRICITY_SQUARED = 0.006_693_421_622_965_943
# The shift applies only inside this box, as in every published implementation.
CHINA_LAT_DEG = (0.8293, 55.8271)
CHINA_LON_DEG = (72.004, 137.8347)
# The centre the published polynomials are expanded around.
GCJ02_CENTRE_LAT_DEG = 35.0
GCJ02_CENTRE_LON_DEG = 105.0

BD09_ANGLE_FACTOR_DEG = 3000.0  # the wobble runs in 1/3000 of pi per degree
BD09_LAT_OFFSET_DEG = 0.006
BD09_LON_OFFSET_DEG = 0.0065

# Inverse shifts contract by about 1e-2 (the shift's slope) a step, so seven steps reach the
# rounding of a double; the rest is a margin.
INVERSE_STEPS = 10


class Datum(StrEnum):
    """The datum a source's coordinates are in."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    BD09 = "bd09"


def ecef_from_geodetic(
    lat_deg: ArrayLike, lon_deg: ArrayLike, altitude_m: ArrayLike = 0.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Earth-centred coordinates in m of a WGS-84 position; altitude is above the ellipsoid."""
    lat_rad, lon_rad = _radians(lat_deg), _radians(lon_deg)
    height_m = np.asarray(altitude_m, dtype=np.float64)
    sin_lat, cos_lat = np.sin(lat_rad), np.cos(lat_rad)
    normal_m = WGS84_SEMI_MAJOR_M / np.sqrt(1.0 - WGS84_ECCENTRICITY_SQUARED * sin_lat**2)
    horizontal_m = (normal_m + height_m) * cos_lat
    polar_m = (normal_m * (1.0 - WGS84_ECCENTRICITY_SQUARED) + height_m) * sin_lat
    return horizontal_m * np.cos(lon_rad), horizontal_m * np.sin(lon_rad), polar_m


def geodetic_from_ecef(
    x_m: ArrayLike, y_m: ArrayLike, z_m: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Latitude, longitude (deg) and altitude (m) of an earth-centred position.

    Bowring's start and two of his steps (Survey Review 23:181, 1976): below 1e-9 m from 10 km
    below to 100 km above the ellipsoid. Not defined at the earth's centre.
    """
    x, y, z = (np.asarray(value, dtype=np.float64) for value in (x_m, y_m, z_m))
    horizontal_m = np.hypot(x, y)
    second_eccentricity_squared = WGS84_ECCENTRICITY_SQUARED / (1.0 - WGS84_ECCENTRICITY_SQUARED)
    reduced_rad = np.arctan2(z, (1.0 - WGS84_FLATTENING) * horizontal_m)
    lat_rad = reduced_rad
    for _ in range(3):
        lat_rad = np.arctan2(
            z + second_eccentricity_squared * WGS84_SEMI_MINOR_M * np.sin(reduced_rad) ** 3,
            horizontal_m
            - WGS84_ECCENTRICITY_SQUARED * WGS84_SEMI_MAJOR_M * np.cos(reduced_rad) ** 3,
        )
        reduced_rad = np.arctan2((1.0 - WGS84_FLATTENING) * np.sin(lat_rad), np.cos(lat_rad))
    sin_lat, cos_lat = np.sin(lat_rad), np.cos(lat_rad)
    curvature = np.sqrt(1.0 - WGS84_ECCENTRICITY_SQUARED * sin_lat**2)
    altitude_m = horizontal_m * cos_lat + z * sin_lat - WGS84_SEMI_MAJOR_M * curvature
    return np.degrees(lat_rad), np.degrees(np.arctan2(y, x)), altitude_m


@dataclass(frozen=True)
class LocalFrame:
    """A local east-north plane, tangent to WGS-84 at its origin: x east, y north, in m.

    Positions are taken at altitude 0. Both directions are closed forms, so a round trip is exact
    to about 1e-8 m anywhere within 100 km; a length in the plane is shorter than on the ground by
    4e-6 at 30 km from the origin (0.11 m in 30 km), because the plane does not bend.

    Raises ValueError for an origin that is no position.
    """

    origin_lat_deg: float
    origin_lon_deg: float

    def __post_init__(self) -> None:
        if not -90.0 <= self.origin_lat_deg <= 90.0:
            raise ValueError(f"origin_lat_deg is {self.origin_lat_deg}, expected -90 to 90")
        if not -180.0 <= self.origin_lon_deg <= 180.0:
            raise ValueError(f"origin_lon_deg is {self.origin_lon_deg}, expected -180 to 180")

    @cached_property
    def _origin_ecef_m(self) -> FloatArray:  # (3,)
        return np.array(ecef_from_geodetic(self.origin_lat_deg, self.origin_lon_deg))

    @cached_property
    def _axes(self) -> FloatArray:  # (3, 3), rows east, north, up
        lat_rad, lon_rad = np.radians(self.origin_lat_deg), np.radians(self.origin_lon_deg)
        sin_lat, cos_lat = np.sin(lat_rad), np.cos(lat_rad)
        sin_lon, cos_lon = np.sin(lon_rad), np.cos(lon_rad)
        return np.array(
            [
                [-sin_lon, cos_lon, 0.0],
                [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
                [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
            ]
        )

    def to_xy_m(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """East and north of the origin, in m."""
        ecef_m = ecef_from_geodetic(lat_deg, lon_deg)
        away_m = [axis - origin for axis, origin in zip(ecef_m, self._origin_ecef_m, strict=True)]
        east, north, _ = self._axes
        x_m = east[0] * away_m[0] + east[1] * away_m[1]
        y_m = north[0] * away_m[0] + north[1] * away_m[1] + north[2] * away_m[2]
        return np.asarray(x_m), np.asarray(y_m)

    def to_lat_lon_deg(self, x_m: ArrayLike, y_m: ArrayLike) -> LatLon:
        """The WGS-84 position at altitude 0 that `to_xy_m` maps to (x_m, y_m).

        Where the vertical through (x_m, y_m) meets the ellipsoid is the nearer root of a
        quadratic; beyond the horizon (over 6,300 km) there is none and NaN comes out.
        """
        x, y = np.asarray(x_m, dtype=np.float64), np.asarray(y_m, dtype=np.float64)
        east, north, up = self._axes
        plane_m = [
            self._origin_ecef_m[axis] + x * east[axis] + y * north[axis] for axis in range(3)
        ]
        weights = (1.0, 1.0, (WGS84_SEMI_MAJOR_M / WGS84_SEMI_MINOR_M) ** 2)
        quadratic = sum(w * up[axis] ** 2 for axis, w in enumerate(weights))
        half_linear = sum(w * up[axis] * plane_m[axis] for axis, w in enumerate(weights))
        constant = sum(w * plane_m[axis] ** 2 for axis, w in enumerate(weights))
        constant = constant - WGS84_SEMI_MAJOR_M**2
        with np.errstate(invalid="ignore"):
            root = np.sqrt(half_linear**2 - quadratic * constant)
        up_m = -constant / (half_linear + root)  # the form without cancellation
        px, py, pz = (plane_m[axis] + up_m * up[axis] for axis in range(3))
        shrink = 1.0 - WGS84_ECCENTRICITY_SQUARED
        lat_rad = np.arctan2(pz, shrink * np.hypot(px, py))
        return np.degrees(lat_rad), np.degrees(np.arctan2(py, px))


def distance_m(
    lat1_deg: ArrayLike, lon1_deg: ArrayLike, lat2_deg: ArrayLike, lon2_deg: ArrayLike
) -> FloatArray:
    """Great-circle distance in m (haversine); within 0.6 % of the ellipsoid's geodesic."""
    lat1, lat2 = _radians(lat1_deg), _radians(lat2_deg)
    half_lat = (lat2 - lat1) / 2.0
    half_lon = (_radians(lon2_deg) - _radians(lon1_deg)) / 2.0
    chord = np.sin(half_lat) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin(half_lon) ** 2
    return np.asarray(2.0 * MEAN_EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(chord, 0.0, 1.0))))


def bearing_deg(
    lat1_deg: ArrayLike, lon1_deg: ArrayLike, lat2_deg: ArrayLike, lon2_deg: ArrayLike
) -> FloatArray:
    """Initial great-circle bearing from point 1 to point 2, 0 <= bearing < 360, 0 is north."""
    lat1, lat2 = _radians(lat1_deg), _radians(lat2_deg)
    turn = _radians(lon2_deg) - _radians(lon1_deg)
    east = np.sin(turn) * np.cos(lat2)
    north = np.cos(lat1) * np.sin(lat2) - np.sin(lat1) * np.cos(lat2) * np.cos(turn)
    return normalised_heading_deg(np.degrees(np.arctan2(east, north)))


def normalised_heading_deg(heading_deg: ArrayLike) -> FloatArray:
    """The same direction in 0 <= heading < 360."""
    wrapped = np.mod(np.asarray(heading_deg, dtype=np.float64), 360.0)
    return np.where(wrapped >= 360.0, 0.0, wrapped)  # np.mod(-1e-20, 360) rounds to 360


def heading_difference_deg(heading_deg: ArrayLike, reference_deg: ArrayLike) -> FloatArray:
    """How far `heading_deg` is turned clockwise from `reference_deg`: -180 < difference <= 180."""
    turn_deg = np.asarray(heading_deg, dtype=np.float64) - np.asarray(reference_deg, np.float64)
    return np.asarray(180.0 - np.mod(180.0 - turn_deg, 360.0))


def in_gcj02_area(lat_deg: ArrayLike, lon_deg: ArrayLike) -> NDArray[np.bool_]:
    """True inside the box in which GCJ-02 shifts positions."""
    lat, lon = np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64)
    in_lat = (lat >= CHINA_LAT_DEG[0]) & (lat <= CHINA_LAT_DEG[1])
    return np.asarray(in_lat & (lon >= CHINA_LON_DEG[0]) & (lon <= CHINA_LON_DEG[1]))


def gcj02_from_wgs84(lat_deg: ArrayLike, lon_deg: ArrayLike) -> LatLon:
    """GCJ-02 latitude and longitude; the input itself outside China's bounding box."""
    lat, lon = np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64)
    inside = in_gcj02_area(lat, lon)
    shift_lat_deg, shift_lon_deg = _gcj02_shift_deg(lat, lon)
    return np.where(inside, lat + shift_lat_deg, lat), np.where(inside, lon + shift_lon_deg, lon)


def wgs84_from_gcj02(lat_deg: ArrayLike, lon_deg: ArrayLike) -> LatLon:
    """Inverse of `gcj02_from_wgs84` by fixed-point iteration, to 1e-11 deg (1e-6 m).

    Within some 700 m of the box's edge, where the shift switches off, a GCJ-02 position may have
    no inverse; there the result is up to one shift off.
    """
    return _invert(gcj02_from_wgs84, lat_deg, lon_deg)


def bd09_from_gcj02(lat_deg: ArrayLike, lon_deg: ArrayLike) -> LatLon:
    """BD-09 latitude and longitude of a GCJ-02 position (Baidu shifts again, everywhere)."""
    lat, lon = np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64)
    wobble_rad = np.pi * BD09_ANGLE_FACTOR_DEG / 180.0
    radius_deg = np.hypot(lon, lat) + 2e-5 * np.sin(lat * wobble_rad)
    angle_rad = np.arctan2(lat, lon) + 3e-6 * np.cos(lon * wobble_rad)
    bd_lat_deg = radius_deg * np.sin(angle_rad) + BD09_LAT_OFFSET_DEG
    return bd_lat_deg, radius_deg * np.cos(angle_rad) + BD09_LON_OFFSET_DEG


def gcj02_from_bd09(lat_deg: ArrayLike, lon_deg: ArrayLike) -> LatLon:
    """Inverse of `bd09_from_gcj02` by fixed-point iteration, to 1e-11 deg."""
    return _invert(bd09_from_gcj02, lat_deg, lon_deg)


def to_wgs84(lat_deg: ArrayLike, lon_deg: ArrayLike, datum: Datum) -> LatLon:
    """WGS-84 latitude and longitude of a position given in `datum`."""
    lat, lon = np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64)
    if datum is Datum.BD09:
        lat, lon = gcj02_from_bd09(lat, lon)
    return (lat, lon) if datum is Datum.WGS84 else wgs84_from_gcj02(lat, lon)


def from_wgs84(lat_deg: ArrayLike, lon_deg: ArrayLike, datum: Datum) -> LatLon:
    """Latitude and longitude in `datum` of a WGS-84 position."""
    lat, lon = np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64)
    if datum is Datum.WGS84:
        return lat, lon
    lat, lon = gcj02_from_wgs84(lat, lon)
    return (lat, lon) if datum is Datum.GCJ02 else bd09_from_gcj02(lat, lon)


def _radians(angle_deg: ArrayLike) -> FloatArray:
    return np.radians(np.asarray(angle_deg, dtype=np.float64))


def _invert(
    forward: Callable[[ArrayLike, ArrayLike], LatLon], lat_deg: ArrayLike, lon_deg: ArrayLike
) -> LatLon:
    """Solve forward(lat, lon) = (lat_deg, lon_deg) for a `forward` that is nearly the identity."""
    wanted_lat, wanted_lon = np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64)
    lat, lon = wanted_lat, wanted_lon
    for _ in range(INVERSE_STEPS):
        got_lat, got_lon = forward(lat, lon)
        lat, lon = lat + (wanted_lat - got_lat), lon + (wanted_lon - got_lon)
    return lat, lon


def _gcj02_shift_deg(lat_deg: FloatArray, lon_deg: FloatArray) -> LatLon:
    """How far GCJ-02 moves a WGS-84 position, in degrees (published polynomials and waves)."""
    x, y = lon_deg - GCJ02_CENTRE_LON_DEG, lat_deg - GCJ02_CENTRE_LAT_DEG
    root = np.sqrt(np.abs(x))
    ripple = 20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)
    north_m = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north_m = north_m + (ripple + _waves(y, (20.0, 1.0), (40.0, 3.0))) * 2.0 / 3.0
    north_m = north_m + _waves(y, (160.0, 12.0), (320.0, 30.0)) * 2.0 / 3.0
    east_m = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east_m = east_m + (ripple + _waves(x, (20.0, 1.0), (40.0, 3.0))) * 2.0 / 3.0
    east_m = east_m + _waves(x, (150.0, 12.0), (300.0, 30.0)) * 2.0 / 3.0

    lat_rad = np.radians(lat_deg)
    bend = 1.0 - KRASOVSKY_ECCENTRICITY_SQUARED * np.sin(lat_rad) ** 2
    meridian_m = KRASOVSKY_SEMI_MAJOR_M * (1.0 - KRASOVSKY_ECCENTRICITY_SQUARED) / bend**1.5
    parallel_m = KRASOVSKY_SEMI_MAJOR_M / np.sqrt(bend) * np.cos(lat_rad)
    # A pole has no parallel; its shift is never used (it lies outside the box).
    parallel_m = np.where(np.abs(parallel_m) > 1.0, parallel_m, np.nan)
    return np.degrees(north_m / meridian_m), np.degrees(east_m / parallel_m)


def _waves(at: FloatArray, *terms: tuple[float, float]) -> FloatArray:
    """Sum of amplitude * sin(pi * at / period) over (amplitude, period)."""
    return np.asarray(sum(size * np.sin(at / period * np.pi) for size, period in terms))
