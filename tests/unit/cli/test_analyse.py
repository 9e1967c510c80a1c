"""Several recordings in one analysis."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from openvrc.cli.analyse import analyse

MAPPING = Path(__file__).resolve().parents[3] / "examples" / "mappings" / "probe_fleet_csv.toml"


def test_recordings_of_one_name_are_runs_of_their_own(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/day-2.csv", "b/day.csv", "c/day.csv", "d/day.csv")]
    for n_rows, path in enumerate(paths, start=1):
        path.parent.mkdir()
        rows = [f"2026-03-02 08:00:0{n},a,31.2,121.4,36,0,0" for n in range(n_rows)]
        path.write_text("\n".join(["time,plate,lat,lon,speed,direction,brake", *rows]) + "\n")
    options = [*map(str, paths), "--out", str(tmp_path / "out"), "--mapping", str(MAPPING)]
    result = CliRunner().invoke(analyse, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert facts["accounting"]["sent"] >= 1 + 2 + 3 + 4  # before, one ledger replaced another
    assert facts["accounting"]["missing"] == 0
