"""Perceived road users: the newest of each track, who is connected, and what a page is sent."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cloud.api import present
from cloud.latest import Latest, RunLatest
from cloud.latest_objects import QUIET_NS
from cloud.live import LiveClient, PositionsCache
from cloud.live_frame import FLAG_PERCEIVED, HEADER, OBJECT_SLOTS, VEHICLE
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.units import NS_PER_S
from openvrc.fusion import fusion
from openvrc.fusion.fusion import METRES_PER_DEG

T0_NS = 1_767_225_600 * NS_PER_S
LAT_DEG, LON_DEG = 52.0, 13.0


def batch(message: str, n: int, at_s: float = 0.0, **columns: Any) -> Batch:
    values = {
        "source_id": "rsu-1", "sampled_at_ns": T0_NS + round(at_s * NS_PER_S),
        "lat_deg": LAT_DEG, "lon_deg": LON_DEG,
    }  # fmt: skip
    return from_columns(
        message, zone="z", run_id="r", origin="live", columns=values | columns, n_rows=n
    )


def seen(at_s: float, subjects: list[str], **columns: Any) -> Batch:
    return batch("rsu_objects", len(subjects), at_s, subject_id=subjects, **columns)


def tick(at_s: float) -> Batch:
    at_ns = T0_NS + round(at_s * NS_PER_S)
    return from_columns(
        "tick", zone="z", run_id="r", origin="live", n_rows=1,
        columns={
            "source_id": "edge", "subject_id": "z", "sampled_at_ns": at_ns,
            "watermark_ns": at_ns, "pending_records": 0,
        },
    )  # fmt: skip


def run_of(*batches: Batch) -> RunLatest:
    latest = Latest()
    latest.fold(batches)
    return latest.runs["z", "r"]


def shown(run: RunLatest) -> list[tuple[str, list[tuple[str, str]]]]:
    """Who is seen and not connected: id, and who sees it as what."""
    slots = run.objects.seen(run.zone_time_ns).slots.tolist()
    facts = run.objects.facts(run.zone_time_ns)
    return [(f["object_id"], f["sources"]) for f in facts if f["slot"] in slots]


def walked(
    subject: str, seconds: list[float], *, off_m: float = 0.0, **columns: Any
) -> list[Batch]:
    """Sightings of one who walks north at 1 m/s."""
    return [
        seen(s, [subject], lat_deg=LAT_DEG + (s + off_m) / METRES_PER_DEG, speed_mps=1.0,
             heading_deg=0.0, **columns)
        for s in seconds
    ]  # fmt: skip


def test_who_is_seen_by_two_units_is_one_and_both_are_named() -> None:
    run = run_of(
        *walked("1", [0.0, 0.5, 1.0]),
        *walked("8", [0.1, 0.6, 1.1], source_id="rsu-2", off_m=0.4),
        tick(1.2),
    )
    assert shown(run) == [("obj-1", [("rsu-1", "1"), ("rsu-2", "8")])]


def test_two_units_may_number_their_tracks_alike() -> None:
    run = run_of(
        *walked("1", [0.0, 0.5]), *walked("1", [0.0, 0.5], source_id="rsu-2", off_m=50.0), tick(0.6)
    )
    assert sorted(sources for _, sources in shown(run)) == [[("rsu-1", "1")], [("rsu-2", "1")]]


def test_a_number_stays_when_a_units_track_breaks_and_what_left_its_sight_is_not_shown() -> None:
    latest = Latest()
    latest.fold([*walked("1", [0.0, 0.5, 1.0]), *walked("2", [1.5, 2.0]), tick(2.0)])
    run = latest.runs["z", "r"]
    assert shown(run) == [("obj-1", [("rsu-1", "1"), ("rsu-1", "2")])] or shown(run) == [
        ("obj-1", [("rsu-1", "2")])
    ]
    latest.fold([tick(4.5)])
    assert shown(run) == []


def test_sightings_in_any_order_give_the_same_picture() -> None:
    told = walked("1", [0.0, 0.5, 1.0, 1.5])
    pictures = [run_of(tick(0.0), *order, tick(1.6)).objects.facts(T0_NS + 1_600_000_000)
                for order in (told, told[::-1])]  # fmt: skip
    assert str(pictures[0]) == str(pictures[1])
    assert pictures[0][0]["lat_deg"] == pytest.approx(LAT_DEG + 1.6 / METRES_PER_DEG, abs=1e-5)


def test_pages_by_number_together_are_all_of_the_picture() -> None:
    far = [LAT_DEG + k / 1000 for k in range(5)]
    run = run_of(*(seen(s, list("abcde"), lat_deg=far, speed_mps=0.0) for s in (0.0, 0.5, 1.0)),
                 tick(1.2))  # fmt: skip
    everybody = run.objects.facts(run.zone_time_ns)
    first = run.objects.page(run.zone_time_ns, limit=2)
    assert first is not None
    second = run.objects.page(run.zone_time_ns, after=first.facts()[-1]["slot"], limit=3)
    assert second is not None
    assert str(first.facts() + second.facts()) == str(everybody)  # has sizes nobody told, NaN
    assert (first.n_all, len(first.facts()), len(everybody)) == (5, 2, 5)


def is_at_work(run: RunLatest) -> bool:
    return run.objects._fusion is not None


def test_zones_without_perception_keep_no_vehicle_and_quiet_ones_forget() -> None:
    latest = Latest()
    latest.fold([batch("vehicle_state", 1, subject_id="car"), tick(0.0)])
    run = latest.runs["z", "r"]
    assert run.objects.facts(T0_NS) == []
    assert not is_at_work(run)
    latest.fold([*walked("1", [1.0, 1.5]), tick(2.0)])
    assert is_at_work(run)
    latest.fold([tick(2.5 + QUIET_NS / NS_PER_S)])
    assert not is_at_work(run)


def test_tracks_beyond_the_bound_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "MOST_TRACKS", 2)
    far = [LAT_DEG + k / 1000 for k in range(3)]
    run = run_of(seen(0.0, ["a", "b", "c"], lat_deg=far), tick(0.2))
    assert run.objects.left_out == 1


def test_a_vehicle_that_reports_seldom_is_not_shown_a_second_time() -> None:
    still = {"speed_mps": 0.0, "heading_deg": 0.0}
    told = [seen(k / 2, ["7"], **still) for k in range(18)]
    told.insert(1, batch("vehicle_state", 1, 0.1, subject_id="car", **still))
    run = run_of(*told, tick(9.0))
    assert shown(run) == []
    (facts,) = run.objects.facts(run.zone_time_ns)
    assert facts["sources"] == [("rsu-1", "7")]


def test_a_page_is_sent_who_is_not_connected_marked_as_perceived() -> None:
    latest = Latest()
    near, far = LAT_DEG + 1.0 / METRES_PER_DEG, LAT_DEG + 50.0 / METRES_PER_DEG
    for at_s in (0.0, 0.5):
        latest.fold(
            [
                batch("vehicle_state", 1, at_s, subject_id="car", speed_mps=0.0, heading_deg=0.0),
                seen(at_s, ["same", "walker"], lat_deg=[near, far], speed_mps=[0.0, 1.0],
                     object_class=["car", "pedestrian"], heading_deg=180.0),
            ]
        )  # fmt: skip
    latest.fold([tick(0.5)])
    client = LiveClient(0.0)
    client.receive(json.dumps({"zone": "z", "run": "r", "bounds": [-180, -90, 180, 90]}), 0.0)
    frame = client.next_frame(PositionsCache(lambda: latest), now_s=0.0, server_time_ms=0.0)
    assert frame is not None
    car, walker = np.frombuffer(frame, VEHICLE, offset=HEADER.size)
    assert not car["flags"] & FLAG_PERCEIVED
    assert walker["flags"] & FLAG_PERCEIVED
    assert walker["flags"] & 15 == 5  # pedestrian
    told = present.perceived(latest.runs["z", "r"], int(walker["slot"]) - OBJECT_SLOTS)
    assert told is not None
    assert told["sources"] == [{"source_id": "rsu-1", "object_id": "walker"}]
    assert (told["object_class"], told["vehicle_id"]) == ("pedestrian", None)
    assert told["speed_mps"] == pytest.approx(1.0, abs=0.1)
    assert present.perceived(latest.runs["z", "r"], 99) is None


def test_road_events_of_long_ago_are_forgotten_and_the_newest_stay() -> None:
    def events(first: int) -> Batch:
        n = 1000
        return batch(
            "road_event",
            n,
            subject_id=[f"e{i}" for i in range(first, first + n)],
            sampled_at_ns=[T0_NS + i for i in range(first, first + n)],
            kind="obstacle",
        )

    run = run_of(events(0), events(1000), events(2000))
    kept = run.tables["road_event"].records
    assert len(kept) == 1000
    assert {"e2000", "e2999"} <= kept.keys()
