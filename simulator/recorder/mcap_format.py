"""MCAP by the library `mcap`: one channel a topic, log time and publish time are when it came.

The message encoding is that of the topic's codec ("json", "arrow", ...); a JSON channel has its
message's JSON Schema, so that viewers show the fields. A file may have 65,535 channels.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader
from mcap.writer import CompressionType, Writer

from openvrc.contracts.errors import ContractError
from openvrc.contracts.messages import MESSAGES, message_type
from openvrc.contracts.schema import json_schema
from openvrc.contracts.topics import parse_topic
from simulator.recorder.entries import Entry, TapeError

PROFILE = "openvrc"
MAGIC = b"\x89MCAP0\r\n"
MOST_TOPICS = 65_535


class McapSink:
    """See Sink."""

    def __init__(self, path: Path) -> None:
        """Raises TapeError if the file cannot be made."""
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise TapeError(f"{path}: {error.strerror}") from error
        self._path = path
        self._writer = Writer(self._file, compression=CompressionType.ZSTD)
        self._writer.start(profile=PROFILE, library="openvrc")
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._n = 0

    def write(self, entry: Entry) -> None:
        """See Sink."""
        channel = self._channels.get(entry.topic) or self._channel(entry.topic)
        self._writer.add_message(
            channel, entry.at_ns, entry.payload, entry.at_ns, self._n % (1 << 32)
        )
        self._n += 1

    def _channel(self, topic: str) -> int:
        if len(self._channels) >= MOST_TOPICS:
            raise TapeError(
                f"{self._path.name}: over {MOST_TOPICS} topics, which MCAP cannot number; "
                "record to .parquet or .jsonl"
            )
        message, codec = _message_and_codec(topic)
        schema = self._schema(message) if codec == "json" and message in MESSAGES else 0
        channel = self._writer.register_channel(topic, codec, schema)
        self._channels[topic] = channel
        return channel

    def _schema(self, message: str) -> int:
        if message not in self._schemas:
            text = json.dumps(json_schema(message_type(message))).encode()
            self._schemas[message] = self._writer.register_schema(message, "jsonschema", text)
        return self._schemas[message]

    def flush(self) -> None:
        """Complete chunks; one that is open would be lost."""
        self._file.flush()

    def close(self) -> None:
        """See Sink."""
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.close()


def _message_and_codec(topic: str) -> tuple[str, str]:
    try:
        parsed = parse_topic(topic)
    except ContractError:
        return "", "application/octet-stream"
    return parsed.message, parsed.codec


class McapFormat:
    """See Format."""

    name = "mcap"
    suffixes = (".mcap",)

    def create(self, path: Path) -> McapSink:
        """See Format."""
        return McapSink(path)

    def is_ours(self, path: Path) -> bool:
        """See Format."""
        try:
            with path.open("rb") as file:
                return file.read(len(MAGIC)) == MAGIC
        except OSError:
            return False

    def read(self, path: Path) -> Iterator[Entry]:
        """See Format. In the file's order, also of a file that has no end."""
        with path.open("rb") as file:
            try:
                reader = NonSeekingReader(file)
                for _, channel, message in reader.iter_messages(log_time_order=False):
                    yield Entry(message.log_time, channel.topic, message.data)
            except (McapError, struct.error, ValueError, KeyError, EOFError) as error:
                raise TapeError(f"{path.name}: {error!r}") from error


PLUGIN = McapFormat()
