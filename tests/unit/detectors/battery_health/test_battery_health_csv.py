"""battery_health.csv as `vrc analyse` writes it."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

from click.testing import CliRunner

from openvrc.cli.analyse import analyse
from openvrc.cli.analysis_files import write_battery_health
from tests.unit.detectors.battery_health.synthetic_pack import Pack, health_of

HEADER = (
    "vehicle_id,soh_ratio,soh_low_ratio,soh_high_ratio,soh_method,resistance_ohm,"
    "resistance_ratio,weakest_cell,as_of"
)
MAPPING = Path(__file__).parents[4] / "examples" / "mappings" / "fleet_platform_csv.toml"


def test_without_batteries_the_file_holds_its_header_only(tmp_path: Path) -> None:
    write_battery_health(tmp_path / "h.csv", [])
    assert (tmp_path / "h.csv").read_text().splitlines() == [HEADER]


def test_vehicles_stand_in_order_and_what_is_unknown_is_empty(tmp_path: Path) -> None:
    old = health_of(Pack("b", soc=0.2).charge(0.8).discharge(0.6), rated_ah=120.0)
    mute = health_of(Pack("a").run(40.0, 100))
    write_battery_health(tmp_path / "h.csv", [old, mute])
    with (tmp_path / "h.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first.values()) == ["a", "", "", "", "no_charge_window", "", "", "", mute.as_of]
    assert second["soh_method"] == "charge_windows"
    low, soh, high = (float(second[f"soh_{name}ratio"]) for name in ("low_", "", "high_"))
    assert low < soh < high


def test_analyse_writes_the_health_of_the_recorded_vehicle(tmp_path: Path) -> None:
    pack = Pack(soc=0.3, weak_cell=7).charge(0.65, 100.0).drive(300).run(0.0, 1500)
    log = tmp_path / "bus7.csv"
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        cells = [f"V_{n + 1}" for n in range(pack.n_cells)]
        names = ("tboxTime", "BMSBatteryVoltage", "BMSBatteryCurrent", "vehBMSPackSOC")
        writer.writerow([*names, *cells])
        for place, frame in enumerate(pack.frames):
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=10 * place)
            scalars = (frame["pack_voltage_v"], frame["pack_current_a"], frame["soc_ratio"] * 100)
            writer.writerow([f"{at:%Y-%m-%d %H:%M:%S}", *scalars, *frame["cell_voltages_v"]])
    out = tmp_path / "out"
    options = [str(log), "--out", str(out), "--mapping", str(MAPPING)]
    result = CliRunner().invoke(analyse, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with (out / "battery_health.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["vehicle_id"] == "bus7"
    assert row["weakest_cell"] == "7"
    assert abs(float(row["resistance_ohm"]) / pack.resistance_ohm - 1.0) < 0.02
    assert row["soh_method"] == "rated_capacity_unknown"
