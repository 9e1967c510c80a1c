"""Data that comes again: by batch, by record, through another spool. Rows and counts stay right."""

from __future__ import annotations

import shutil

import pytest

from openvrc.contracts.batch import from_columns
from openvrc.contracts.wire import pack
from tests.support.fault_ground import (
    Edge,
    Ground,
    assert_accounted_to_the_record,
    wait_for,
)
from tests.support.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TIMES = 100


def body(zone: str, n_records: int) -> bytes:
    """Records of one vehicle as an edge sends them."""
    import time

    now_ns = time.time_ns()
    columns = {
        "source_id": "car-1",
        "subject_id": "car-1",
        "session": 1,
        "seq": list(range(n_records)),
        "id_kind": "permanent",
        "sampled_at_ns": [now_ns + seq for seq in range(0, 1000 * n_records, 1000)],
        "lat_deg": 53.55,
        "lon_deg": 9.99,
        "speed_mps": 1.0,
        "edge_received_at_ns": now_ns,
        "lateness": 0,
        "lane_index": -1,
    }
    return pack(
        [
            from_columns(
                "vehicle_state",
                zone=zone,
                run_id="live",
                origin="live",
                columns=columns,
                n_rows=n_records,
            )
        ]
    )


def test_a_batch_sent_a_hundred_times_adds_nothing(
    ground: Ground, edge: Edge, load: Load, zone: str
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    again = body(zone, 20)
    answers = [ground.post(again, "edge-b", "edge-b/1/1").json() for _ in range(TIMES)]
    assert answers[0] == {"stored": 20, "is_duplicate": False}
    assert answers[1:] == [{"stored": 20, "is_duplicate": True}] * (TIMES - 1)
    load.finish()
    assert not any(assert_accounted_to_the_record(ground, load).values())
    account = ground.accounts(zone)["car-1"]
    assert (account["stored"], account["rejected"]) == (20, {})
    assert ground.stored(zone)["car-1"] == list(range(20))


def test_a_record_sent_again_in_another_batch_is_stored_once_and_counted(
    ground: Ground, edge: Edge, load: Load, zone: str
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.start()
    again = body(zone, 20)
    for number in range(1, 4):
        assert ground.post(again, "edge-c", f"edge-c/1/{number}").status_code == 200
    load.finish()
    assert not any(assert_accounted_to_the_record(ground, load).values())
    assert ground.stored(zone)["car-1"] == list(range(20))
    account = ground.accounts(zone)["car-1"]
    assert (account["stored"], account["rejected"]) == (20, {"duplicate_sample": 40})
    assert account["is_closed"]


def test_after_its_spool_was_wiped_an_edge_is_believed_again(
    ground: Ground, edge: Edge, load: Load
) -> None:
    edge.start()
    edge.wait_until_it_listens()
    load.steps(20)
    wait_for(
        lambda: sum(a["stored"] for a in ground.accounts(load.zone).values()) == 100, "100 records"
    )
    wait_for(lambda: not any(a["pending"] for a in ground.accounts(load.zone).values()), "accounts")
    edge.kill()
    shutil.rmtree(edge.folder / f"edge-{edge.edge_id}")
    load.start()
    edge.start()
    load.run_for(1.0)
    load.finish()
    missing = assert_accounted_to_the_record(ground, load)
    assert not any(missing.values())
