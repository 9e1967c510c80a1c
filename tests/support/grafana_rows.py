"""A few rows of everything the Grafana dashboards show, through the store's own writers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg

from cloud.alerting import Alert, AlertTransition
from cloud.store.facts import write_alerts, write_ledgers, write_zone_facts
from cloud.store.identities import Identities
from cloud.store.migrate import StoreLayout
from cloud.store.writer import Writer
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Severity
from openvrc.contracts.units import NS_PER_S

ZONE, RUN = "west", "run-1"
START = datetime(2026, 1, 1, 8, tzinfo=UTC)
START_NS = int(START.timestamp()) * NS_PER_S
N_WINDOWS = 6

_BATCH_ROW = "INSERT INTO ingest_batch (batch_id, stored_rows) VALUES ('edge-1/1/1', %s)"
_SERVICE_ROWS = (
    "INSERT INTO checkpoint (name, position, state) VALUES ('traffic.congestion', 0, 'state')",
    "INSERT INTO ingest_log (kind, payload, outcome) VALUES ('body', 'payload', '[]')",
    "INSERT INTO alert_action (alert_id, who, action, detail) VALUES ('b', 'anna', 'ack', '{}')",
)
"""What the pipeline and a person leave behind; their own tests write these through the API."""


def fill(connection: psycopg.Connection[Any], layout: StoreLayout) -> None:
    """Rows, alerts, accounts, a run, and a checkpoint with one request behind it."""
    identities = Identities()
    writer = Writer(layout, identities)
    control = [_announce(), _tick(), _ledger()]
    rows = [_segments(), _batteries(), _loops(), _signals(), _dead_letters()]
    writer.prepare(connection, [*rows, *control])
    with connection.transaction():
        written = writer.write(connection, rows)
        write_zone_facts(connection, control, identities)
        write_ledgers(connection, [b for b in control if b.message == "source_ledger"], identities)
        write_alerts(connection, _alerts())
        connection.execute(_BATCH_ROW, [written.stored])
        for statement in _SERVICE_ROWS:
            connection.execute(statement)


def _batch(message: str, n_rows: int, **columns: Any) -> Batch:
    values = {"source_id": "edge-1", "id_kind": "permanent", "sampled_at_ns": START_NS}
    values |= {"edge_received_at_ns": START_NS, "lateness": 0} | columns
    where = {"zone": ZONE, "run_id": RUN, "origin": "simulated"}
    return from_columns(message, **where, columns=values, n_rows=n_rows)


def _segments() -> Batch:
    """Windows of 10 s: a jam of 8 vehicles at 2 m/s, 4 at 10 m/s, one at 20 m/s."""
    segments = ["jam", "busy", "free"]
    vehicles, speed_mps = np.array([8.0, 4.0, 1.0]), np.array([2.0, 10.0, 20.0])
    at_ns = START_NS + 10 * NS_PER_S * np.repeat(np.arange(N_WINDOWS), len(segments))
    vehicle_s = np.tile(vehicles * 10.0, N_WINDOWS)
    return _batch(
        "segment_state",
        N_WINDOWS * len(segments),
        subject_id=segments * N_WINDOWS,
        sampled_at_ns=at_ns + 10 * NS_PER_S,
        window_start_ns=at_ns,
        window_s=10.0,
        revision=0,
        map_version="map-1",
        density_vpkm=np.tile(vehicles * 10.0, N_WINDOWS),
        flow_vph=np.tile(vehicles * 10.0 * speed_mps * 3.6, N_WINDOWS),
        speed_mps=np.tile(speed_mps, N_WINDOWS),
        vehicle_s=vehicle_s,
        distance_m=vehicle_s * np.tile(speed_mps, N_WINDOWS),
        vehicle_count=np.tile(vehicles.astype(np.int64), N_WINDOWS),
        coverage_ratio=0.9,
    )


def _batteries() -> Batch:
    """Three buses, two frames each, the second worse: a weak cell, a hot probe, a leak."""
    cells_v: list[list[float | None]] = [[3.70, 3.71, 3.70], [3.70, 3.71, 3.70], [3.70, 3.71, 3.66]]
    cells_v += [[3.70, 3.71, 3.70], [3.70, 3.71, None], [3.70, 3.71, 3.56]]
    probes_degc: list[list[float | None]] = [[30.0, 31.0]] * 3
    probes_degc += [[30.0, 31.0], [33.0, 61.5], [30.0, None]]
    return _batch(
        "battery_state",
        6,
        source_id="fleet",
        subject_id=["bus-0", "bus-1", "bus-2"] * 2,
        sampled_at_ns=START_NS + 10 * NS_PER_S * np.repeat([0, 1], 3),
        pack_voltage_v=400.0,
        pack_current_a=10.0,
        soc_ratio=np.array([0.5, 0.7, 1.0] * 2),
        cell_voltages_v=cells_v,
        probe_temperatures_degc=probes_degc,
        insulation_ohm=np.array([400_000.0] * 3 + [36_000.0, 400_000.0, 0.0]),
        charging_state=["not_charging"] * 3 + ["parked_charging", "not_charging", "not_charging"],
    )


def _loops() -> Batch:
    return _batch(
        "loop_counts",
        1,
        subject_id="loop-1",
        segment_id="jam",
        lane_index=0,
        period_s=60.0,
        count=9,
    )


def _signals() -> Batch:
    return _batch(
        "signal_state",
        3,
        subject_id="crossing/1",
        sampled_at_ns=START_NS + NS_PER_S * np.arange(3),
        intersection_id="crossing",
        signal_group=1,
        phase=["red", "red", "green"],
    )


def _dead_letters() -> Batch:
    return _batch(
        "dead_letter",
        2,
        subject_id="car-9",
        topic="vrc/v1/west/vehicle/car-9/vehicle_state",
        reason=["sentinel", "invalid_json"],
        detail="speed_mps is 655.35, expected at most 150",
        payload_base64="",
        payload_bytes=20,
        records=1,
    )


def _announce() -> Batch:
    state = {"state": "running", "clock": "driven", "rate_ratio": 1.0, "time_zone": "UTC"}
    return _batch("zone_announce", 1, source_id="driver", subject_id=ZONE, **state)


def _tick() -> Batch:
    return _batch("tick", 1, subject_id=ZONE, sampled_at_ns=START_NS + 60 * NS_PER_S)


def _ledger() -> Batch:
    """rsu-1 lost nothing; of rsu-2's 100 records 7 were rejected and 3 never came."""
    return _batch(
        "source_ledger",
        2,
        subject_id=["rsu-1", "rsu-2"],
        session=1,
        edge_id="edge-1",
        edge_epoch=1,
        version=1,
        is_sequenced=["true", "true"],
        sent=np.array([50, 100]),
        received=np.array([50, 97]),
        forwarded=np.array([50, 90]),
        rejected=["{}", '{"sentinel": 5, "out_of_range": 2}'],
        dropped=0,
        expired=0,
        thinned=0,
        missing=np.array([0, 3]),
        duplicates=0,
        gaps="[]",
    )


def _alerts() -> list[AlertTransition]:
    rows = [
        ("a", "traffic.congestion", Severity.WARNING, "active"),
        ("b", "traffic.stopped_vehicle", Severity.CRITICAL, "recovering"),
        ("c", "traffic.congestion", Severity.SERIOUS, "cleared"),
        ("d", "battery.insulation", Severity.SERIOUS, "active"),
    ]
    return [
        AlertTransition(_alert(*row), "opened", number, START_NS)
        for number, row in enumerate(rows, start=1)
    ]


def _alert(alert_id: str, rule: str, severity: Severity, state: Any) -> Alert:
    is_traffic = rule.startswith("traffic")
    return Alert(
        id=alert_id,
        run_id=RUN,
        origin="simulated",
        zone=ZONE,
        rule=rule,
        kind=rule.split(".", maxsplit=1)[0],
        severity=severity,
        state=state,
        subject_type="segment" if is_traffic else "vehicle",
        subject_id="jam" if is_traffic else "bus-0",
        component="",
        segment_id="jam" if is_traffic else "",
        lat_deg=53.55 if is_traffic else None,
        lon_deg=10.0 if is_traffic else None,
        started_at_ns=START_NS,
        detected_at_ns=START_NS + NS_PER_S,
        cleared_at_ns=START_NS + 2 * NS_PER_S if state == "cleared" else None,
        confidence=0.9,
        title="Title",
        advice="Advice",
    )
