"""What became of every record, per sender and in sum (DESIGN rule 5).

The edges' accounts (`ledger`) say what was sent and what the edges made of it; `counter` and the
pipeline's memory say what the cloud stored or refused. One sender's account is exact. The sum over
more senders than fit a page is one pass over the tables: in it, records that overtook the account
of them (for a second, or for good where an edge lost its spool) are netted against others that are
still on their way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Any, Protocol, TypeVar

from psycopg.rows import dict_row

from cloud.store.read_types import (
    Account,
    Accounting,
    Connection,
    Row,
    SourceAccount,
)
from cloud.store.sql import statement, statements
from openvrc.contracts.reasons import Reason

MAX_GAPS = 100
LISTED_GAPS = 20
"""Gaps in one account of an edge (edge/ledger.py); a list of so many may go on."""
CONSISTENT_WITHIN_S = 2.0
"""A checkpoint moves counts from memory to the table within milliseconds."""
ALL_SENDERS = 10_000_000
_FILTER = """k.run = ANY (w.runs) AND k.zone = ANY (w.zones)
    AND (%(source)s::text IS NULL OR k.source = w.source)"""

_T = TypeVar("_T")
SenderKey = tuple[int, int, int]
"""(run, zone, source) as the store's keys."""
Counts = Mapping[tuple[int, int, int, int, str], Sequence[int]]
"""[stored, repeated, refused] by (run, zone, source, session, message)."""


class PipelineCounts(Protocol):
    """What a pipeline in this process has counted since its checkpoint."""

    def read(self) -> tuple[int, Counts]:
        """Position of the checkpoint, and the counts since."""
        ...


@dataclass(frozen=True)
class Memory:
    """What is in no table yet. Up to 100,000 senders: each question is one pass."""

    counts: Counts

    def behind(self, after: SenderKey, limit: int) -> list[SenderKey]:
        """The first senders behind a key, in order."""
        run, zone, source = after
        place = (run, zone, source + 1)
        n_keys = limit
        while True:
            keys = nsmallest(n_keys, (key for key in self.counts if key > place))
            senders = list(dict.fromkeys(key[:3] for key in keys))
            if len(senders) >= limit or len(keys) < n_keys:
                return senders[:limit]
            n_keys *= 4  # a sender has several sessions and messages

    def of(self, senders: Collection[SenderKey]) -> list[tuple[SenderKey, int, Sequence[int]]]:
        """Sender, session and counts of some senders."""
        sources = {source for _, _, source in senders}
        return [
            (key[:3], key[3], entry)
            for key, entry in self.counts.items()
            if key[2] in sources and key[:3] in senders
        ]

    def sums(self) -> dict[tuple[int, int], list[int]]:
        """[stored, repeated, refused] by run and zone."""
        found: dict[tuple[int, int], list[int]] = {}
        for key, entry in self.counts.items():
            _add(found.setdefault(key[:2], [0, 0, 0]), entry)
        return found


@dataclass(frozen=True)
class Wanted:
    """Which senders are asked for; None is all."""

    zone: str | None = None
    run_id: str | None = None
    source: str | None = None

    @property
    def facts(self) -> Row:
        """Parameters of the statements."""
        return {"zone": self.zone, "run_id": self.run_id, "source": self.source}


@dataclass
class _Session:
    """One session of a sender: its ledger rows and what the cloud made of it."""

    ledgers: list[Row] = field(default_factory=list)
    settled: list[int] = field(default_factory=lambda: [0, 0, 0])
    """[stored, repeated, refused]"""


def accounting(
    connection: Connection,
    pipeline_counts: PipelineCounts | None,
    *,
    zone: str | None = None,
    run_id: str | None = None,
    source: str | None = None,
    after: SenderKey = (-1, -1, -1),
    limit: int = ALL_SENDERS,
) -> Accounting:
    """Accounts of senders behind a key, at most `limit`, and the sum over all that are asked for.

    `pipeline_counts` is `Pipeline.counts`, None without one.
    """
    wanted = Wanted(zone, run_id, source)
    return _consistent(
        connection, pipeline_counts, lambda memory: _page(connection, memory, wanted, after, limit)
    )


def zone_sums(connection: Connection, pipeline_counts: PipelineCounts | None) -> dict[str, Account]:
    """The sum of each zone's accounts, over all runs."""
    sums = _consistent(
        connection, pipeline_counts, lambda memory: _sums(connection, memory, Wanted())
    )
    names = {(kind, key): name for kind, key, name in connection.execute(statement("key_names"))}
    by_zone: dict[str, list[Account]] = {}
    for (_, zone), account in sums.items():
        by_zone.setdefault(names["zone", zone], []).append(account)
    return {zone: _sum(accounts) for zone, accounts in by_zone.items()}


def most_rejected(
    connection: Connection, pipeline_counts: PipelineCounts | None, limit: int
) -> list[SourceAccount]:
    """Accounts of the senders of which the edges rejected most."""
    named = _select(connection, "most_rejected", {"limit": limit})
    return _consistent(
        connection, pipeline_counts, lambda memory: _source_accounts(connection, memory, named)
    )


def _consistent(
    connection: Connection, counts: PipelineCounts | None, read: Callable[[Memory], _T]
) -> _T:
    """Read tables and memory that stand on the same checkpoint."""
    deadline_s = time.monotonic() + CONSISTENT_WITHIN_S
    while True:
        position, known = counts.read() if counts else (None, {})
        memory = Memory(known)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = connection.execute(statement("checkpoint_position")).fetchone()
            result = read(memory)
        is_consistent = position is None or (found is not None and found[0] == position)
        if is_consistent or time.monotonic() > deadline_s:
            return result
        time.sleep(0.005)


def _page(
    connection: Connection, memory: Memory, wanted: Wanted, after: SenderKey, limit: int
) -> Accounting:
    named = _keys(connection, memory, wanted, after, limit + 1)
    sources = _source_accounts(connection, memory, named[:limit])
    is_all = after == (-1, -1, -1) and len(named) <= limit
    if is_all or wanted.source is not None:
        return Accounting(_sum(source.account for source in sources), sources)
    totals = _sum(_sums(connection, memory, wanted).values())
    next_after = _key(named[limit - 1]) if len(named) > limit else None
    return Accounting(totals, sources, next_after)


def _keys(
    connection: Connection, memory: Memory, wanted: Wanted, after: SenderKey, limit: int
) -> list[Row]:
    """Names and keys of a page of senders."""
    if wanted.source is not None:
        # Its own rows are few; what only memory knows of it is told by its key.
        key = _one(connection, "key_of_source", wanted.facts)
        new = [sender for sender in {k[:3] for k in memory.counts if k[2] == key} if sender > after]
    else:
        new = memory.behind(after, limit)
    places = {"after_run": after[0], "after_zone": after[1], "after_source": after[2]}
    facts = wanted.facts | places | _columns(new) | {"limit": limit}
    # Without a filter the index gives the page in order; with one the few that fit are sorted.
    text = statements()["account_page"].format(filter=_FILTER if wanted != Wanted() else "true")
    return _rows(connection, text.encode(), facts)


def _one(connection: Connection, name: str, facts: Row) -> Any:
    row = connection.execute(statement(name), facts).fetchone()
    return row[0] if row else None


def _columns(keys: Iterable[SenderKey]) -> Row:
    listed = list(keys)
    names = ("runs", "zones", "sources")
    return {name: [key[place] for key in listed] for place, name in enumerate(names)}


def _key(row: Mapping[str, Any]) -> SenderKey:
    return row["run"], row["zone"], row["source"]


def _source_accounts(
    connection: Connection, memory: Memory, named: list[Row]
) -> list[SourceAccount]:
    of_sender: dict[SenderKey, dict[int, _Session]] = {_key(row): {} for row in named}
    keys = _columns(of_sender)
    for row in _select(connection, "counters_of", keys):
        session = of_sender[_key(row)].setdefault(row["session"], _Session())
        _add(session.settled, (row["stored"], row["repeated"], row["refused"]))
    for key, number, entry in memory.of(of_sender):
        _add(of_sender[key].setdefault(number, _Session()).settled, entry)
    for row in _select(connection, "ledgers_of", keys):
        of_sender[_key(row)].setdefault(row["session"], _Session()).ledgers.append(row)
    return [_source_account(row, list(of_sender[_key(row)].values())) for row in named]


def _add(sums: list[int], entry: Sequence[int]) -> None:
    sums[0] += entry[0]
    sums[1] += entry[1]
    sums[2] += entry[2]


def _sums(connection: Connection, memory: Memory, wanted: Wanted) -> dict[tuple[int, int], Account]:
    """One account by (run, zone)."""
    names = {(kind, key): name for kind, key, name in connection.execute(statement("key_names"))}
    settled: dict[tuple[int, int], list[int]] = {}
    for row in _select(connection, "counter_sums", wanted.facts):
        settled[row["run"], row["zone"]] = [row["stored"], row["repeated"], row["refused"]]
    for (run, zone), entry in memory.sums().items():
        is_wanted = wanted.run_id in (None, names.get(("run", run)))
        if is_wanted and wanted.zone in (None, names.get(("zone", zone))):
            _add(settled.setdefault((run, zone), [0, 0, 0]), entry)
    reasons: dict[tuple[int, int], dict[str, int]] = {}
    for row in _select(connection, "reason_sums", wanted.facts):
        reasons.setdefault((row["run"], row["zone"]), {})[row["reason"]] = row["n"]
    told: dict[tuple[int, int], Account] = {}
    shared: set[tuple[int, int]] = set()
    for row in _select(connection, "ledger_sums", wanted.facts):
        key = row["run"], row["zone"]
        account = _ledger_account(row | {"rejected": reasons.get(key, {})})
        if row["has_epochs"]:
            shared.add(key)
            account = _corrected(connection, key, account)
        told[key] = account
    return {
        key: _settled(
            told.get(key, Account()), settled.get(key, [0, 0, 0]), is_shared=key in shared
        )
        for key in told.keys() | settled.keys()
    }


def _corrected(connection: Connection, key: tuple[int, int], account: Account) -> Account:
    facts = {"run": key[0], "zone": key[1]}
    twice = _one(connection, "shared_sessions", facts)
    return replace(account, sent=account.sent - twice, missing=account.missing - twice)


def _select(connection: Connection, name: str, facts: Row) -> list[Row]:
    return _rows(connection, statement(name), facts)


def _rows(connection: Connection, text: bytes, facts: Row) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(text, facts).fetchall()


def _source_account(named: Row, sessions: list[_Session]) -> SourceAccount:
    accounts = [_session_account(session) for session in sessions]
    gaps = [
        gap
        for session, account in zip(sessions, accounts, strict=True)
        if account.missing
        for gap in _session_gaps(session.ledgers)
    ]
    ledgers = [ledger for session in sessions for ledger in session.ledgers]
    return SourceAccount(
        zone=named["zone_name"],
        run_id=named["run_id"],
        source_id=named["source_id"],
        is_sequenced=any(ledger["is_sequenced"] for ledger in ledgers),
        sessions=len(sessions),
        gaps=gaps[:MAX_GAPS],
        account=_sum(accounts),
        clock_offset_ms=_newest_offset_ms(ledgers),
    )


def _newest_offset_ms(ledgers: list[Row]) -> float | None:
    """Of the newest session; sessions are start times."""
    if not ledgers:
        return None
    newest = max(ledgers, key=lambda ledger: (ledger["session"], ledger["version"]))
    offset_ms: float | None = newest["clock_offset_ms"]
    return offset_ms


Gap = tuple[int, int]


def _session_gaps(ledgers: list[Row]) -> list[Gap]:
    """What none of a session's accounts has.

    An account knows of numbers up to its own end, and lists its first gaps only: behind the last
    one of a full list it is taken to have everything.
    """
    if not ledgers:
        return []
    most = max(row["sent"] for row in ledgers)
    gaps: list[Gap] | None = None
    for row in ledgers:
        mine = [(low, high) for low, high in row["gaps"]]
        if len(mine) < LISTED_GAPS and row["sent"] < most and len(ledgers) > 1:
            mine.append((row["sent"], most - 1))
        gaps = mine if gaps is None else _common(gaps, mine)
    return gaps or []


def _common(one: list[Gap], other: list[Gap]) -> list[Gap]:
    """The numbers that lie in a gap of both."""
    pairs = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return [(low, high) for low, high in pairs if low <= high]


def _session_account(session: _Session) -> Account:
    """One session's sum.

    Two edges (or an edge that lost its spool) may each have an account of it: their receipts add
    up, the sender's own count is the larger one, and what none of them has is missing.
    """
    total = _sum(_ledger_account(row) for row in session.ledgers)
    is_shared = len(session.ledgers) > 1 and all(row["is_sequenced"] for row in session.ledgers)
    if is_shared:
        accounted = total.sent - total.missing
        sent = max(*(row["sent"] for row in session.ledgers), accounted)
        total = replace(total, sent=sent, missing=sent - accounted)
    return _settled(total, session.settled, is_shared=is_shared)


def _settled(told: Account, settled: list[int], *, is_shared: bool) -> Account:
    """What the edges told, and what the cloud made of it: [stored, repeated, refused].

    `is_shared`: several spools told of the same sessions.
    """
    stored, repeated, refused = settled
    rejected = dict(told.rejected)
    for reason, count in (
        (Reason.DUPLICATE_SAMPLE, repeated),
        (Reason.REFUSED_BY_STORE, refused),
    ):
        if count:
            rejected[str(reason)] = rejected.get(str(reason), 0) + count
    # Records may overtake the account of them: they were sent and received all the same.
    ahead = max(0, sum(settled) - told.forwarded)
    # A spool that was lost may not have told of its last ones; its successor says they are missing.
    found = min(ahead, told.missing) if is_shared else 0
    return replace(
        told,
        sent=told.sent + ahead - found,
        missing=told.missing - found,
        received=told.received + ahead,
        forwarded=told.forwarded + ahead,
        stored=stored,
        rejected=rejected,
        pending=told.forwarded + ahead - sum(settled),
    )


_COUNTS = (
    "sent", "received", "forwarded", "dropped", "expired", "thinned", "missing", "duplicates",
)  # fmt: skip


def _ledger_account(row: Row) -> Account:
    rejected = {reason: int(n) for reason, n in row["rejected"].items()}
    return Account(**{name: row[name] for name in _COUNTS}, rejected=rejected)


def _sum(accounts: Iterable[Account]) -> Account:
    totals: dict[str, Any] = dict.fromkeys((*_COUNTS, "stored", "pending"), 0)
    rejected: dict[str, int] = {}
    for account in accounts:
        for name in totals:
            totals[name] += getattr(account, name)
        for reason, count in account.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    return Account(**totals, rejected=rejected)
