"""A payload of a foreign protocol gives the edge all the messages it speaks of, and counts once."""

from __future__ import annotations

from edge.core import EdgeCore
from openvrc.contracts.zone import Zone
from tests.support.edge_world import ZONE, of, reasons, road_map
from tests.support.gbt32960 import AT_NS, VIN, full_2016, login_frame

S = 1_000_000_000


def given(*payloads: bytes, message: str = "battery_state", at_ns: int = AT_NS) -> EdgeCore:
    core = EdgeCore({ZONE: (Zone(name=ZONE), road_map())}, "edge-1", 1)
    core.on_wall_clock(at_ns)
    for payload in payloads:
        core.on_payload(f"vrc/v1/{ZONE}/vehicle/{VIN}/{message}/gbt32960", payload, at_ns + S)
    return core


def test_one_frame_becomes_battery_and_vehicle_state_whatever_its_topic_says() -> None:
    for message in ("battery_state", "vehicle_state", "vehicle_profile"):
        login = login_frame(codes=b"ABCDEFGHIJKL")
        group = given(login, full_2016(), message=message).take_group()
        assert [r["soc_ratio"] for r in of(group, "battery_state")] == [0.55]
        assert [r["speed_mps"] for r in of(group, "vehicle_state")] == [10.0]
        assert [r["pack_codes"] for r in of(group, "vehicle_profile")] == ["ABCDEFGHIJKL"]
        assert reasons(group) == []


def test_a_bad_frame_is_one_dead_letter_and_one_rejected_unit() -> None:
    damaged = bytearray(full_2016())
    damaged[40] ^= 1
    core = given(bytes(damaged), full_2016())
    assert reasons(core.take_group()) == ["bad_checksum"]
    totals = core.totals()
    assert (totals["sent"], totals["forwarded"], totals["rejected"]) == (3, 2, 1)


def test_a_message_that_no_frame_carries_is_refused() -> None:
    core = EdgeCore({ZONE: (Zone(name=ZONE), road_map())}, "edge-1", 1)
    core.on_payload(f"vrc/v1/{ZONE}/rsu/r/rsu_objects/gbt32960", full_2016(), AT_NS)
    assert reasons(core.take_group()) == ["unknown_topic"]


def test_a_back_fill_of_two_days_is_admitted_and_marked_late() -> None:
    core = given(full_2016(at_ns=AT_NS - 2 * 86_400 * S))
    (row,) = of(core.take_group(), "battery_state")
    assert row["lateness"] == 1


def test_a_back_fill_older_than_the_zone_keeps_is_refused_and_counted() -> None:
    core = given(full_2016(at_ns=AT_NS - 8 * 86_400 * S))
    group = core.take_group()
    assert reasons(group) == ["too_far_past", "too_far_past"]
