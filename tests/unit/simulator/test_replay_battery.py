"""Battery logs by a mapping: units, sentinels, times, dirt, and what is refused."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.units import ABSENT_I64, ns_from_iso
from simulator.replay import RecordingError, log_table, open_recording
from simulator.replay.mapping import TimeColumn
from simulator.world import Frame, World
from tests.support.cut_recordings import first_rows

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "mappings" / "fleet_platform_csv.toml"
HEADER = "tboxTime,BMSChargeStatus,vehSpeed,BMSBatteryVoltage,BMSProbeTempMax,BMSBatteryCurrent,"
HEADER += "vehBMSPackSOC,vehOdo,insulationResistance,BMSWarningInformation,V_1,V_2,T_1,T_2,T_3"
ROWS = [
    "2019-04-15 18:09:06,1,36.0,344.5,26,-58.7,72,100.5,11520.0,2,3.921,3.893,65.0,66.0,255.0",
    "2019-04-15 18:09:16,3,,344.6,26,,72,0,11520.0,,,,66.0,65.0,511.0",
    "2019-04-15 18:09:16,9,36.0,nonsense,26,-58.7,72,100.5,11520.0,2,75.0,0.0,65.0,66.0,255.0",
    "2019-04-15 18:09:06,4,36.0,344.5,26,-58.7,72,100.5,11520.0,2,3.921,3.893,65.0,66.0,255.0",
    "2019-04-18 08:00:00,1,36.0,344.5,26,-58.7,72,100.5,11520.0,2,3.921,3.893,65.0,66.0,255.0",
]


def log_file(folder: Path, rows: list[str] | None = None, header: str = HEADER) -> Path:
    path = folder / "car9_raw.csv"
    path.write_text("\n".join([header, *(ROWS if rows is None else rows)]) + "\n")
    return path


def opened(path: Path, mapping: Path = EXAMPLE, **options: Any) -> World:
    return open_recording(path, zone="z", run_id="r", mapping=mapping, **options)


def states(frames: list[Frame]) -> Batch:
    return concat(
        [o.batch for f in frames for o in f.messages if o.batch.message == "battery_state"]
    )


def test_columns_come_in_our_units_with_sentinels_left_out(tmp_path: Path) -> None:
    first, second, *_ = states(list(opened(log_file(tmp_path)).frames())).to_records()
    assert first["source_id"] == first["subject_id"] == "car9_raw"
    assert first["sampled_at_ns"] == ns_from_iso("2019-04-15T18:09:06+08:00")
    assert first["vehicle_speed_mps"] == 10.0
    assert first["pack_current_a"] == -58.7
    assert first["soc_ratio"] == 0.72
    assert first["odometer_m"] == 100_500.0
    assert first["insulation_ohm"] == 11_520_000.0
    assert first["charging_state"] == "parked_charging"
    assert first["bms_alarm_level"] == 2
    assert first["cell_voltages_v"] == [3.921, 3.893]
    # Raw bytes with offset 40, as the column of the highest probe tells; 255 is no probe.
    assert first["probe_temperatures_degc"] == [25.0, 26.0, None]
    assert second["probe_temperatures_degc"] == [26.0, 25.0, None]
    absent = {"vehicle_speed_mps", "pack_current_a", "bms_alarm_level", "cell_voltages_v"}
    assert not absent & second.keys()


def test_dirt_is_passed_on_for_the_edge_to_judge(tmp_path: Path) -> None:
    frames = list(opened(log_file(tmp_path)).frames())
    batch = states(frames)
    assert batch.n_rows == len(ROWS)
    dirty = batch.to_records()[2]
    assert dirty["cell_voltages_v"] == [75.0, 0.0]  # beyond the contract: its reject, not ours
    assert "pack_voltage_v" not in dirty
    assert "charging_state" not in dirty  # code 9 is nothing the mapping knows


def test_zone_time_follows_the_log_jumps_its_gaps_and_never_runs_back(tmp_path: Path) -> None:
    frames = list(opened(log_file(tmp_path)).frames())
    times = [frame.zone_time_ns for frame in frames]
    assert times[:-1] == [
        ns_from_iso("2019-04-15T18:09:06+08:00"),
        ns_from_iso("2019-04-15T18:09:16+08:00"),
        ns_from_iso("2019-04-18T08:00:00+08:00"),
    ]
    rows = [
        sum(o.batch.n_rows for o in f.messages if o.batch.message == "battery_state")
        for f in frames
    ]
    assert rows == [1, 3, 1, 0]  # the repeated and the late row come with the time before them
    (final,) = frames[-1].messages
    assert final.batch.column("sent_count").tolist() == [1 + len(ROWS)]


def test_a_row_without_a_time_is_published_without_one(tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[1].replace("2019-04-15 18:09:16", "soon"), ROWS[4]]
    batch = states(list(opened(log_file(tmp_path, rows)).frames()))
    assert batch.column("sampled_at_ns").tolist()[1] == ABSENT_I64
    assert batch.n_rows == 3


def test_another_car_s_columns_may_lack_or_differ_in_number(tmp_path: Path) -> None:
    header = "tboxTime,V_1,V_2,V_3,V_5,T_1,BMSProbeTempMax"
    rows = ["2021-05-05 09:10:00,3.1,3.2,3.3,3.5,29.0,29"]
    world = opened(log_file(tmp_path, rows, header))
    frames = list(world.frames())
    (record,) = states(frames).to_records()
    assert record["cell_voltages_v"] == [3.1, 3.2, 3.3, None, 3.5]
    assert record["probe_temperatures_degc"] == [29.0]  # this one is in degrees already
    profile = frames[0].messages[0].batch.to_records()[0]
    assert (profile["cells_in_series"], profile["probe_count"]) == (5, 1)


def test_the_offset_of_probes_is_guessed_only_where_no_column_tells(tmp_path: Path) -> None:
    raw = "tboxTime,T_1,T_2\n2021-05-05 09:10:00,66,67"
    path = tmp_path / "raw.csv"
    path.write_text(raw + "\n")
    (record,) = states(list(opened(path).frames())).to_records()
    assert record["probe_temperatures_degc"] == [26.0, 27.0]


def test_lost_rows_leave_gaps_in_the_numbers(tmp_path: Path) -> None:
    rows = [f"2019-04-15 18:{m:02d}:{s:02d},3.9" for m in range(4) for s in range(60)]
    world = opened(log_file(tmp_path, rows, "tboxTime,V_1"), loss=0.25)
    frames = list(world.frames())
    seq = states(frames).column("seq")
    assert 150 < len(seq) < 210
    assert (np.diff(seq) >= 1).all()
    assert len(frames) == len(rows) + 1
    sampled_ns = states(frames).column("sampled_at_ns")
    assert ((sampled_ns - sampled_ns[0]) // 10**9 == seq - seq[0]).all()


def test_a_stopped_replay_states_what_it_has_sent(tmp_path: Path) -> None:
    world = opened(log_file(tmp_path))
    frames = []
    for frame in world.frames():
        frames.append(frame)
        world.stop()
    assert len(frames) == 2
    assert frames[-1].messages[0].batch.column("sent_count").tolist() == [2]


def mapping(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


TIME = '[time]\ncolumn = "tboxTime"\n'
VOLTS = '[columns.cell_voltages_v]\ncolumn = "V_{n}"\nunit = "V"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TIME + VOLTS, r"names no offset.*expected time_zone"),
        (TIME + 'time_zone = "Mars"\n' + VOLTS, "no IANA time zone"),
        (TIME + "[columns.cell_volts]\ncolumn = 'V_{n}'\n", "'cell_volts' is no field"),
        (
            TIME + VOLTS.replace('"V"', '"furlong"'),
            r"unit 'furlong', expected one of \['V', 'mV'\]",
        ),
        (TIME + VOLTS.replace('"V"', '"mA"'), "cell_voltages_v: unit 'mA'"),
        (TIME + VOLTS.replace("V_{n}", "V"), "lists and only lists"),
        (TIME + "[columns.charging_state]\ncolumn='a'\nvalues={1='idle'}\n", "values"),
        ('[time]\ncolumn = "when"\n' + VOLTS, "no time column 'when'"),
        (TIME.replace("tboxTime", "vehSpeed") + VOLTS, "holds no time"),
        (TIME + "time_zone='UTC'\n" + VOLTS.replace("V_{n}", "U_{n}"), "none of the mapping's"),
        ("time = ", "own.toml"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        opened(log_file(tmp_path), mapping(tmp_path, text))


def test_times_may_name_their_offset_or_count_from_1970(tmp_path: Path) -> None:
    header, expected = "tboxTime,V_1", ns_from_iso("2020-01-01T00:00:00Z")
    aware = log_file(tmp_path, ["2020-01-01T01:00:00.000+01:00,3.5"], header)
    world = opened(aware, mapping(tmp_path, TIME + VOLTS))
    assert states(list(world.frames())).column("sampled_at_ns").tolist() == [expected]
    unix = log_file(tmp_path, ["1577836800000,3.5"], header)
    world = opened(unix, mapping(tmp_path, TIME + 'format = "unix_ms"\n' + VOLTS))
    assert states(list(world.frames())).column("sampled_at_ns").tolist() == [expected]


def test_a_zip_must_hold_one_csv(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "tboxTime,V_1\n")
        archive.writestr("b.csv", "tboxTime,V_1\n")
    with pytest.raises(RecordingError, match="holds 2 CSV files, expected one"):
        opened(path)


@pytest.mark.parametrize(
    ("car", "rows", "cells", "probes", "starts"),
    [
        ("car1", 6_000, 96, 24, "2021-05-05T09:10:00+08:00"),
        ("car3", 6_000, 87, 23, "2019-04-15T18:09:06+08:00"),
    ],
)
def test_the_example_mapping_reads_both_real_cars(
    shared_data: Path, tmp_path: Path, car: str, rows: int, cells: int, probes: int, starts: str
) -> None:
    whole = shared_data / "battery" / "faults" / f"{car}_processed.zip"
    world = opened(first_rows(whole, rows, tmp_path))
    assert world.start_ns == ns_from_iso(starts)
    assert world.time_zone == "Asia/Shanghai"
    frames = list(world.frames())
    assert (
        sum(
            o.batch.n_rows for f in frames for o in f.messages if o.batch.message == "battery_state"
        )
        == rows
    )
    (profile,) = frames[0].messages[0].batch.to_records()
    assert (profile["cells_in_series"], profile["probe_count"]) == (cells, probes)
    probe_degc = np.concatenate(
        [
            o.batch.lists("probe_temperatures_degc")[0]
            for f in frames[:2000]
            for o in f.messages[-1:]
        ]
    )
    known = probe_degc[~np.isnan(probe_degc)]
    assert 10 < np.median(known) < 45
    assert known.max() < 60


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("iso", "2026-03-02T08:00:00Z",
         ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z",
          "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z", "2201-01-01T00:00:00Z"]),
        ("unix_s", "1772438400", ["-1", "inf", "-inf", "1e300", "7258118401", "nan"]),
        ("unix_ms", "1772438400000", ["-1", "inf", "-inf", "1e308", "1e19"]),
        ("relative_s", "0", ["-1772438401", "inf", "-inf", "1e308", "9e9", "word"]),
    ],
)  # fmt: skip
def test_a_time_before_1970_or_after_2200_is_none(form: str, good: str, bad: list[str]) -> None:
    table = pa.table({"at": [good, *bad]})
    epoch_ns = ns_from_iso("2026-03-02T08:00:00Z")
    found = log_table.times_ns(table, TimeColumn(column="at", format=form), "log.csv", epoch_ns)
    assert found.tolist() == [epoch_ns] + [ABSENT_I64] * len(bad)
