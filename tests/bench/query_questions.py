"""The questions of the query benchmark, asked through the same functions as the API's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cloud.api import present
from cloud.api.traffic import newest_windows
from cloud.latest import Latest, RunLatest
from cloud.store import reads
from cloud.store.read_types import Connection
from openvrc.contracts.units import NS_PER_S
from tests.bench.query_data import RUN, SESSION, START_NS, ZONE, Size, bodies

Ask = Callable[[Connection, np.random.Generator], int]
Named = Callable[[np.random.Generator], str]
LATEST = b"""
SELECT s.name, v.sampled_at, v.lat_deg, v.lon_deg, v.speed_mps
FROM subject s CROSS JOIN LATERAL (
    SELECT * FROM vehicle_state t
    WHERE t.run = (SELECT id FROM run WHERE run_id = %(run_id)s) AND t.subject = s.id
    ORDER BY sampled_at DESC LIMIT 1
) AS v
"""
"""What the store itself can say of all vehicles; the API answers from memory."""


@dataclass(frozen=True)
class Question:
    """A question that `ask` puts once, with another subject each time; it gives the rows it got."""

    name: str
    ask: Ask


@dataclass
class Store:
    """What is asked, and the latest values as the cloud keeps them in memory."""

    size: Size
    partitioning: str
    facts: dict[str, Any]
    latest: Latest = field(default_factory=Latest)

    @classmethod
    def of(cls, connection: Connection, size: Size) -> Store:
        """Look at a filled database."""
        row = connection.execute("SELECT partitioning FROM store_layout").fetchone()
        version = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        assert version is not None
        facts = {"server": version[0]}
        for table in ("vehicle_state", "segment_state"):
            found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
            facts[table] = found[0] if found else 0
        store = cls(size, row[0], facts)
        for body in bodies(Size(size.n_vehicles, 6, size.n_segments)):
            store.latest.apply([b for b in body if b.message != "source_ledger"], [])
        return store

    def run(self) -> RunLatest:
        """The only run's latest values."""
        (found,) = self.latest.select(ZONE, None)
        return found

    def describe(self) -> str:
        """In one line."""
        rows = ", ".join(f"{self.facts[t]:,} {t}" for t in ("vehicle_state", "segment_state"))
        return f"PostgreSQL {self.facts['server']}, {self.partitioning}: {rows}"


def questions(store: Store) -> list[Question]:
    """Everything that is asked."""
    size = store.size

    def vehicle(rng: np.random.Generator) -> str:
        return f"car-{rng.integers(size.n_vehicles)}"

    def segment(rng: np.random.Generator) -> str:
        return f"segment-{rng.integers(size.n_segments)}"

    return [
        *_history_questions(size, "vehicle", "vehicle_state", vehicle),
        *_history_questions(size, "segment", "segment_state", segment),
        *_latest_questions(store),
        Question("open alerts", _alerts(state="open")),
        Question("alerts, newest 100", _alerts()),
        Question("alerts of a vehicle", _alerts_of(vehicle)),
        Question("accounting, 1,000 senders and the sum", _accounting),
        *_trace_questions(size),
        Question("export of an hour, its first rows", _export(size)),
    ]


def _hour(size: Size, rng: np.random.Generator) -> dict[str, Any]:
    room_ns = max(size.end_ns - START_NS - 3600 * NS_PER_S, 1)
    from_ns = START_NS + int(rng.integers(room_ns))
    return {"from_ns": from_ns, "to_ns": from_ns + 3600 * NS_PER_S}


def _history_questions(size: Size, word: str, message: str, who: Named) -> list[Question]:
    def newest(c: Connection, rng: np.random.Generator) -> int:
        return len(reads.history(c, message, who(rng), zone=ZONE).items)

    def hour(c: Connection, rng: np.random.Generator) -> int:
        return len(reads.history(c, message, who(rng), **_hour(size, rng)).items)

    def steps(c: Connection, rng: np.random.Generator) -> int:
        return len(reads.steps(c, message, who(rng), step_s=300, zone=ZONE).items)

    return [
        Question(f"history of a {word}, newest 1,000", newest),
        Question(f"history of a {word}, one hour", hour),
        Question(f"history of a {word}, all in steps of 300 s", steps),
    ]


def _latest_questions(store: Store) -> list[Question]:
    def vehicles(_c: Connection, _rng: np.random.Generator) -> int:
        run = store.run()
        here = set(run.vehicles.present(run.zone_time_ns).tolist())
        slots = range(len(run.vehicles))
        return len([present.vehicle(run, slot, is_present=slot in here) for slot in slots])

    def in_store(c: Connection, _rng: np.random.Generator) -> int:
        return len(c.execute(LATEST, {"run_id": RUN}).fetchall())

    def segments(_c: Connection, _rng: np.random.Generator) -> int:
        return len(newest_windows(store.run()))

    return [
        Question("latest of all vehicles, memory, as JSON values", vehicles),
        Question("latest of all vehicles, from the rows", in_store),
        Question("newest state of all segments, memory", segments),
    ]


def _alerts(**facts: Any) -> Ask:
    return lambda c, _rng: len(reads.alerts(c, reads.AlertFilter(zone=ZONE, **facts)).items)


def _alerts_of(who: Named) -> Ask:
    return lambda c, rng: len(reads.alerts(c, reads.AlertFilter(subject=who(rng))).items)


def _accounting(c: Connection, _rng: np.random.Generator) -> int:
    return len(reads.accounting(c, None, zone=ZONE, limit=1000).sources)


def _trace_questions(size: Size) -> list[Question]:
    per_unit = -(-(size.n_vehicles - size.n_own) // size.n_units)

    def own(c: Connection, rng: np.random.Generator) -> int:
        name, seq = f"car-{rng.integers(size.n_own)}", int(rng.integers(size.n_rounds))
        return len(reads.trace(c, name, SESSION, seq))

    def relayed(c: Connection, rng: np.random.Generator) -> int:
        name = f"rsu-{rng.integers(size.n_units)}"
        return len(reads.trace(c, name, SESSION, int(rng.integers(size.n_rounds * per_unit))))

    return [
        Question("trace of a vehicle's own record", own),
        Question("trace of a relayed record, no heartbeats", relayed),
    ]


def _export(size: Size) -> Ask:
    def ask(c: Connection, rng: np.random.Generator) -> int:
        return len(next(reads.export(c, "vehicle_state", run_id=RUN, **_hour(size, rng)), []))

    return ask
