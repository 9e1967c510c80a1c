"""Latest values: newest by event time, whatever the order and split of what arrives."""

import io
import json
from typing import Any

import numpy as np
import pytest

from cloud.latest import Latest
from cloud.latest_tables import PSEUDONYM_IDLE_NS, VehicleTable, newest_rows
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.units import NS_PER_S

T0_NS = 1_767_225_600 * NS_PER_S


def batch_of(message: str, run_id: str = "live", zone: str = "z", **columns: Any) -> Batch:
    n_rows = max(len(v) for v in columns.values() if isinstance(v, list))
    return from_columns(
        message, zone=zone, run_id=run_id, origin="live", columns=columns, n_rows=n_rows
    )


def states(ids: list[str], at_s: list[float], speed_mps: list[float], **more: Any) -> Batch:
    columns: dict[str, Any] = {
        "source_id": "r1",
        "subject_id": ids,
        "sampled_at_ns": [T0_NS + int(s * NS_PER_S) for s in at_s],
        "lat_deg": [52.0] * len(ids),
        "lon_deg": [13.0] * len(ids),
        "speed_mps": speed_mps,
        "segment_id": "e1",
        "lane_index": -1,
        "id_kind": "permanent",
    }
    return batch_of("vehicle_state", **(columns | more))


def tick(at_s: float) -> Batch:
    at_ns = T0_NS + int(at_s * NS_PER_S)
    return batch_of("tick", subject_id=["z"], sampled_at_ns=[at_ns], watermark_ns=[at_ns])


def speed_of(latest: Latest, vehicle_id: str) -> float:
    table = latest.runs[("z", "live")].vehicles
    slot = table.slot(vehicle_id)
    assert slot is not None
    return float(table.columns["speed_mps"][slot])


def test_late_data_does_not_move_a_vehicle_back() -> None:
    latest = Latest()
    latest.fold([states(["a"], [10], [5.0]), states(["a"], [3], [99.0])])
    assert speed_of(latest, "a") == 5.0


def test_of_one_batch_the_newest_row_of_each_vehicle_counts() -> None:
    batch = states(["a", "b", "a", "b"], [2, 1, 1, 3], [1.0, 2.0, 3.0, 4.0])
    assert newest_rows(np.array([5, 2, 5, 2]), batch.column("sampled_at_ns")).tolist() == [3, 0]
    latest = Latest()
    latest.fold([batch])
    assert (speed_of(latest, "a"), speed_of(latest, "b")) == (1.0, 4.0)


def test_any_split_of_the_records_gives_the_same_values() -> None:
    ids = [f"v{i % 7}" for i in range(60)]
    whole = states(ids, [float(i * 37 % 60) for i in range(60)], [float(i) for i in range(60)])
    at_once, one_by_one = Latest(), Latest()
    at_once.fold([whole])
    one_by_one.fold([whole.slice(i, 1) for i in range(60)])
    for vehicle_id in set(ids):
        assert speed_of(at_once, vehicle_id) == speed_of(one_by_one, vehicle_id)


def test_a_record_without_a_place_is_left_out() -> None:
    latest = Latest()
    latest.fold([states(["a", "b"], [1, 1], [1.0, 2.0], lat_deg=[np.nan, 52.0])])
    assert latest.runs[("z", "live")].vehicles.vehicle_ids() == ["b"]


def test_a_silent_vehicle_is_absent_after_three_of_its_own_intervals() -> None:
    latest = Latest()
    latest.fold([states(["fast", "slow"], [0, 0], [1.0, 1.0])])
    latest.fold([states(["fast", "slow"], [2, 20], [1.0, 1.0]), tick(25)])
    run = latest.runs[("z", "live")]
    present = {run.vehicles.vehicle_id(slot) for slot in run.vehicles.present(run.zone_time_ns)}
    assert present == {"slow"}


def test_a_pseudonym_is_forgotten_and_its_slot_used_again() -> None:
    latest = Latest()
    latest.fold([states(["p1", "v1"], [0, 0], [1.0, 1.0], id_kind=["pseudonym", "permanent"])])
    slot = latest.runs[("z", "live")].vehicles.slot("p1")
    latest.fold([tick(PSEUDONYM_IDLE_NS / NS_PER_S + 1)])
    table = latest.runs[("z", "live")].vehicles
    assert table.vehicle_ids() == ["v1"]
    assert table.slot("p1") is None
    latest.fold([states(["p2"], [400], [3.0])])
    assert table.slot("p2") == slot
    assert len(table) == 2


def test_ticks_move_zone_time_and_a_fast_clock_does_not() -> None:
    latest = Latest()
    latest.fold([tick(10), states(["a"], [5000], [1.0])])
    assert latest.runs[("z", "live")].zone_time_ns == T0_NS + 10 * NS_PER_S


def test_a_battery_is_known_without_any_position() -> None:
    latest = Latest()
    battery = batch_of(
        "battery_state",
        source_id="car",
        subject_id=["car", "bare"],
        sampled_at_ns=[T0_NS, T0_NS],
        soc_ratio=[0.5, np.nan],
        cell_voltages_v=[[3.7, np.nan, 3.5], []],
        probe_temperatures_degc=[[20.0, 31.0], []],
    )
    latest.fold([battery])
    table = latest.runs[("z", "live")].vehicles
    slot, bare = table.slot("car"), table.slot("bare")
    assert table.columns["cell_voltage_min_v"][slot] == np.float32(3.5)
    assert table.columns["probe_temperature_max_degc"][slot] == 31.0
    assert np.isnan(table.columns["cell_voltage_min_v"][bare])
    assert len(table.present(T0_NS)) == 0


def test_a_higher_revision_of_a_window_replaces_it_and_a_lower_does_not() -> None:
    def window(revision: int, speed: float) -> Batch:
        return batch_of(
            "segment_state",
            subject_id=["e1"],
            sampled_at_ns=[T0_NS],
            window_s=[60.0],
            revision=[revision],
            speed_mps=[speed],
        )

    latest = Latest()
    latest.fold([window(1, 5.0), window(0, 9.0)])
    (known,) = latest.runs[("z", "live")].tables["segment_state"].records.values()
    assert known["speed_mps"] == 5.0
    latest.fold([window(2, 7.0)])
    (known,) = latest.runs[("z", "live")].tables["segment_state"].records.values()
    assert known["speed_mps"] == 7.0


def test_an_empty_window_does_not_replace_the_last_one_with_traffic() -> None:
    def window(at_s: int, count: int) -> Batch:
        return batch_of(
            "segment_state",
            subject_id=["e1"],
            sampled_at_ns=[T0_NS + at_s * NS_PER_S],
            window_s=[10.0],
            revision=[0],
            vehicle_count=[count],
        )

    latest = Latest()
    latest.fold([window(10, 3), window(20, 0)])
    (known,) = latest.runs[("z", "live")].tables["segment_state"].records.values()
    assert known["vehicle_count"] == 3
    latest.fold([window(30, 1)])
    (known,) = latest.runs[("z", "live")].tables["segment_state"].records.values()
    assert known["vehicle_count"] == 1


def announce(run_id: str, state: str) -> Batch:
    return batch_of(
        "zone_announce",
        run_id,
        subject_id=["z"],
        sampled_at_ns=[T0_NS],
        state=[state],
        clock=["driven"],
    )


def test_a_zone_without_a_run_means_its_newest_running_run() -> None:
    latest = Latest()
    latest.fold([announce("r1", "running"), announce("r2", "running")])
    assert [run.run_id for run in latest.select("z", None)] == ["r2"]
    latest.fold([announce("r2", "ended")])
    assert [run.run_id for run in latest.select("z", None)] == ["r1"]
    assert [run.run_id for run in latest.select(None, "r2")] == ["r2"]
    assert latest.select("elsewhere", None) == []


def test_changes_are_conflated_and_taken_once() -> None:
    def signal(phase: str, at_s: int) -> Batch:
        return batch_of(
            "signal_state",
            subject_id=["i:1"],
            sampled_at_ns=[T0_NS + at_s],
            phase=[phase],
            intersection_id=["i"],
            signal_group=[1],
        )

    latest = Latest()
    latest.fold([signal("red", 0), signal("green", 1), signal("amber", 2)])
    changes = latest.take_changes()
    (records,) = changes.records.values()
    assert [record["phase"] for record in records] == ["amber"]
    assert changes.runs == {("z", "live")}
    assert not latest.take_changes().records


def test_a_repeated_announcement_is_no_change() -> None:
    latest = Latest()
    latest.fold([announce("r1", "running")])
    assert latest.take_changes().runs == {("z", "r1")}
    latest.fold([announce("r1", "running")])
    assert latest.take_changes().runs == set()
    latest.fold([announce("r1", "ended")])
    assert latest.take_changes().runs == {("z", "r1")}


def test_a_snapshot_restores_everything() -> None:
    latest = Latest()
    latest.fold(
        [
            announce("r1", "running"),
            tick(3),
            states(["a", "ü/#'; <b>"], [1, 2], [1.5, 2.5]),
            states(["a"], [2], [4.5]),
        ]
    )
    again = Latest()
    again.restore(latest.snapshot())
    assert list(again.runs) == list(latest.runs)
    for key, run in latest.runs.items():
        other = again.runs[key]
        assert other.announced == run.announced
        assert other.zone_time_ns == run.zone_time_ns
        for vehicle_id in run.vehicles.vehicle_ids():
            assert other.vehicles.slot(vehicle_id) == run.vehicles.slot(vehicle_id)
        for name, column in run.vehicles.snapshot().items():
            np.testing.assert_array_equal(column, other.vehicles.snapshot()[name])
    again.fold([states(["a"], [9], [8.5])])
    assert speed_of(again, "a") == 8.5


def test_pseudonyms_that_come_and_go_leave_nothing_behind() -> None:
    latest = Latest()
    for turn in range(12):
        ids = [f"p{turn}-{number}" for number in range(5)]
        at_s = turn * (PSEUDONYM_IDLE_NS / NS_PER_S + 1)
        latest.fold([states(ids, [at_s] * 5, [1.0] * 5, id_kind=["pseudonym"] * 5), tick(at_s)])
    table = latest.runs[("z", "live")].vehicles
    assert sorted(table.vehicle_ids()) == [f"p11-{number}" for number in range(5)]
    assert len(table.snapshot()["ids"]) <= 10
    assert len(table.snapshot()["id_of"]) <= 10


def test_a_snapshot_with_a_text_for_each_slot_is_read() -> None:
    latest = Latest()
    latest.fold([states(["a", "b"], [1, 2], [1.5, 2.5])])
    table = latest.runs[("z", "live")].vehicles
    older = {name: column[:3] for name, column in table.columns.items()}
    older |= {"vehicle_id": np.array(["a", "", "b"]), "source_id": np.array(["r1", "", "r2"])}
    again = VehicleTable.restore(older | {"segment_id": np.array(["", "", "e1"])})
    assert (again.slot("a"), again.slot("b"), again.vehicle_id(1)) == (0, 2, "")
    assert [again.word("source_id", slot) for slot in (0, 2)] == ["r1", "r2"]
    assert [again.word("segment_id", slot) for slot in (0, 2)] == ["", "e1"]


def test_an_archive_in_which_the_state_was_once_kept_is_read() -> None:
    latest = Latest()
    latest.fold([announce("r1", "running"), states(["a", "b"], [1, 2], [1.5, 2.5])])
    arrays: dict[str, np.ndarray] = {}
    for place, run in enumerate(latest.runs.values()):
        n = len(run.vehicles)
        facts: dict[str, Any] = {"zone": run.zone, "run_id": run.run_id, "origin": run.origin}
        facts |= {"appeared": run.appeared, "announced": run.announced, "tables": {}}
        facts |= {"zone_time_ns": run.zone_time_ns, "watermark_ns": run.watermark_ns}
        arrays[f"{place}/facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        ids = np.array([run.vehicles.vehicle_id(slot) for slot in range(n)], np.str_)
        empty = np.full(n, "", "<U1")
        texts = {"vehicle_id": ids, "segment_id": empty, "source_id": empty}
        for name, column in (run.vehicles.columns | texts).items():
            arrays[f"{place}/v.{name}"] = column[:n]
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    again = Latest()
    again.restore(sink.getvalue())
    assert list(again.runs) == list(latest.runs)
    assert (speed_of(again, "a"), speed_of(again, "b")) == (1.5, 2.5)


@pytest.mark.parametrize("message", ["source_ledger", "dead_letter"])
def test_bookkeeping_makes_no_run_appear(message: str) -> None:
    latest = Latest()
    latest.fold([batch_of(message, subject_id=["v1"], sampled_at_ns=[T0_NS])])
    assert latest.runs == {}
