"""The road map: its document is exact, its answers are right, bad maps say what is wrong."""

import base64
import copy
import zlib
from typing import Any

import numpy as np
import pytest

from openvrc.contracts import map_document
from openvrc.contracts.geo import distance_m
from openvrc.contracts.maps import BusStop, Lane, MapError, RoadMap, Segment, SignalHead

Line = tuple[tuple[float, float], ...]
A_LINE: Line = ((10.0, 53.0), (10.0015, 53.0001))
J_LINE: Line = ((10.0015, 53.0001), (10.0016, 53.0001))
B_LINE: Line = ((10.0016, 53.0001), (10.002, 53.0005), (10.0026, 53.0001))


def segment(key: str, line: Line, length_m: float, **fields: Any) -> Segment:
    lanes = tuple(
        Lane(id=f"{key}_{i}", index=i, length_m=length_m, coordinates=line)
        for i in range(fields.pop("lane_count", 1))
    )
    return Segment(
        id=key,
        length_m=length_m,
        speed_limit_mps=50 / 3.6,
        lanes=lanes,
        coordinates=line,
        **fields,
    )


def parts() -> list[Segment]:
    return [
        segment("b", B_LINE, 120.0, from_id="J", to_id="K", name="Straße"),
        segment("a", A_LINE, 101.0, successors=(":j",), lane_count=2, to_id="J",
                bus_stops=(BusStop(id="stop", start_m=10, end_m=30),)),
        segment(":j", J_LINE, 7.0, successors=("b",), is_internal=True),
    ]  # fmt: skip


def head(**changes: Any) -> SignalHead:
    fields = {"intersection_id": "J", "signal_group": 3, "lat_deg": 53.0001, "lon_deg": 10.0015,
              "segment_id": "a", "lane_index": 1, **changes}  # fmt: skip
    return SignalHead(**fields)


@pytest.fixture
def road_map() -> RoadMap:
    return RoadMap.build(parts(), signal_heads=[head()])


def test_a_map_survives_geojson_and_document_unchanged(road_map: RoadMap) -> None:
    for copied in (
        RoadMap.from_geojson(road_map.to_geojson()),
        RoadMap.from_document(road_map.to_document()),
    ):
        assert copied == road_map
        assert copied.map_version == road_map.map_version
        for name, value in vars(road_map).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(value, getattr(copied, name)), name


def test_the_version_does_not_depend_on_the_order_of_the_parts(road_map: RoadMap) -> None:
    assert RoadMap.build(parts()[::-1], signal_heads=[head()]).map_version == road_map.map_version
    assert len(road_map.map_version) == 12


def test_a_map_edited_by_hand_is_brought_into_the_canonical_form(road_map: RoadMap) -> None:
    collection = broken(road_map, note=float("nan"))
    line = collection["features"][1]["geometry"]["coordinates"]
    line[0] = [line[0][0] + 1e-9, line[0][1] - 1e-9, 12.0]  # finer than the form, and a height
    with pytest.raises(MapError, match="feature 1: coordinates"):
        RoadMap.from_geojson(collection)
    line[0] = line[0][:2]
    collection["features"].reverse()
    assert RoadMap.from_geojson(collection) == road_map
    assert RoadMap.from_geojson(collection).map_version == road_map.map_version


def test_the_version_changes_with_the_roads(road_map: RoadMap) -> None:
    changed = [part.model_copy(update={"length_m": part.length_m + 0.01}) for part in parts()]
    assert RoadMap.build(changed, signal_heads=[head()]).map_version != road_map.map_version


def test_successors_include_internal_segments_and_those_behind_them(road_map: RoadMap) -> None:
    following = road_map.successors_of(road_map.index_of("a"))
    assert {road_map.segment_ids[i] for i in following} == {":j", "b"}
    assert len(road_map.successors_of(road_map.index_of("b"))) == 0


def test_an_offset_runs_over_the_stated_length(road_map: RoadMap) -> None:
    a = road_map.index_of("a")
    assert road_map.point_at(a, 0.0) == pytest.approx((53.0, 10.0), abs=1e-9)
    assert road_map.point_at(a, 101.0) == pytest.approx((53.0001, 10.0015), abs=1e-9)
    half = road_map.point_at(a, 50.5)
    to_start, to_end = (distance_m(*half, lat, lon) for lon, lat in A_LINE)
    assert to_start == pytest.approx(to_end, abs=1e-3)
    assert road_map.point_at(a, 1e6) == road_map.point_at(a, 101.0)


def test_signals_bus_stops_and_lanes_are_found(road_map: RoadMap) -> None:
    a = road_map.index_of("a")
    assert road_map.segment_ends_at_signal.tolist() == [i == a for i in range(3)]
    assert road_map.bus_stops == (BusStop(id="stop", segment_id="a", start_m=10, end_m=30),)
    assert road_map.lane_ids[road_map.lane_at(a, 1)] == "a_1"
    with pytest.raises(IndexError):
        road_map.lane_at(a, 2)
    assert "a" in road_map
    assert "c" not in road_map


def test_a_maps_arrays_cannot_be_changed(road_map: RoadMap) -> None:
    with pytest.raises(ValueError, match="read-only"):
        road_map.segment_length_m[0] = 1.0


@pytest.mark.parametrize(
    ("segments", "heads", "expected"),
    [
        ([], [], "no segments"),
        ([*parts(), parts()[0]], [], "'b' appears twice"),
        (parts()[:2], [], "leads to ':j'"),
        (parts(), [head(segment_id="z")], "stands on 'z'"),
        (parts(), [head(lane_index=2)], "lane 2"),
        ([segment("a", ((10.0, 53.0), (11.0, 53.0)), 5.0)], [], "length_m is 5.0"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(
    segments: list[Segment], heads: list[SignalHead], expected: str
) -> None:
    with pytest.raises(MapError, match=expected):
        RoadMap.build(segments, signal_heads=heads)


def broken(road_map: RoadMap, **changes: Any) -> dict[str, Any]:
    collection = copy.deepcopy(road_map.to_geojson())
    feature = collection["features"][1]
    feature["geometry"].update(changes.pop("geometry", {}))
    feature["properties"].update(changes.pop("properties", {}))
    return {**collection, **changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "Feature"}, "FeatureCollection"),
        ({"openvrc": {"format": "other/9"}}, "'other/9', expected"),
        ({"features": None}, "features is missing"),
        ({"features": [None]}, "feature 0"),
        ({"geometry": {"type": "Polygon"}}, "feature 1: geometry is Polygon"),
        ({"geometry": {"coordinates": [[10, 53]]}}, "feature 1: coordinates"),
        ({"geometry": {"coordinates": [[10, 99], [10, 53]]}}, "feature 1: coordinates"),
        ({"geometry": {"coordinates": [[10, float("nan")], [10, 53]]}}, "feature 1: coordinates"),
        ({"properties": {"length_m": -1}}, "feature 1: length_m"),
        ({"properties": {"length_m": "long"}}, "feature 1: length_m"),
        ({"properties": {"lanes": []}}, "feature 1: lanes"),
        ({"properties": {"kind": "river"}}, "'river'"),
    ],
)
def test_a_bad_document_says_what_was_wrong(
    road_map: RoadMap, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(MapError, match=expected):
        RoadMap.from_geojson(broken(road_map, **changes))


def test_a_document_is_read_once_while_its_map_is_held(road_map: RoadMap) -> None:
    document = road_map.to_document()
    held = RoadMap.from_document(document)
    assert RoadMap.from_document(document) is held


def test_a_packed_document_that_is_damaged_is_refused(
    road_map: RoadMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = base64.b64decode(road_map.to_document())
    for document, expected in (
        ("not base64!", "base64"),
        (base64.b64encode(b"no zlib").decode(), "zlib"),
        (base64.b64encode(packed[:-9]).decode(), "truncated"),
        (base64.b64encode(zlib.compress(b"{")).decode(), "JSON"),
    ):
        with pytest.raises(MapError, match=expected):
            RoadMap.from_document(document)
    monkeypatch.setattr(map_document, "MAX_DOCUMENT_BYTES", 100)
    with pytest.raises(MapError, match="over 100 bytes"):
        RoadMap.from_document(road_map.to_document())
