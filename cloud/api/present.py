"""How values leave the API: times as ISO 8601 UTC with ms under `*_at`, nothing that is not JSON.

Internally times are `*_ns` integers; a number that is not finite has no JSON and becomes null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.alerting import Alert
from cloud.edges import HeardEdge
from cloud.latest import RunLatest
from cloud.latest_tables import NEVER_NS
from cloud.store.read_reporting import Reporting, VehicleKey
from cloud.store.reads import (
    Account,
    AlertAction,
    AlertEvent,
    AlertView,
    SessionAccount,
    SourceAccount,
)
from openvrc.contracts.columns import column_of
from openvrc.contracts.units import ABSENT_I64, iso_from_ns

Json = dict[str, Any]
_PLAIN = frozenset({str, int, bool, type(None)})

_DIGITS = {
    "lat_deg": 7,
    "lon_deg": 7,
    "speed_mps": 2,
    "heading_deg": 2,
    "soc_ratio": 4,
    "pack_voltage_v": 2,
    "pack_current_a": 2,
    "cell_voltage_min_v": 4,
    "cell_voltage_max_v": 4,
    "probe_temperature_max_degc": 1,
    "soh_ratio": 4,
    "insulation_ohm": 0,
}
_OBJECT_DIGITS = {
    "lat_deg": 7,
    "lon_deg": 7,
    "speed_mps": 2,
    "heading_deg": 1,
    "length_m": 1,
    "width_m": 1,
    "position_sd_m": 2,
}


def at(time_ns: int | None) -> str | None:
    """A time as text, None for none. What lies outside the calendar has no text either."""
    if time_ns is None or time_ns in (ABSENT_I64, NEVER_NS):
        return None
    return iso_from_ns(time_ns)


@lru_cache(maxsize=1024)
def time_name(name: str) -> str:
    """The public name of a `*_ns` time: `sampled_at`, `window_start_at`."""
    stem = name.removesuffix("_ns")
    return stem if stem.endswith("_at") else f"{stem}_at"


def public(value: Any) -> Any:
    """JSON of internal values: times renamed and written out, numbers finite, at any depth."""
    if type(value) in _PLAIN:  # first, and by type: most values of a record, asked 28 times each
        return value
    if isinstance(value, Mapping):
        return _public_items(value)
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _public_items(fields: Mapping[Any, Any]) -> Json:
    shown: Json = {}
    for name, value in fields.items():
        if type(value) is float:
            shown[str(name)] = value if math.isfinite(value) else None
        elif type(value) is int and str(name).endswith("_ns"):
            shown[time_name(str(name))] = at(value)
        else:
            shown[str(name)] = public(value)
    return shown


def alert(a: Alert) -> Json:
    """An alert as it stands."""
    return {
        "id": a.id,
        "rule": a.rule,
        "kind": a.kind,
        "title": a.title,
        "advice": a.advice,
        "severity": a.severity.word,
        "state": a.state,
        "is_open": a.is_open,
        "is_unknown": a.is_unknown,
        "zone": a.zone,
        "run_id": a.run_id,
        "origin": a.origin,
        "subject_type": a.subject_type,
        "subject_id": a.subject_id,
        "component": a.component or None,
        "segment_id": a.segment_id or None,
        "lat_deg": public(a.lat_deg),
        "lon_deg": public(a.lon_deg),
        "started_at": at(a.started_at_ns),
        "detected_at": at(a.detected_at_ns),
        "cleared_at": at(a.cleared_at_ns),
        "confidence": a.confidence,
        "folded_into": a.folded_into or None,
        "evidence": public(a.evidence),
    }


def alert_view(view: AlertView, *, in_full: bool = False) -> Json:
    """An alert and what people did to it; `in_full` adds every transition."""
    shown = alert(view.alert) | {
        "acknowledged_by": view.acknowledged_by,
        "acknowledged_at": at(view.acknowledged_at_ns),
        "assigned_to": view.assigned_to,
        "snoozed_until_at": at(view.snoozed_until_ns),
        "actions": [_action(action) for action in view.actions],
    }
    return shown | {"events": [_event(event) for event in view.events]} if in_full else shown


def _action(action: AlertAction) -> Json:
    return {
        "at": at(action.at_ns),
        "who": action.who,
        "action": action.action,
        "detail": public(action.detail),
    }


def _event(event: AlertEvent) -> Json:
    return {
        "sequence": event.sequence,
        "change": event.change,
        "severity": event.severity,
        "state": event.state,
        "at": at(event.at_ns),
        "stored_at": at(event.stored_at_ns),
        "evidence": public(event.evidence),
    }


def account(a: Account) -> Json:
    """The sum of DESIGN rule 5, and whether it closes."""
    return {
        "sent": a.sent,
        "received": a.received,
        "forwarded": a.forwarded,
        "stored": a.stored,
        "pending": a.pending,
        "rejected": a.rejected,
        "dropped": a.dropped,
        "expired": a.expired,
        "thinned": a.thinned,
        "missing": a.missing,
        "duplicates": a.duplicates,
        "is_closed": a.is_closed,
    }


def session_account(a: SessionAccount) -> Json:
    """An edge's account of one session."""
    return vars(a) | {"gaps": [list(gap) for gap in a.gaps]}


def edge(heard: HeardEdge, now_ns: int) -> Json:
    """An edge's newest report."""
    said = heard.status
    facts = {"edge_id": heard.edge_id, "heard_at": at(heard.heard_at_ns)}
    ratio = {"fill_ratio": round(said.fill_ratio, 4), "is_silent": heard.is_silent(now_ns)}
    shown: Json = facts | ratio | public(said.model_dump())
    return shown


def edge_in_short(heard: HeardEdge, now_ns: int) -> Json:
    """What the page shows of an edge."""
    full = edge(heard, now_ns)
    names = ("edge_id", "fill_ratio", "spool_records", "problem", "is_full", "is_silent")
    return {name: full[name] for name in names}


def source_account(s: SourceAccount) -> Json:
    """One sender's account."""
    return {
        "zone": s.zone,
        "run_id": s.run_id,
        "source_id": s.source_id,
        "is_sequenced": s.is_sequenced,
        "sessions": s.sessions,
        "gaps": [list(gap) for gap in s.gaps],
        "clock_offset_s": None if s.clock_offset_ms is None else s.clock_offset_ms / 1000,
    } | account(s.account)


def reporting(found: Reporting) -> Json:
    """Findings of `data.national_reporting` by component."""
    return {component: {"found": n.found, "open": n.open} for component, n in found.items()}


def reporting_of(of_vehicle: Mapping[VehicleKey, Reporting], key: VehicleKey) -> Json:
    """One vehicle's, under its name; nothing where nothing was found."""
    return {"national_reporting": reporting(of_vehicle[key])} if key in of_vehicle else {}


def run_facts(run: RunLatest) -> Json:
    """Which run something belongs to."""
    return {"zone": run.zone, "run_id": run.run_id, "origin": run.origin}


def record(run: RunLatest, fields: Json) -> Json:
    """A latest record with its zone."""
    shown: Json = run_facts(run) | public(fields)
    return shown


def vehicle(run: RunLatest, slot: int, *, is_present: bool) -> Json:
    """The newest known of one vehicle: position and motion, and its battery in short."""
    return vehicles(run, [slot], {slot} if is_present else set())[0]


def vehicles(run: RunLatest, slots: Sequence[int], present_slots: Set[int]) -> list[Json]:
    """The newest known of vehicles, column by column: 22 us each where one by one took 66."""
    table = run.vehicles
    rows = np.asarray(slots, np.int64)
    taken = {name: column[rows] for name, column in table.columns.items()}
    columns: dict[str, list[Any]] = {
        "vehicle_id": [table.vehicle_id(slot) for slot in slots],
        "slot": list(slots),  # its number on the live wire
        "id_kind": _coded("id_kind", taken),
        "is_present": [slot in present_slots for slot in slots],
        "sampled_at": [at(ns) for ns in taken["sampled_at_ns"].tolist()],
        "vehicle_class": _coded("vehicle_class", taken),
        "brake_on": [None if code < 0 else bool(code) for code in taken["brake_on"].tolist()],
        "segment_id": [table.word("segment_id", slot) or None for slot in slots],
        "lane_index": [None if lane < 0 else int(lane) for lane in taken["lane_index"].tolist()],
        "source_id": [table.word("source_id", slot) or None for slot in slots],
        "battery_at": [at(ns) for ns in taken["battery_at_ns"].tolist()],
        **{name: _rounded(taken[name], digits) for name, digits in _DIGITS.items()},
    }
    facts = run_facts(run)
    return [
        facts | dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


def perceived(run: RunLatest, slot: int) -> Json | None:
    """A road user that roadside units see; None for one that left their sight."""
    found = run.objects.facts(run.zone_time_ns, slot)
    return fused(found[0]) if found else None


def fused(facts: Json) -> Json:
    """One road user of the fused picture; `source_id` is the first of its `sources`."""
    names = column_of("rsu_objects", "object_class").values
    sources = [{"source_id": unit, "object_id": key} for unit, key in facts["sources"]]
    return {
        "object_id": facts["object_id"],
        "slot": facts["slot"],  # its number on the live wire, among objects
        "vehicle_id": facts["vehicle_id"],
        "sources": sources,
        "source_id": sources[0]["source_id"] if sources else None,
        "sampled_at": at(facts["sampled_at_ns"]),
        "first_seen_at": at(facts["first_seen_ns"]),
        "object_class": None if facts["kind"] < 0 else names[facts["kind"]],
        "confidence_ratio": None,
        **{name: _number(facts[name], digits) for name, digits in _OBJECT_DIGITS.items()},
    }


def _number(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def _rounded(values: npt.NDArray[Any], digits: int) -> list[float | None]:
    """Numbers (n,) with so many decimals, None for those that are not finite."""
    plain = np.round(values.astype(np.float64), digits).tolist()
    return [value if math.isfinite(value) else None for value in plain]


def _coded(name: str, taken: Mapping[str, npt.NDArray[Any]]) -> list[str | None]:
    words = column_of("vehicle_state", name).values
    return [None if code < 0 else words[code] for code in taken[name].tolist()]
