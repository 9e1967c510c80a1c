"""What the page's further views ask: the past, batteries, cases, frames, and its own files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cloud.alerting import Alert, AlertTransition
from cloud.api import page
from cloud.past_frame import HEADER, MAGIC, SAMPLE
from cloud.store import reads
from cloud.store.facts import write_alerts
from openvrc.contracts.detection import Severity
from openvrc.contracts.units import NS_PER_S
from tests.support.cloud_server import VIEWER, RunningCloud, temporary_cloud
from tests.support.town import Town

RUN = {"zone": "town", "run": "town-run"}
T0, T8, T40 = "2026-01-01T08:00:00Z", "2026-01-01T08:00:08Z", "2026-01-01T08:00:40Z"


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningCloud]:
    town = Town()
    with temporary_cloud() as running:
        kind = {"model": "Town EV", "chemistry": "nmc"}
        profile = town.batch("vehicle_profile", 1, 0.0, subject_id=town.hot_id, **kind)
        running.send([town.announce(), profile])
        running.drive(town, range(50))
        yield running


@pytest.fixture
def alert_id(cloud: RunningCloud) -> str:
    items = cloud.json("/v1/alerts", params={"kind": "battery"})["items"]
    return str(items[0]["id"])


def positions(cloud: RunningCloud, **more: Any) -> tuple[Any, list[str]]:
    response = cloud.get("/v1/past/positions", params=RUN | {"from": T0, "to": T8} | more)
    assert response.status_code == 200, response.text
    magic, version, n, names_bytes = HEADER.unpack_from(response.content)
    assert (magic, version) == (MAGIC, 1)
    samples = np.frombuffer(response.content, SAMPLE, n, HEADER.size)
    names = json.loads(response.content[HEADER.size + n * SAMPLE.itemsize :])
    assert len(response.content) == HEADER.size + n * SAMPLE.itemsize + names_bytes
    return samples, names


def test_past_positions_hold_every_vehicle_by_vehicle_and_time(cloud: RunningCloud) -> None:
    samples, names = positions(cloud)
    assert len(names) == 49
    assert len(samples) == 49 * 8
    order = np.lexsort((samples["at_ms"], samples["vehicle"]))
    assert (order == np.arange(len(samples))).all()
    stopped = samples[samples["vehicle"] == names.index("car-stopped")]
    assert stopped["at_ms"].tolist() == list(range(0, 8000, 1000))
    assert stopped["speed_kmh"].tolist() == [36] * 6 + [0, 0]
    assert len(set(stopped["y"].tolist())) == 7  # it moved until it stood


def test_past_positions_are_thinned_by_steps_and_cut_by_bounds(cloud: RunningCloud) -> None:
    thinned, _ = positions(cloud, step_s=4)
    assert len(thinned) == 49 * 2
    assert set(thinned["at_ms"].tolist()) == {3000, 7000}
    assert len(positions(cloud, south=80)[0]) == 0


def test_a_past_moment_shows_what_was_newest_then(cloud: RunningCloud) -> None:
    then = cloud.json("/v1/past/state", params=RUN | {"at": "2026-01-01T08:00:15Z"})
    assert {s["sampled_at"] for s in then["segments"]} == {"2026-01-01T08:00:10.000Z"}
    assert {s["subject_id"]: s["phase"] for s in then["signals"]} == {
        "market:0": "green",
        "market:1": "red",
    }
    later = cloud.json("/v1/past/state", params=RUN | {"at": "2026-01-01T08:00:25Z"})
    assert {s["phase"] for s in later["signals"] if s["subject_id"] == "market:0"} == {"red"}
    assert [r["subject_id"] for r in later["rsus"]] == ["rsu-east", "rsu-market"]


def test_windows_of_a_corridor_come_side_by_side(cloud: RunningCloud) -> None:
    params = RUN | {"from": T0, "to": T40, "segment": ["north_in", "south_out"]}
    items = cloud.json("/v1/traffic/windows", params=params)["items"]
    assert [(i["segment_id"], i["sampled_at"][14:19]) for i in items] == [
        (name, f"00:{second}") for name in ("north_in", "south_out") for second in (10, 20, 30, 40)
    ]
    assert items[0]["speed_mps"] == 9.0


def test_signal_history_tells_changes_only(cloud: RunningCloud) -> None:
    params = RUN | {"from": T0, "to": T40, "group": "market:0"}
    items = cloud.json("/v1/signals/history", params=params)["items"]
    assert [(i["phase"], i["at"][17:19]) for i in items] == [
        ("green", "00"),
        ("red", "20"),
        ("green", "40"),
    ]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/past/positions", {"from": T40, "to": T0}),
        ("/v1/past/positions", {"from": T0, "to": "2026-01-01T09:00:00Z"}),
        ("/v1/past/state", {}),
        ("/v1/traffic/windows", {"from": T0, "to": T40, "segment": "a\x00b"}),
        ("/v1/signals/history", {"from": T0, "to": T40}),
    ],
)
def test_a_question_about_the_past_that_makes_no_sense_is_refused(
    cloud: RunningCloud, path: str, more: dict[str, str]
) -> None:
    assert cloud.get(path, params=RUN | more).status_code == 422


def test_batteries_stand_side_by_side_with_their_worst_alert(cloud: RunningCloud) -> None:
    (hot,) = cloud.json("/v1/batteries", params=RUN)["items"]
    assert hot["vehicle_id"] == "car-hot"
    assert hot["cell_voltage_max_v"] - hot["cell_voltage_min_v"] == pytest.approx(0.02)
    assert hot["severity"] in ("serious", "critical")
    assert hot["soh_ratio"] is None  # this pack does not say


def test_packs_with_alerts_are_counted_by_kind_and_one_alone_stands_out_nowhere(
    cloud: RunningCloud,
) -> None:
    (hot,) = cloud.json("/v1/batteries", params=RUN)["items"]
    told = cloud.json("/v1/batteries/cohorts", params=RUN)
    kinds = [("model", hot["model"]), ("chemistry", hot["chemistry"])]
    expected = [(trait, value, 1, 1) for trait, value in kinds if value is not None]
    assert [(c["trait"], c["value"], c["packs"], c["told"]) for c in told["items"]] == expected
    assert told["standing_out"] == []
    assert cloud.get("/v1/batteries/cohorts", params={"colour": "red"}).status_code == 422


@pytest.fixture
def info_alerts(cloud: RunningCloud) -> Iterator[None]:
    """A thousand and one battery alerts of severity info, newer than all others."""
    with cloud.app.state.parts.pool.connection() as connection:
        (hot,) = reads.alerts(connection, reads.AlertFilter(subject="car-hot"), limit=1).items
        new: dict[str, Any] = {
            "severity": Severity.INFO,
            "rule": "battery.test",
            "started_at_ns": hot.alert.started_at_ns + 60 * NS_PER_S,
        }
        many = [hot.alert.changed(id=f"info-{n:04}", **new) for n in range(1001)]
        write_alerts(connection, [_opened(alert) for alert in many])
    yield
    with cloud.app.state.parts.pool.connection() as connection:
        connection.execute("DELETE FROM alert_event WHERE alert_id LIKE 'info-%'")
        connection.execute("DELETE FROM alert WHERE id LIKE 'info-%'")


def _opened(alert: Alert) -> AlertTransition:
    return AlertTransition(alert, "opened", 1, alert.started_at_ns)


@pytest.mark.usefixtures("info_alerts")
def test_a_packs_alert_counts_behind_a_thousand_newer_ones_of_less_weight(
    cloud: RunningCloud,
) -> None:
    (hot,) = cloud.json("/v1/batteries", params=RUN)["items"]
    assert hot["severity"] in ("serious", "critical")
    cohorts = cloud.json("/v1/batteries/cohorts", params=RUN)["items"]
    assert [(cohort["value"], cohort["told"]) for cohort in cohorts] == [("Town EV", 1), ("nmc", 1)]


def test_vehicles_are_found_by_a_part_of_their_id(cloud: RunningCloud) -> None:
    found = cloud.json("/v1/vehicles", params=RUN | {"contains": "STOPP"})["items"]
    assert [v["vehicle_id"] for v in found] == ["car-stopped"]
    assert found[0]["slot"] >= 0


def test_a_case_goes_from_contact_to_close_with_who_and_when(
    cloud: RunningCloud, alert_id: str
) -> None:
    path = f"/v1/alerts/{alert_id}/case"
    assert cloud.json(path) == {"case": None}
    assert cloud.post(f"{path}/steps", {"step": "contact", "text": "x"}).status_code == 404
    assert cloud.post(path, key=VIEWER).status_code == 403
    opened = cloud.post(path).json()
    assert (opened["opened_by"], opened["next_step"]) == ("olga", "contact")
    assert cloud.post(path).json() == opened  # once open it stays as it is
    early = cloud.post(f"{path}/steps", {"step": "close", "text": "done"})
    assert early.status_code == 409
    assert "contact" in early.json()["detail"]
    for step in ("contact", "confirm", "rescue_plan", "close"):
        taken = cloud.post(f"{path}/steps", {"step": step, "text": f"about {step}"})
        assert taken.status_code == 200, taken.text
    case = cloud.json(path)["case"]
    assert case["next_step"] is None
    assert [(s["step"], s["who"]) for s in case["steps"]][::3] == [
        ("contact", "olga"),
        ("close", "olga"),
    ]
    assert cloud.post(f"{path}/steps", {"step": "close", "text": "x"}).status_code == 409
    assert cloud.post("/v1/alerts/0000000000/case").status_code == 404


def test_a_frame_is_told_apart_byte_by_byte(cloud: RunningCloud) -> None:
    heartbeat = "232307fe4c53564155324133304b323031323334350100007d"
    fields = cloud.post("/v1/inspect/gbt32960", {"hex": heartbeat}, key=VIEWER).json()["fields"]
    assert [f["name"] for f in fields][:1] == ["start"] or len(fields) > 1
    assert sum(f["length"] for f in fields) >= len(heartbeat) // 2
    assert cloud.post("/v1/inspect/gbt32960", {"hex": "2"}).status_code == 422


def test_the_page_carries_its_policy_and_its_hashed_files_never_age(cloud: RunningCloud) -> None:
    if not (page.FOLDER / "index.html").is_file():
        pytest.skip("the live page is not built: make web")
    index = cloud.client.get("/")
    assert index.headers["cache-control"] == "no-cache"
    assert cloud.get("/v1/zones").headers["cache-control"] == "no-store"
    policy = index.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    names = [p.name for p in (page.FOLDER / "assets").iterdir() if p.suffix != ".gz"]
    assert any("worker" in name for name in names)
    for name in names:
        assert f"/static/assets/{name}" in index.text or "index" not in name
        answer = cloud.client.get(f"/static/assets/{name}")
        assert "immutable" in answer.headers["cache-control"]
        kind = answer.headers["content-type"].split(";")[0]
        assert kind == {"js": "text/javascript", "css": "text/css"}[name.rsplit(".", 1)[-1]]
    assert "MapLibre" in cloud.client.get("/static/licences.txt").text


def test_the_page_comes_packed_to_who_takes_it(cloud: RunningCloud) -> None:
    if not (page.FOLDER / "index.html").is_file():
        pytest.skip("the live page is not built: make web")
    largest = max((page.FOLDER / "assets").glob("*.js"), key=lambda file: file.stat().st_size)
    for taken, packed in (("gzip, br", "gzip"), ("identity", None), ("gzip;q=0", None)):
        path = f"/static/assets/{largest.name}"
        answer = cloud.client.get(path, headers={"Accept-Encoding": taken})
        assert answer.headers.get("content-encoding") == packed
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.content == largest.read_bytes()  # the client has unpacked it
        wanted = {"Accept-Encoding": taken, "If-None-Match": answer.headers["etag"]}
        assert cloud.client.get(path, headers=wanted).status_code == 304


def test_without_a_built_page_the_service_says_how_to_build_it(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    answer = cloud.client.get("/")
    assert answer.status_code == 503
    assert "make web" in answer.text
