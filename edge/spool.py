"""The spool: what the edge has acknowledged, on disk until the cloud has it.

SQLite in WAL mode with synchronous FULL: after `commit` returns, a power cut loses nothing (NORMAL
would not sync the log at commit; FULL costs 0.03 us a record more). One transaction holds a
group's blob for the uplink, its inputs (journal.py) and the deletion of what the cloud confirmed,
so that records, accounts and acknowledgements agree after a crash at any moment.

| table | rows |
|---|---|
| entries | counter, blob for the uplink, its records; deleted when confirmed |
| journal | inputs of each group since the checkpoint |
| state | one row: the core's checkpoint and the journal number it covers |
| meta | format, random epoch, edge id, how many damaged spools were moved aside |

A spool belongs to one edge id. One process writes; the uplink reads by its own connection.
"""

from __future__ import annotations

import fcntl
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from openvrc.contracts.errors import VrcError

FORMAT = "openvrc-spool/1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    counter INTEGER PRIMARY KEY AUTOINCREMENT,
    blob BLOB NOT NULL, n_records INTEGER NOT NULL, created_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1), blob BLOB NOT NULL, journal_number INTEGER NOT NULL);
"""


class SpoolError(VrcError):
    """A spool that cannot be used: says which file and why."""


@dataclass(frozen=True)
class Entry:
    """One blob on its way to the cloud; `counter` numbers them within the epoch."""

    counter: int
    blob: bytes
    n_records: int


class Spool:
    """The one writer of a spool file."""

    def __init__(self, path: Path, edge_id: str, max_bytes: int) -> None:
        """Open or make it. A damaged file is moved aside (`moved_aside`) and a new one begun.

        Raises SpoolError if another process has it open, it belongs to another edge, or the
        system does not let it be opened or written.
        """
        self.path = path
        self.moved_aside: Path | None = None
        self._max_bytes = max_bytes
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
        except SpoolError:
            self.close()
            raise
        self._count_pending()

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

    @property
    def n_bytes(self) -> int:
        """Bytes of entries and journal."""
        return int(self._entry_bytes + self._journal_bytes)

    @property
    def is_full(self) -> bool:
        """Full means: acknowledge nothing more until the cloud has taken something."""
        return self.n_bytes >= self._max_bytes

    def commit(
        self,
        *,
        blob: bytes | None,
        n_records: int,
        journal: bytes,
        confirmed: Sequence[int] = (),
        now_ns: int = 0,
    ) -> None:
        """One group, durably.

        Its blob (None: nothing for the cloud), its inputs, and the deletion of entries the cloud
        confirmed. Raises SpoolError.
        """
        gone = [self._size_of(counter) for counter in confirmed]
        try:
            with self._db:
                if blob is not None:
                    self._db.execute(
                        "INSERT INTO entries (blob, n_records, created_ns) VALUES (?, ?, ?)",
                        (blob, n_records, now_ns),
                    )
                if journal:
                    self._db.execute("INSERT INTO journal (blob) VALUES (?)", (journal,))
                delete = "DELETE FROM entries WHERE counter = ?"
                self._db.executemany(delete, [(counter,) for counter in confirmed])
        except sqlite3.Error as error:
            raise SpoolError(f"{self.path} cannot be written: {error}") from error
        self.pending_records += n_records - sum(records for records, _ in gone)
        self._entry_bytes += len(blob or b"") - sum(size for _, size in gone)
        self._journal_bytes += len(journal)

    def _size_of(self, counter: int) -> tuple[int, int]:
        sql = "SELECT n_records, length(blob) FROM entries WHERE counter = ?"
        row = self._db.execute(sql, (counter,)).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def checkpoint(self, state: bytes) -> None:
        """Keep the core's state as of the newest commit; its inputs so far are not needed again."""
        sql = "SELECT coalesce(max(number), 0) FROM journal"
        try:
            with self._db:
                (number,) = self._db.execute(sql).fetchone()
                self._db.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", (state, number))
                self._db.execute("DELETE FROM journal WHERE number <= ?", (number,))
        except sqlite3.Error as error:
            raise SpoolError(f"{self.path} cannot be written: {error}") from error
        self._journal_bytes = 0

    def recover(self) -> tuple[bytes | None, list[bytes]]:
        """The newest checkpoint, if there is one, and the inputs of all groups since."""
        row = self._db.execute("SELECT blob, journal_number FROM state").fetchone()
        state, number = row or (None, 0)
        sql = "SELECT blob FROM journal WHERE number > ? ORDER BY number"
        return state, [blob for (blob,) in self._db.execute(sql, (number,))]

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._db.close()
        self._lock.close()


class SpoolReader:
    """The uplink's view: entries in order. Make it in the thread that uses it."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)

    def after(self, counter: int) -> Entry | None:
        """The first entry behind this counter."""
        sql = (
            "SELECT counter, blob, n_records FROM entries "
            "WHERE counter > ? ORDER BY counter LIMIT 1"
        )
        row = self._db.execute(sql, (counter,)).fetchone()
        return Entry(*row) if row else None

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


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
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
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
    path.rename(aside)
    for tail in ("-wal", "-shm"):
        companion = path.with_name(path.name + tail)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + tail))
    return aside
