"""Lines of the table that `tests.bench.bench_traffic` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    where: str
    what: str
    ours: str
    naive: str = ""
    reference: str = ""
