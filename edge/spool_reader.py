"""The uplink's view of the spool: parcels, in order.

A parcel is one entry, or, when the uplink is behind, all that wait, one behind the other: a body of
twenty groups costs the cloud one transaction, and a link with a long way pays it once. A parcel
travels under the number of its last entry. Sent again it must hold the very same entries, also
after a crash, for the cloud knows it by its number only; so a parcel of several is noted in the
spool before it is sent. Without a note the first entry was on its way alone.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

MAX_PARCEL_BYTES = 1_000_000
"""Some 25,000 records: a tenth of a second of a cloud's work, and far below its largest body."""
MAX_PARCEL_ENTRIES = 100


@dataclass(frozen=True)
class Parcel:
    """Entries `counters`, in order, and their blobs as one body."""

    counters: tuple[int, ...]
    body: bytes

    @property
    def number(self) -> int:
        """What it is known by: its last entry's."""
        return self.counters[-1]


class SpoolReader:
    """Hands out parcels. Make it in the thread that uses it."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA synchronous = FULL")
        self._is_first = True

    def after(self, counter: int) -> Parcel | None:
        """The first parcel behind this counter; fixed from now on, whatever happens."""
        sizes = self._sizes(counter)
        if not sizes:
            return None
        counters = self._begun(sizes) if self._is_first else self._noted(_as_many_as_fit(sizes))
        self._is_first = False
        return Parcel(tuple(counters), self._bodies(counters))

    def _noted(self, counters: list[int]) -> list[int]:
        if len(counters) == 1:
            return counters
        try:
            with self._db:
                note = "INSERT OR REPLACE INTO sending VALUES (1, ?, ?)"
                self._db.execute(note, (counters[0], counters[-1]))
        except sqlite3.OperationalError:
            return counters[:1]  # a full disk: what is sent makes room
        return counters

    def _sizes(self, counter: int) -> list[tuple[int, int]]:
        sql = "SELECT counter, length(blob) FROM entries WHERE counter > ? ORDER BY counter LIMIT ?"
        return self._db.execute(sql, (counter, MAX_PARCEL_ENTRIES)).fetchall()

    def _begun(self, sizes: list[tuple[int, int]]) -> list[int]:
        """What was on its way when this process began."""
        row = self._db.execute("SELECT first, last FROM sending").fetchone()
        first, last = row or (0, 0)
        noted = [counter for counter, _ in sizes if first <= counter <= last]
        return noted or [sizes[0][0]]

    def _bodies(self, counters: list[int]) -> bytes:
        sql = "SELECT blob FROM entries WHERE counter BETWEEN ? AND ? ORDER BY counter"
        return b"".join(
            blob for (blob,) in self._db.execute(sql, (counters[0], counters[-1])).fetchall()
        )

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def _as_many_as_fit(sizes: list[tuple[int, int]]) -> list[int]:
    counters: list[int] = []
    n_bytes = 0
    for counter, size in sizes:
        n_bytes += size
        if counters and n_bytes > MAX_PARCEL_BYTES:
            break
        counters.append(counter)
    return counters
