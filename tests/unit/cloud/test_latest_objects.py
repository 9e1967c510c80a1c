"""Perceived road users: the newest of each track, who is connected, and what a page is sent."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import numpy as np
import pytest

from cloud import latest_objects, live_frame
from cloud.api import present
from cloud.latest import Latest, RunLatest
from cloud.latest_objects import (
    FORGET_NS,
    MAX_SPEED_MPS,
    METRES_PER_DEG,
    MOST_MATCHED,
    SAME_WITHIN_M,
    are_connected,
)
from cloud.live import LiveClient, PositionsCache
from cloud.live_frame import FLAG_PERCEIVED, HEADER, OBJECT_SLOTS, VEHICLE
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import NS_PER_S

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


def tracks(run: RunLatest) -> list[Any]:
    return [run.objects.track(slot) for slot in run.objects.present(run.zone_time_ns).tolist()]


def test_the_newest_sighting_of_a_track_counts_in_any_order() -> None:
    run = run_of(
        seen(1.0, ["a"], speed_mps=2.0), seen(0.5, ["a"], speed_mps=1.0), seen(1.0, ["b", "c"])
    )
    assert run.objects.columns["speed_mps"][0] == 2.0
    assert tracks(run) == [("rsu-1", "a"), ("rsu-1", "b"), ("rsu-1", "c")]


def test_two_units_may_number_their_tracks_alike() -> None:
    run = run_of(seen(0.0, ["1", "1"], source_id=["rsu-1", "rsu-2"]))
    assert tracks(run) == [("rsu-1", "1"), ("rsu-2", "1")]


def test_what_left_the_units_sight_is_not_shown_and_its_slot_is_used_again() -> None:
    latest = Latest()
    latest.fold([seen(0.0, ["a"]), tick(3.0)])
    run = latest.runs["z", "r"]
    assert tracks(run) == []
    latest.fold([tick(1.0 + FORGET_NS / NS_PER_S), seen(12.0, ["b"])])
    assert len(run.objects) == 1
    assert run.objects.track(0) == ("rsu-1", "b")


def test_tracks_beyond_the_bound_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest_objects, "MOST_OBJECTS", 2)
    run = run_of(seen(0.0, ["a", "b", "c"]))
    assert len(run.objects) == 2
    assert run.objects.left_out == 1


def test_a_connected_vehicle_is_known_by_where_it_is_by_now() -> None:
    # It reported a second ago and drives east at 20 m/s.
    vehicle = {
        "sampled_at_ns": np.array([T0_NS]), "lat_deg": np.array([LAT_DEG]),
        "lon_deg": np.array([LON_DEG]), "speed_mps": np.array([20.0], np.float32),
        "heading_deg": np.array([90.0], np.float32),
    }  # fmt: skip
    east_deg = 20.0 / (METRES_PER_DEG * math.cos(math.radians(LAT_DEG)))
    objects = {
        "sampled_at_ns": np.full(3, T0_NS + NS_PER_S),
        "lat_deg": np.array([LAT_DEG, LAT_DEG, LAT_DEG + 8.0 / METRES_PER_DEG]),
        "lon_deg": np.array([LON_DEG + east_deg, LON_DEG, LON_DEG + east_deg]),
    }
    assert are_connected(objects, vehicle).tolist() == [True, False, False]


def crowd(seed: int, n: int, spread_m: float) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    scale = METRES_PER_DEG * math.cos(math.radians(LAT_DEG))
    return {
        "sampled_at_ns": T0_NS + rng.integers(-2 * NS_PER_S, 2 * NS_PER_S, n),
        "lat_deg": LAT_DEG + rng.uniform(-spread_m, spread_m, n) / METRES_PER_DEG,
        "lon_deg": LON_DEG + rng.uniform(-spread_m, spread_m, n) / scale,
        "speed_mps": rng.uniform(0.0, 70.0, n).astype(np.float32),
        "heading_deg": rng.uniform(0.0, 360.0, n).astype(np.float32),
    }


def by_full_comparison(objects: dict[str, Any], vehicles: dict[str, Any]) -> list[bool]:
    scale = METRES_PER_DEG * math.cos(math.radians(float(np.mean(objects["lat_deg"]))))
    waited_s = np.subtract.outer(objects["sampled_at_ns"], vehicles["sampled_at_ns"]) / NS_PER_S
    moved_m = np.clip(waited_s, -2.0, 2.0) * np.clip(vehicles["speed_mps"], 0.0, 60.0)
    turn = np.radians(vehicles["heading_deg"].astype(float))
    north_m = np.subtract.outer(-objects["lat_deg"], -vehicles["lat_deg"]) * METRES_PER_DEG
    east_m = np.subtract.outer(-objects["lon_deg"], -vehicles["lon_deg"]) * scale
    apart_m = np.hypot(north_m + moved_m * np.cos(turn), east_m + moved_m * np.sin(turn))
    near: list[bool] = (apart_m < SAME_WITHIN_M).any(axis=1).tolist()
    return near


@pytest.mark.parametrize("seed", range(3))
def test_who_is_connected_is_what_a_full_comparison_says(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest_objects, "MATCHED_AT_ONCE", 90)
    objects, vehicles = crowd(seed, 400, 150.0), crowd(seed + 10, 600, 150.0)
    wanted = by_full_comparison(objects, vehicles)
    assert 50 < sum(wanted) < 350
    assert are_connected(objects, vehicles).tolist() == wanted


def test_one_that_claims_any_speed_or_no_place_widens_no_search() -> None:
    objects, vehicles = crowd(1, 100, 300.0), crowd(2, 100, 300.0)
    wanted = are_connected(objects, vehicles).tolist()
    reaches = []

    def watched(*given: Any) -> Any:
        reaches.append(given[-1])
        return near_pairs(*given)

    odd = {name: np.append(values, values[:2]) for name, values in vehicles.items()}
    odd["speed_mps"][-2:], odd["lat_deg"][-2:] = 5000.0, (LAT_DEG + 1.0, np.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latest_objects, "near_pairs", watched)
        assert are_connected(objects, odd).tolist() == wanted
    assert reaches == [SAME_WITHIN_M + 2 * MAX_SPEED_MPS]


def test_a_flood_of_tracks_is_shown_unmatched() -> None:
    objects = crowd(1, MOST_MATCHED + 1, 0.0)
    assert not are_connected(objects, crowd(1, 1, 0.0)).any()


def test_positions_are_made_while_the_pipeline_may_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    latest = Latest()
    latest.fold([batch("vehicle_state", 1, subject_id="car"), seen(0.0, ["walker"])])

    def is_free(*given: Any) -> Any:
        taken: list[bool] = []
        other = threading.Thread(target=lambda: taken.append(latest.lock.acquire(timeout=5.0)))
        other.start()
        other.join()
        assert taken == [True]
        return are_connected(*given)

    monkeypatch.setattr(live_frame, "are_connected", is_free)
    found = PositionsCache(lambda: latest).get("z", "r")
    assert found is not None
    assert len(found[1].rows) == 1


def test_a_page_is_sent_who_is_not_connected_marked_as_perceived() -> None:
    latest = Latest()
    near, far = LAT_DEG + 1.0 / METRES_PER_DEG, LAT_DEG + 50.0 / METRES_PER_DEG
    latest.fold(
        [
            batch("vehicle_state", 1, subject_id="car", speed_mps=0.0, heading_deg=0.0),
            seen(0.0, ["same", "walker"], lat_deg=[near, far],
                 object_class=["car", "pedestrian"], speed_mps=1.0, heading_deg=180.0),
        ]
    )  # fmt: skip
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
    assert (told["object_id"], told["object_class"], told["speed_mps"]) == (
        "walker", "pedestrian", 1.0,
    )  # fmt: skip
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
