"""Frames of GB/T 32960 for tests: any tree of a body, and whole sample frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from openvrc.contracts.gbt32960 import beijing
from openvrc.contracts.gbt32960.frame import build
from openvrc.contracts.gbt32960.message import report
from openvrc.contracts.gbt32960.nodes import REST, VALUE, Choice, Field, Node, Run, Tree
from openvrc.contracts.gbt32960.units import Command, Edition
from openvrc.contracts.units import ns_from_iso

VIN = "LTESTVEH000000001"
AT_NS = ns_from_iso("2026-03-02T08:30:15+08:00")
SIX = bytes([26, 3, 2, 8, 30, 15])
"""AT_NS on the wire: year 2026, month 3, day 2, 08:30:15 in Beijing."""


def hexed(*parts: str) -> bytes:
    """Bytes of hex written with spaces."""
    return bytes.fromhex(" ".join(parts))


def framed(
    start: str,
    command: int,
    unit: bytes,
    vin: str = VIN,
    encryption: int = 1,
    response: int = 0xFE,
) -> bytes:
    """A frame built by hand, so that the codec's own writer is not its judge."""
    body = bytes([command, response]) + vin.encode() + bytes([encryption])
    body += len(unit).to_bytes(2, "big") + unit
    check = 0
    for byte in body:
        check ^= byte
    return start.encode() + body + bytes([check])


@st.composite
def trees(draw: Any, nodes: Sequence[Node], most: int = 4) -> Tree:
    """Any raw values a body can hold, legal or not."""
    tree: Tree = {}
    for node in nodes:
        if isinstance(node, Field):
            tree[node.name] = draw(_raw(node))
        elif isinstance(node, Run):
            tree[node.name] = draw(_run(node, tree, most))
        elif isinstance(node, Choice):
            tree[node.name] = draw(_coded(node.count, _choices(node)))
        else:
            tree[node.name] = draw(_coded(node.count, st.lists(trees(node.nodes), max_size=most)))
        if isinstance(node, Field) and node.name in ("packs", "code_length"):
            tree[node.name] = draw(st.integers(0, 5))
        if isinstance(node, Run) and node.name == "packs_of_bms":
            tree[node.name] = draw(st.lists(st.integers(0, 3), max_size=3))
    return tree


def _coded(count: Field | None, lists: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A list, or now and then the code that may stand in the place of its count."""
    if count is None or not count.has_codes:
        return lists
    return st.one_of(lists, lists, lists, st.sampled_from([count.abnormal, count.invalid]))


@st.composite
def _run(draw: Any, node: Run, tree: Tree, most: int) -> Any:
    known = {REST: draw(st.integers(0, most)), **tree}
    size = node.size(known) if node.size is not None else draw(st.integers(0, most))
    listed = _list(node.element, size).map(lambda values: _joined(node.element, values))
    return draw(_coded(node.count, listed))


@st.composite
def _choices(draw: Any, node: Choice, most: int = 6) -> list[Tree]:
    """Pairs of a tag and its value; a text is as long as a tag before it says."""
    pairs: list[Tree] = []
    known: Tree = {}
    for tag in draw(st.lists(st.sampled_from(sorted(node.of_tag)), max_size=most)):
        chosen = node.of_tag[tag]
        if isinstance(chosen, Run):
            value = draw(_run(chosen, known, most))
        else:
            value = draw(_raw(chosen))
            known |= {str(tag): value} if chosen.form == "number" else {}
        pairs.append({node.tag.name: tag, VALUE: value})
    return pairs


def _list(field: Field, size: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(_raw(field), min_size=size, max_size=size)


def _joined(field: Field, values: list[Any]) -> Any:
    return b"".join(values) if field.form in ("text", "bytes") else values


def _raw(field: Field) -> st.SearchStrategy[Any]:
    if field.form in ("text", "time", "bytes"):
        return st.binary(min_size=field.width, max_size=field.width)
    return st.integers(0, (1 << 8 * field.width) - 1)


VEHICLE_2016: Tree = {
    "status": 1,
    "charging": 3,
    "mode": 1,
    "speed_mps": 360,
    "odometer_m": 1_234_567,
    "pack_voltage_v": 3500,
    "pack_current_a": 10_671,
    "soc_ratio": 55,
    "dcdc": 1,
    "gear": 0x2E,
    "insulation_ohm": 2500,
    "accelerator_ratio": 30,
    "brake_ratio": 0,
}
VEHICLE_2025: Tree = {
    **{k: v for k, v in VEHICLE_2016.items() if k not in ("accelerator_ratio", "brake_ratio")},
    "pack_current_a": 30_671,
}
NO_ALARM: Tree = {
    "level": 0,
    "flags": 0,
    "storage_faults": [],
    "motor_faults": [],
    "engine_faults": [],
    "other_faults": [],
}


def cells_2016(cells_mv: Sequence[int], **pack: Any) -> tuple[int, Tree]:
    """Body 08 with one pack."""
    facts = {
        "number": 1,
        "voltage_v": 3500,
        "current_a": 10_671,
        "total_cells": len(cells_mv),
        "first_cell": 1,
        "cells_v": list(cells_mv),
    }
    return 0x08, {"packs": [facts | pack]}


def cells_2025(cells_mv: Sequence[int], **pack: Any) -> tuple[int, Tree]:
    """Body 07 with one pack."""
    facts = {"number": 1, "voltage_v": 3500, "current_a": 30_671, "cells_v": list(cells_mv)}
    return 0x07, {"packs": [facts | pack]}


def probes(kind: int, raw: Sequence[int], number: int = 1) -> tuple[int, Tree]:
    """Body 09 (2016) or 08 (2025) with one pack."""
    return kind, {"packs": [{"number": number, "probes_degc": list(raw)}]}


def position(status: int = 0, lon: int = 116_397_128, lat: int = 39_916_527) -> tuple[int, Tree]:
    """Body 05 of 2016."""
    return 0x05, {"status": status, "lon_deg": lon, "lat_deg": lat}


def full_2016(
    vin: str = VIN, at_ns: int = AT_NS, command: int = Command.REALTIME, **changed: Any
) -> bytes:
    """A report with every body that carries something of ours."""
    cells = list(range(3600, 3696))
    extremes = {
        "highest_v_pack": 1, "highest_v_cell": 96, "highest_v": 3695,
        "lowest_v_pack": 1, "lowest_v_cell": 1, "lowest_v": 3600,
        "highest_degc_pack": 1, "highest_degc_probe": 24, "highest_degc": 83,
        "lowest_degc_pack": 1, "lowest_degc_probe": 1, "lowest_degc": 60,
    }  # fmt: skip
    bodies: list[tuple[int, Tree]] = [
        (0x01, VEHICLE_2016 | changed),
        position(),
        (0x06, extremes),
        (0x07, NO_ALARM),
        cells_2016(cells),
        probes(0x09, range(60, 84)),
    ]
    return report(Edition.Y2016, command, vin, at_ns, bodies)


def full_2025(vin: str = VIN, at_ns: int = AT_NS, **changed: Any) -> bytes:
    """The same of the newer edition."""
    bodies: list[tuple[int, Tree]] = [
        (0x01, VEHICLE_2025 | changed),
        (0x05, {"status": 0, "datum": 1, "lon_deg": 116_397_128, "lat_deg": 39_916_527}),
        (0x06, NO_ALARM | {"levels": []}),
        cells_2025(range(3600, 3696)),
        probes(0x08, range(60, 84)),
    ]
    return report(Edition.Y2025, Command.REALTIME, vin, at_ns, bodies)


def login_frame(vin: str = VIN, codes: bytes = b"", serial: int = 1, start: str = "##") -> bytes:
    """A login of 2016 with one code of 12 bytes, or of 2025 with codes of 24."""
    if start == "##":
        n_packs = 1 if codes else 0
        tail = bytes([n_packs, len(codes)]) + codes
    else:
        tail = (bytes([1, len(codes) // 24]) if codes else bytes([0])) + codes
    return framed(
        start, 0x01, SIX + serial.to_bytes(2, "big") + b"89860000000000000001" + tail, vin
    )


def heartbeat(vin: str = VIN) -> bytes:
    """A heartbeat of 2016."""
    return build(Edition.Y2016, Command.HEARTBEAT, vin, b"")


def said(changes: Mapping[str, Any]) -> bytes:
    """A report of 2016 whose vehicle body has these raw values."""
    return report(
        Edition.Y2016, Command.REALTIME, VIN, AT_NS, [(0x01, VEHICLE_2016 | dict(changes))]
    )


assert beijing.to_bytes(AT_NS) == SIX
