"""GET /v1/export: stored records as Parquet, CSV or GeoJSON, streamed in chunks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, WithJsonSchema
from starlette.responses import StreamingResponse

from cloud.api import present
from cloud.api.params import AnyRun, From, To, Zone, check_order, only_known_parameters
from cloud.api.parts import CloudParts, Parts, Viewer
from cloud.api.problems import ProblemError
from cloud.store import reads
from openvrc.contracts.columns import Column, columns_of
from openvrc.contracts.messages import MESSAGES

router = APIRouter(tags=["export"], dependencies=[Depends(only_known_parameters)])

Rows = list[dict[str, Any]]
STORED = tuple(name for name, row in MESSAGES.items() if row.is_stored)
PARQUET_TYPE = "application/vnd.apache.parquet"
_SHARED = ("zone", "run_id", "origin")
_STORED_AT = "stored_at_ns"
_TIME_TYPE = pa.timestamp("ns", tz="UTC")
_CELL_TYPE = {
    "f64": pa.float64(),
    "f32": pa.float32(),
    "text": pa.string(),
    "f32_list": pa.list_(pa.float32()),
}


def _stored_message(name: str) -> str:
    if name not in STORED:
        raise ValueError("expected one of " + ", ".join(STORED))
    return name


StoredMessage = Annotated[
    str,
    AfterValidator(_stored_message),
    WithJsonSchema({"type": "string", "enum": list(STORED)}),
    Query(description="Message type"),
]


@router.get(
    "/v1/export",
    summary="Stored records as a file",
    response_class=StreamingResponse,
    responses={200: {"content": {PARQUET_TYPE: {}, "text/csv": {}, "application/geo+json": {}}}},
)
def export(
    parts: Parts,
    _caller: Viewer,
    message: StoredMessage,
    format: Annotated[  # noqa: A002
        Literal["parquet", "csv", "geojson"], Query(description="File format")
    ] = "parquet",
    zone: Zone = None,
    run: AnyRun = None,
    from_ns: From = None,
    to_ns: To = None,
) -> StreamingResponse:
    """All records of one message type in order of time, as they are read; nothing is kept."""
    check_order(from_ns, to_ns)
    if format == "geojson" and not has_position(message):
        places = ", ".join(name for name in STORED if has_position(name))
        raise ProblemError(422, f"{message} has no position; geojson is possible for {places}")
    chunks = _read(parts, message, zone=zone, run_id=run, from_ns=from_ns, to_ns=to_ns)
    # The first chunk is read before the answer starts, so that a failure still has a status.
    first = next(chunks, [])
    writer, media_type = _WRITERS[format]
    return StreamingResponse(
        writer(message, chain([first], chunks)),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{message}.{format}"'},
    )


def has_position(message: str) -> bool:
    """Whether records of this message lie somewhere."""
    names = {column.name for column in columns_of(message)}
    return {"lat_deg", "lon_deg"} <= names


def _read(parts: CloudParts, message: str, **where: Any) -> Iterator[Rows]:
    with parts.database() as connection:
        yield from reads.export(connection, message, **where)


def csv_chunks(message: str, chunks: Iterable[Rows]) -> Iterator[bytes]:
    """CSV with a header line; lists as JSON, absent values empty."""
    names = _names(message)
    yield (",".join(map(_public_name, names)) + "\r\n").encode()
    for rows in chunks:
        sink = io.StringIO()
        writer = csv.writer(sink)
        writer.writerows([_cell(name, row.get(name)) for name in names] for row in rows)
        yield sink.getvalue().encode()


def geojson_chunks(_message: str, chunks: Iterable[Rows]) -> Iterator[bytes]:
    """One FeatureCollection of points, WGS-84."""
    yield b'{"type":"FeatureCollection","features":['
    separator = b""
    for rows in chunks:
        for row in rows:
            yield separator + json.dumps(_feature(row), separators=(",", ":")).encode()
            separator = b",\n"
    yield b"]}\n"


def parquet_chunks(message: str, chunks: Iterable[Rows]) -> Iterator[bytes]:
    """Parquet, one row group a chunk; times are timestamps in UTC under their public names."""
    schema = _parquet_schema(message)
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for rows in chunks:
            arrays = [
                pa.array([row.get(name) for row in rows], field.type)
                for name, field in zip(_names(message), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield sink.take()
    yield sink.take()


_WRITERS = {
    "parquet": (parquet_chunks, PARQUET_TYPE),
    "csv": (csv_chunks, "text/csv; charset=utf-8"),
    "geojson": (geojson_chunks, "application/geo+json"),
}


class _Sink(io.RawIOBase):
    """Collects what Arrow writes until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def _names(message: str) -> list[str]:
    return [*_SHARED, *(column.name for column in columns_of(message)), _STORED_AT]


def _public_name(name: str) -> str:
    return present.time_name(name) if name.endswith("_ns") else name


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if name.endswith("_ns"):
        return present.at(value)
    return json.dumps(value) if isinstance(value, list) else value


def _feature(row: dict[str, Any]) -> dict[str, Any]:
    place = [row.pop("lon_deg", None), row.pop("lat_deg", None)]
    geometry = None if None in place else {"type": "Point", "coordinates": place}
    return {"type": "Feature", "geometry": geometry, "properties": present.public(row)}


def _parquet_schema(message: str) -> pa.Schema:
    shared = [pa.field(name, pa.string()) for name in _SHARED]
    own = [pa.field(_public_name(c.name), _cell_type(c)) for c in columns_of(message)]
    return pa.schema([*shared, *own, pa.field(_public_name(_STORED_AT), _TIME_TYPE)])


def _cell_type(column: Column) -> pa.DataType:
    if column.kind == "i64":
        return _TIME_TYPE if column.name.endswith("_ns") else pa.int64()
    if column.kind == "code":
        return pa.bool_() if column.is_bool else pa.string()
    return _CELL_TYPE[column.kind]
