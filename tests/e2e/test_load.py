"""`vrc load` on the running platform, and on a broker alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from openvrc.cli.platform import Platform
from tests.support.patience import PATIENCE_S
from tests.support.platform_runs import Vrc

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_load_is_accounted_to_the_last_record_and_timed_from_when_it_was_due(
    platform: Platform, vrc: Vrc, tmp_path: Path
) -> None:
    del platform
    report = tmp_path / "report.html"
    done = vrc("load", "--vehicles", "1000", "--for", "5", "--ramp", "1", "--processes", "2",
               "--codec", "arrow", "--json", "--report", str(report))  # fmt: skip
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["offered"] == result["records"] == result["sent"] == result["stored"] == 4500
    assert (result["missing"], result["pending"], result["is_closed"]) == (0, 0, True)
    assert result["publish_ms"]["p50"] <= result["publish_ms"]["max"]
    assert 0 < result["publish_ms"]["p50"] < result["stored_ms"]["p99"]
    assert result["alert_ms"]["timed"] == result["alert_ms"]["expected"] > 10
    assert report.read_text().count("<svg") == 3


def test_a_missed_threshold_is_exit_code_3_on_a_broker_alone(
    platform: Platform, tmp_path: Path
) -> None:
    slo = tmp_path / "slo.toml"
    slo.write_text('[min]\nrecords_per_s = 1000000\n[max]\n"publish_ms.p99" = 60000\n')
    argv = [sys.executable, "-m", "openvrc.cli.main", "load", "--vehicles", "500", "--for", "2",
            "--rate", "4", "--batch", "1", "--qos", "0", "--connections", "20", "--broker-only",
            "--json", "--slo", str(slo)]  # fmt: skip
    done = subprocess.run(
        argv,
        env=platform.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["records"] == result["offered"] == 4000
    assert "stored_ms" not in result
    assert [text.split(":")[0] for text in result["slo"]] == ["met", "MISSED"]


def test_what_faults_of_a_load_did_is_what_the_accounts_say(platform: Platform, vrc: Vrc) -> None:
    del platform
    faults = ("loss:messages_ratio=0.1", "duplicates:messages_ratio=0.2", "delay:p99_ms=900",
              "malformed:messages_ratio=0.1")  # fmt: skip
    given = [word for fault in faults for word in ("--fault", fault)]
    done = vrc("load", "--vehicles", "400", "--for", "3", "--processes", "2", "--batch", "10",
               "--json", *given)  # fmt: skip
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["records"] == result["due"] != result["offered"] == 1200
    assert (result["sent"], result["missing"]) == tuple(
        result["expected"][term] for term in ("sent", "missing")
    )
    assert all(result["expected"].values())
    assert result["is_as_expected"]
    assert result["is_closed"]
