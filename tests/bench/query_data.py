"""A store of known size for the query benchmark, written the way the cloud writes it.

Vehicles report every 10 s, a fifth of them through roadside units; each round comes in a new random
order, as one body. Segments have a window each 10 s and each minute. The span crosses midnight, so
that there are two time partitions. Everything follows from the size: `seed` is fixed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cloud.alerting import Alert, AlertTransition
from cloud.store.facts import write_alerts, write_ledgers, write_zone_facts
from cloud.store.identities import Identities
from cloud.store.migrate import migrate
from cloud.store.read_types import Connection
from cloud.store.writer import Writer
from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Severity
from openvrc.contracts.units import NS_PER_S

ZONE, RUN = "bench", "live"
START_NS = 1_767_220_800 * NS_PER_S  # 2025-12-31T22:40:00Z
ROUND_S = 10
WINDOWS_S = (10, 60)
SESSION = 1
ROUNDS_PER_SEGMENT_BODY = 6
N_ALERTS = 20_000


@dataclass(frozen=True)
class Size:
    """How much there is: `n_vehicles * n_rounds` vehicle states."""

    n_vehicles: int = 10_000
    n_rounds: int = 1_000
    n_segments: int = 2_000
    n_units: int = 20

    @property
    def n_own(self) -> int:
        """Vehicles that speak for themselves; the others are relayed."""
        return self.n_vehicles - self.n_vehicles // 5

    @property
    def vehicles(self) -> list[str]:
        """Names of all vehicles."""
        return [f"car-{number}" for number in range(self.n_vehicles)]

    @property
    def segments(self) -> list[str]:
        """Names of all segments."""
        return [f"segment-{number}" for number in range(self.n_segments)]

    @property
    def senders(self) -> list[str]:
        """Names of all senders: vehicles, then roadside units."""
        return self.vehicles[: self.n_own] + [f"rsu-{n}" for n in range(self.n_units)]

    @property
    def end_ns(self) -> int:
        """The first moment after the data."""
        return START_NS + self.n_rounds * ROUND_S * NS_PER_S


@dataclass(frozen=True)
class Filled:
    """What filling took."""

    rows: int
    wall_s: float
    client_cpu_s: float


def fill(connection: Connection, size: Size, *, chunk_days: float = 1.0) -> Filled:
    """Migrate an empty database and write everything; one transaction a body."""
    identities = Identities()
    writer = Writer(migrate(connection, chunk_days=chunk_days), identities)
    started_s, cpu_s, n_rows = time.monotonic(), time.process_time(), 0
    for body in bodies(size):
        writer.prepare(connection, body)
        with connection.transaction():
            n_rows += writer.write(connection, body).stored
            write_zone_facts(connection, body, identities)
            ledgers = [batch for batch in body if batch.message == "source_ledger"]
            write_ledgers(connection, ledgers, identities)
    with connection.transaction():
        write_alerts(connection, alerts(size))
    _note_counts(connection, size)
    return Filled(n_rows, time.monotonic() - started_s, time.process_time() - cpu_s)


def bodies(size: Size) -> Iterator[list[Batch]]:
    """In order of time."""
    rng = np.random.default_rng(1)
    for number in range(size.n_rounds):
        body = [_round(size, number, rng)]
        if number % ROUNDS_PER_SEGMENT_BODY == ROUNDS_PER_SEGMENT_BODY - 1:
            body.append(_windows(size, number, rng))
        yield body
    yield [_tick(size), _ledgers(size)]


def _batch(message: str, n_rows: int, **columns: object) -> Batch:
    values = {"id_kind": "permanent", "lateness": 0} | columns
    where = {"zone": ZONE, "run_id": RUN, "origin": "live"}
    return from_columns(message, **where, columns=values, n_rows=n_rows)


def _round(size: Size, number: int, rng: np.random.Generator) -> Batch:
    """One record of every vehicle, within the round's 10 s."""
    n_rows = size.n_vehicles
    who = rng.permutation(n_rows)
    is_own = who < size.n_own
    relayed = np.maximum(who - size.n_own, 0)
    per_unit = -(-(n_rows - size.n_own) // size.n_units)
    at_ns = START_NS + number * ROUND_S * NS_PER_S + who * (ROUND_S * NS_PER_S // n_rows)
    sender = np.where(is_own, who, size.n_own + relayed // per_unit)
    return _batch(
        "vehicle_state",
        n_rows,
        source_id=(sender.astype(np.int32), size.senders),
        subject_id=(who.astype(np.int32), size.vehicles),
        session=SESSION,
        seq=np.where(is_own, number, number * per_unit + relayed % per_unit),
        sampled_at_ns=at_ns,
        published_at_ns=at_ns + 50_000_000,
        edge_received_at_ns=at_ns + 80_000_000,
        lat_deg=53.5 + rng.random(n_rows) / 10,
        lon_deg=10.0 + rng.random(n_rows) / 10,
        altitude_m=12.0,
        speed_mps=(rng.random(n_rows) * 20).astype(np.float32),
        heading_deg=(rng.random(n_rows) * 359).astype(np.float32),
        accel_long_mps2=rng.standard_normal(n_rows).astype(np.float32),
        brake_on=rng.integers(0, 2, n_rows).astype(np.int8),
        vehicle_class="car",
        length_m=4.5,
        width_m=1.8,
        segment_id=(rng.integers(0, size.n_segments, n_rows).astype(np.int32), size.segments),
        lane_index=1,
        segment_offset_m=(rng.random(n_rows) * 200).astype(np.float32),
    )


def _windows(size: Size, number: int, rng: np.random.Generator) -> Batch:
    """Windows of 10 s and of a minute that ended in this minute."""
    last_ns = START_NS + (number + 1) * ROUND_S * NS_PER_S
    first_ns = last_ns - ROUNDS_PER_SEGMENT_BODY * ROUND_S * NS_PER_S
    starts = [(first_ns + n * w * NS_PER_S, w) for w in WINDOWS_S for n in range(60 // w)]
    start_ns = np.repeat(np.array([at for at, _ in starts]), size.n_segments)
    window_s = np.repeat(np.array([w for _, w in starts], np.float32), size.n_segments)
    n_rows = len(start_ns)
    vehicle_s = (rng.random(n_rows) * 50).astype(np.float32)
    speed_mps = (rng.random(n_rows) * 20).astype(np.float32)
    which = np.tile(np.arange(size.n_segments, dtype=np.int32), len(starts))
    return _batch(
        "segment_state",
        n_rows,
        source_id="edge-1",
        subject_id=(which, size.segments),
        sampled_at_ns=start_ns + window_s.astype(np.int64) * NS_PER_S,
        window_start_ns=start_ns,
        window_s=window_s,
        revision=0,
        map_version="map-1",
        density_vpkm=vehicle_s / window_s * 5,
        flow_vph=vehicle_s * speed_mps,
        speed_mps=speed_mps,
        vehicle_s=vehicle_s,
        distance_m=vehicle_s * speed_mps,
        vehicle_count=rng.integers(0, 30, n_rows),
        coverage_ratio=0.9,
        edge_received_at_ns=last_ns + NS_PER_S,
    )


def _tick(size: Size) -> Batch:
    at_ns = size.end_ns
    return _batch(
        "tick", 1, source_id="edge-1", subject_id=ZONE, sampled_at_ns=at_ns,
        watermark_ns=at_ns - 2 * NS_PER_S, edge_received_at_ns=at_ns,
    )  # fmt: skip


def _ledgers(size: Size) -> Batch:
    """Every sender's account: all that was sent was forwarded."""
    n_rows = len(size.senders)
    per_unit = -(-(size.n_vehicles - size.n_own) // size.n_units)
    sent = np.array([size.n_rounds] * size.n_own + [size.n_rounds * per_unit] * size.n_units)
    return _batch(
        "source_ledger", n_rows, source_id="edge-1", subject_id=size.senders, session=SESSION,
        sampled_at_ns=size.end_ns, edge_received_at_ns=size.end_ns, edge_id="edge-1",
        edge_epoch=1, version=1, is_sequenced=True, sent=sent, received=sent, forwarded=sent,
        rejected="{}", dropped=0, expired=0, thinned=0, missing=0, duplicates=0, gaps="[]",
    )  # fmt: skip


def _note_counts(connection: Connection, size: Size) -> None:
    """What a checkpoint would have added to the table `counter`."""
    connection.execute(
        "INSERT INTO counter SELECT run, zone, source, session, 'vehicle_state', forwarded, 0, 0 "
        "FROM ledger"
    )


def alerts(size: Size) -> list[AlertTransition]:
    """One in a hundred is open; spread over the whole span."""
    step_ns = (size.end_ns - START_NS) // N_ALERTS
    rules = ("traffic.congestion", "traffic.hard_braking", "battery.insulation")
    return [
        AlertTransition(
            _alert(size, number, START_NS + number * step_ns, rules), "opened", number, 0
        )
        for number in range(N_ALERTS)
    ]


def _alert(size: Size, number: int, at_ns: int, rules: tuple[str, ...]) -> Alert:
    rule = rules[number % len(rules)]
    is_open = number % 100 == 0
    return Alert(
        id=f"alert-{number}", run_id=RUN, origin="live", zone=ZONE, rule=rule,
        kind=rule.split(".")[0], severity=Severity(number % 4),
        state="active" if is_open else "cleared", subject_type="vehicle",
        subject_id=f"car-{number % size.n_vehicles}", component="", segment_id="",
        lat_deg=53.5, lon_deg=10.0, started_at_ns=at_ns, detected_at_ns=at_ns,
        cleared_at_ns=None if is_open else at_ns + 30 * NS_PER_S, confidence=0.9,
        title="Title", advice="Advice",
    )  # fmt: skip
