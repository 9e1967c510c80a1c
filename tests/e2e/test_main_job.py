"""The main job: a world over MQTT, through edge and cloud, to alerts; every record accounted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from openvrc.cli.platform import Platform
from openvrc.cli.summary import Summary, wait_until_drained
from tests.support.cut_recordings import first_rows, first_seconds
from tests.support.patience import PATIENCE_S
from tests.support.platform_runs import (
    RUN_TIMEOUT_S,
    Vrc,
    all_alerts,
    analysed,
    drained_summary,
    identities,
)
from tests.support.shared_data import shared_data

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ZONE_SECONDS = "60"
SPEED = "6"


@dataclass(frozen=True)
class Calm:
    """A run of the crossroads that nobody disturbed."""

    summary: Summary
    truth: list[dict[str, Any]]


@pytest.fixture(scope="module")
def calm(platform: Platform, vrc: Vrc, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    out = tmp_path_factory.mktemp("calm")
    sent = vrc("simulate", "crossroads", "--for", ZONE_SECONDS, "--speed", SPEED,
               "--run-id", "calm", "--out", str(out))  # fmt: skip
    summary = drained_summary(platform, "calm", sent.stdout)
    return Calm(summary, json.loads((out / "ground_truth.json").read_text()))


def test_crossroads_closes_its_accounts_and_raises_what_it_injects(
    platform: Platform, calm: Calm
) -> None:
    assert calm.summary.is_closed
    assert calm.summary.missing == 0
    assert calm.summary.sent > 1000
    alerts = all_alerts(platform, "calm")
    assert {a["origin"] for a in alerts} == {"simulated"}
    found = {(a["rule"], a["subject_id"]) for a in alerts}
    for event in calm.truth:
        if event["rule"] != "traffic.congestion":  # a congestion may grow into the next segment
            assert (event["rule"], event["subject_id"]) in found, event
    assert "traffic.congestion" in {a["rule"] for a in alerts}


def test_the_same_world_again_with_edge_and_cloud_killed_in_mid_run_is_the_same_to_the_row(
    platform: Platform, calm: Calm
) -> None:
    arguments = ["crossroads", "--for", ZONE_SECONDS, "--speed", SPEED, "--run-id", "killed"]
    sender = platform.start_part("simulate", arguments, log="killed")
    for victim in ("edge", "cloud", "edge"):
        time.sleep(2.5)
        platform.kill_part(victim)
        time.sleep(0.5)
        platform.restart_part(victim)
    assert sender.popen.wait(RUN_TIMEOUT_S) == 0, sender.log_tail()
    platform.processes.pop("killed")
    killed = drained_summary(platform, "killed", sender.log_tail())
    assert killed.is_closed
    assert killed.missing == 0
    assert (killed.sent, killed.stored) == (calm.summary.sent, calm.summary.stored)
    assert identities(all_alerts(platform, "killed")) == identities(all_alerts(platform, "calm"))
    assert rows_of(platform, "killed") == rows_of(platform, "calm")


def rows_of(platform: Platform, run_id: str) -> dict[str, int]:
    """Rows and distinct rows in the database, by message; they differ if a row is there twice."""
    import psycopg

    counts = {}
    with psycopg.connect(platform.environment["VRC_DATABASE_URL"]) as connection:
        for message in (
            "vehicle_state",
            "battery_state",
            "signal_state",
            "rsu_status",
            "segment_state",
        ):
            key = "window_start, window_s" if message == "segment_state" else "source_id"
            query = (
                f"SELECT count(*), count(DISTINCT (subject_id, sampled_at, {key})) "
                f"FROM v_{message} WHERE run_id = %s"
            )
            total, distinct = connection.execute(query, (run_id,)).fetchone() or (0, 0)
            assert total == distinct, message
            counts[message] = total
    return counts


@pytest.mark.parametrize(
    ("package", "until_s", "stopped"),
    [
        ("a39_freeway", 670, [{"f14.155"}]),
        pytest.param(
            "a39_freeway",
            None,
            [{"f14.155"}, {"f70.169", "f70.171"}],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "hamburg_urban",
            None,
            [{"PKW2265"}, {"PKW1509"}, {"PKW3123", "PKW3129"}],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_replayed_town_has_states_and_finds_its_stopped_vehicles(
    platform: Platform,
    vrc: Vrc,
    tmp_path: Path,
    package: str,
    until_s: float | None,
    stopped: list[set[str]],
) -> None:
    whole = shared_data("traffic", package)
    recording = whole if until_s is None else first_seconds(whole, until_s, tmp_path)
    run_id = f"{package}-{until_s}"
    sent = vrc("replay", str(recording), "--zone", package, "--speed", "0",
               "--run-id", run_id)  # fmt: skip
    summary = drained_summary(platform, run_id, sent.stdout)
    assert summary.is_closed
    assert summary.missing == 0
    alerts = all_alerts(platform, run_id)
    assert {a["origin"] for a in alerts} == {"replay"}
    found = {a["subject_id"] for a in alerts if a["rule"] == "traffic.stopped_vehicle"}
    for any_of in stopped:
        assert found & any_of
    with_states = {s["segment_id"] for s in segments_of(platform, run_id)}
    with_traffic = edges_with_traffic(recording, until_s or float("inf"))
    assert len(with_states & with_traffic) > 0.9 * len(with_traffic)
    vrc("analyse", str(recording), "--zone", package, "--out", str(tmp_path))
    assert analysed(tmp_path) == identities(alerts)


def segments_of(platform: Platform, run_id: str) -> list[dict[str, Any]]:
    """Latest states of a run's segments."""
    answer = platform.api.get("/v1/traffic/segments", run=run_id)
    segments: list[dict[str, Any]] = answer["items"]
    return segments


def edges_with_traffic(recording: Path, until_s: float) -> set[str]:
    """Edges on which SUMO's own aggregation saw a vehicle, junction-internal ones left out."""
    import csv
    import gzip

    with gzip.open(recording / "edgedata_60s.csv.gz", "rt") as file:
        return {
            row["edge"]
            for row in csv.DictReader(file)
            if float(row["sampled_s"]) > 0
            and float(row["end_s"]) <= until_s
            and not row["edge"].startswith(":")
        }


def test_a_real_battery_log_names_its_weak_cells(
    platform: Platform, vrc: Vrc, tmp_path: Path
) -> None:
    whole = shared_data("battery", "faults", "car3_processed.zip")
    log = first_rows(whole, 2500, tmp_path)  # both cells show within a day and a half
    mapping = "examples/mappings/fleet_platform_csv.toml"
    sent = vrc("replay", str(log), "--zone", "fleet", "--mapping", mapping, "--speed", "0",
               "--run-id", "car3")  # fmt: skip
    summary = drained_summary(platform, "car3", sent.stdout)
    assert summary.is_closed
    alerts = all_alerts(platform, "car3")
    weak = [a["component"] for a in alerts if a["rule"] == "battery.self_discharge"]
    assert sorted(weak) == ["cell:2", "cell:81"]
    assert all(a["started_at"].startswith("2019-") for a in alerts)
    vrc("analyse", str(log), "--zone", "fleet", "--mapping", mapping, "--out", str(tmp_path))
    assert analysed(tmp_path) == identities(alerts)


def test_an_own_vehicle_plugs_in_with_one_script(platform: Platform, vrc: Vrc) -> None:
    vrc("simulate", "crossroads", "--for", "5", "--speed", "0", "--run-id", "ground")
    argv = [sys.executable, "examples/own_vehicle.py", "--broker", platform.broker_url,
            "--seconds", "5", "--every", "0.1"]  # fmt: skip
    subprocess.run(argv, check=True, timeout=PATIENCE_S)
    assert wait_until_drained(platform.api, "live", 5, timeout_s=PATIENCE_S)
    totals = platform.api.get("/v1/accounting", run="live")["totals"]
    assert (totals["sent"], totals["stored"], totals["missing"]) == (5, 5, 0)
    vehicle = platform.api.get("/v1/vehicles/my-car", run="live")
    assert vehicle["speed_mps"] == 0.7
