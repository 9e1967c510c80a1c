"""The spool: what the edge has acknowledged, on disk until the cloud has it.

SQLite in WAL mode with synchronous FULL: after `commit` returns, a power cut loses nothing (NORMAL
would not sync the log at commit; FULL costs 0.03 us a record more). One transaction holds a
group's blob for the uplink, its inputs (journal.py) and the deletion of what the cloud confirmed
or what was given up, so that records, accounts and acknowledgements agree after a crash at any
moment.

| table | rows |
|---|---|
| entries | counter, blob for the uplink, its records; deleted when confirmed or given up |
| journal | inputs of each group since the checkpoint; those before it go with the next commits |
| state | one row: the file of the core's checkpoint and the journal number it covers |
| sending | one row: the entries that the uplink sends as one parcel (spool_reader.py) |
| meta | format, random epoch, edge id, how many damaged spools were moved aside |

A checkpoint is a file beside the database: SQLite would hold every commit up while it writes and
syncs megabytes (150 ms for 100,000 vehicles), and a file can be written by another thread.
A spool belongs to one edge id. One process writes; the uplink reads by its own connection.
Freed pages are used again; what was free with the journal at its longest is given back to the
disk, 4 MB at a checkpoint, so that a backlog of gigabytes goes within the hour. SQLite needs room
to delete, too: a file beside the spool is a reserve, given up when the disk is full and made again
before anything more is taken in.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from openvrc.contracts.errors import VrcError

FORMAT = "openvrc-spool/2"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    counter INTEGER PRIMARY KEY AUTOINCREMENT,
    blob BLOB NOT NULL, n_records INTEGER NOT NULL, created_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1), blob BLOB NOT NULL, journal_number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sending (
    id INTEGER PRIMARY KEY CHECK (id = 1), first INTEGER NOT NULL, last INTEGER NOT NULL);
"""
_PAGE_BYTES = 16_384
"""Groups are blobs of up to some hundred kB: with SQLite's 4 kB pages a commit takes half as long
again."""
_LOG_PAGES = 4_096_000 // _PAGE_BYTES
_WAL_LIMIT_BYTES = 16 * 1024 * 1024
"""What the log may keep on disk once its content is in the file."""
_GIVE_BACK_PAGES = 4_194_304 // _PAGE_BYTES
"""Free pages (4 MB) that are kept for the next groups; more go back to the disk."""

_MOST_PAGES_AT_ONCE = 4_194_304 // _PAGE_BYTES
"""4 MB at a checkpoint: a backlog of a day must not hold up the groups while it is given back."""
_FORGOTTEN_AT_ONCE = 4
"""Journal entries that a checkpoint covers go with the next commits, so many with each: to free a
hundred at once took 0.2 s, in which no group could be acknowledged."""
_RESERVE_BYTES = 5 * 1024 * 1024
"""The log's usual size, 4 MB, which may all be new to the file, and some for the deletion."""
_RESERVE_SUFFIX = ".reserve"
_STATE_SUFFIX = ".state-"
_FRESH_SUFFIX = ".new"
_VACUUM_PAGES = 1_048_576 // _PAGE_BYTES
"""Moved at a time on a full disk: a megabyte of log."""


class SpoolError(VrcError):
    """A spool that cannot be used: says which file and why."""


class SpoolWriteError(SpoolError):
    """The disk takes nothing now (full, failing): nothing was written, the same may work later."""

    retryable = True


@dataclass(frozen=True)
class Waiting:
    """An entry without its blob."""

    counter: int
    n_bytes: int
    n_records: int
    created_ns: int


class Spool:
    """The one writer of a spool file."""

    def __init__(self, path: Path, edge_id: str, max_bytes: int) -> None:
        """Open or make it. A damaged file is moved aside (`moved_aside`) and a new one begun.

        Raises SpoolError if another process has it open, it belongs to another edge, or the
        system does not let it be opened or written.
        """
        self.path = path
        self.moved_aside: Path | None = None
        self.max_bytes = max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path)
        try:
            self._db = _open(path)
        except sqlite3.OperationalError as error:
            # A full or read-only disk is no damage: what waits in the file must stay its own.
            self._lock.close()
            raise SpoolError(f"{path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError:
            self.moved_aside = _move_aside(path)
            self._db = _open(path)
            self._count_damage()
        try:
            self.epoch = self._identify(edge_id)
            self._forget_states(but=self._state_file())
        except SpoolError:
            self.close()
            raise
        self._count_pending()
        if self.is_full:
            with suppress(SpoolWriteError):  # without room to delete; then as the cloud takes
                self.forget_covered()
        self._reserve = path.with_name(path.name + _RESERVE_SUFFIX)
        self._has_reserve()  # without one a full disk needs a person; that is no reason not to run

    def _count_damage(self) -> None:
        with self._db:
            self._db.execute("INSERT INTO meta VALUES ('damaged_spools', '1')")

    def _identify(self, edge_id: str) -> int:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if "epoch" not in meta:
            # 62 random bits: two spools of one edge never share batch ids.
            meta |= {"epoch": str(secrets.randbits(62)), "edge_id": edge_id, "format": FORMAT}
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
        if meta["edge_id"] != edge_id or meta["format"] != FORMAT:
            found = f"{meta['format']} of edge {meta['edge_id']!r}"
            raise SpoolError(f"{self.path} is {found}, expected {FORMAT} of edge {edge_id!r}")
        return int(meta["epoch"])

    def _count_pending(self) -> None:
        sql = "SELECT coalesce(sum(n_records), 0), coalesce(sum(length(blob)), 0) FROM entries"
        self.pending_records, self._entry_bytes = self._db.execute(sql).fetchone()
        sql = "SELECT coalesce(sum(length(blob)), 0) FROM journal"
        (self._journal_bytes,) = self._db.execute(sql).fetchone()
        row = self._db.execute("SELECT journal_number FROM state").fetchone()
        self._covered_number = int(row[0]) if row else 0
        sql = "SELECT max(coalesce((SELECT max(number) FROM journal), 0), coalesce(("
        sql += "SELECT journal_number FROM state), 0))"
        (self.journal_number,) = self._db.execute(sql).fetchone()

    @property
    def n_bytes(self) -> int:
        """Bytes of entries and journal."""
        return int(self._entry_bytes + self._journal_bytes)

    @property
    def is_full(self) -> bool:
        """Full means: acknowledge nothing more until the cloud has taken something."""
        return self.n_bytes >= self.max_bytes

    def oldest_ns(self) -> int | None:
        """When the oldest entry that is still here was written; None without any."""
        sql = "SELECT created_ns FROM entries ORDER BY counter LIMIT 1"
        row = self._db.execute(sql).fetchone()
        return int(row[0]) if row else None

    def waiting(self, after: int, limit: int) -> list[Waiting]:
        """The oldest entries behind a counter."""
        sql = (
            "SELECT counter, length(blob), n_records, created_ns FROM entries "
            "WHERE counter > ? ORDER BY counter LIMIT ?"
        )
        return [Waiting(*row) for row in self._db.execute(sql, (after, limit))]

    def blob(self, counter: int) -> bytes:
        """The blob of an entry that is here."""
        sql = "SELECT blob FROM entries WHERE counter = ?"
        return bytes(self._db.execute(sql, (counter,)).fetchone()[0])

    def commit(
        self,
        *,
        blob: bytes | None,
        n_records: int,
        journal: bytes,
        gone: Sequence[int] = (),
        kept: Sequence[tuple[int, bytes]] = (),
        now_ns: int = 0,
    ) -> None:
        """One group, durably, all of it or nothing.

        Its blob (None: nothing for the cloud), its inputs, the deletion of entries that the cloud
        confirmed or that are given up (`gone`), and of those given up what is `kept` after all
        (counter and blob, no numbered records). Raises SpoolWriteError, SpoolError.
        """
        keeps = dict(kept)
        add = "INSERT INTO entries (blob, n_records, created_ns) VALUES (?, ?, ?)"
        change = "UPDATE entries SET blob = ?, n_records = 0 WHERE counter = ?"
        try:
            covered = self._covered(_FORGOTTEN_AT_ONCE)
            was = [self._size_of(counter) for counter in [*gone, *keeps]]
            with self._db:
                deleted = [(counter,) for counter in gone]
                self._db.executemany("DELETE FROM entries WHERE counter = ?", deleted)
                self._db.executemany(change, [(kept_blob, c) for c, kept_blob in keeps.items()])
                self._forget(covered)
                if blob is not None:
                    self._db.execute(add, (blob, n_records, now_ns))
                if journal:
                    sql = "INSERT INTO journal (blob) VALUES (?)"
                    self.journal_number = self._db.execute(sql, (journal,)).lastrowid or 0
        except sqlite3.Error as error:
            raise self._write_error(error) from error
        self.pending_records += n_records - sum(records for records, _ in was)
        new_bytes = len(blob or b"") + sum(map(len, keeps.values()))
        self._entry_bytes += new_bytes - sum(size for _, size in was)
        self._journal_bytes += len(journal) - sum(size for _, size in covered)

    def _covered(self, limit: int = -1, *, upto: int | None = None) -> list[tuple[int, int]]:
        """The oldest journal entries that the checkpoint covers: numbers and sizes."""
        sql = "SELECT number, length(blob) FROM journal WHERE number <= ? ORDER BY number LIMIT ?"
        number = self._covered_number if upto is None else upto
        return self._db.execute(sql, (number, limit)).fetchall()

    def _forget(self, covered: Sequence[tuple[int, int]]) -> None:
        sql = "DELETE FROM journal WHERE number = ?"
        self._db.executemany(sql, [(number,) for number, _ in covered])

    def make_room(self, gone: Sequence[int]) -> None:
        """On a full disk: forget entries the cloud has, and give their space back to the disk.

        Raises SpoolWriteError until there is a reserve again, SpoolError.
        """
        self._reserve.unlink(missing_ok=True)
        self._shorten_log()
        if gone:
            self.commit(blob=None, n_records=0, journal=b"", gone=gone)
        self.forget_covered()
        try:
            self._give_back(_VACUUM_PAGES)
        except sqlite3.Error as error:
            raise self._write_error(error) from error
        self._shorten_log()
        if not self._has_reserve():
            raise SpoolWriteError(
                f"{self.path}: the disk has less than {_RESERVE_BYTES} bytes free"
            )

    def _give_back(self, n_pages: int) -> None:
        # `execute` would step once and free one page.
        self._db.executescript(f"PRAGMA incremental_vacuum({n_pages})")

    def _shorten_log(self) -> None:
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise self._write_error(error) from error

    def _has_reserve(self) -> bool:
        """Whether there is a reserve, made now if need be."""
        try:
            if self._reserve.stat().st_size == _RESERVE_BYTES:
                return True
        except FileNotFoundError:
            pass
        try:
            self._reserve.write_bytes(bytes(_RESERVE_BYTES))
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        return True

    def _write_error(self, error: sqlite3.Error) -> SpoolError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code
        kind = (
            SpoolWriteError if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) else SpoolError
        )
        return kind(f"{self.path} cannot be written: {error}")

    def _size_of(self, counter: int) -> tuple[int, int]:
        sql = "SELECT n_records, length(blob) FROM entries WHERE counter = ?"
        row = self._db.execute(sql, (counter,)).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def checkpoint(self, state: bytes) -> None:
        """Keep the core's state as of the newest commit; its inputs so far are not needed again.

        Raises SpoolWriteError, SpoolError.
        """
        self.adopt(self.write_state(state, self.journal_number), self.journal_number)

    def write_state(self, state: bytes, journal_number: int) -> Path:
        """A durable file with the state as of a journal number; by any thread, one at a time.

        Raises SpoolWriteError.
        """
        path = self.path.with_name(f"{self.path.name}{_STATE_SUFFIX}{journal_number}")
        # The file of this name may be the one that counts: with nothing taken in, it has the same
        # number. It is replaced whole, or stays.
        fresh = path.with_name(path.name + _FRESH_SUFFIX)
        try:
            with fresh.open("wb") as file:
                file.write(state)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise SpoolWriteError(f"{path} cannot be written: {error}") from error
        return path

    def adopt(self, state: Path, journal_number: int) -> None:
        """Begin from this file after a crash; inputs up to that number are not needed again.

        They go with the next commits, a full spool's at once. Raises SpoolWriteError, SpoolError.
        """
        row = (state.name.removeprefix(self.path.name).encode(), journal_number)
        try:
            # What is free now, with the journal at its longest, is free for good.
            (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
            covered = self._covered(upto=journal_number) if self.is_full else []
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", row)
                self._forget(covered)
        except sqlite3.Error as error:
            raise self._write_error(error) from error
        self._covered_number = journal_number
        self._journal_bytes -= sum(size for _, size in covered)
        if free > _GIVE_BACK_PAGES:
            with suppress(sqlite3.Error):  # the checkpoint counts; the next one gives back, too
                self._give_back(min(free - _GIVE_BACK_PAGES, _MOST_PAGES_AT_ONCE))
        self._forget_states(but=state)

    def forget_covered(self) -> None:
        """Free at once what the checkpoint covers. Raises SpoolWriteError, SpoolError."""
        try:
            covered = self._covered()
            with self._db:
                self._forget(covered)
        except sqlite3.Error as error:
            raise self._write_error(error) from error
        self._journal_bytes -= sum(size for _, size in covered)

    def _state_file(self) -> Path | None:
        """The file of the newest checkpoint. Raises SpoolError if it is gone."""
        row = self._db.execute("SELECT blob FROM state").fetchone()
        if row is None:
            return None
        path = self.path.with_name(self.path.name + bytes(row[0]).decode("utf-8", "replace"))
        if not path.name.startswith(self.path.name + _STATE_SUFFIX) or not path.exists():
            raise SpoolError(f"{self.path} names {path.name!r} as its checkpoint, expected a file")
        return path

    def _forget_states(self, but: Path | None) -> None:
        for path in self.path.parent.glob(f"{self.path.name}{_STATE_SUFFIX}*"):
            if path != but:
                path.unlink(missing_ok=True)

    def recover(self) -> tuple[bytes | None, list[bytes]]:
        """The newest checkpoint, if there is one, and the inputs of all groups since."""
        path = self._state_file()
        row = self._db.execute("SELECT journal_number FROM state").fetchone()
        number = row[0] if row else 0
        sql = "SELECT blob FROM journal WHERE number > ? ORDER BY number"
        blobs = [blob for (blob,) in self._db.execute(sql, (number,))]
        return (path.read_bytes() if path else None), blobs

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._db.close()
        self._lock.close()


def _locked(path: Path) -> IO[str]:
    lock = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise SpoolError(f"{path} is in use by another edge process") from error
    return lock


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    try:
        db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # of a new file, as the next
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; an old one stays as it is
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        db.executescript(_SCHEMA)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    companions = [path.with_name(path.name + tail) for tail in ("-wal", "-shm")]
    companions += path.parent.glob(f"{path.name}{_STATE_SUFFIX}*")
    path.rename(aside)
    for companion in companions:
        if companion.exists():
            companion.rename(aside.with_name(aside.name + companion.name[len(path.name) :]))
    return aside
