"""OpenStreetMap PBF: the same roads as the XML, and clear words where it cannot be read."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from openvrc.contracts.maps import MapError
from openvrc.mapformats import read_map

TOWN = """<osm version="0.6">
<node id="1" version="1" lon="10.000" lat="53.000"/>
<node id="2" version="1" lon="10.002" lat="53.000"><tag k="highway" v="traffic_signals"/></node>
<node id="3" version="1" lon="10.004" lat="53.000"/>
<node id="4" version="1" lon="10.002" lat="53.002"/>
<node id="9" version="1" lon="10.009" lat="53.009"/>
<way id="11" version="1"><nd ref="2"/><nd ref="3"/><tag k="highway" v="primary"/></way>
<way id="10" version="1"><nd ref="1"/><nd ref="2"/>
<tag k="highway" v="primary"/><tag k="maxspeed" v="60"/><tag k="name" v="Stra\u00dfe"/></way>
<way id="20" version="1"><nd ref="2"/><nd ref="4"/><tag k="highway" v="residential"/></way>
<way id="30" version="1"><nd ref="9"/><nd ref="1"/><tag k="highway" v="footway"/></way>
<relation id="1" version="1"><member type="way" ref="10" role="inner"/></relation>
<relation id="2" version="1"><member type="way" ref="20" role="from"/>
<member type="node" ref="2" role="via"/><member type="way" ref="11" role="to"/>
<tag k="type" v="restriction"/><tag k="restriction" v="no_left_turn"/></relation>
</osm>"""


def packed(tmp_path: Path, name: str = "town.osm.pbf") -> tuple[Path, Path]:
    osmium = pytest.importorskip("osmium", reason="needs the extra pbf (osmium)")
    text, path = tmp_path / "town.osm", tmp_path / name
    text.write_text(TOWN, encoding="utf-8")
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf")) as writer:
        for thing in osmium.FileProcessor(str(text)):
            writer.add(thing)
    return text, path


@pytest.mark.parametrize("name", ["town.osm.pbf", "download"])
def test_a_packed_extract_has_the_roads_of_its_xml(tmp_path: Path, name: str) -> None:
    text, path = packed(tmp_path, name)
    one, two = read_map(text), read_map(path)
    assert two.segment_ids == one.segment_ids
    assert two.segment_name == one.segment_name
    assert two.signal_heads == one.signal_heads
    assert len(one.signal_heads)
    after = {one.segment_ids[k] for k in one.successors_of(one.index_of("20/4/2"))}
    assert after == {"10/2/1"}
    np.testing.assert_array_equal(two.successor_segments, one.successor_segments)
    np.testing.assert_allclose(two.segment_length_m, one.segment_length_m, atol=0.02)
    np.testing.assert_array_equal(two.segment_speed_limit_mps, one.segment_speed_limit_mps)


def test_without_the_library_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "town.osm.pbf"
    path.write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MapError, match=r"town.osm.pbf: .*needs osmium.*pip install osmium"):
        read_map(path)


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("osmium", reason="needs the extra pbf (osmium)")
    path = tmp_path / "broken.osm.pbf"
    path.write_bytes(b"\x00\x00\x00\x0d\x0a\x09OSMHeader" + b"\xff" * 50)
    with pytest.raises(MapError, match=r"broken.osm.pbf: cannot be read as OpenStreetMap PBF"):
        read_map(path)
