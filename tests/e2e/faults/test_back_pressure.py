"""What waits is seen while it waits, by everyone who looks, before anything is given up."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openvrc.embedded.processes import free_port
from tests.support.fault_ground import Edge, Ground, all_accounted, wait_for
from tests.support.load import Load
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SMALL_SPOOL_BYTES = 100_000


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def reported(ground: Ground, edge: Edge) -> dict[str, Any]:
    edges = ground.platform.api.get("/v1/edges")["items"]
    return next((seen for seen in edges if seen["edge_id"] == edge.edge_id), {})


def test_a_spool_that_fills_is_seen_before_it_drops_and_every_drop_is_counted(
    ground: Ground, edge: Edge, load: Load
) -> None:
    port = free_port()
    edge.start(
        edge_metrics_port=port,
        edge_spool_max_bytes=SMALL_SPOOL_BYTES,
        edge_spool_when_full="drop_oldest",
    )
    edge.wait_until_it_listens()
    wait_for(lambda: reported(ground, edge).get("problem") == "", "the edge's report")
    load.start()
    load.run_for(0.5)
    ground.stop_database()
    # The cloud answers, its database does not: reports come through, data does not.
    wait_for(lambda: reported(ground, edge)["fill_ratio"] > 0.3, "the filling to be seen")
    seen = reported(ground, edge)
    assert (seen["dropped"], seen["is_silent"]) == (0, False)
    assert seen["spool_records"] > 0
    wait_for(lambda: metrics(port)["vrc_edge_dropped_total"] > 0, "the spool to drop")
    assert metrics(port)["vrc_edge_fill_ratio"] <= 1.5
    ground.start_database()
    load.finish()
    accounts, stored = all_accounted(ground, load), ground.stored(load.zone)
    for name, count in load.sent.items():
        account = accounts[name]
        assert account["is_closed"], account
        assert (account["sent"], account["missing"], account["rejected"]) == (count, 0, {})
        assert account["stored"] == len(stored[name]) == len(set(stored[name]))
        assert account["dropped"] == count - len(stored[name]) > 0
    assert "records of 5 senders dropped" in edge.log()
