"""GeoJSON maps: our own document, plain lines, and bad files."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openvrc.contracts.maps import MapError, RoadMap
from openvrc.mapformats import read_map


def line(key: Any, *points: tuple[Any, float], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": key,
        "geometry": {"type": "LineString", "coordinates": [list(point) for point in points]},
        "properties": properties,
    }


def collection(*features: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), **more}


MAIN = line("main", (10.0, 53.0), (10.002, 53.0), lanes=4, maxspeed=50, name="Main")
LINK = line("link", (10.002, 53.0), (10.002, 53.001), oneway="yes", maxspeed="30 mph")
POINT = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [10, 53]}}


def read(tmp_path: Path, document: Any, name: str = "roads.geojson") -> RoadMap:
    path = tmp_path / name
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return read_map(path)


def test_plain_lines_become_directed_segments(tmp_path: Path) -> None:
    road_map = read(tmp_path, collection(MAIN, LINK, POINT))
    assert road_map.segment_ids == ("-main", "link", "main")
    main, link = road_map.index_of("main"), road_map.index_of("link")
    assert road_map.segment_speed_limit_mps[main] == pytest.approx(50 / 3.6, abs=1e-4)
    assert road_map.segment_speed_limit_mps[link] == pytest.approx(13.4112, abs=1e-4)
    assert road_map.segment_lane_count.tolist() == [2, 1, 2]
    assert road_map.successors_of(main).tolist() == [link]
    assert road_map.successors_of(link).tolist() == []
    # A dead end leads back.
    assert road_map.successors_of(road_map.index_of("-main")).tolist() == [main]


def test_traffic_keeps_right_of_a_two_way_line(tmp_path: Path) -> None:
    road_map = read(tmp_path, collection(MAIN))
    centre_y = road_map.frame.to_xy_m(53.0, 10.001)[1]
    for name, side in (("main", -1.0), ("-main", 1.0)):  # eastwards lies south of the line
        for index, away_m in ((0, 4.8), (1, 1.6)):  # lane 0 is the rightmost
            lane = road_map.lane_at(road_map.index_of(name), index)
            y_m = road_map.lane_points(lane)[:, 1].mean()
            assert y_m - centre_y == pytest.approx(side * away_m, abs=0.02)


def test_a_bent_lane_keeps_its_distance_from_the_line(tmp_path: Path) -> None:
    bend = line("bend", (10.0, 53.0), (10.001, 53.0), (10.001, 53.001), (10.001, 53.001))
    road_map = read(tmp_path, collection(bend))
    points = road_map.lane_points(road_map.lane_at(road_map.index_of("bend"), 0))
    x_m, y_m = road_map.frame.to_xy_m(53.0, 10.001)
    assert points[1] == pytest.approx([x_m + 1.6, y_m - 1.6], abs=0.05)


def test_the_canonical_document_is_read_back_exactly(tmp_path: Path) -> None:
    road_map = read(tmp_path, collection(MAIN, LINK))
    assert read(tmp_path, road_map.to_geojson(), "copy.json.gz") == road_map
    assert np.all(road_map.segment_length_m > 100.0)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("[", "not JSON"),
        ([1], "FeatureCollection"),
        (collection(), "no LineString"),
        (collection(POINT), "no LineString"),
        ({"type": "FeatureCollection"}, "features is missing"),
        (collection(MAIN, MAIN), "appears twice"),
        (collection(line(None, (10, 53), (10, 54))), "id is None"),
        (collection(line("a", (10, 53))), "2 or more"),
        (collection(line("a", (10, 53), (590_000.0, 5_900_000.0))), "in degrees"),
        (collection(line("a", (10, 53), ("x", 53))), "pairs of numbers"),
        (collection({**MAIN, "geometry": {"type": "LineString"}}), "pairs of numbers"),
        (collection(line("a", (10, 53), (10, 53.001), oneway="perhaps")), "'perhaps'"),
        (collection(MAIN, crs={"name": "EPSG:25832"}), "EPSG:25832"),
        (collection(MAIN, openvrc={"format": "openvrc-road-map/99"}), "road-map/99"),
        (collection("street"), "expected an object"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_file_says_what_was_wrong(tmp_path: Path, document: Any, expected: str) -> None:
    with pytest.raises(MapError, match=expected) as caught:
        read(tmp_path, document)
    assert "roads.geojson" in str(caught.value)
