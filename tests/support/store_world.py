"""What the store's and the pipeline's tests share: databases, records, a small detector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import psycopg
from psycopg import sql

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Arrays, Context, Finding, Rule, Severity, pack_words
from openvrc.contracts.units import NS_PER_S

START_NS = 1_767_225_600 * NS_PER_S  # 2026-01-01
DAY_NS = 86_400 * NS_PER_S


@contextmanager
def fresh_database(server_url: str, name: str, *, template: str = "template1") -> Iterator[str]:
    """A new database on a running server, a copy of `template`.

    It goes with the server: dropping it would cost a checkpoint.
    """
    with psycopg.connect(server_url, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        connection.execute(drop)
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(make.format(sql.Identifier(name), sql.Identifier(template)))
        yield server_url.rsplit("/", 1)[0] + f"/{name}"


def vehicle_states(
    n_rows: int,
    *,
    at_ns: int = START_NS,
    first_seq: int = 0,
    n_vehicles: int = 50,
    zone: str = "west",
    run_id: str = "run-1",
    source: str = "rsu-1",
    session: int = 7,
    seed: int = 1,
    **columns: Any,
) -> Batch:
    """Records of `n_vehicles` that one RSU relays, 0.1 s apart per round; some values absent."""
    rng = np.random.default_rng(seed)
    place = np.arange(n_rows)
    words = [f"car-{number}" for number in range(n_vehicles)]
    segments = ["", "edge-1", "edge#2", "a/b/c"]
    values = {
        "source_id": source,
        "subject_id": ((place % n_vehicles).astype(np.int32), words),
        "session": session,
        "seq": place + first_seq,
        "id_kind": "permanent",
        "sampled_at_ns": at_ns + (place // n_vehicles) * (NS_PER_S // 10),
        "published_at_ns": at_ns + 1_000_000,
        "lat_deg": 53.5 + rng.random(n_rows) / 100,
        "lon_deg": 10.0 + rng.random(n_rows) / 100,
        "speed_mps": (rng.random(n_rows) * 20).astype(np.float32),
        "heading_deg": np.where(rng.random(n_rows) < 0.2, np.nan, 90.0),
        "brake_on": rng.integers(-1, 2, n_rows).astype(np.int8),
        "vehicle_class": "car",
        "edge_received_at_ns": at_ns + 2_000_000,
        "lateness": 0,
        "segment_id": (rng.integers(0, 4, n_rows).astype(np.int32), segments),
        "lane_index": 1,
        "segment_offset_m": np.where(rng.random(n_rows) < 0.3, np.nan, 12.5),
    } | columns
    shared = {"zone": zone, "run_id": run_id, "origin": "simulated"}
    return from_columns("vehicle_state", **shared, columns=values, n_rows=n_rows)


def one_row(
    message: str, *, at_ns: int, zone: str = "west", run_id: str = "run-1", **columns: Any
) -> Batch:
    """One record of any message."""
    values = {"sampled_at_ns": at_ns, "source_id": "edge-1", "subject_id": zone} | columns
    values |= {"id_kind": "permanent", "edge_received_at_ns": at_ns, "lateness": 0}
    shared = {"zone": zone, "run_id": run_id, "origin": "simulated"}
    return from_columns(message, **shared, columns=values, n_rows=1)


def tick(at_ns: int, **columns: Any) -> Batch:
    """A tick of the edge, 2 s of lateness allowed."""
    marks = {"watermark_ns": at_ns - 2 * NS_PER_S, "published_at_ns": at_ns}
    return one_row("tick", at_ns=at_ns, **(marks | columns))


class OverSpeed:
    """Raises while a vehicle drives faster than 18 m/s, clears when it does not: any state, any
    time, so that a lost or repeated batch shows in the alerts."""

    name = "traffic.speeding"
    rule = Rule(name, "Speeding", "A vehicle is too fast.", "None.", recovering_for_s=0.3)
    inputs: tuple[str, ...] = ("vehicle_state",)
    partition: Literal["zone", "vehicle"] = "zone"

    def initial(self, context: Context) -> dict[str, int]:
        return {}

    def update(self, state: dict[str, int], batch: Batch) -> tuple[dict[str, int], list[Finding]]:
        findings = []
        rows = zip(
            batch.texts("subject_id"),
            batch.column("sampled_at_ns").tolist(),
            batch.column("speed_mps").tolist(),
            strict=True,
        )
        for subject, at_ns, speed_mps in rows:
            if speed_mps > 18.0:
                started_ns = state.setdefault(subject, at_ns)
                findings.append(self._finding("raise", subject, at_ns, started_ns, speed_mps))
            elif subject in state:
                started_ns = state.pop(subject)
                findings.append(self._finding("clear", subject, at_ns, started_ns, speed_mps))
        return state, findings

    def _finding(
        self, phase: Any, subject: str, at_ns: int, started_ns: int, speed_mps: float
    ) -> Finding:
        severity = Severity.SERIOUS if speed_mps > 19.5 else Severity.WARNING
        return Finding(
            self.name, phase, "vehicle", subject, at_ns, started_ns, severity,
            evidence={"speed_mps": speed_mps},
        )  # fmt: skip

    def advance(
        self, state: dict[str, int], watermark_ns: int
    ) -> tuple[dict[str, int], list[Finding]]:
        return state, []

    def snapshot(self, state: dict[str, int]) -> Arrays:
        return {
            "who": pack_words(list(state)),
            "since_ns": np.array(list(state.values()), np.int64),
        }

    def restore(self, context: Context, arrays: Arrays) -> dict[str, int]:
        return dict(zip(arrays["who"].tolist(), arrays["since_ns"].tolist(), strict=True))
