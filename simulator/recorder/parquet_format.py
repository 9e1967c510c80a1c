"""Parquet: columns `at_ns` (int64), `topic` (dictionary of text), `payload` (binary), zstd.

Row groups of 50,000 messages. A Parquet file has its index at its end, so it is written beside the
name that was asked for (`.part`) and gets it when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simulator.recorder.entries import Entry, TapeError

ROWS_AT_ONCE = 50_000
BYTES_AT_ONCE = 64_000_000
MARK = b"openvrc.recording"
SCHEMA = pa.schema(
    [
        pa.field("at_ns", pa.int64(), nullable=False),
        pa.field("topic", pa.dictionary(pa.int32(), pa.utf8()), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
    ],
    metadata={MARK: b"1"},
)


class ParquetSink:
    """See Sink."""

    def __init__(self, path: Path) -> None:
        """Raises TapeError if the file cannot be made."""
        self._path, self._part = path, path.with_name(path.name + ".part")
        try:
            self._writer = pq.ParquetWriter(self._part, SCHEMA, compression="zstd")
        except OSError as error:
            raise TapeError(f"{self._part}: {error}") from error
        self._held: list[Entry] = []
        self._held_bytes = 0

    def write(self, entry: Entry) -> None:
        """See Sink."""
        self._held.append(entry)
        self._held_bytes += len(entry.payload)
        if len(self._held) >= ROWS_AT_ONCE or self._held_bytes >= BYTES_AT_ONCE:
            self._write_group()

    def flush(self) -> None:
        """Nothing: a file without its end cannot be read."""

    def close(self) -> None:
        """See Sink."""
        self._write_group()
        self._writer.close()
        self._part.replace(self._path)

    def _write_group(self) -> None:
        if not self._held:
            return
        times, topics, payloads = zip(*self._held, strict=True)
        arrays = [
            pa.array(times, pa.int64()),
            pa.array(topics, pa.utf8()).dictionary_encode(),
            pa.array(payloads, pa.binary()),
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))
        self._held, self._held_bytes = [], 0


class ParquetFormat:
    """See Format."""

    name = "parquet"
    suffixes = (".parquet",)

    def create(self, path: Path) -> ParquetSink:
        """See Format."""
        return ParquetSink(path)

    def is_ours(self, path: Path) -> bool:
        """See Format."""
        if not path.name.lower().endswith(self.suffixes):
            return False
        try:
            return MARK in (pq.read_schema(path).metadata or {})
        except (OSError, pa.ArrowException):
            return False

    def read(self, path: Path) -> Iterator[Entry]:
        """See Format."""
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=SCHEMA.names):
                    columns = (column.to_pylist() for column in batch.columns)
                    for at_ns, topic, payload in zip(*columns, strict=True):
                        yield Entry(at_ns, topic, payload)
        except (OSError, pa.ArrowException) as error:
            raise TapeError(f"{path.name}: {error}") from error


PLUGIN = ParquetFormat()
