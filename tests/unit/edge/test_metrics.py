"""What Prometheus reads from an edge."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from edge.metrics import serve_metrics
from openvrc.contracts.edge_status import EdgeStatus
from openvrc.embedded.processes import free_port

STATUS = EdgeStatus(
    at_ns=1, epoch=1, zone="+", queue_messages=3, queue_limit=10, spool_records=70,
    spool_bytes=250, spool_limit_bytes=1000, spool_oldest_s=2.5, is_full=True, problem="503 busy",
    acknowledged=5, sent=80, received=79, forwarded=77, rejected={"out_of_range": 2}, dropped=0,
    expired=4, missing=1, duplicates=6,
)  # fmt: skip


def test_the_edges_metrics_say_how_full_its_stages_are() -> None:
    port = free_port()
    server, thread = serve_metrics(port, lambda: STATUS)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["vrc_edge_fill_ratio",] == 0.25
    assert found["vrc_edge_spool_records",] == 70
    assert found["vrc_edge_is_full",] == 1
    assert found["vrc_edge_uplink_ok",] == 0
    assert found["vrc_edge_expired_total",] == 4
    assert found["vrc_edge_rejected_total", "out_of_range"] == 2
