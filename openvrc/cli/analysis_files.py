"""The files `vrc analyse` writes (DESIGN section 7), but for segments.parquet (`segment_table`).

alerts.csv, battery_health.csv, battery_usage.csv, battery_fleet.json, summary.json.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cloud.alerting import Alert
from openvrc.contracts.units import NS_PER_S, iso_from_ns
from openvrc.detectors.battery_health.fleet_view import Pack, fleet_view
from openvrc.detectors.battery_health.health import Health

ALERT_COLUMNS = (
    "rule", "kind", "severity", "state", "subject_type", "subject_id", "zone", "segment_id",
    "component", "lat_deg", "lon_deg", "started_at", "detected_at", "cleared_at", "confidence",
    "evidence",
)  # fmt: skip

HEALTH_COLUMNS = (
    "vehicle_id", "soh_ratio", "soh_low_ratio", "soh_high_ratio", "soh_method", "resistance_ohm",
    "resistance_ratio", "weakest_cell", "as_of",
)  # fmt: skip

USAGE_COLUMNS = (
    "vehicle_id", "observed_days", "known_h", "charges", "full_cycles", "charge_out_ah",
    "charge_in_ah", "energy_out_kwh", "energy_in_kwh", "odometer_m", "driven_m",
    "remaining_low_m", "remaining_high_m", "remaining_low_days", "remaining_high_days",
    "hours_by_soc", "hours_by_temperature", "hours_by_current", "as_of",
)  # fmt: skip


def _time(value_ns: int | None) -> str:
    return "" if value_ns is None else iso_from_ns(value_ns)


def alert_row(alert: Alert) -> dict[str, Any]:
    """One alert as the columns of alerts.csv."""
    return {
        "rule": alert.rule,
        "kind": alert.kind,
        "severity": alert.severity.word,
        "state": alert.state,
        "subject_type": alert.subject_type,
        "subject_id": alert.subject_id,
        "zone": alert.zone,
        "segment_id": alert.segment_id,
        "component": alert.component,
        "lat_deg": "" if alert.lat_deg is None else f"{alert.lat_deg:.7f}",
        "lon_deg": "" if alert.lon_deg is None else f"{alert.lon_deg:.7f}",
        "started_at": _time(alert.started_at_ns),
        "detected_at": _time(alert.detected_at_ns),
        "cleared_at": _time(alert.cleared_at_ns),
        "confidence": f"{alert.confidence:.3f}",
        "evidence": json.dumps(dict(alert.evidence), sort_keys=True),
    }


def write_alerts(path: Path, alerts: Iterable[Alert]) -> None:
    """alerts.csv, by start, rule, subject, component."""
    ordered = sorted(alerts, key=lambda a: (a.started_at_ns, a.rule, a.subject_id, a.component))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ALERT_COLUMNS)
        writer.writeheader()
        writer.writerows(map(alert_row, ordered))


def health_row(health: Health) -> dict[str, Any]:
    """One vehicle's health as the columns of battery_health.csv; "" where it is not known."""
    return {
        "vehicle_id": health.vehicle_id,
        "soh_ratio": _number(health.soh_ratio, 4),
        "soh_low_ratio": _number(health.soh_low_ratio, 4),
        "soh_high_ratio": _number(health.soh_high_ratio, 4),
        "soh_method": health.soh_method,
        "resistance_ohm": _number(health.resistance_ohm, 5),
        "resistance_ratio": _number(health.resistance_ratio, 3),
        "weakest_cell": "" if health.weakest_cell is None else health.weakest_cell,
        "as_of": health.as_of,
    }


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def write_battery_health(path: Path, rows: Iterable[Health]) -> None:
    """battery_health.csv, by vehicle and time; only its header without battery frames."""
    ordered = sorted(rows, key=lambda health: (health.vehicle_id, health.as_of))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEALTH_COLUMNS)
        writer.writeheader()
        writer.writerows(map(health_row, ordered))


def usage_row(health: Health) -> dict[str, Any]:
    """One vehicle's usage as the columns of battery_usage.csv; hours by class as JSON lists."""
    usage, remaining = health.usage, health.remaining
    hours = ("hours_by_soc", "hours_by_temperature", "hours_by_current")
    return {
        "vehicle_id": health.vehicle_id,
        "observed_days": f"{usage.observed_days:.2f}",
        "known_h": f"{usage.known_h:.1f}",
        "charges": usage.charges,
        "full_cycles": _number(usage.full_cycles, 2),
        "charge_out_ah": f"{usage.charge_out_ah:.1f}",
        "charge_in_ah": f"{usage.charge_in_ah:.1f}",
        "energy_out_kwh": f"{usage.energy_out_kwh:.2f}",
        "energy_in_kwh": f"{usage.energy_in_kwh:.2f}",
        "odometer_m": _number(usage.odometer_m, 0),
        "driven_m": _number(usage.driven_m, 0),
        "remaining_low_m": _number(remaining.low_m, 0),
        "remaining_high_m": _number(remaining.high_m, 0),
        "remaining_low_days": _number(remaining.low_days, 0),
        "remaining_high_days": _number(remaining.high_days, 0),
        **{name: json.dumps(getattr(usage, name)) for name in hours},
        "as_of": health.as_of,
    }


def write_battery_usage(path: Path, rows: Iterable[Health]) -> None:
    """battery_usage.csv, by vehicle and time; only its header without battery frames."""
    ordered = sorted(rows, key=lambda health: (health.vehicle_id, health.as_of))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, USAGE_COLUMNS)
        writer.writeheader()
        writer.writerows(map(usage_row, ordered))


def write_battery_fleet(path: Path, packs: Sequence[Pack]) -> None:
    """battery_fleet.json: cohorts, outliers and drifts of all recorded packs."""
    path.write_text(json.dumps(asdict(fleet_view(packs)), indent=1) + "\n", encoding="utf-8")


def write_summary(path: Path, facts: dict[str, Any], span_ns: tuple[int, int] | None) -> None:
    """summary.json: accounting, alerts by rule, the span of the recording."""
    if span_ns is not None:
        facts["from"], facts["to"] = iso_from_ns(span_ns[0]), iso_from_ns(span_ns[1])
        facts["span_s"] = (span_ns[1] - span_ns[0]) / NS_PER_S
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
