"""What was committed is there after anything; what was not is not."""

import errno
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edge.core import EdgeCore
from edge.journal import PAYLOAD, Input
from edge.pipeline import Pipeline
from edge.spool import Spool, SpoolError, SpoolWriteError
from edge.spool_reader import SpoolReader
from edge.uplink import Done
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.wire import unpack
from tests.support.edge_world import T0, ZONE, announce, tick, vehicles

PROJECT = Path(__file__).resolve().parents[3]
TOPIC = f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"
MAX = 10_000_000


def story(number: int) -> Input:
    """The number-th message of a run: its announcement, then records and ticks in turn."""
    codec = JsonCodec()
    if number == 0:
        return Input(
            PAYLOAD, T0, f"vrc/v1/{ZONE}/zone/driver/zone_announce", codec.encode(announce())
        )
    t = (number + 1) // 2
    if number % 2:
        rows = [("v", t, 11.0 * t), ("w", t, 700.0), ("x", t, 300.0)]
        return Input(PAYLOAD, T0, TOPIC, codec.encode(vehicles(rows, seqs=range(3 * t, 3 * t + 3))))
    return Input(PAYLOAD, T0, f"vrc/v1/{ZONE}/zone/driver/tick", codec.encode(tick(t)))


def pipeline(path: Path) -> tuple[Spool, Pipeline]:
    spool = Spool(path, "edge-1", MAX)
    return spool, Pipeline(spool, {}, "edge-1", max_payload_bytes=MAX)


def entries(path: Path) -> list[bytes]:
    db = sqlite3.connect(path)
    found = [blob for (blob,) in db.execute("SELECT blob FROM entries ORDER BY counter")]
    db.close()
    return found


def test_entries_come_in_order_and_go_when_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    spool = Spool(path, "edge-1", MAX)
    for number in range(3):
        spool.commit(blob=b"blob%d" % number, n_records=2, journal=b"j", now_ns=1)
    assert entries(path) == [b"blob0", b"blob1", b"blob2"]
    spool.commit(blob=None, n_records=0, journal=b"", gone=[1, 2])
    assert (entries(path), spool.pending_records) == ([b"blob2"], 2)
    spool.close()
    again = Spool(path, "edge-1", MAX)
    assert (again.pending_records, again.epoch) == (2, spool.epoch)
    again.commit(blob=b"next", n_records=1, journal=b"", gone=[3])
    again.commit(blob=None, n_records=0, journal=b"", gone=[4])
    again.commit(blob=b"last", n_records=1, journal=b"")
    reader = SpoolReader(path)
    parcel = reader.after(0)
    assert parcel is not None
    assert parcel.counters == (5,)  # a counter is never given twice, or a batch id would be
    reader.close()
    again.close()


def test_a_full_spool_says_so_until_something_was_confirmed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", "edge-1", 100)
    spool.commit(blob=b"x" * 101, n_records=1, journal=b"")
    before = spool.is_full
    spool.commit(blob=None, n_records=0, journal=b"", gone=[1])
    assert (before, spool.is_full) == (True, False)
    spool.close()


def test_a_spool_that_was_emptied_gives_its_space_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool = Spool(path, "edge-1", MAX)
    for _ in range(200):
        spool.commit(blob=bytes(100_000), n_records=1, journal=b"")
    full_bytes = database_bytes(path)
    spool.commit(blob=None, n_records=0, journal=b"", gone=range(1, 201))
    for _ in range(6):  # some megabytes with each, so that none of them holds the groups up
        spool.checkpoint(b"state")
    assert full_bytes > 20_000_000
    assert database_bytes(path) < 6_000_000  # what is kept for the next groups, and some
    spool.close()


def test_inputs_before_a_checkpoint_go_with_the_commits_after_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool = Spool(path, "edge-1", MAX)
    for _ in range(20):
        spool.commit(blob=None, n_records=0, journal=bytes(1000))
    spool.checkpoint(b"state")
    assert spool.n_bytes == 20_000  # nothing was held up for them
    for _ in range(10):
        spool.commit(blob=None, n_records=0, journal=bytes(10))
    assert spool.n_bytes == 100
    spool.close()


def test_inputs_that_a_checkpoint_covers_are_not_folded_again_though_they_are_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    spool = Spool(path, "edge-1", MAX)
    for number in range(20):
        spool.commit(blob=None, n_records=0, journal=b"old%d" % number)
    spool.checkpoint(b"state")
    spool.commit(blob=None, n_records=0, journal=b"new")
    spool.close()
    again = Spool(path, "edge-1", MAX)
    assert again.recover() == (b"state", [b"new"])
    assert again.n_bytes == sum(len(b"old%d" % n) for n in range(4, 20)) + 3
    again.commit(blob=None, n_records=0, journal=b"")
    assert again.n_bytes == sum(len(b"old%d" % n) for n in range(8, 20)) + 3
    again.close()


def test_a_full_spool_frees_what_a_checkpoint_covers_at_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", "edge-1", 10_000)
    for _ in range(20):
        spool.commit(blob=None, n_records=0, journal=bytes(1000))
    assert spool.is_full
    spool.checkpoint(b"state")
    assert (spool.n_bytes, spool.is_full) == (0, False)
    spool.close()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    spool = Spool(path, "edge-1", MAX)
    spool.commit(blob=None, n_records=0, journal=b"j")
    spool.checkpoint(b"state")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(SpoolWriteError):
            spool.checkpoint(b"the same state again, at the same number")
    assert spool.recover() == (b"state", [])
    spool.close()


def full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_edge_that_was_killed_with_a_full_spool_has_room_again_after_its_checkpoint(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    roomy = Spool(path, "edge-1", MAX)
    for _ in range(20):
        roomy.commit(blob=None, n_records=0, journal=bytes(1000))
    roomy.checkpoint(b"state")
    roomy.close()
    tight = Spool(path, "edge-1", 10_000)  # its journal alone is more
    assert (tight.n_bytes, tight.is_full) == (0, False)
    tight.close()


def database_bytes(path: Path) -> int:
    """Bytes of the database as it will be once its log has been moved into it."""
    db = sqlite3.connect(path)
    sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    (n_bytes,) = db.execute(sql).fetchone()
    db.close()
    return int(n_bytes)


def test_a_full_disk_is_told_from_a_broken_spool_and_room_is_made(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool = Spool(path, "edge-1", MAX)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool.commit(blob=b"before", n_records=1, journal=b"")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(SpoolWriteError, match="cannot be written"):
            spool.commit(blob=bytes(100_000), n_records=1, journal=b"j")
        with pytest.raises(SpoolWriteError):
            spool.make_room([])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (entries(path), spool.pending_records) == ([b"before"], 1)
    spool.make_room([1])
    spool.commit(blob=b"after", n_records=1, journal=b"")
    assert (entries(path), spool.pending_records) == ([b"after"], 1)
    spool.close()


def test_a_spool_has_one_writer_and_one_edge(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool = Spool(path, "edge-1", MAX)
    with pytest.raises(SpoolError, match="in use by another"):
        Spool(path, "edge-1", MAX)
    spool.close()
    with pytest.raises(SpoolError, match=r"expected .* of edge 'edge-2'"):
        Spool(path, "edge-2", MAX)


@pytest.mark.parametrize(
    "damage", [b"no database at all " * 500, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_a_damaged_spool_is_moved_aside_and_counted(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "s"
    path.write_bytes(damage)
    spool = Spool(path, "edge-1", MAX)
    assert spool.moved_aside is not None
    assert spool.moved_aside.read_bytes() == damage
    spool.commit(blob=b"x", n_records=1, journal=b"")
    spool.close()
    again = Spool(path, "edge-1", MAX)
    assert again.moved_aside is None
    again.close()


def test_a_spool_that_cannot_be_opened_now_keeps_what_waits_in_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool = Spool(path, "edge-1", MAX)
    spool.commit(blob=b"waiting", n_records=3, journal=b"")
    spool.close()
    holder = sqlite3.connect(path)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SpoolError, match="cannot be opened"):
        Spool(path, "edge-1", MAX)
    holder.rollback()
    holder.close()
    again = Spool(path, "edge-1", MAX)
    assert (again.moved_aside, again.pending_records) == (None, 3)
    again.close()


def test_a_checkpoint_shortens_the_journal_and_changes_no_state(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool, line = pipeline(path)
    for number in range(30):
        line.give(story(number))
        line.commit([], T0)
        if number == 20:
            line.checkpoint_if_due(now=True)
    state, blobs = spool.recover()
    assert state is not None
    assert len(blobs) == 9
    before = line.core.snapshot()
    spool.close()
    again, restored = pipeline(path)
    assert restored.core.snapshot() == before
    again.close()


def test_groups_go_on_while_a_checkpoint_is_written_and_their_inputs_stay(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool, line = pipeline(path)
    for number in range(30):
        line.give(story(number))
        line.commit([], T0)
        if number == 10:
            halfway, covered = line.core.snapshot(), spool.journal_number
    written = spool.write_state(halfway, covered)
    spool.write_state(b"never adopted", covered - 1)  # a process may die in between
    spool.adopt(written, covered)
    assert [file.name for file in tmp_path.glob("s.state-*")] == [written.name]
    before = line.core.snapshot()
    spool.close()
    again, restored = pipeline(path)
    assert restored.core.snapshot() == before
    again.close()


def test_a_checkpoint_that_is_gone_is_told_and_nothing_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool, line = pipeline(path)
    line.give(story(0))
    line.commit([], T0)
    line.checkpoint_if_due(now=True)
    spool.close()
    (state,) = tmp_path.glob("s.state-*")
    state.unlink()
    with pytest.raises(SpoolError, match=state.name):
        Spool(path, "edge-1", MAX)


def test_confirmed_entries_with_refused_records_become_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool, line = pipeline(path)
    line.give(story(0))
    line.give(story(1))
    group = line.commit([], T0)
    (batch,) = (b for b in group.batches if b.message == "vehicle_state")
    done = [Done((1,), ((batch.slice(0, 1), "bad column"),))]
    line.give_refused(done, T0)
    line.commit(done, T0)
    (blob,) = entries(path)
    (letters,) = unpack(blob)
    assert letters.to_records()[0]["reason"] == "refused_by_store"
    assert spool.pending_records == 0
    spool.close()
    again, restored = pipeline(path)
    assert restored.core.totals()["rejected"] == 1
    again.close()


CHILD = """
import sys
from pathlib import Path
from tests.unit.edge.test_spool import pipeline, story
from tests.support.edge_world import T0
spool, line = pipeline(Path(sys.argv[1]))
first = int(sys.argv[2])
for number in range(first, 10_000):
    line.give(story(number))
    line.commit([], T0)
    print(number, flush=True)
    if number % 7 == 0:
        line.checkpoint_if_due(now=True)
"""


def killed_at(path: Path, first: int, at: int) -> None:
    """Run the child from message `first` and kill -9 it after `at`."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(first)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    timer = threading.Timer(60.0, process.kill)
    timer.start()
    last = first - 1
    for line in process.stdout:
        last = int(line)
        if last == at:
            process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    timer.cancel()
    assert last >= at, "the child ended on its own"


def test_after_kill_9_state_and_spool_go_on_exactly(tmp_path: Path) -> None:
    path = tmp_path / "s"
    killed_at(path, 0, 23)
    # Each message is one group, and each group one entry: what was committed counts, also when
    # the child was killed before it could say so.
    first = len(entries(path))
    assert first >= 24
    killed_at(path, first, first + 16)
    blobs = entries(path)
    spool, line = pipeline(path)
    reference, expected = EdgeCore({}, "edge-1", spool.epoch), []
    for number in range(len(blobs)):
        story(number).apply(reference)
        expected.append([(b.message, b.to_records()) for b in reference.take_group().batches])
    totals = line.core.totals()
    assert totals == reference.totals()
    assert totals["duplicates"] == 0
    assert line.core.snapshot() == reference.snapshot()
    assert [stripped(blob) for blob in blobs] == expected
    spool.close()


def stripped(blob: bytes) -> list[tuple[str, list[dict[str, Any]]]]:
    """Messages and records of an entry, but for what depends on the uplink."""
    return [
        (
            b.message,
            [{k: v for k, v in r.items() if k != "pending_records"} for r in b.to_records()],
        )
        for b in unpack(blob)
    ]
