"""What one writes first: paho, pydantic, one INSERT per message. And a floor: binary COPY.

`vrc bench` runs this beside the platform, with the same broker, server and messages, so that its
ratios can be repeated; it uses nothing of OpenVRC.

    python naive_baseline.py subscribe BROKER_HOST:PORT DATABASE_URL
    python naive_baseline.py copy PAYLOAD_FILE DATABASE_URL

It talks in JSON lines: says "ready", "count" when asked "count", "copied" when told to "go", and
ends when its input is closed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

ROWS_PER_COPY = 5_000
READY_TIMEOUT_S = 30.0
TYPES: dict[Any, str] = {str: "text", int: "int8", float: "float8", bool: "bool"}


class VehicleState(BaseModel):
    """One record as it comes; nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    source_id: str = Field(max_length=96)
    subject_id: str = Field(max_length=96)
    session: int = Field(ge=0)
    seq: int = Field(ge=0)
    id_kind: str
    origin: str
    run_id: str = Field(max_length=96)
    sampled_at_ns: int = Field(ge=0)
    published_at_ns: int = Field(ge=0)
    lat_deg: float = Field(ge=-90, le=90)
    lon_deg: float = Field(ge=-180, le=180)
    altitude_m: float = Field(ge=-500, le=9000)
    speed_mps: float = Field(ge=0, le=150)
    heading_deg: float = Field(ge=0, le=360)
    accel_long_mps2: float = Field(ge=-100, le=100)
    accel_lat_mps2: float = Field(ge=-100, le=100)
    yaw_rate_dps: float = Field(ge=-360, le=360)
    brake_on: bool
    vehicle_class: str
    length_m: float = Field(ge=0, le=50)
    width_m: float = Field(ge=0, le=10)
    position_accuracy_m: float = Field(ge=0, le=1000)


MANY = TypeAdapter(list[VehicleState])
FIELDS = {name: field.annotation for name, field in VehicleState.model_fields.items()}
TIMES = ("sampled_at_ns", "published_at_ns")
COLUMNS = [name.removesuffix("_ns") for name in FIELDS]
SQL_TYPES = [
    "timestamptz" if name in TIMES else TYPES[kind or str] for name, kind in FIELDS.items()
]
CREATE = "CREATE TABLE {} (" + ", ".join(map(" ".join, zip(COLUMNS, SQL_TYPES, strict=True))) + ")"
INSERT = f"INSERT INTO naive VALUES ({', '.join(['%s'] * len(COLUMNS))})"


def row_of(record: VehicleState) -> list[Any]:
    """Values in the order of the table."""
    values = record.model_dump()
    for name in TIMES:
        values[name] = datetime.fromtimestamp(values[name] / 1e9, UTC)
    return list(values.values())


class Subscriber:
    """Stores what comes in the callback, each message by itself."""

    def __init__(self, host: str, port: int, database_url: str) -> None:
        self.n_rows = 0
        self._database = psycopg.connect(database_url, autocommit=True)
        self._database.execute("DROP TABLE IF EXISTS naive")
        self._database.execute(CREATE.format("naive").encode())
        self._is_ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("vrc/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: self._is_ready.set()
        self._client.on_message = self._on_message
        self._client.connect(host, port)
        self._client.loop_start()
        assert self._is_ready.wait(READY_TIMEOUT_S)

    def _on_message(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        _, _, zone, kind, _, name, *_ = message.topic.split("/")
        if name == "vehicle_state":
            self._store(bytes(message.payload))
        elif name == "tick" and kind == "zone":
            # The sender waits for the ticks of an edge; this is what keeps it from running ahead.
            tick = json.loads(message.payload) | {"source_id": "naive"}
            client.publish(f"vrc/v1/{zone}/edge/naive/tick", json.dumps(tick))

    def _store(self, payload: bytes) -> None:
        if payload.startswith(b"["):
            records = MANY.validate_json(payload)
            with self._database.cursor() as cursor:
                cursor.executemany(INSERT.encode(), [row_of(record) for record in records])
            self.n_rows += len(records)
        else:
            record = VehicleState.model_validate_json(payload)
            self._database.execute(INSERT.encode(), row_of(record))
            self.n_rows += 1


def subscribe(address: str, database_url: str) -> None:
    """Store until the input is closed."""
    host, _, port = address.partition(":")
    subscriber = Subscriber(host, int(port), database_url)
    say("ready")
    for line in sys.stdin:
        if line.strip() == "count":
            say("count", rows=subscriber.n_rows)


def copy(payload_file: str, database_url: str) -> None:
    """Binary COPY of records that are already rows in memory: the floor of client and server."""
    text = Path(payload_file).read_bytes()
    rows = [row_of(record) for line in text.splitlines() for record in MANY.validate_json(line)]
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("DROP TABLE IF EXISTS copied")
        database.execute(CREATE.format("copied").encode())
        say("ready")
        if not sys.stdin.readline():
            return
        began_s = time.monotonic()
        for first in range(0, len(rows), ROWS_PER_COPY):
            copy_rows(database, rows[first : first + ROWS_PER_COPY])
        say("copied", rows=len(rows), elapsed_s=time.monotonic() - began_s)
        sys.stdin.read()


def copy_rows(database: psycopg.Connection[Any], rows: list[list[Any]]) -> None:
    """One COPY, one transaction."""
    with (
        database.cursor() as cursor,
        cursor.copy("COPY copied FROM STDIN (FORMAT BINARY)") as stream,
    ):
        stream.set_types(SQL_TYPES)
        for row in rows:
            stream.write_row(row)


def say(event: str, **facts: Any) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps({"event": event} | facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"subscribe": subscribe, "copy": copy}[sys.argv[1]](*sys.argv[2:])
