"""The engine's runs as bytes and back: JSON for clocks and alerts, arrays for detector states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy.typing as npt

from cloud.alerting import AlertBook
from cloud.snapshot import pack_snapshot, unpack_snapshot
from cloud.zone_run import Run, States, ZoneRun
from openvrc.contracts.detection import Context, Detector
from openvrc.contracts.maps import RoadMap

Detectors = Mapping[str, Detector]
NamedArrays = dict[str, npt.NDArray[Any]]


def freeze(runs: Mapping[str, Run], detectors: Detectors) -> Callable[[], bytes]:
    """All runs as they are now, and what makes bytes of them, in another thread if need be.

    Each map is written once, however many zones and runs share it.
    """
    arrays: NamedArrays = {}
    maps: dict[str, str] = {}
    listed: list[dict[str, Any]] = []
    for run in runs.values():
        zones = []
        for zone in run.zones.values():
            if zone.road_map is not None:
                maps[zone.road_map.map_version] = zone.map_document
            zones.append(_zone_facts(zone))
            _save_states(arrays, f"{len(listed)}/{len(zones) - 1}", zone.states, detectors)
        _save_states(arrays, f"{len(listed)}/-", run.states, detectors)
        listed.append(_run_facts(run) | {"zones": zones})
    meta = {"runs": listed, "maps": maps}
    return lambda: pack_snapshot(meta, arrays)


def load(data: bytes, detectors: Detectors) -> dict[str, Run]:
    """What `freeze` gave the bytes of."""
    meta, arrays = unpack_snapshot(data)
    states = _group(arrays)
    documents: dict[str, str] = meta["maps"]
    maps = {version: RoadMap.from_document(text) for version, text in documents.items()}
    runs = {}
    for place, facts in enumerate(meta["runs"]):
        book = AlertBook.restore(facts["run_id"], facts["book"])
        run = Run(facts["run_id"], facts["origin"], book)
        run.watermark_ns = facts["watermark_ns"]
        run.subject_zone, run.failed_at_ns = facts["subject_zone"], facts["failed_at_ns"]
        for number, row in enumerate(facts["zones"]):
            version = row.pop("map_version")
            road_map, document = maps.get(version), documents.get(version, "")
            zone = run.zones[row["zone"]] = ZoneRun(**row, road_map=road_map, map_document=document)
            context = zone.context(run.run_id, run.origin)
            zone.states = _load_states(states.get(f"{place}/{number}", {}), context, detectors)
        run.states = _load_states(states.get(f"{place}/-", {}), run.context(), detectors)
        runs[run.run_id] = run
    return runs


def _zone_facts(zone: ZoneRun) -> dict[str, Any]:
    return {
        "zone": zone.zone,
        "watermark_ns": zone.watermark_ns,
        "ended_at_ns": zone.ended_at_ns,
        "time_zone": zone.time_zone,
        "map_version": zone.road_map.map_version if zone.road_map else None,
    }


def _run_facts(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "origin": run.origin,
        "watermark_ns": run.watermark_ns,
        "subject_zone": dict(run.subject_zone),
        "failed_at_ns": dict(run.failed_at_ns),
        "book": run.book.snapshot(),
    }


def _save_states(arrays: NamedArrays, where: str, states: States, detectors: Detectors) -> None:
    for name, state in states.items():
        for field, array in detectors[name].snapshot(state).items():
            arrays[f"{where}/{name}/{field}"] = array


def _group(arrays: NamedArrays) -> dict[str, dict[str, NamedArrays]]:
    """Partition to detector to its arrays."""
    grouped: dict[str, dict[str, NamedArrays]] = {}
    for key, array in arrays.items():
        run, zone, name, field = key.split("/", 3)
        grouped.setdefault(f"{run}/{zone}", {}).setdefault(name, {})[field] = array
    return grouped


def _load_states(saved: dict[str, NamedArrays], context: Context, detectors: Detectors) -> States:
    states: States = {}
    for name, arrays in saved.items():
        if name in detectors:
            # A new version of a detector may not read the old layout: it then begins anew.
            with suppress(KeyError, ValueError, TypeError, IndexError):
                states[name] = detectors[name].restore(context, arrays)
    return states
