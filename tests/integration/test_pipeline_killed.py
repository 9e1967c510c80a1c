"""kill -9 of the cloud's process in mid-load, several times: as if nothing had happened."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from cloud.store import reads
from cloud.store.migrate import migrate
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import pack
from tests.support.patience import PATIENCE_S
from tests.support.store_world import START_NS, fresh_database, tick, vehicle_states

PROJECT = Path(__file__).parents[2]
N_BODIES, ROWS_PER_BODY, N_KILLS = 90, 120, 3
STORED = {
    "rows": "SELECT subject_id, sampled_at, source_id, seq, speed_mps FROM v_vehicle_state "
    "ORDER BY 1, 2, 3",
    "alerts": "SELECT id, state, severity, started_at, detected_at, cleared_at, evidence, "
    "sequence FROM alert ORDER BY id",
    "events": "SELECT alert_id, sequence, change, severity, state, at FROM alert_event ORDER BY 2",
}


def write_bodies(folder: Path) -> None:
    for number in range(N_BODIES):
        at_ns = START_NS + number * NS_PER_S
        records = vehicle_states(
            ROWS_PER_BODY,
            at_ns=at_ns,
            first_seq=number * ROWS_PER_BODY,
            n_vehicles=12,
            seed=number,
        )
        body = pack([records, tick(at_ns + NS_PER_S)])
        (folder / f"{number:04}").write_bytes(body)


def start(url: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.killed_pipeline", url, str(folder)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def run_to_its_end(url: str, folder: Path) -> None:
    process = start(url, folder)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert len(output.splitlines()) == N_BODIES


def run_and_kill(url: str, folder: Path, after_bodies: int, pause_s: float) -> int:
    """Kill the process a moment after it has stored some new bodies; how many it had told of."""
    process = start(url, folder)
    assert process.stdout is not None
    n_new = 0
    for line in process.stdout:
        n_new += line.endswith("False\n")
        if n_new == after_bodies:
            break
    time.sleep(pause_s)
    process.kill()
    process.wait()
    process.stdout.close()
    return n_new


def stored(url: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        return {name: connection.execute(query).fetchall() for name, query in STORED.items()}


@pytest.mark.timeout(900)  # five processes one after the other
def test_rows_and_alerts_after_kills_equal_those_of_an_uninterrupted_run(
    database_server: str, database_url: str, tmp_path: Path
) -> None:
    write_bodies(tmp_path)
    chance = random.Random(11)
    for _ in range(N_KILLS):
        after_bodies = chance.randint(1, N_BODIES // (N_KILLS + 1))
        told = run_and_kill(database_url, tmp_path, after_bodies, chance.random() * 0.02)
        assert told == after_bodies
    run_to_its_end(database_url, tmp_path)
    with fresh_database(database_server, "not_killed") as url:
        run_to_its_end(url, tmp_path)
        expected = stored(url)
    assert len(expected["rows"]) == N_BODIES * ROWS_PER_BODY
    assert expected["alerts"]
    assert stored(database_url) == expected
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(connection, chunk_days=1.0)
        assert reads.accounting(connection, None).totals.stored == N_BODIES * ROWS_PER_BODY
