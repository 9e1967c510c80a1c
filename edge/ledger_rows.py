"""Accounts as `source_ledger` batches: what the edge tells the cloud of its ledger."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.admit.skew import Skew
from edge.ledger import Ledger
from openvrc.contracts.batch import Batch, from_columns


def ledger_batches(
    zone: str,
    run_id: str,
    ledger: Ledger,
    slots: npt.NDArray[np.int64],
    *,
    edge_id: str,
    edge_epoch: int,
    now_ns: int,
    skew: Skew | None = None,
) -> list[Batch]:
    """`source_ledger` rows of these accounts of one zone and run, one Batch per origin."""
    by_origin: dict[str, list[int]] = {}
    for slot in slots.tolist():
        by_origin.setdefault(ledger.origins[slot], []).append(slot)
    shared = {
        "edge_id": edge_id,
        "edge_epoch": edge_epoch,
        "sampled_at_ns": now_ns,
        "edge_received_at_ns": now_ns,
        "lateness": 0,
        "thinned": 0,
        "id_kind": "permanent",
    }
    return [
        from_columns(
            "source_ledger",
            zone=zone,
            run_id=run_id,
            origin=origin,
            columns=shared | _columns(ledger, members, skew),
            n_rows=len(members),
        )
        for origin, members in by_origin.items()
    ]


def _columns(ledger: Ledger, slots: list[int], skew: Skew | None) -> dict[str, Any]:
    sources = [ledger.keys[slot][0] for slot in slots]
    counts = ("version", "forwarded", "dropped", "expired", "duplicates")
    missing = ledger.missing[slots]
    return {
        "source_id": sources,
        "subject_id": sources,
        "session": np.array([ledger.keys[slot][1] for slot in slots], np.int64),
        "clock_offset_ms": skew.offsets_ms(sources) if skew else np.nan,
        "is_sequenced": ledger.is_sequenced[slots],
        "sent": ledger.sent[slots],
        "received": ledger.received[slots],
        "missing": missing,
        "rejected": [_text(ledger.rejected.get(slot, {})) for slot in slots],
        "gaps": [
            _text(ledger.gaps(slot)) if n_missing else "[]"
            for slot, n_missing in zip(slots, missing.tolist(), strict=True)
        ],
    } | {name: ledger[name][slots] for name in counts}


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
