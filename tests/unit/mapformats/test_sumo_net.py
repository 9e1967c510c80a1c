"""SUMO networks: what is read, and what a bad file is told."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

from openvrc.contracts.geo import distance_m
from openvrc.contracts.maps import MapError, RoadMap
from openvrc.mapformats import map_formats, read_map
from openvrc.mapformats.sumo_net import grid_convergence_deg

UTM = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"
LOCATION = (
    '<location netOffset="-562751.27,-5932801.54" convBoundary="0,0,1,1"'
    f' origBoundary="9,53,10,54" projParameter="{UTM}"/>'
)
NET = f"""<?xml version="1.0" encoding="UTF-8"?>
<net version="1.20">
{LOCATION}
<edge id=":J_0" function="internal">
  <lane id=":J_0_0" index="0" speed="8" length="10.00" shape="200,0 210,0"/>
</edge>
<edge id=":J_c0" function="crossing"><lane id=":J_c0_0" index="0" allow="pedestrian" speed="1"
  length="5" shape="200,-5 200,5"/></edge>
<edge id="in" from="A" to="J" name="Hauptstraße">
  <lane id="in_0" index="0" allow="bus bicycle" speed="13.89" length="210" shape="0,-3 200,-3"/>
  <lane id="in_1" index="1" disallow="pedestrian bicycle tram rail_urban rail rail_electric
   rail_fast subway cable_car ship" speed="13.89" length="210" width="3.5" shape="0,0,5 200,0,6"/>
</edge>
<edge id="out" from="J" to="B"><lane id="out_0" index="0" speed="0" length="90"
  shape="210,0 300,0"><param key="a" value="b"/></lane></edge>
<edge id="path" from="A" to="B"><lane id="path_0" index="0" allow="pedestrian" speed="1.4"
  length="300" shape="0,20 300,20"/></edge>
<tlLogic id="T" type="static" programID="0" offset="0"><phase duration="9" state="Gr"/></tlLogic>
<connection from="in" to="out" fromLane="1" toLane="0" via=":J_0_0" tl="T" linkIndex="1" dir="s"/>
<connection from=":J_0" to="out" fromLane="0" toLane="0" dir="s"/>
<busStop id="stop" lane="in_0" startPos="20" endPos="40"/>
</net>"""


def write(tmp_path: Path, text: str, name: str = "x.net.xml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def road_map(tmp_path: Path) -> RoadMap:
    return read_map(write(tmp_path, NET))


def test_edges_lanes_and_lengths_are_sumos(road_map: RoadMap) -> None:
    assert road_map.segment_ids == (":J_0", "in", "out", "path")
    here = road_map.index_of("in")
    assert road_map.segment_length_m[here] == 210.0
    assert road_map.segment_name[here] == "Hauptstraße"
    assert (road_map.segment_from[here], road_map.segment_to[here]) == ("A", "J")
    assert road_map.segment_is_internal.tolist() == [True, False, False, False]
    lane = road_map.lane_at(here, 1)
    assert road_map.lane_ids[lane] == "in_1"
    assert road_map.lane_width_m[lane] == 3.5
    assert road_map.segment_from[0] == road_map.segment_to[0] == "J"


def test_vehicle_classes_come_from_allow_and_disallow(road_map: RoadMap) -> None:
    allows = dict(zip(road_map.lane_ids, road_map.lane_allows, strict=True))
    assert allows["in_0"] == ("bicycle", "bus")
    assert allows["in_1"] == ("bus", "motor")
    assert allows["path_0"] == ("pedestrian",)
    assert allows["out_0"] == ("bicycle", "bus", "motor", "pedestrian", "rail")


def test_positions_are_those_of_the_nets_projection(road_map: RoadMap) -> None:
    to_wgs84 = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    lon, lat = to_wgs84.transform(562751.27 + 210.0, 5932801.54)
    got = road_map.point_at(road_map.index_of("out"), 0.0)
    assert distance_m(*got, lat, lon) < 0.02


def test_connections_signals_and_bus_stops_are_read(road_map: RoadMap) -> None:
    here = road_map.index_of("in")
    assert [road_map.segment_ids[i] for i in road_map.successors_of(here)] == [":J_0", "out"]
    (head,) = road_map.signal_heads
    assert (head.intersection_id, head.signal_group, head.lane_index) == ("T", 1, 1)
    assert road_map.segment_ends_at_signal[here]
    lat, lon = road_map.frame.to_lat_lon_deg(*road_map.lane_points(road_map.lane_at(here, 1))[-1])
    assert distance_m(head.lat_deg, head.lon_deg, lat, lon) < 0.02
    (stop,) = road_map.bus_stops
    assert (stop.segment_id, stop.start_m, stop.end_m) == ("in", 20.0, 40.0)


def test_a_closed_lane_keeps_a_usable_speed(road_map: RoadMap) -> None:
    assert road_map.segment_speed_limit_mps[road_map.index_of("out")] > 0.0


def test_a_packed_net_is_the_same_map_under_any_xml_name(tmp_path: Path, road_map: RoadMap) -> None:
    for name in ("y.net.xml.gz", "y.xml.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(NET.encode()))
        assert read_map(path) == road_map


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NET[:-40], "not well-formed XML"),
        ("{}", "not well-formed XML"),
        ("", "not well-formed XML|root element"),
        ("<nodes/>", "root element is <nodes>, expected <net>"),
        (NET.replace(LOCATION, ""), "no projection"),
        (NET.replace(UTM, "!"), "no projection"),
        (NET.replace(UTM, "+proj=nonsense"), "cannot be used"),
        (NET.replace("-562751.27,-5932801.54", "east"), "cannot be used"),
        (f"<net>{LOCATION}</net>", "no edges"),
        (NET.replace('shape="200,0 210,0"', 'shape=""'), "empty shape"),
        (NET.replace('shape="200,0 210,0"', ""), "shape"),
        (NET.replace('length="10.00"', 'length="ten"'), "ten"),
        (NET.replace("<net ", '<!DOCTYPE net [<!ENTITY a "b">]><net '), "DOCTYPE"),
    ],
)
def test_a_bad_net_says_what_was_wrong(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(MapError, match=expected) as caught:
        read_map(write(tmp_path, text))
    assert "x.net.xml" in str(caught.value)


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.net.xml.gz"
    path.write_bytes(gzip.compress(NET.encode())[:-60])
    with pytest.raises(MapError, match="truncated"):
        read_map(path)


def test_a_file_of_no_known_format_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"geojson.*osm.*sumo"):
        read_map(write(tmp_path, "hello", "roads.shp"))
    with pytest.raises(MapError, match="no such map file"):
        read_map(tmp_path / "absent.net.xml")


def test_every_format_describes_itself() -> None:
    assert {"geojson", "osm", "sumo"} <= {plugin.name for plugin in map_formats()}
    assert all(plugin.description for plugin in map_formats())


def test_grid_headings_are_turned_to_true_north(tmp_path: Path) -> None:
    # In UTM the meridians converge by (lon - central meridian) * sin(lat), to first order.
    lat, lon = np.array([52.35, 52.35]), np.array([10.72, 9.0])
    turn_deg = grid_convergence_deg(write(tmp_path, NET), lat, lon)
    assert turn_deg == pytest.approx((lon - 9.0) * np.sin(np.radians(lat)), abs=5e-3)


def shared(package: str) -> Path:
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    return Path(os.environ.get("VRC_SHARED_DATA", beside)) / "traffic" / package


@pytest.mark.parametrize(("package", "signals"), [("a39_freeway", 1), ("hamburg_urban", 43)])
def test_real_networks_are_read_whole(package: str, signals: int) -> None:
    path = shared(package) / "net.xml.gz"
    if not path.is_file():
        pytest.skip(f"no test data at {path}")
    road_map = read_map(path)
    text = gzip.decompress(path.read_bytes()).decode()
    assert road_map.n_segments == text.count("<edge ")
    assert road_map.n_lanes == text.count("<lane ")
    assert len({head.intersection_id for head in road_map.signal_heads}) == signals
    assert RoadMap.from_document(road_map.to_document()) == road_map
