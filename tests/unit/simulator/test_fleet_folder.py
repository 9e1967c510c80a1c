"""A fleet's folder: the same bytes by seed, read back as a world, also while it is written."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulator.energy.fleet import Fleet, FleetParameters
from simulator.fleet.make import first_day_ns, make
from simulator.fleet.shards import FleetFolderError, read_manifest
from simulator.replay import RecordingError, open_recording
from simulator.world import unpaced
from tests.bench.battery_fleet import judge
from tests.bench.battery_yardstick import begun, take_a_day
from tests.support.patience import PATIENCE_S

START_NS = first_day_ns("2026-01-01")


def parameters(**changed: int) -> FleetParameters:
    chosen = {"vehicles": 12, "days": 2, "faulty": 6, "seed": 4, "start_ns": START_NS} | changed
    return FleetParameters(**chosen)


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "fleet"
    make(folder, parameters())
    return folder


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    fleet: Path, tmp_path: Path
) -> None:
    make(tmp_path / "same", parameters())
    make(tmp_path / "other", parameters(seed=5, days=1))
    assert contents(tmp_path / "same") == contents(fleet)
    shard = "battery/2026-01-01.parquet"
    assert contents(tmp_path / "other")[shard] != contents(fleet)[shard]


def test_every_record_is_read_once_in_order_of_time(fleet: Path) -> None:
    world = open_recording(fleet, zone="z", run_id="r")
    frames = list(unpaced(world))
    batches = [b for frame in frames for b in frame.batches() if b.message == "battery_state"]
    written = sum(pq.read_metadata(path).num_rows for path in (fleet / "battery").glob("*.parquet"))
    assert sum(b.n_rows for b in batches) == written
    assert [f.zone_time_ns for f in frames] == sorted(f.zone_time_ns for f in frames)
    begun_ns = world.start_ns
    for frame in frames[:-1]:
        for batch in frame.batches():
            if batch.message == "battery_state":
                sampled = batch.column("sampled_at_ns")
                assert begun_ns < sampled.min()
                assert sampled.max() <= frame.zone_time_ns
        begun_ns = frame.zone_time_ns
    (profiles,) = [b for b in frames[0].batches() if b.message == "vehicle_profile"]
    assert profiles.n_rows == 12


def test_a_paced_replay_has_the_same_records_as_an_unpaced_one(fleet: Path) -> None:
    def records(step_s: float) -> list[tuple[str, int]]:
        world = open_recording(fleet, zone="z", run_id="r")
        found = []
        for frame in world.frames_of(step_s):  # type: ignore[attr-defined]
            for batch in frame.batches():
                if batch.message == "battery_state":
                    times = batch.column("sampled_at_ns").tolist()
                    found += list(zip(batch.texts("subject_id"), times, strict=True))
        return sorted(found)

    assert records(600.0) == records(3600.0)


def test_values_come_back_as_the_terminal_said_them(fleet: Path) -> None:
    table = pq.read_table(fleet / "battery" / "2026-01-01.parquet")
    first = table.slice(0, 1).to_pylist()[0]
    world = open_recording(fleet, zone="z", run_id="r")
    for frame in world.frames():
        for batch in frame.batches():
            if batch.message != "battery_state":
                continue
            for record in batch.to_records():
                if (record["subject_id"], record["sampled_at_ns"]) == (
                    first["vehicle_id"],
                    first["sampled_at_ns"],
                ):
                    volts = [mv / 1000 for mv in first["cell_voltages_mv"]]
                    assert record["cell_voltages_v"] == pytest.approx(volts, abs=1e-6)
                    assert record["charging_state"] == first["charging_state"]
                    assert record["pack_voltage_v"] == pytest.approx(first["pack_voltage_v"])
                    return
    pytest.fail("the first record did not come back")


def test_the_truth_names_each_faulty_vehicle_once(fleet: Path) -> None:
    world = open_recording(fleet, zone="z", run_id="r")
    truth = world.ground_truth()
    assert len({event.subject_id for event in truth}) == len(truth) == 6
    for event in truth:
        assert event.rule == f"battery.{event.detail['mode']}"
        assert event.from_ns > START_NS
        assert event.to_ns is None or event.to_ns > event.from_ns
    health = pq.read_table(fleet / "truth" / "health" / "2026-01-02.parquet").to_pydict()
    assert all(0.6 < soh < 1.05 for soh in health["soh_ratio"])


def test_a_reader_takes_each_day_as_the_producer_writes_it(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    seen_first = threading.Event()

    def on_day(progress: object) -> bool:
        return seen_first.wait(PATIENCE_S)  # the second day is begun only after the first was read

    producer = threading.Thread(target=make, args=(folder, parameters(faulty=0), on_day))
    producer.start()
    try:
        while not (folder / "fleet.json").exists():
            time.sleep(0.01)
        world = open_recording(folder, zone="z", run_id="r")
        days = set()
        for frame in unpaced(world):
            days.add((frame.zone_time_ns - 1 - START_NS) // (86_400 * 10**9))
            seen_first.set()
    finally:
        producer.join()
    assert days >= {0, 1}
    assert read_manifest(folder)["state"] == "complete"


def test_a_folder_that_holds_a_fleet_is_not_written_into(fleet: Path) -> None:
    with pytest.raises(FileExistsError, match="holds a fleet already"):
        make(fleet, parameters())


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text(json.dumps({"format": "openvrc-fleet", "version": 9}))
    with pytest.raises(FleetFolderError, match="version 9"):
        open_recording(tmp_path, zone="z", run_id="r")


def test_a_fleet_that_was_stopped_before_its_first_day_is_refused(tmp_path: Path) -> None:
    facts = {"format": "openvrc-fleet", "version": 1, "shards": [], "state": "stopped"}
    (tmp_path / "fleet.json").write_text(json.dumps(facts))
    with pytest.raises(RecordingError, match="without a day"):
        open_recording(tmp_path, zone="z", run_id="r")


def test_dirt_is_told_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    make(
        folder,
        FleetParameters(vehicles=20, days=1, seed=2, start_ns=START_NS, dirt_rate=120.0),
    )
    dirt = pq.read_table(folder / "truth" / "dirt" / "2026-01-01.parquet").to_pylist()
    kinds = {row["kind"] for row in dirt}
    assert {"module_dropout", "zero_row", "probe_sentinel", "odometer_zero"} <= kinds
    table = pq.read_table(folder / "battery" / "2026-01-01.parquet").to_pylist()
    zero = [r for r in table if max(r["cell_voltages_mv"]) == 0]
    told = sum(row["records"] for row in dirt if row["kind"] == "zero_row")
    assert 0 < len(zero) <= told * 2
    clean = [r for r in table if np.max(r["probe_temperatures_degc"]) == 215]
    assert clean


def test_a_producer_that_is_stopped_says_so_and_its_days_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    make(folder, parameters(faulty=0, days=9), lambda progress: progress.day < 1)
    assert read_manifest(folder)["state"] == "stopped"
    frames = list(unpaced(open_recording(folder, zone="z", run_id="r")))
    assert frames[-2].zone_time_ns <= START_NS + 86_400 * 10**9


def test_days_that_are_judged_without_a_file_give_the_same_findings(fleet: Path) -> None:
    run = begun(parameters(), None, 2, with_health=False)
    take_a_day(run)
    of_file = judge(fleet, days=1).findings
    key = lambda f: (f.rule, f.subject_id, f.component, f.at_ns, f.phase)  # noqa: E731
    assert sorted(map(key, run.findings)) == sorted(map(key, of_file))
    assert run.n_records == pq.read_metadata(fleet / "battery" / "2026-01-01.parquet").num_rows
    kept = [f for f in run.findings if f.subject_id in run.shuffled_ids]
    assert sorted(map(key, run.shuffled_findings)) == sorted(map(key, kept))


def test_a_part_of_a_fleet_moves_while_the_others_stay_parked_and_silent() -> None:
    part = Fleet(parameters(days=1))
    part.only = frozenset({3, 7})
    assert {vehicle.number for vehicle, _, _ in part.run_day().reports} == {3, 7}
