"""OpenStreetMap extracts: cuts, directions, limits, signals, and bad files."""

from pathlib import Path

import pytest

from openvrc.contracts.maps import MapError, RoadMap
from openvrc.mapformats import read_map

# A street 1-2-3-4 crosses another at 2 (with a signal); 3 is a mere bend; 5 and 6 end the other.
NODES = {
    "1": (10.000, 53.000), "2": (10.002, 53.000), "3": (10.003, 53.0002), "4": (10.004, 53.000),
    "5": (10.002, 53.002), "6": (10.002, 52.998), "7": (10.0018, 53.000),
}  # fmt: skip


def way(key: str, nodes: str, **tags: str) -> str:
    refs = "".join(f'<nd ref="{node}"/>' for node in nodes)
    marks = "".join(f'<tag k="{k.replace("__", ":")}" v="{v}"/>' for k, v in tags.items())
    return f'<way id="{key}">{refs}{marks}</way>'


def extract(*ways: str, signals: dict[str, str] | None = None) -> str:
    nodes = ""
    for node, (lon, lat) in NODES.items():
        marks = ""
        if signals and node in signals:
            marks = '<tag k="highway" v="traffic_signals"/>'
            marks += (
                f'<tag k="traffic_signals:direction" v="{signals[node]}"/>' if signals[node] else ""
            )
        nodes += f'<node id="{node}" lon="{lon}" lat="{lat}">{marks}</node>'
    relation = '<relation id="9"><tag k="highway" v="footway"/></relation>'
    return f'<?xml version="1.0"?><osm version="0.6">{nodes}{"".join(ways)}{relation}</osm>'


MAIN = way("10", "1234", highway="primary", maxspeed="60", lanes="3", lanes__forward="2", name="M")
CROSS = way("20", "526", highway="residential", oneway="yes")


def read(tmp_path: Path, text: str) -> RoadMap:
    path = tmp_path / "town.osm"
    path.write_text(text, encoding="utf-8")
    return read_map(path)


def test_ways_are_cut_where_they_share_a_node(tmp_path: Path) -> None:
    road_map = read(tmp_path, extract(MAIN, CROSS))
    assert set(road_map.segment_ids) == {
        "10/1/2", "10/2/1", "10/2/4", "10/4/2", "20/5/2", "20/2/6",
    }  # fmt: skip
    here = road_map.index_of("10/1/2")
    names = {road_map.segment_ids[i] for i in road_map.successors_of(here)}
    assert names == {"10/2/4", "20/2/6"}
    assert road_map.segment_name[here] == "M"


def test_lanes_and_limits_come_from_tags_or_the_roads_class(tmp_path: Path) -> None:
    road_map = read(tmp_path, extract(MAIN, CROSS))
    lanes = dict(zip(road_map.segment_ids, road_map.segment_lane_count.tolist(), strict=True))
    assert (lanes["10/1/2"], lanes["10/2/1"], lanes["20/5/2"]) == (2, 1, 1)
    limits = dict(zip(road_map.segment_ids, road_map.segment_speed_limit_mps, strict=True))
    assert limits["10/1/2"] == pytest.approx(60 / 3.6, abs=1e-3)
    assert limits["20/5/2"] == pytest.approx(30 / 3.6, abs=1e-3)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"highway": "motorway"}, {"1/1/4"}),
        ({"highway": "motorway", "oneway": "no"}, {"1/1/4", "1/4/1"}),
        ({"highway": "tertiary", "oneway": "-1"}, {"1/4/1"}),
        ({"highway": "tertiary", "junction": "roundabout"}, {"1/1/4"}),
        ({"highway": "busway"}, {"1/1/4", "1/4/1"}),
    ],
)
def test_directions_follow_oneway_and_what_a_class_implies(
    tmp_path: Path, tags: dict[str, str], expected: set[str]
) -> None:
    assert set(read(tmp_path, extract(way("1", "134", **tags))).segment_ids) == expected


@pytest.mark.parametrize(
    "tags",
    [
        {"highway": "footway"},
        {"railway": "rail"},
        {"highway": "service", "area": "yes"},
        {"highway": "residential", "motor_vehicle": "no"},
    ],
)
def test_what_no_vehicle_drives_on_is_left_out(tmp_path: Path, tags: dict[str, str]) -> None:
    road_map = read(tmp_path, extract(MAIN, way("30", "56", **tags)))
    assert all(name.startswith("10/") for name in road_map.segment_ids)


def test_a_bus_road_closed_to_cars_stays_for_buses(tmp_path: Path) -> None:
    road_map = read(
        tmp_path, extract(way("1", "14", highway="service", motor_vehicle="no", bus="yes"))
    )
    assert all("bus" in allows and "motor" not in allows for allows in road_map.lane_allows)


def test_a_signal_at_a_junction_stops_every_approach(tmp_path: Path) -> None:
    road_map = read(tmp_path, extract(MAIN, CROSS, signals={"2": ""}))
    stopped = {head.segment_id for head in road_map.signal_heads}
    assert stopped == {"10/1/2", "10/4/2", "20/5/2"}
    assert {head.intersection_id for head in road_map.signal_heads} == {"2"}
    assert len({head.signal_group for head in road_map.signal_heads}) == 3


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("", {"10/1/7"}), ("forward", {"10/1/7"}), ("backward", {"10/2/7"}),
     ("both", {"10/1/7", "10/2/7"})],
)  # fmt: skip
def test_a_signal_before_a_junction_stops_traffic_towards_it(
    tmp_path: Path, direction: str, expected: set[str]
) -> None:
    main = way("10", "17234", highway="primary")
    road_map = read(tmp_path, extract(main, CROSS, signals={"7": direction}))
    assert {head.segment_id for head in road_map.signal_heads} == expected


def test_a_closed_loop_has_two_ends_of_its_own(tmp_path: Path) -> None:
    loop = way("40", "2342", highway="residential", oneway="yes")
    road_map = read(tmp_path, extract(loop, CROSS))
    assert {"40/2/3", "40/3/2"} <= set(road_map.segment_ids)


def test_a_clipped_extract_uses_the_nodes_it_has(tmp_path: Path) -> None:
    road_map = read(tmp_path, extract(way("1", "1298", highway="primary")))
    assert set(road_map.segment_ids) == {"1/1/2", "1/2/1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (extract(), "no roads"),
        (extract(MAIN)[:-20], "not well-formed XML"),
        ("<net/>", "root element is <net>, expected <osm>"),
        (extract(MAIN).replace('lon="10.0"', 'lon="x"'), "'x'"),
        (extract(MAIN).replace("<osm", "<!DOCTYPE osm><osm"), "DOCTYPE"),
    ],
)
def test_a_bad_extract_says_what_was_wrong(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(MapError, match=expected) as caught:
        read(tmp_path, text)
    assert "town.osm" in str(caught.value)


def relation(via: str = "2", **tags: str) -> str:
    """From way 10, which ends at 2, over that node to way 21."""
    members = '<member type="way" ref="10" role="from"/><member type="way" ref="21" role="to"/>'
    members += f'<member type="{"node" if len(via) == 1 else "way"}" ref="{via}" role="via"/>'
    marks = "".join(f'<tag k="{k.replace("__", ":")}" v="{v}"/>' for k, v in tags.items())
    return f'<relation id="8">{members}<tag k="type" v="restriction"/>{marks}</relation>'


ARM, ON, UP, DOWN = (
    way(key, nodes, highway="primary")
    for key, nodes in (("10", "12"), ("11", "234"), ("21", "25"), ("22", "26"))
)
ALL_WAYS_ON = {"11/2/4", "21/2/5", "22/2/6"}


def ways_on(tmp_path: Path, *relations: str) -> set[str]:
    """Where way 10 leads over node 2."""
    road_map = read(tmp_path, extract(ARM, ON, UP, DOWN, *relations))
    return {road_map.segment_ids[k] for k in road_map.successors_of(road_map.index_of("10/1/2"))}


def test_turn_restrictions_forbid_one_way_on_or_all_others(tmp_path: Path) -> None:
    assert ways_on(tmp_path) == ALL_WAYS_ON
    forbidden = relation(restriction="no_left_turn")
    assert ways_on(tmp_path, forbidden) == ALL_WAYS_ON - {"21/2/5"}
    assert ways_on(tmp_path, relation(restriction="only_left_turn")) == {"21/2/5"}
    assert ways_on(tmp_path, relation(restriction__motorcar="no_left_turn")) == {"11/2/4", "22/2/6"}


def test_several_restrictions_from_one_way_mean_the_same_in_any_order(tmp_path: Path) -> None:
    up = relation(restriction="only_left_turn")
    down = up.replace('ref="21"', 'ref="22"').replace('id="8"', 'id="9"')
    not_up = relation(restriction="no_left_turn").replace('id="8"', 'id="7"')
    not_down = down.replace("only_left_turn", "no_right_turn")
    assert ways_on(tmp_path, up, down) == ways_on(tmp_path, down, up) == {"21/2/5", "22/2/6"}
    assert ways_on(tmp_path, not_up, up, down) == ways_on(tmp_path, up, down, not_up) == {"22/2/6"}
    assert ways_on(tmp_path, not_up, not_down) == {"11/2/4"}
    assert ways_on(tmp_path, not_up, up) == ways_on(tmp_path, up, not_up) == {"21/2/5"}


@pytest.mark.parametrize(
    "passed_over",
    [
        relation(restriction__hgv="no_left_turn"),
        relation(restriction="no_left_turn", **{"except": "psv;motorcar"}),
        relation(restriction="give_way"),
        relation(via="11", restriction="no_left_turn"),
        relation(via="3", restriction="no_left_turn"),
        relation(restriction="only_left_turn").replace('ref="21"', 'ref="77"'),
    ],
    ids=["lorries", "cars excepted", "another", "over a way", "no junction", "clipped"],
)
def test_a_restriction_that_is_none_for_cars_or_leads_nowhere_is_passed_over(
    tmp_path: Path, passed_over: str
) -> None:
    assert ways_on(tmp_path, passed_over) == ALL_WAYS_ON
