"""What the API says of a town that has driven for two minutes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from cloud.store import minutes
from cloud.store.migrate import layout_of
from openvrc.contracts.columns import columns_of
from tests.support.cloud_server import OPERATOR, RunningCloud, temporary_cloud
from tests.support.town import START_NS, WALKERS_M, Town

SECONDS = 60
SLASHED = "way/4711#2/9"


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


@pytest.fixture(scope="module")
def cloud(town: Town) -> Iterator[RunningCloud]:
    with temporary_cloud() as running:
        running.send([town.announce()])
        running.drive(town, range(SECONDS))
        odd = town.cars(SECONDS).slice(0, 1).with_columns({"subject_id": [SLASHED]})
        running.send([odd, town.tick(SECONDS)])
        yield running


def test_vehicles_are_listed_by_pages_without_gap_or_repetition(cloud: RunningCloud) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        params = {"zone": "town", "limit": 7} | ({"cursor": cursor} if cursor else {})
        page = cloud.json("/v1/vehicles", params=params)
        seen += [vehicle["vehicle_id"] for vehicle in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert {"car-0", "car-stopped", "car-hot", SLASHED} <= set(seen)


@pytest.mark.parametrize("tail", ["", "/history", "/battery"])
def test_an_id_with_slashes_and_hashes_works_url_encoded(cloud: RunningCloud, tail: str) -> None:
    answer = cloud.json(f"/v1/vehicles/{quote(SLASHED, safe='')}{tail}")
    if tail == "/history":
        assert [row["subject_id"] for row in answer["items"]] == [SLASHED]
    else:
        assert answer["vehicle_id"] == SLASHED


def test_one_vehicle_tells_where_it_is_and_what_is_wrong(cloud: RunningCloud, town: Town) -> None:
    found = cloud.json(f"/v1/vehicles/{town.stopped_id}")
    assert found["origin"] == "simulated"
    assert found["is_present"]
    assert found["speed_mps"] == 0.0
    assert found["segment_id"] == "north_in"
    assert [a["rule"] for a in found["alerts"]] == ["traffic.stopped_vehicle"]


def test_long_histories_come_in_steps_of_whole_minutes(cloud: RunningCloud) -> None:
    with cloud.app.state.parts.pool.connection() as connection:
        minutes.refresh(connection, layout_of(connection))
    records = cloud.json("/v1/vehicles/car-1/history")["items"]
    (step,) = cloud.json("/v1/vehicles/car-1/history", params={"step_s": 600})["items"]
    assert (step["step_start_at"], step["step_s"]) == ("2026-01-01T08:00:00.000Z", 600)
    assert step["record_count"] == len(records)
    assert step["speed_max_mps"] == max(row["speed_mps"] for row in records)
    assert step["newest_at"] == records[0]["sampled_at"]
    windows = cloud.json("/v1/traffic/segments/east_in/history", params={"step_s": 60})["items"]
    assert {row["window_s"] for row in windows} >= {10.0}
    assert all(row["step_start_at"].endswith(":00.000Z") for row in windows)


def test_history_is_newest_first_in_iso_times_and_cut_by_from_and_to(cloud: RunningCloud) -> None:
    span = {"from": "2026-01-01T08:00:10Z", "to": "2026-01-01T08:00:20Z"}
    items = cloud.json("/v1/vehicles/car-1/history", params=span)["items"]
    times = [row["sampled_at"] for row in items]
    assert times == sorted(times, reverse=True)
    assert times[-1] == "2026-01-01T08:00:10.000Z"
    assert all(time <= "2026-01-01T08:00:20.000Z" for time in times)
    assert not [name for row in items for name in row if name.endswith("_ns")]


def test_the_battery_of_a_vehicle_comes_with_its_alerts(cloud: RunningCloud, town: Town) -> None:
    battery = cloud.json(f"/v1/vehicles/{town.hot_id}/battery", params={"limit": 5})
    assert len(battery["items"]) == 5
    assert battery["items"][0]["probe_temperatures_degc"][0] == 75.0
    # A probe over 60 degC and a second one over 70 are two signs, which is a thermal event too.
    assert {a["rule"] for a in battery["alerts"]} == {
        "battery.over_temperature",
        "battery.thermal_event",
    }
    assert len(battery["alerts"]) == 2
    listed = cloud.json("/v1/vehicles", params={"limit": 1000})["items"]
    hot = next(v for v in listed if v["vehicle_id"] == town.hot_id)
    assert hot["probe_temperature_max_degc"] == 75.0


def test_every_segment_with_traffic_has_a_state(cloud: RunningCloud, town: Town) -> None:
    items = cloud.json("/v1/traffic/segments", params={"zone": "town"})["items"]
    roads = {name for name in town.map.segment_ids if not name.startswith(":")}
    assert {item["subject_id"] for item in items} == roads
    assert {item["sampled_at"] for item in items} == {"2026-01-01T08:00:50.000Z"}
    windows = cloud.json("/v1/traffic/segments/east_in/history")["items"]
    assert len(windows) == 5


def test_completed_states_hold_an_interval_a_delay_and_what_they_rest_on(
    cloud: RunningCloud,
) -> None:
    params = {"zone": "town", "completed": "true", "window_s": 10}
    items = cloud.json("/v1/traffic/segments", params=params)["items"]
    item = next(i for i in items if i["segment_id"] == "north_in")
    assert item["sampled_at"] == "2026-01-01T08:00:50.000Z"
    assert item["window_start_at"] == "2026-01-01T08:00:40.000Z"
    assert item["speed_low_mps"] < item["speed_mps"] < item["speed_high_mps"]
    assert item["travel_time_s"] == pytest.approx(306.0 / item["speed_mps"], rel=0.02)
    assert item["delay_s"] == pytest.approx(item["travel_time_s"] - 306.0 / 13.9, abs=0.2)
    assert item["basis"] == "observed"
    assert item["level_of_service"] in "ABCDEF"
    assert item["penetration_ratio"] is None
    assert item["queue_low_m"] <= item["queue_m"] <= item["queue_high_m"]
    assert item["is_spillback"] is False
    leaving = next(i for i in items if i["segment_id"] == "north_out")
    assert leaving["queue_m"] is None
    assert not any(i["segment_id"].startswith(":") for i in items)


def test_a_travel_time_lies_within_its_interval_and_follows_the_map(
    cloud: RunningCloud, town: Town
) -> None:
    begin = town.map.point_at(town.map.index_of("east_in"), 50.0)
    end = town.map.point_at(town.map.index_of("west_out"), 250.0)
    names = ("from_lat_deg", "from_lon_deg", "to_lat_deg", "to_lon_deg")
    params = dict(zip(names, (*begin, *end), strict=True)) | {"zone": "town"}
    answer = cloud.json("/v1/traffic/travel-time", params=params)
    assert answer["segment_ids"][0] == "east_in"
    assert answer["segment_ids"][-1] == "west_out"
    assert answer["length_m"] == pytest.approx(256 + 250 + 28, abs=2)
    low_s, high_s = answer["travel_time_low_s"], answer["travel_time_high_s"]
    assert low_s < answer["travel_time_s"] < high_s
    assert answer["delay_s"] > 0.0
    back = dict(zip(names, (*end, 53.6, 9.9), strict=True))
    problem = cloud.get("/v1/traffic/travel-time", params=back)
    assert problem.status_code == 422
    assert "the to point" in problem.json()["detail"]


def test_completed_states_come_as_geojson_too(cloud: RunningCloud) -> None:
    params = {"zone": "town", "completed": "true", "format": "geojson"}
    features = cloud.json("/v1/traffic/segments", params=params)["features"]
    assert {f["geometry"]["type"] for f in features} == {"LineString"}
    assert {f["properties"]["window_s"] for f in features} == {60}


@pytest.mark.parametrize("how", ["format", "accept"])
def test_segments_come_as_geojson_with_their_lines(cloud: RunningCloud, how: str) -> None:
    headers = {"Accept": "application/geo+json"} if how == "accept" else {}
    params = {"format": "geojson"} if how == "format" else {}
    response = cloud.get("/v1/traffic/segments", params=params, headers=headers)
    assert response.headers["content-type"].startswith("application/geo+json")
    feature = next(
        f for f in response.json()["features"] if f["properties"]["subject_id"] == "north_in"
    )
    assert feature["geometry"]["type"] == "LineString"
    assert feature["properties"]["speed_mps"] == 9.0


def test_zones_tell_their_runs_and_serve_their_map(cloud: RunningCloud, town: Town) -> None:
    (zone,) = [z for z in cloud.json("/v1/zones")["items"] if z["zone"] == "town"]
    assert zone["default_run_id"] == town.run_id
    assert zone["map_version"] == town.map.map_version
    assert [run["title"] for run in zone["runs"]] == ["Crossroads town"]
    response = cloud.get("/v1/zones/town/map")
    assert len(response.json()["features"]) == town.map.n_segments + len(town.map.signal_heads)
    etag = response.headers["etag"]
    assert cloud.get("/v1/zones/town/map", headers={"If-None-Match": etag}).status_code == 304
    assert cloud.get("/v1/zones/nowhere/map").status_code == 404


def test_the_roadside_is_listed(cloud: RunningCloud) -> None:
    rsus = cloud.json("/v1/rsus", params={"zone": "town"})["items"]
    assert {(r["subject_id"], r["health"]) for r in rsus} == {
        ("rsu-market", "ok"),
        ("rsu-east", "degraded"),
    }
    signals = cloud.json("/v1/signals")["items"]
    assert {s["subject_id"] for s in signals} == {"market:0", "market:1"}
    assert all(s["likely_end_at"].endswith("Z") for s in signals)
    assert cloud.json("/v1/chargers")["items"] == []


def test_who_the_roadside_perceives_is_listed_with_who_sees_it(cloud: RunningCloud) -> None:
    seen = Town(zone="seen", run_id="seen-1")
    cloud.send([seen.announce()])
    cloud.send([*seen.at(4), *seen.roadside(3), *seen.roadside(4)])
    items = cloud.json("/v1/objects", params={"zone": "seen"})["items"]
    walkers = [item for item in items if item["object_class"] == "pedestrian"]
    assert len(walkers) == len(WALKERS_M)
    assert all(item["vehicle_id"] is None for item in walkers)
    sources = [source for item in walkers for source in item["sources"]]
    assert {source["source_id"] for source in sources} == {"rsu-market"}
    assert sorted(source["object_id"] for source in sources) == [
        f"walker-{number}" for number in range(len(WALKERS_M))
    ]
    assert cloud.json("/v1/objects", params={"zone": "town"})["count"] == 0
    first = cloud.json("/v1/objects", params={"zone": "seen", "limit": 2})
    rest = cloud.json("/v1/objects", params={"zone": "seen", "cursor": first["next_cursor"]})
    assert first["items"] + rest["items"] == items
    assert (len(first["items"]), first["count"], rest["next_cursor"]) == (2, len(items), None)


def test_one_record_is_traced_by_its_number(cloud: RunningCloud) -> None:
    items = cloud.json("/v1/trace/town-rsu/1/0")["items"]
    # The senders of another zone may have the same names and numbers.
    mine = [(row["message"], row["subject_id"]) for row in items if row["zone"] == "town"]
    assert mine == [("vehicle_state", "car-0")]
    missing = cloud.get("/v1/trace/town-rsu/1/999999")
    assert missing.status_code == 404
    assert "999999" in missing.json()["detail"]


def test_the_accounting_closes(cloud: RunningCloud) -> None:
    account = cloud.json("/v1/accounting", params={"zone": "town"})
    assert account["latency_ms"]["stored"].keys() == {"p50_ms", "p99_ms", "count"}
    assert all(source["is_closed"] for source in account["sources"])


def test_exports_hold_the_same_rows_in_every_format(cloud: RunningCloud, town: Town) -> None:
    params = {"message": "rsu_status", "run": town.run_id}
    table = pq.read_table(io.BytesIO(cloud.get("/v1/export", params=params).content))
    assert table.num_rows == 2 * SECONDS
    assert "sampled_at" in table.column_names
    assert str(table.schema.field("sampled_at").type) == "timestamp[ns, tz=UTC]"
    text = cloud.get("/v1/export", params=params | {"format": "csv"}).text
    assert len(text.splitlines()) == 2 * SECONDS + 1
    geojson = cloud.json("/v1/export", params=params | {"format": "geojson"})
    assert len(geojson["features"]) == 2 * SECONDS
    assert geojson["features"][0]["geometry"]["type"] == "Point"


def test_signals_tell_how_they_run_and_how_long_one_waits(cloud: RunningCloud) -> None:
    items = cloud.json("/v1/traffic/signals", params={"zone": "town"})["items"]
    by_segment = {item["segment_id"]: item for item in items}
    assert set(by_segment) == {"north_in", "east_in", "south_in", "west_in"}
    north = by_segment["north_in"]
    assert (north["intersection_id"], north["delay_s"] > 0) == ("market", True)
    assert north["level_of_service"] in "ABCDEF"
    (group,) = north["groups"]
    # Its second green has just begun: no cycle is whole yet.
    assert (group["group_id"], group["cycle_s"], group["green_ratio"]) == ("market:0", None, None)


@pytest.mark.parametrize("message", ["vehicle_state", "battery_state", "segment_state"])
def test_a_parquet_export_has_every_column_of_its_contract(
    cloud: RunningCloud, message: str
) -> None:
    content = cloud.get("/v1/export", params={"message": message}).content
    names = pq.read_table(io.BytesIO(content)).column_names
    assert len(names) == len(columns_of(message)) + 4


def test_an_export_of_nothing_is_a_valid_file(cloud: RunningCloud) -> None:
    params = {"message": "vehicle_state", "zone": "nowhere"}
    content = cloud.get("/v1/export", params=params).content
    assert pq.read_table(io.BytesIO(content)).num_rows == 0
    geojson = cloud.json("/v1/export", params=params | {"format": "geojson"})
    assert geojson["features"] == []


def test_health_readiness_and_metrics_need_no_key(cloud: RunningCloud) -> None:
    assert cloud.client.get("/healthz").json() == {"status": "ok"}
    assert cloud.client.get("/readyz").json() == {"status": "ready"}
    text = cloud.client.get("/metrics").text
    assert 'vrc_committed_records_total{message="vehicle_state"}' in text
    assert "vrc_stored_latency_seconds_bucket" in text
    assert "car-1" not in text  # no ids: one series per vehicle would be unbounded


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/alerts?colour=red", 422),
        ("/v1/alerts?state=closed", 422),
        ("/v1/alerts?cursor=nonsense", 422),
        ("/v1/alerts?cursor=%00", 422),
        ("/v1/alerts?limit=0", 422),
        ("/v1/alerts?limit=99999999999999999999", 422),
        ("/v1/alerts?limit=NaN", 422),
        ("/v1/alerts?from=yesterday", 422),
        ("/v1/alerts?from=2026-01-01T00:00:00", 422),
        ("/v1/alerts?from=9999-12-31T23:59:59Z", 422),
        ("/v1/alerts?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 422),
        ("/v1/alerts?subject=%00", 422),
        ("/v1/alerts?subject=%ff%fe", 422),
        ("/v1/alerts/nothing", 404),
        ("/v1/alerts/%00", 422),
        ("/v1/vehicles?cursor=bm9uZQ==", 422),
        ("/v1/vehicles?run=unknown", 404),
        ("/v1/vehicles?zone=unknown", 404),
        ("/v1/vehicles/nobody", 404),
        ("/v1/vehicles/%00/history", 422),
        ("/v1/vehicles/car-1/history?step_s=90", 422),
        ("/v1/traffic/segments/east_in/history?step_s=1", 422),
        ("/v1/vehicles/a/history?cursor=x", 422),
        ("/v1/traffic/segments?window_s=NaN", 422),
        ("/v1/traffic/segments?window_s=inf", 422),
        ("/v1/traffic/segments?completed=true&window_s=30", 422),
        ("/v1/traffic/travel-time?from_lat_deg=53", 422),
        ("/v1/trace/a/1/99999999999999999999999", 422),
        ("/v1/trace/a/-1/0", 422),
        ("/v1/dead-letters?reason=%27;drop", 422),
        ("/v1/dead-letters?cursor=%F0%9F%98%80", 422),
        ("/v1/export?message=nonsense", 422),
        ("/v1/export", 422),
        ("/v1/export?message=segment_state&format=geojson", 422),
        ("/v1/nothing", 404),
        ("/healthz?x=1", 422),
    ],
)
def test_a_bad_question_is_answered_with_a_problem(
    cloud: RunningCloud, path: str, status: int
) -> None:
    response = cloud.get(path)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]


def test_every_answer_carries_the_security_headers(cloud: RunningCloud) -> None:
    for path in ("/", "/v1/zones", "/v1/nothing", "/static/style.css", "/docs"):
        headers = cloud.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"


def test_times_are_never_guessed(cloud: RunningCloud) -> None:
    detail = cloud.get("/v1/alerts?from=2026-01-01T00:00:00").json()["detail"]
    assert "offset" in detail
    assert json.dumps(START_NS) not in detail


def test_a_large_body_is_refused_outside_ingest(cloud: RunningCloud) -> None:
    response = cloud.post("/v1/alerts/x/note", {"text": "x" * 200_000}, key=OPERATOR)
    assert response.status_code == 413


def test_a_packs_health_is_folded_from_its_stored_frames(cloud: RunningCloud, town: Town) -> None:
    found = cloud.json(f"/v1/vehicles/{town.hot_id}/battery/health?zone=town")
    assert found["frames"] > 1
    assert found["is_whole"] is True
    health = found["health"]
    # Nobody charged, nobody sent a profile: the answer says what is missing and invents nothing.
    assert health["soh_method"] == "no_charge_window"
    assert (health["soh_ratio"], health["soh_low_ratio"]) == (None, None)
    nothing = cloud.json("/v1/vehicles/nobody/battery/health")
    assert (nothing["frames"], nothing["health"]) == (0, None)


def test_a_packs_health_is_that_of_one_run(cloud: RunningCloud) -> None:
    older, newer = Town(zone="two", run_id="two-1"), Town(zone="two", run_id="two-2")
    path = f"/v1/vehicles/{older.hot_id}/battery/health"
    cloud.send([older.announce()])
    cloud.drive(older, range(30))
    alone = cloud.json(path, params={"zone": "two"})["frames"]
    cloud.send([newer.announce()])
    cloud.drive(newer, range(10))
    found = cloud.json(path, params={"zone": "two"})
    assert found["run_id"] == "two-2"
    assert 0 < found["frames"] < alone
    named = cloud.json(path, params={"zone": "two", "run": "two-1"})
    assert (named["run_id"], named["frames"]) == ("two-1", alone)
    assert cloud.get(path, params={"zone": "nowhere"}).status_code == 404
