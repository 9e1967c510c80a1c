"""Formats of recordings: what was said comes back byte for byte, with its topic and its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcap.reader import make_reader

from simulator.recorder import format_of, formats
from simulator.recorder.entries import Entry, TapeError

NAMES = ("said.mcap", "said.parquet", "said.jsonl", "said.jsonl.gz")
TOPIC = "vrc/v1/z/vehicle/car-1/vehicle_state"
ENTRIES = [
    Entry(1_790_000_000_000_000_001, TOPIC, b'{"sampled_at_ns":1}'),
    Entry(1_790_000_000_000_000_001, TOPIC + "/arrow", bytes(range(256)) * 3),
    Entry(1_790_000_000_000_000_002, "somebody/else's topic", b""),
    Entry(1_790_000_000_000_000_003, TOPIC, '{"a":"\u2028é\\n\u0000"}\n'.encode()),
    Entry(1_790_000_000_000_000_009, TOPIC, b"\xff\xfe not text"),
    *(Entry(1_790_000_000_000_001_000 + n, f"{TOPIC}/{n % 7}", b"x" * n) for n in range(300)),
]


def written(path: Path, entries: list[Entry] = ENTRIES) -> Path:
    sink = format_of(path).create(path)
    for entry in entries:
        sink.write(entry)
        sink.flush()
    sink.close()
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_message_comes_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    assert list(format_of(path).read(path)) == ENTRIES
    assert [one.name for one in formats().values() if one.is_ours(path)] == [format_of(path).name]
    assert [file.name for file in tmp_path.iterdir()] == [name], "nothing is left beside it"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_messages_make_the_same_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert (
        written(tmp_path / "a" / name).read_bytes() == written(tmp_path / "b" / name).read_bytes()
    )


@pytest.mark.parametrize("name", ["said.mcap", "said.jsonl"])
def test_a_file_that_was_cut_gives_what_stands_before_the_cut(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    whole = path.read_bytes()
    for share in (0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        got: list[Entry] = []
        with pytest.raises(TapeError, match=name):
            got.extend(entry for entry in format_of(path).read(path))
        assert got == ENTRIES[: len(got)]


def test_a_parquet_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "said.parquet"
    sink = format_of(path).create(path)
    sink.write(ENTRIES[0])
    assert not path.exists()
    sink.close()
    assert path.exists()


def test_other_tools_read_our_mcap(tmp_path: Path) -> None:
    path = written(tmp_path / "said.mcap")
    with path.open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "openvrc"
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == len(ENTRIES)
        channels = {channel.topic: channel for channel in summary.channels.values()}
        assert channels[TOPIC].message_encoding == "json"
        assert summary.schemas[channels[TOPIC].schema_id].name == "vehicle_state"
        assert channels[TOPIC + "/arrow"].message_encoding == "arrow"


@pytest.mark.parametrize("name", ["said.txt", "said", "said.csv"])
def test_a_name_of_no_format_is_an_error_that_names_those_known(name: str) -> None:
    with pytest.raises(TapeError, match=r"\.mcap"):
        format_of(Path(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_none_is_not_taken(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"time,x,y\n1,2,3\n")
    assert [one.name for one in formats().values() if one.is_ours(path)] == []
