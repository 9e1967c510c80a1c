"""Findings of rules at the edge as a Batch of `finding`, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Finding, Severity

MOST_NESTED = 16
"""Levels of lists and objects in evidence: no rule needs four; JSON's own limit is the stack."""


def findings_batch(
    findings: Sequence[Finding],
    *,
    zone: str,
    run_id: str,
    origin: str,
    edge_id: str,
    received_at_ns: int,
) -> Batch:
    """One record a finding, in order; `sampled_at_ns` is the finding's `at_ns`.

    Evidence may hold numpy's numbers, and NaN, which becomes null. Raises what an attribute that is
    none of the contract's raises; lengths and ranges are the caller's to check.
    """
    columns: dict[str, Any] = {
        "source_id": edge_id,
        "subject_id": [f.subject_id for f in findings],
        "sampled_at_ns": [f.at_ns for f in findings],
        "rule": [f.rule for f in findings],
        "phase": [f.phase for f in findings],
        "subject_type": [f.subject_type for f in findings],
        "severity": [f.severity.word for f in findings],
        "component": [f.component for f in findings],
        "started_at_ns": [f.started_at_ns for f in findings],
        "confidence_ratio": [f.confidence for f in findings],
        "segment_id": [f.segment_id for f in findings],
        "lat_deg": [f.lat_deg for f in findings],
        "lon_deg": [f.lon_deg for f in findings],
        "evidence": [_json(f.evidence) for f in findings],
        "is_late": [f.is_late for f in findings],
        "edge_received_at_ns": received_at_ns,
        "lateness": 0,
    }
    return from_columns(
        "finding",
        zone=zone,
        run_id=run_id,
        origin=origin,
        columns=columns,
        n_rows=len(findings),
    )


def _json(evidence: Mapping[str, Any]) -> str:
    return msgspec.json.encode(dict(evidence), enc_hook=plain).decode()


def plain(value: Any) -> Any:
    """What a detector may have left in its evidence, as JSON can say it."""
    if isinstance(value, np.generic):
        return value.item()
    return dict(value) if isinstance(value, Mapping) else str(value)


def findings_of(batch: Batch) -> list[Finding]:
    """The findings of a `finding` batch.

    Raises ValueError for evidence that is no JSON object or nested more than MOST_NESTED deep.
    """
    found = []
    for row in batch.to_records():
        evidence = _evidence(row["evidence"])
        found.append(
            Finding(
                rule=row["rule"],
                phase=row["phase"],
                subject_type=row["subject_type"],
                subject_id=row["subject_id"],
                at_ns=row["sampled_at_ns"],
                started_at_ns=row["started_at_ns"],
                severity=Severity[row["severity"].upper()],
                component=row.get("component") or "",
                confidence=row["confidence_ratio"],
                segment_id=row.get("segment_id") or "",
                lat_deg=row.get("lat_deg"),
                lon_deg=row.get("lon_deg"),
                evidence=evidence,
                is_late=bool(row.get("is_late")),
            )
        )
    return found


def _evidence(text: str) -> dict[str, Any]:
    try:
        evidence = json.loads(text)
    except RecursionError as error:
        raise _too_deep(text) from error
    if not isinstance(evidence, dict):
        raise ValueError(f"evidence is {text[:50]!r}, expected a JSON object")
    level: list[Any] = [evidence]
    for _ in range(MOST_NESTED):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return evidence
    raise _too_deep(text)


def _parts(value: Any) -> Iterable[Any]:
    """What a list or object holds that may hold something itself."""
    held = value.values() if isinstance(value, dict) else value
    return [part for part in held if isinstance(part, dict | list)]


def _too_deep(text: str) -> ValueError:
    return ValueError(
        f"evidence is {text[:50]!r}..., expected at most {MOST_NESTED} levels of JSON"
    )
