"""JSON lines: `{"at_ns":1,"topic":"vrc/v1/...","text":"..."}`, `.jsonl` or `.jsonl.gz`.

A payload that is UTF-8 is `text`, which gives its bytes back; any other is `base64`. Lines can be
appended to, cut and searched; a line that a crash cut short ends the reading.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.recorder.entries import Entry, TapeError

GZIP_MAGIC = b"\x1f\x8b"


class JsonlSink:
    """See Sink."""

    def __init__(self, path: Path) -> None:
        """Raises TapeError if the file cannot be made."""
        is_packed = path.name.lower().endswith(".gz")
        try:
            raw = path.open("wb")
        except OSError as error:
            raise TapeError(f"{path}: {error.strerror}") from error
        # mtime 0: the same messages give the same bytes.
        packed = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") if is_packed else None
        self._raw, self._file = raw, packed or raw

    def write(self, entry: Entry) -> None:
        """See Sink."""
        fields: dict[str, Any] = {"at_ns": entry.at_ns, "topic": entry.topic}
        try:
            fields["text"] = entry.payload.decode()
        except UnicodeDecodeError:
            fields["base64"] = base64.b64encode(entry.payload).decode()
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")

    def flush(self) -> None:
        """See Sink."""
        self._file.flush()
        self._raw.flush()

    def close(self) -> None:
        """See Sink."""
        self._file.close()
        self._raw.close()


class JsonlFormat:
    """See Format."""

    name = "jsonl"
    suffixes = (".jsonl", ".jsonl.gz")

    def create(self, path: Path) -> JsonlSink:
        """See Format."""
        return JsonlSink(path)

    def is_ours(self, path: Path) -> bool:
        """See Format."""
        if not path.name.lower().endswith(self.suffixes):
            return False
        try:
            return next(self.read(path), None) is not None
        except TapeError:
            return False

    def read(self, path: Path) -> Iterator[Entry]:
        """See Format."""
        with path.open("rb") as raw:
            is_packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            file = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if is_packed else raw
            number = 0
            try:
                for line in file:
                    number += 1
                    yield _entry(line)
            except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
                raise TapeError(f"{path.name}: line {number}: {error!r}") from error


def _entry(line: bytes) -> Entry:
    fields = json.loads(line)
    if "text" in fields:
        payload = fields["text"].encode()
    else:
        payload = base64.b64decode(fields["base64"], validate=True)
    return Entry(int(fields["at_ns"]), str(fields["topic"]), payload)


PLUGIN = JsonlFormat()
