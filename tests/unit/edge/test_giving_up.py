"""A spool that may give up records counts each one against its sender, whatever happens."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge import giving_up
from edge.giving_up import Policy
from edge.journal import PAYLOAD, Input
from edge.pipeline import Pipeline
from edge.spool import Spool
from openvrc.contracts.batch import Batch
from openvrc.contracts.codecs.json_codec import JsonCodec
from openvrc.contracts.detection import Finding, Phase
from openvrc.contracts.finding_rows import findings_batch
from openvrc.contracts.units import NS_PER_S
from openvrc.contracts.wire import pack, unpack
from tests.support.edge_world import RUN, T0, ZONE, announce, vehicles

TOPIC = f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"
MAX_BYTES = 40_000
FORBIDDEN = 2
"""Entries up to this one are on their way."""


def opened(path: Path, policy: Policy, max_bytes: int = MAX_BYTES) -> tuple[Spool, Pipeline]:
    spool = Spool(path, "edge-1", max_bytes)
    return spool, Pipeline(spool, {}, "edge-1", max_payload_bytes=10**7, policy=policy)


def second(line: Pipeline, t: int, n_vehicles: int = 50) -> None:
    """One group: the announcement, or `n_vehicles` records of second `t`."""
    codec = JsonCodec()
    at_ns = T0 + t * NS_PER_S
    if t == 0:
        topic = f"vrc/v1/{ZONE}/zone/driver/zone_announce"
        line.give(Input(PAYLOAD, at_ns, topic, codec.encode(announce())))
    else:
        rows = [(f"v{number}", 0.001 * t, 5.0 * number) for number in range(n_vehicles)]
        seqs = range((t - 1) * n_vehicles, t * n_vehicles)
        line.give(Input(PAYLOAD, at_ns, TOPIC, codec.encode(vehicles(rows, seqs=seqs))))
    line.commit([], at_ns)


def waiting(path: Path) -> list[bytes]:
    db = sqlite3.connect(path)
    found = [blob for (blob,) in db.execute("SELECT blob FROM entries ORDER BY counter")]
    db.close()
    return found


def records(blobs: list[bytes]) -> list[int]:
    batches = [batch for blob in blobs for batch in unpack(blob)]
    return [r["seq"] for b in batches if b.message == "vehicle_state" for r in b.to_records()]


def test_a_full_spool_that_may_drop_drops_its_oldest_and_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool, line = opened(path, Policy(drops_oldest=True))
    fullness, t = False, 0
    while not fullness:
        second(line, t)
        fullness, t = spool.is_full, t + 1
    sent = 50 * (t - 1)
    line.give_up(FORBIDDEN, T0)
    line.commit([], T0)
    kept = records(waiting(path))
    totals = line.core.totals()
    assert not spool.is_full
    assert totals["sent"] == sent
    assert totals["dropped"] == sent - len(kept) > 0
    assert totals["forwarded"] == spool.pending_records == len(kept)
    assert kept[:50] == list(range(50))  # was on its way: stays
    assert kept[50:] == list(range(sent - len(kept) + 50, sent))  # else the oldest went
    spool.close()
    again, restored = opened(path, Policy(drops_oldest=True))
    assert dict(restored.core.totals()) == dict(totals)
    again.close()


def test_records_beyond_the_age_expire_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool, line = opened(path, Policy(max_age_ns=10 * NS_PER_S), 10**9)
    for t in range(21):
        second(line, t)
    line.give_up(0, T0 + 25 * NS_PER_S)
    line.commit([], T0 + 25 * NS_PER_S)
    totals = line.core.totals()
    assert totals["expired"] == 50 * 14  # seconds 1 to 14; second 15 is ten seconds old
    assert records(waiting(path)) == list(range(50 * 14, 50 * 20))
    assert totals["sent"] == totals["forwarded"] + totals["expired"] == 1000
    spool.close()


def test_the_announcement_of_a_run_outlives_the_records_given_up_with_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spool, line = opened(path, Policy(max_age_ns=NS_PER_S), 10**9)
    for t in range(4):
        second(line, t)
    for at_s in (60, 61):  # the second look has nothing more to give up
        line.give_up(0, T0 + at_s * NS_PER_S)
        line.commit([], T0 + at_s * NS_PER_S)
    (blob,) = waiting(path)
    assert [batch.message for batch in unpack(blob)] == ["zone_announce"]
    assert (spool.pending_records, line.core.totals()["expired"]) == (0, 150)
    spool.close()


def finding(phase: Phase, number: int) -> Finding:
    at_ns = T0 + number
    return Finding("traffic.conflict", phase, "vehicle", f"v{number}", at_ns, at_ns)


def found(*findings: Finding, run_id: str = RUN) -> Batch:
    facts = {"zone": ZONE, "run_id": run_id, "origin": "simulated", "edge_id": "edge-1"}
    return findings_batch(findings, received_at_ns=T0, **facts)


def told(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(batch.message, row["subject_id"]) for batch in batches for row in batch.to_records()]


def test_what_ends_something_outlives_the_records_given_up_with_it(tmp_path: Path) -> None:
    """Else the alert that the cloud has would stay open for ever."""
    path = tmp_path / "s"
    spool, _ = opened(path, Policy())
    for t in range(3):
        pair = found(finding("raise", 10 + t), finding("clear", t))
        spool.commit(blob=pack([pair, vehicles([("v", t, 5.0)])]), n_records=1, journal=b"")
    spool.close()
    spool, line = opened(path, Policy(max_age_ns=NS_PER_S), 10**9)
    for at_s in (60, 61):  # the second look has nothing more to give up
        line.give_up(0, T0 + at_s * NS_PER_S)
        line.commit([], T0 + at_s * NS_PER_S)
    (blob,) = waiting(path)
    assert told(unpack(blob)) == [("finding", f"v{t}") for t in range(3)]
    assert spool.pending_records == 0
    spool.close()


def test_announcements_and_ends_are_kept_in_order_and_the_newest_ends_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(giving_up, "MOST_ENDS", 3)
    ends = [found(finding("clear", number)) for number in range(5)]
    other = found(finding("unknown", 7), finding("clear", 8), run_id="run-2")
    kept = giving_up.kept([*ends[:3], announce(), other, *ends[3:]])
    assert told(kept) == [
        ("zone_announce", ZONE),
        ("finding", "v8"),
        ("finding", "v3"),
        ("finding", "v4"),
    ]
    assert len(kept) == 3


def test_without_a_policy_nothing_is_ever_given_up(tmp_path: Path) -> None:
    spool, line = opened(tmp_path / "s", Policy(), 1000)
    for t in range(3):
        second(line, t)
    assert spool.is_full
    assert not line.must_give_up
    spool.close()
