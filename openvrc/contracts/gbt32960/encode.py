"""The platform's records as frames: for simulated terminals, gateways and tests.

What a record lacks is written as the code "invalid", which reads back as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import hexdigits
from typing import Any

from openvrc.contracts.batch import Batch
from openvrc.contracts.errors import ContractError
from openvrc.contracts.gbt32960 import beijing, bodies_2016, bodies_2025
from openvrc.contracts.gbt32960.alarm_texts import level_bits
from openvrc.contracts.gbt32960.frame import is_vin
from openvrc.contracts.gbt32960.marks import LIVE, MARK_TYPE, write_mark
from openvrc.contracts.gbt32960.message import command, report
from openvrc.contracts.gbt32960.nodes import Field, Group, Node, Tree
from openvrc.contracts.gbt32960.shared_bodies import FAULT_PARTS
from openvrc.contracts.gbt32960.units import Command, Edition

Record = Mapping[str, Any]
Bodies = list[tuple[int, Tree]]

CHARGING_RAW = {
    "parked_charging": 1,
    "driving_charging": 2,
    "not_charging": 3,
    "charge_complete": 4,
}
_STARTED, _OFF, _ELECTRIC, _DCDC_ON = 1, 2, 1, 1
_GEAR_D, _GEAR_P = 14, 15
CELLS_PER_FRAME = 200
"""2016: more go into further frames."""


def frames_of(batch: Batch, edition: Edition) -> list[bytes]:
    """One element a row: its frame, or its frames one after the other.

    Raises ContractError for a vehicle that has no VIN.
    """
    make = {
        "battery_state": battery_bodies,
        "vehicle_state": vehicle_bodies,
    }
    frames = []
    for record in batch.to_records(with_marks=False):
        vin = record["subject_id"]
        if not is_vin(vin):
            raise ContractError("subject_id", vin, "a VIN of 17 capital letters and digits")
        if batch.message == "vehicle_profile":
            frames.append(login(edition, vin, record))
            continue
        mark = (batch.run_id, batch.origin)
        parts = make[batch.message](record, edition)
        frames.append(moment_frames(edition, Command.REALTIME, vin, record, parts, mark))
    return frames


def moment_frames(
    edition: Edition,
    command_id: int,
    vin: str,
    record: Record,
    bodies: Bodies,
    mark: tuple[str, str] = LIVE,
) -> bytes:
    """The frame of one moment; 2016: further ones with the rest of a long list of cells."""
    first, *rest = _split_cells(bodies, edition)
    at_ns = record["sampled_at_ns"]
    own: Bodies = [] if mark == LIVE else [(MARK_TYPE, {"content": write_mark(*mark)})]
    parts = [report(edition, command_id, vin, at_ns, first + own)]
    parts += [report(edition, command_id, vin, at_ns, more + own) for more in rest]
    return b"".join(parts)


def _split_cells(bodies: Bodies, edition: Edition) -> list[Bodies]:
    if edition is Edition.Y2025:
        return [bodies]
    kind = _KINDS[edition]["cells"]
    found = next((tree for number, tree in bodies if number == kind), None)
    if found is None:
        return [bodies]
    (pack,) = found["packs"]
    cells = pack["cells_v"]
    pieces = []
    for first in range(0, max(len(cells), 1), CELLS_PER_FRAME):
        part = {**pack, "first_cell": first + 1, "cells_v": cells[first : first + CELLS_PER_FRAME]}
        pieces.append((kind, {"packs": [part]}))
    others = [(number, tree) for number, tree in bodies if number != kind]
    return [[*others, pieces[0]], *([piece] for piece in pieces[1:])]


def _kinds(bodies: Mapping[int, tuple[str, tuple[Node, ...]]]) -> dict[str, int]:
    return {name: kind for kind, (name, _) in bodies.items()}


_KINDS = {
    Edition.Y2016: _kinds(bodies_2016.BODIES),
    Edition.Y2025: _kinds(bodies_2025.BODIES),
}
_BODIES = {Edition.Y2016: bodies_2016, Edition.Y2025: bodies_2025}


def _fields(nodes: Sequence[Node]) -> dict[str, Field]:
    return {node.name: node for node in nodes if isinstance(node, Field)}


def battery_bodies(record: Record, edition: Edition) -> Bodies:
    """Bodies of a `battery_state` record: vehicle, alarms, cells, temperatures, extremes."""
    tables = _BODIES[edition]
    kinds = _KINDS[edition]
    bodies: Bodies = [(kinds["vehicle"], _vehicle(record, tables.VEHICLE))]
    cells, probes = (
        record.get("cell_voltages_v") or [],
        record.get("probe_temperatures_degc") or [],
    )
    if edition is Edition.Y2016 and _has_numbers(cells) and _has_numbers(probes):
        bodies.append((kinds["extremes"], _extremes(cells, probes)))
    if "bms_alarm_level" in record:
        bodies.append((kinds["alarms"], _alarms(record, edition)))
    if cells:
        bodies.append((kinds["cells"], {"packs": [_cells(record, cells, tables.CELLS)]}))
    if probes:
        raws = [_probe_raw(value) for value in probes]
        packs = [{"number": 1, "probes_degc": raws}]
        bodies.append((kinds["temperatures"], {"packs": packs}))
    return bodies


def vehicle_bodies(record: Record, edition: Edition) -> Bodies:
    """Bodies of a `vehicle_state` record: vehicle with its speed only, position."""
    said = {"vehicle_speed_mps": record["speed_mps"]}
    vehicle = _vehicle(said, _BODIES[edition].VEHICLE)
    return [(_KINDS[edition]["vehicle"], vehicle), position_body(record, edition)]


def position_body(record: Record, edition: Edition) -> tuple[int, Tree]:
    """A valid WGS-84 fix."""
    lat_deg, lon_deg = record["lat_deg"], record["lon_deg"]
    fields = _fields(bodies_2016.POSITION)
    tree = {
        "status": (2 if lat_deg < 0 else 0) | (4 if lon_deg < 0 else 0),
        "lon_deg": fields["lon_deg"].raw(abs(lon_deg)),
        "lat_deg": fields["lat_deg"].raw(abs(lat_deg)),
    }
    if edition is Edition.Y2025:
        tree["datum"] = 1
    return _KINDS[edition]["position"], tree


def _vehicle(record: Record, nodes: Sequence[Node]) -> Tree:
    fields = _fields(nodes)
    said = {
        "speed_mps": record.get("vehicle_speed_mps"),
        "odometer_m": record.get("odometer_m"),
        "pack_voltage_v": record.get("pack_voltage_v"),
        "pack_current_a": record.get("pack_current_a"),
        "soc_ratio": record.get("soc_ratio"),
        "insulation_ohm": record.get("insulation_ohm"),
    }
    is_parked = record.get("charging_state") in ("parked_charging", "charge_complete")
    tree: Tree = {name: fields[name].raw(value) for name, value in said.items()}
    tree |= {
        "status": _OFF if is_parked else _STARTED,
        "charging": CHARGING_RAW.get(record.get("charging_state", ""), 0xFF),
        "mode": _ELECTRIC,
        "dcdc": _DCDC_ON,
        "gear": _GEAR_P if is_parked else _GEAR_D,
        "accelerator_ratio": 0xFF,
        "brake_ratio": 0xFF,
    }
    return {name: tree[name] for name in fields}


def _has_numbers(values: Sequence[float | None]) -> bool:
    return any(value is not None for value in values)


_EXTREMES_2016 = _fields(bodies_2016.EXTREMES)
_CELL = bodies_2016.CELL_VOLTAGE


def _probe_raw(value: float | None) -> int:
    return _EXTREMES_2016["highest_degc"].raw(value)


def _extremes(cells: Sequence[float | None], probes: Sequence[float | None]) -> Tree:
    tree: Tree = {}
    for values, what, unit in ((cells, "cell", "v"), (probes, "probe", "degc")):
        known = [(value, place) for place, value in enumerate(values, 1) if value is not None]
        for end, (value, place) in (("highest", max(known)), ("lowest", min(known))):
            name = f"{end}_{unit}"
            tree |= {
                f"{name}_pack": 1,
                # One byte for up to 1000 cells: beyond 250 there is no number to give.
                f"{name}_{what}": place if place <= 250 else 0xFF,
                name: _EXTREMES_2016[name].raw(value),
            }
    return {name: tree[name] for name in _EXTREMES_2016}


def _alarms(record: Record, edition: Edition) -> Tree:
    flags, level = record.get("bms_alarm_bits", 0), record["bms_alarm_level"]
    if edition is Edition.Y2016:
        level = min(level, 3)  # there is no level 4 yet
    tree = {"level": level, "flags": flags, **_fault_lists(record.get("bms_fault_codes") or "")}
    if edition is Edition.Y2025:
        said = record.get("bms_alarm_levels") or ""
        levels = level_bits(said) if said else {b: level for b in range(32) if flags >> b & 1}
        tree["levels"] = [{"bit": bit, "level": level} for bit, level in levels.items()]
    return tree


def _fault_lists(text: str) -> dict[str, list[int]]:
    """The four lists of a `bms_fault_codes`. Raises ContractError for what is none."""
    lists: dict[str, list[int]] = {f"{part}_faults": [] for part in FAULT_PARTS}
    for word in filter(None, text.split(",")):
        part, _, code = word.partition(":")
        if f"{part}_faults" not in lists or len(code) != 8 or not set(code) <= set(hexdigits):
            raise ContractError("bms_fault_codes", word, "part:code with 8 hex digits")
        lists[f"{part}_faults"].append(int(code, 16))
    return lists


def _cells(record: Record, cells: Sequence[float | None], nodes: Sequence[Node]) -> Tree:
    group = next(node for node in nodes if isinstance(node, Group))
    fields = _fields(group.nodes)
    tree: Tree = {
        "number": 1,
        "voltage_v": fields["voltage_v"].raw(record.get("pack_voltage_v")),
        "current_a": fields["current_a"].raw(record.get("pack_current_a")),
        "total_cells": len(cells),
        "first_cell": 1,
    }
    known = {name: tree[name] for name in fields}
    return known | {"cells_v": [_CELL.raw(value) for value in cells]}


def login(
    edition: Edition, vin: str, record: Record, serial: int = 1, iccid: str = "0" * 20
) -> bytes:
    """A login with the pack codes of a profile; all codes are as long as the longest."""
    codes = [code for code in record.get("pack_codes", "").split(",") if code]
    tree: Tree = {
        "time": beijing.to_bytes(record["sampled_at_ns"]),
        "serial": serial,
        "iccid": iccid.encode("ascii")[:20].ljust(20, b"0"),
    }
    if edition is Edition.Y2016:
        length = min(max(map(len, codes), default=0), 50)
        tree |= {"packs": len(codes), "code_length": length}
    else:
        length = 24
        tree["packs_of_bms"] = [len(codes)] if codes else []
    padded = [code.encode("ascii", "replace")[:length].ljust(length) for code in codes]
    return command(edition, Command.VEHICLE_LOGIN, vin, tree | {"codes": b"".join(padded)})


def logout(edition: Edition, vin: str, record: Record, serial: int) -> bytes:
    """A logout with the serial of its login."""
    tree = {"time": beijing.to_bytes(record["sampled_at_ns"]), "serial": serial}
    return command(edition, Command.VEHICLE_LOGOUT, vin, tree)
