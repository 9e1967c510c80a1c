"""Findings of rules at the edge as a Batch of `finding`, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from openvrc.contracts.batch import Batch, from_columns
from openvrc.contracts.detection import Finding, Severity


def findings_batch(
    findings: Sequence[Finding],
    *,
    zone: str,
    run_id: str,
    origin: str,
    edge_id: str,
    received_at_ns: int,
) -> Batch:
    """One record a finding, in order; `sampled_at_ns` is the finding's `at_ns`."""
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
        "evidence": [json.dumps(dict(f.evidence), allow_nan=False) for f in findings],
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


def findings_of(batch: Batch) -> list[Finding]:
    """The findings of a `finding` batch. Raises ValueError for evidence that is no JSON object."""
    found = []
    for row in batch.to_records():
        evidence = json.loads(row["evidence"])
        if not isinstance(evidence, dict):
            raise ValueError(f"evidence is {row['evidence'][:50]!r}, expected a JSON object")
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
