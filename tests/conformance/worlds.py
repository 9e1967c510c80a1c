"""Small seeded worlds in which every detector has something to find, with dirt and late records.

`street`: two minutes at 1 Hz on a straight road. A car that stops on a free lane, one that crawls,
two that slow down at one place, a wrong-way driver, a hard brake, a jammed segment, a signal whose
announced ends are an hour off, a frozen position; packs with a hot probe, a weak cell, an
insulation fault, frozen cells, a dead module, a frame of nonsense, a probe that jumps, a SoC jump,
an odometer 0; a terminal that stops reporting for 45 s.
`works`: a vehicle stands on a lane and it empties; a signal is red and some drive on.
`braking`: many brake behind one that stands, two for nobody.
`days`: six days at ten minutes. Packs at rest, one with a cell 30 mV low that later recovers.
`charges`: three fast charges without cooling, a cell that is low only when the pack is nearly
empty, a buffer of old frames sent again, frames of the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch, concat, from_columns
from openvrc.contracts.detection import Context
from openvrc.contracts.maps import Lane, RoadMap, Segment, SignalHead
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64, NS_PER_S, ns_from_iso

START_NS = ns_from_iso("2026-03-02T08:00:00Z")
ALLOWED_LATENESS_NS = 2 * NS_PER_S
LAT_DEG, LON_DEG = 53.55, 10.0
M_PER_LAT_DEG = 111_320.0
M_PER_LON_DEG = M_PER_LAT_DEG * np.cos(np.radians(LAT_DEG))
SEGMENT_M = 600.0
LIMIT_MPS = 13.9
DRIVE_MPS = 12.0
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class World:
    """Batches by message, rows in order of admission, with honest lateness marks."""

    name: str
    context: Context
    batches: dict[str, Batch]
    admitted_ns: dict[str, Array]
    """When each row reached the detectors, in zone time; ascending."""
    tick_step_ns: int

    @property
    def end_ns(self) -> int:
        return max(int(times[-1]) for times in self.admitted_ns.values() if len(times))


def straight_road(heads: Sequence[SignalHead] = ()) -> RoadMap:
    """Two segments of 600 m and two lanes each, one behind the other, going east."""
    segments = [_segment("west", 0.0, ("east",)), _segment("east", SEGMENT_M, ())]
    return RoadMap.build(segments, signal_heads=heads)


def _segment(name: str, start_m: float, successors: tuple[str, ...]) -> Segment:
    def line(y_m: float) -> tuple[tuple[float, float], ...]:
        return tuple(
            (LON_DEG + x_m / M_PER_LON_DEG, LAT_DEG + y_m / M_PER_LAT_DEG)
            for x_m in (start_m, start_m + SEGMENT_M)
        )

    lanes = tuple(
        Lane(id=f"{name}_{i}", index=i, length_m=SEGMENT_M, coordinates=line(3.2 * i))
        for i in range(2)
    )
    return Segment(
        id=name,
        length_m=SEGMENT_M,
        speed_limit_mps=LIMIT_MPS,
        successors=successors,
        lanes=lanes,
        coordinates=line(1.6),
    )


def street(seed: int = 1) -> World:
    """Two minutes with every fault that shows at once."""
    rng = np.random.default_rng(seed)
    return _world(
        "street",
        {
            "vehicle_state": _drives(rng),
            "battery_state": _packs(rng),
            "segment_state": _windows(rng),
            "vehicle_profile": _profiles(),
            "signal_state": _signals(),
        },
        rng,
        tick_step_ns=NS_PER_S,
    )


def days(seed: int = 1) -> World:
    """Six days of packs at rest."""
    rng = np.random.default_rng(seed)
    return _world(
        "days", {"battery_state": _resting_packs(rng)}, rng, tick_step_ns=6 * 3600 * NS_PER_S
    )


def works(seed: int = 1) -> World:
    """Four minutes on a road whose right lane is shut behind a vehicle that stands on it.

    At its end a signal is red for ten seconds, and not everybody cares.
    """
    heads = [
        SignalHead(
            intersection_id="x", signal_group=lane, segment_id="west", lane_index=lane,
            lat_deg=LAT_DEG, lon_deg=LON_DEG + SEGMENT_M / M_PER_LON_DEG,
        )
        for lane in range(2)
    ]  # fmt: skip
    tables = {"vehicle_state": _emptying(), "signal_state": _phases()}
    roads = straight_road(heads)
    return _world("works", tables, np.random.default_rng(seed), NS_PER_S, roads)


def nothing_but_absence(world: World) -> World:
    """The same identities and times, every measured value absent, list elements NaN."""
    return World(
        world.name,
        world.context,
        {message: _without_values(batch) for message, batch in world.batches.items()},
        world.admitted_ns,
        world.tick_step_ns,
    )


def with_absent_vehicle(world: World) -> World:
    """One more subject of every message that sends a record each tick and never a value."""
    batches, admitted = {}, {}
    for message, batch in world.batches.items():
        template = _without_values(batch.take(np.arange(0, batch.n_rows, 7)))
        ghost = template.with_columns(
            {
                "source_id": "ghost",
                "subject_id": "ghost",
                "lateness": 0,
                "sampled_at_ns": world.admitted_ns[message][::7],
            }
        )
        times = np.concatenate([world.admitted_ns[message], world.admitted_ns[message][::7]])
        order = np.argsort(times, kind="stable")
        batches[message] = concat([batch, ghost]).take(order)
        admitted[message] = times[order]
    return World(world.name, world.context, batches, admitted, world.tick_step_ns)


def without_row(world: World, message: str, row: int) -> World:
    """One record lost."""
    batch = world.batches[message]
    keep = np.delete(np.arange(batch.n_rows), row)
    return World(
        world.name,
        world.context,
        world.batches | {message: batch.take(keep)},
        world.admitted_ns | {message: world.admitted_ns[message][keep]},
        world.tick_step_ns,
    )


def _without_values(batch: Batch) -> Batch:
    kept = {
        *("source_id", "subject_id", "id_kind", "sampled_at_ns", "lateness"),
        *("window_start_ns", "window_s", "revision"),
    }
    columns: dict[str, Any] = {}
    for name in batch.data.schema.names:
        if name in kept:
            continue
        columns[name] = None
        if name in ("cell_voltages_v", "probe_temperatures_degc"):
            values, offsets = batch.lists(name)
            columns[name] = (np.full_like(values, np.nan), offsets)
    return batch.with_columns(columns)


def braking(seed: int = 1) -> World:
    """A minute in which sixty brake behind one that stands, as all can see, and two for nobody."""
    rows = [("stands", at_s, SEGMENT_M + 80.0, 0.0, 0) for at_s in range(60)]
    for start in range(0, 40, 2):
        for place in range(3):
            speeds: tuple[float, ...] = (12.0, 7.5, 3.0, 1.0)
            from_m = SEGMENT_M + 60.0 - 15.0 * place
            rows += _slowing(f"behind{start}-{place}", start, from_m, speeds, 0)
    speeds = (12.0, 12.0, 12.0, 8.0, 4.0, 1.0, 0.0, 0.0)
    rows += _slowing("phantom0", 44, 380.0, speeds, 0) + _slowing("phantom1", 47, 130.0, speeds, 1)
    rows.sort(key=lambda row: row[1])
    rng = np.random.default_rng(seed)
    return _world("braking", {"vehicle_state": _of_rows(rows)}, rng, NS_PER_S)


Sample = tuple[str, int, float, float, int]
"""Vehicle, second, place and speed, lane."""


def _slowing(
    name: str, start_s: int, from_m: float, speeds_mps: Sequence[float], lane: int
) -> list[Sample]:
    places_m = from_m + np.concatenate(([0.0], np.cumsum(speeds_mps[1:])))
    return [
        (name, start_s + second, float(x_m), speed_mps, lane)
        for second, (x_m, speed_mps) in enumerate(zip(places_m, speeds_mps, strict=True))
    ]


def _world(
    name: str,
    tables: dict[str, dict[str, Any]],
    rng: np.random.Generator,
    tick_step_ns: int,
    road_map: RoadMap | None = None,
) -> World:
    road_map = road_map or straight_road()
    context = Context(zone="z", run_id="r", origin="simulated", road_map=road_map)
    batches, admitted = {}, {}
    for message, columns in tables.items():
        batches[message], admitted[message] = _admitted(message, columns, rng)
    return World(name, context, batches, admitted, tick_step_ns)


def _admitted(
    message: str, columns: dict[str, Any], rng: np.random.Generator
) -> tuple[Batch, Array]:
    """Rows in order of admission: one in fifty comes 1 to 8 s late and is marked for it."""
    at_ns = columns["sampled_at_ns"]
    n_rows = len(at_ns)
    delay_s = np.where(rng.random(n_rows) < 0.02, rng.uniform(1.0, 8.0, n_rows), 0.1)
    if message == "segment_state":  # the edge itself makes these, at its tick
        delay_s[:] = 0.0
    admitted_ns = at_ns + (delay_s * NS_PER_S).astype(np.int64)
    order = np.argsort(admitted_ns, kind="stable")
    at_ns, admitted_ns = at_ns[order], admitted_ns[order]
    subjects = np.array(columns["subject_id"])[order]
    lateness = np.zeros(n_rows, np.int64)
    watermark_ns = (admitted_ns - ALLOWED_LATENESS_NS) // NS_PER_S * NS_PER_S
    lateness[at_ns <= watermark_ns] |= LATE_IN_ZONE
    newest: dict[str, int] = {}
    for i in range(n_rows):
        if at_ns[i] < newest.get(subjects[i], 0):
            lateness[i] |= LATE_IN_SUBJECT
        newest[subjects[i]] = max(newest.get(subjects[i], 0), int(at_ns[i]))
    batch = from_columns(
        message,
        zone="z",
        run_id="r",
        origin="simulated",
        n_rows=n_rows,
        columns={"id_kind": "permanent", "source_id": columns["subject_id"], **columns},
    )
    return batch.take(order).with_columns({"lateness": lateness}), admitted_ns


SECONDS = np.arange(120)


def _drives(rng: np.random.Generator) -> dict[str, Any]:
    tracks = [
        _track(f"car{i}", 1, np.full(120, DRIVE_MPS), x0_m=-4.0 * DRIVE_MPS * i + 300.0)
        for i in range(23)
    ]
    stopper = np.where((SECONDS >= 10) & (SECONDS < 100), 0.0, DRIVE_MPS)
    tracks.append(_track("stopper", 0, stopper, x0_m=200.0))
    brake = np.interp(SECONDS, [40.0, 44.0, 50.0, 56.0], [30.0, 2.0, 2.0, DRIVE_MPS])
    tracks.append(_track("braker", 0, brake, x0_m=-900.0))
    frozen = _track("frozen", 1, np.full(120, DRIVE_MPS), x0_m=-500.0)
    held = (SECONDS >= 60) & (SECONDS < 80)
    frozen["x_m"] = np.where(held, frozen["x_m"][60], frozen["x_m"])
    tracks.append(frozen)
    tracks += [
        _track(f"slow{i}", 0, np.full(120, 1.5), x0_m=SEGMENT_M + 100.0 + 8.0 * i)
        for i in range(10)
    ]
    tracks.append(_track("crawler", 0, np.full(120, 5.0), x0_m=-300.0))
    for i, dip_s in enumerate((30.0, 50.0)):
        times_s = [dip_s - 4.0, dip_s, dip_s + 4.0, dip_s + 8.0]
        dip = np.interp(SECONDS, times_s, [DRIVE_MPS, 3.0, 3.0, DRIVE_MPS])
        tracks.append(_track(f"dipper{i}", 1, dip, x0_m=95.0 - DRIVE_MPS * (dip_s - 4.0)))
    ghost = _track("ghost_driver", 0, np.full(120, -DRIVE_MPS), x0_m=SEGMENT_M + 26.0)
    ghost["speed_mps"], ghost["heading_deg"] = np.full(120, DRIVE_MPS), np.full(120, 270.0)
    tracks.append(ghost)
    joined = {n: np.concatenate([t[n] for t in tracks]) for n in tracks[0]}
    on_road = (joined["x_m"] >= 0) & (joined["x_m"] < 2 * SEGMENT_M)
    joined = {name: values[on_road] for name, values in joined.items()}
    x_m, lane = joined["x_m"], joined["lane"]
    return {
        "subject_id": joined["id"].tolist(),
        "sampled_at_ns": START_NS + joined["t_s"] * NS_PER_S,
        "lat_deg": np.round(LAT_DEG + 3.2 * lane / M_PER_LAT_DEG, 7),
        "lon_deg": np.round(LON_DEG + x_m / M_PER_LON_DEG, 7),
        "speed_mps": joined["speed_mps"].round(2),
        "heading_deg": joined["heading_deg"],
        "accel_long_mps2": joined["accel_mps2"].round(2),
        "length_m": 4.8,
        "vehicle_class": "car",
        "segment_id": ["west" if x < SEGMENT_M else "east" for x in x_m],
        "lane_index": lane,
        "segment_offset_m": np.where(x_m < SEGMENT_M, x_m, x_m - SEGMENT_M),
    }


def _track(name: str, lane: int, speed_mps: Array, x0_m: float) -> dict[str, Array]:
    return {
        "id": np.full(120, name, dtype="<U16"),
        "t_s": SECONDS,
        "lane": np.full(120, lane),
        "speed_mps": speed_mps,
        "heading_deg": np.full(120, 90.0),
        "x_m": x0_m + np.concatenate([[0.0], np.cumsum(speed_mps[:-1])]),
        "accel_mps2": np.append(np.diff(speed_mps), 0.0),
    }


WORKS_S, EMPTIES_S, WORKS_MPS, STANDS_M = 225, 90, 16.0, 180.0
RED_S = (60, 70)


def _emptying() -> dict[str, Any]:
    """A car every three seconds: on both lanes in turn, and from EMPTIES_S on the left one only."""
    cars = [(f"car{start}", start, 1 if start >= EMPTIES_S else start // 3 % 2)
            for start in range(-39, WORKS_S, 3)]  # fmt: skip
    rows = [
        (name, at_s, (at_s - start) * WORKS_MPS, WORKS_MPS, lane)
        for name, start, lane in cars
        for at_s in range(max(start, 0), min(start + 42, WORKS_S))
    ]
    rows += [
        ("stander", at_s, min((at_s - 78) * WORKS_MPS, STANDS_M), WORKS_MPS * (at_s < 89), 0)
        for at_s in range(78, WORKS_S)
    ]
    rows.sort(key=lambda row: row[1])
    return _of_rows(rows)


def _of_rows(rows: Sequence[Sample]) -> dict[str, Any]:
    """vehicle_state of samples in order of time."""
    names, at_s, x_m, speed_mps, lane = (np.array(part) for part in zip(*rows, strict=True))
    return {
        "subject_id": names.tolist(),
        "sampled_at_ns": START_NS + at_s * NS_PER_S,
        "lat_deg": np.round(LAT_DEG + 3.2 * lane / M_PER_LAT_DEG, 7),
        "lon_deg": np.round(LON_DEG + x_m / M_PER_LON_DEG, 7),
        "speed_mps": speed_mps,
        "heading_deg": np.full(len(rows), 90.0),
        "vehicle_class": "car",
        "segment_id": ["west" if x < SEGMENT_M else "east" for x in x_m],
        "lane_index": lane,
        "segment_offset_m": np.where(x_m < SEGMENT_M, x_m, x_m - SEGMENT_M),
    }


def _phases() -> dict[str, Any]:
    """Both lanes' signals, each second."""
    at_s, lane = np.divmod(np.arange(2 * WORKS_S), 2)
    is_red = (at_s >= RED_S[0]) & (at_s < RED_S[1])
    return {
        "subject_id": [f"x:{group}" for group in lane],
        "sampled_at_ns": START_NS + at_s * NS_PER_S,
        "intersection_id": "x",
        "signal_group": lane,
        "phase": np.where(is_red, "red", "green").tolist(),
    }


def _windows(rng: np.random.Generator) -> dict[str, Any]:
    rows = [
        (segment, end_s, window_s)
        for window_s in (10, 60)
        for end_s in range(window_s, 121, window_s)
        for segment in ("west", "east")
    ]
    is_jam = np.array([s == "east" and 20 < end <= 90 and w == 10 for s, end, w in rows])
    window_s = np.array([w for _, _, w in rows])
    vehicle_s = np.where(is_jam, 60.0, 4.0) * window_s + rng.uniform(0, 5, len(rows)).round(2)
    return {
        "subject_id": [segment for segment, _, _ in rows],
        "sampled_at_ns": START_NS + np.array([end for _, end, _ in rows]) * NS_PER_S,
        "window_start_ns": START_NS + np.array([end - w for _, end, w in rows]) * NS_PER_S,
        "window_s": window_s.astype(np.float32),
        "revision": 0,
        "map_version": straight_road().map_version,
        "vehicle_s": vehicle_s,
        "distance_m": vehicle_s * np.where(is_jam, 1.5, DRIVE_MPS),
        "vehicle_count": np.where(is_jam, 60, 4),
        "coverage_ratio": 1.0,
    }


def _signals() -> dict[str, Any]:
    """Two groups of 6 s a phase; the first one's announced ends are an hour behind."""
    phases = np.array(["green", "amber", "red", "red_amber"])
    shown = np.tile(phases[SECONDS // 6 % 4], 2)
    ends_s = np.tile((SECONDS // 6 + 1) * 6, 2) - np.repeat([3600, 0], len(SECONDS))
    return {
        "subject_id": np.repeat(["market:1", "market:2"], len(SECONDS)).tolist(),
        "sampled_at_ns": START_NS + np.tile(SECONDS, 2) * NS_PER_S,
        "intersection_id": "market",
        "signal_group": np.repeat([1, 2], len(SECONDS)),
        "phase": shown.tolist(),
        "likely_end_ns": START_NS + ends_s * NS_PER_S,
    }


N_CELLS, N_PROBES = 32, 8


def _packs(rng: np.random.Generator) -> dict[str, Any]:
    packs = [_pack(rng, f"ev{i}") for i in range(11)]
    _spoil(packs)
    packs += [_faulty(fault) for fault in FAULTS]
    packs.append(_terminal())
    joined = {n: np.concatenate([p[n] for p in packs]) for n in packs[0]}
    by_protocol = joined["id"] == "terminal"
    marked = np.where(np.isin(joined["at_ns"], START_NS + MARKED_S * NS_PER_S), 0b1001, 0)
    return _battery_columns(joined) | {
        # Only what the national protocol brought has these bits.
        "quality_bits": np.where(by_protocol, marked, ABSENT_I64),
        "vehicle_speed_mps": np.where(by_protocol, DRIVE_MPS, np.nan),
    }


MARKED_S = np.arange(10, 20)
"""When the terminal calls voltage and current abnormal."""


def _terminal() -> dict[str, Array]:
    """A healthy pack whose reports stop for 45 s of driving."""
    pack = _pack(np.random.default_rng(7), "terminal")
    kept = (SECONDS < 40) | (SECONDS >= 85)
    return {name: values[kept] for name, values in pack.items()}


def _pack(rng: np.random.Generator, name: str) -> dict[str, Array]:
    current_a = np.repeat(rng.uniform(-40.0, 90.0, 40), 3).round(1)
    offset_v = rng.normal(0.0, 2e-3, N_CELLS)
    cells_v = 3.7 + offset_v - current_a[:, None] * 4e-4
    cells_v = (cells_v + rng.normal(0.0, 5e-4, (120, N_CELLS))).round(3)
    return {
        "id": np.full(120, name, dtype="<U16"),
        "at_ns": START_NS + SECONDS * NS_PER_S,
        "cells_v": cells_v,
        "probes_degc": 28.0 + rng.integers(0, 2, (120, N_PROBES)).astype(float),
        "current_a": current_a,
        "insulation_ohm": np.full(120, 2e6) + rng.integers(0, 9, 120) * 1e3,
        "soc_ratio": 0.8 - SECONDS * 1e-4,
        "odometer_m": 5e7 + SECONDS * DRIVE_MPS,
        "bms_level": np.zeros(120, np.int64),
    }


def _spoil(packs: list[dict[str, Array]]) -> None:
    t = SECONDS
    hot = np.interp(t, [20.0, 100.0, 115.0], [28.0, 76.0, 40.0])
    packs[1]["probes_degc"][:, 2] = np.where(t >= 20, hot.round(), 28.0)
    packs[1]["probes_degc"][:, 3] = np.where(t >= 20, (hot - 8.0).round(), 28.0)
    packs[2]["cells_v"][:, 6] -= 0.080
    packs[3]["insulation_ohm"][(t >= 30) & (t < 80)] = 20e3
    packs[3]["insulation_ohm"][(t >= 50) & (t < 60)] = 8e3
    packs[4]["cells_v"][40:80] = packs[4]["cells_v"][40]
    packs[5]["cells_v"][50:56, 8:16] = 66.535 / 1.2
    packs[5]["probes_degc"][50:56, 1] = 255.0
    packs[6]["cells_v"][50:53] = 0.0
    packs[6]["probes_degc"][50:53, 0] = 170.0
    packs[7]["probes_degc"][60:, 4] = 120.0
    packs[8]["soc_ratio"][60:] -= 0.3
    packs[9]["odometer_m"][70:73] = 0.0
    packs[10]["current_a"][30:33] = -1000.0


IS_ON = (SECONDS >= 20) & (SECONDS < 110)


def _burn(pack: dict[str, Array]) -> None:
    pack["cells_v"][SECONDS >= 60, 9:11] = 2.0
    pack["probes_degc"][SECONDS >= 60, 3] = 105.0


def _shift(by_v: float, current_a: float) -> Callable[[dict[str, Array]], None]:
    def change(pack: dict[str, Array]) -> None:
        pack["cells_v"][IS_ON] += by_v
        pack["current_a"][:] = current_a

    return change


def _warm_unevenly(pack: dict[str, Array]) -> None:
    pack["probes_degc"][IS_ON, 1:3] += 18.0


def _charge_cold(pack: dict[str, Array]) -> None:
    pack["probes_degc"] -= 40.0
    pack["current_a"][IS_ON] = -120.0


def _alarm(pack: dict[str, Array]) -> None:
    pack["bms_level"][IS_ON] = 3


def _mirror(pack: dict[str, Array]) -> None:
    pack["cells_v"][IS_ON, 12] += 0.09
    pack["cells_v"][IS_ON, 13] -= 0.09


def _short(pack: dict[str, Array]) -> None:
    pack["cells_v"][SECONDS >= 40, 20] -= 0.18


def _dip(pack: dict[str, Array]) -> None:
    pack["cells_v"][np.isin(SECONDS, [20, 40, 60, 80, 100]), 5] -= 0.045


FAULTS: dict[str, Callable[[dict[str, Array]], None]] = {
    "fire": _burn,
    "high": _shift(0.62, 0.0),
    "overcharged": _shift(0.54, -20.0),
    "low": _shift(-1.3, 60.0),
    "deep": _shift(-1.3, 0.0),
    "uneven": _warm_unevenly,
    "cold": _charge_cold,
    "alarm": _alarm,
    "mirror": _mirror,
    "short": _short,
    "dips": _dip,
}
"""Packs with one fault each that shows within two minutes; the names are the vehicles' ids."""


def _faulty(fault: str) -> dict[str, Array]:
    pack = _pack(np.random.default_rng(len(fault)), fault)
    pack["current_a"] = np.zeros(120)
    pack["cells_v"][:] = pack["cells_v"][0] + 1e-3 * (SECONDS % 3)[:, None]
    FAULTS[fault](pack)
    return pack


def _profiles() -> dict[str, Any]:
    """Twice each, a second apart: senders repeat them, so that a lost one does no harm."""
    first_ns = START_NS + np.arange(len(FAULTS))
    return {
        "subject_id": 2 * list(FAULTS),
        "sampled_at_ns": np.concatenate([first_ns, first_ns + NS_PER_S]),
        "chemistry": "nmc",
        "rated_capacity_ah": 120.0,
    }


def _spoil_slowly(packs: list[dict[str, Array]], t_s: Array) -> None:
    """A module that stands off, and a resistive cell under load."""
    packs[3]["cells_v"][:, 8:16] += 0.045
    amps = np.where(np.arange(len(t_s)) % 2 == 0, 80.0, -20.0)
    packs[4]["current_a"][:] = amps
    packs[4]["cells_v"][:, 21] -= amps * 2e-4


def drives(seed: int = 1) -> World:
    """Forty minutes of packs at ten seconds: what takes some minutes to be sure of."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(0, 2400, 10)
    packs = []
    for i in range(2):
        amps = rng.uniform(0.0, 60.0, len(t_s)).round(1)
        cells_v = 3.7 + rng.normal(0, 2e-3, N_CELLS) - amps[:, None] * 4e-4
        packs.append(
            {
                "id": np.full(len(t_s), f"ev{i}", dtype="<U16"),
                "at_ns": START_NS + t_s * NS_PER_S,
                "cells_v": (cells_v + rng.normal(0, 5e-4, cells_v.shape)).round(3),
                "probes_degc": np.full((len(t_s), N_PROBES), 20.0),
                "current_a": amps,
                "insulation_ohm": np.full(len(t_s), 2e6),
                "soc_ratio": 0.7 - t_s * 2e-5,
                "odometer_m": 5e7 + t_s * DRIVE_MPS,
                "bms_level": np.zeros(len(t_s), np.int64),
            }
        )
    packs[1]["soc_ratio"][t_s >= 900] -= 0.12
    columns = _battery_columns({n: np.concatenate([p[n] for p in packs]) for n in packs[0]})
    return _world("drives", {"battery_state": columns}, rng, tick_step_ns=30 * NS_PER_S)


def mornings(seed: int = 1) -> World:
    """Two minutes at a standstill on each of five mornings; one current sensor is off by -2 A."""
    rng = np.random.default_rng(seed)
    t_s = (np.arange(5)[:, None] * 86_400 + np.arange(0, 120, 10)).ravel()
    packs = []
    for i, amps in enumerate((0.9, -1.1)):
        packs.append(
            {
                "id": np.full(len(t_s), f"ev{i}", dtype="<U16"),
                "at_ns": START_NS + t_s * NS_PER_S,
                "cells_v": np.full((len(t_s), N_CELLS), 3.7),
                "probes_degc": np.full((len(t_s), N_PROBES), 20.0),
                "current_a": np.full(len(t_s), amps),
                "insulation_ohm": np.full(len(t_s), 2e6),
                "soc_ratio": np.full(len(t_s), 0.7),
                "odometer_m": np.full(len(t_s), 5e7),
                "bms_level": np.zeros(len(t_s), np.int64),
            }
        )
    columns = _battery_columns({n: np.concatenate([p[n] for p in packs]) for n in packs[0]})
    columns["vehicle_speed_mps"] = 0.0
    return _world("mornings", {"battery_state": columns}, rng, tick_step_ns=3600 * NS_PER_S)


def charges(seed: int = 1) -> World:
    """A few hours of four packs that have a profile."""
    rng = np.random.default_rng(seed)
    packs = [_uncooled(), _small_cell(rng), _repeating(rng), _drained(rng)]
    joined = {n: np.concatenate([p[n] for p in packs]) for n in packs[0]}
    columns = _battery_columns(joined) | {"charging_state": joined["charging"].tolist()}
    names = ["hot", "small", "again", "drained"]
    first_ns = START_NS - NS_PER_S + np.arange(4)
    profiles = {
        "subject_id": 2 * names,
        "sampled_at_ns": np.concatenate([first_ns, first_ns + 100]),
        "chemistry": "nmc",
        "rated_capacity_ah": 120.0,
    }
    tables = {"battery_state": columns, "vehicle_profile": profiles}
    return _world("charges", tables, rng, tick_step_ns=300 * NS_PER_S)


def _frames_of(
    name: str, t_s: Array, current_a: Array, cells_v: Array, soc_ratio: Array, degc: Array
) -> dict[str, Array]:
    n = len(t_s)
    return {
        "id": np.full(n, name, dtype="<U16"),
        "at_ns": START_NS + t_s * NS_PER_S,
        "cells_v": cells_v.round(3),
        "probes_degc": np.repeat(degc[:, None], N_PROBES, axis=1),
        "current_a": current_a.round(1),
        "insulation_ohm": np.full(n, 2e6),
        "soc_ratio": soc_ratio.round(3),
        "odometer_m": np.full(n, 5e7),
        "bms_level": np.zeros(n, np.int64),
        "charging": np.where(current_a <= -99.0, "parked_charging", "not_charging"),
    }


def _uncooled() -> dict[str, Array]:
    """Load steps, then three charges of ten minutes that keep all of their heat."""
    drive_s = np.arange(0, 700, 10)
    charge_s = np.arange(0, 600, 30)
    t_s = np.concatenate([drive_s, *(1500 + 3600 * k + np.append(charge_s, 900) for k in range(3))])
    charging = np.append(np.ones(len(charge_s)), 0.0)
    amps = np.concatenate([np.where(drive_s // 10 % 2, 60.0, 0.0), np.tile(-100.0 * charging, 3)])
    warm = np.append(26.0 + charge_s / 600 * 11.0, 30.0)
    degc = np.concatenate([np.full(len(drive_s), 25.0), np.tile(warm.round(), 3)])
    cells_v = 3.7 - np.repeat(amps[:, None], N_CELLS, axis=1) * 2e-3
    return _frames_of("hot", t_s, amps, cells_v, np.full(len(t_s), 0.5), degc)


def _small_cell(rng: np.random.Generator) -> dict[str, Array]:
    """At rest, nearly full and then half empty."""
    t_s = np.arange(0, 40 * 1800, 1800) + 5
    soc = np.where(np.arange(40) < 20, 0.9, 0.4)
    cells_v = 3.3 + soc[:, None] * 0.8 + rng.normal(0, 2e-3, N_CELLS) + np.zeros((40, 1))
    cells_v[20:, 6] -= 0.040
    return _frames_of("small", t_s, np.zeros(40), cells_v, soc, np.full(40, 20.0))


def _repeating(rng: np.random.Generator) -> dict[str, Array]:
    """Driven; then its first 100 frames again an hour later; then three moments twice."""
    t_s = np.arange(0, 2000, 10)
    amps = rng.uniform(5.0, 60.0, len(t_s))
    cells_v = 3.7 + rng.normal(0, 2e-3, N_CELLS) - amps[:, None] * 4e-4
    cells_v = cells_v + rng.normal(0, 5e-4, cells_v.shape)
    degc = np.full(len(t_s), 20.0)
    pack = _frames_of("again", t_s, amps, cells_v, 0.7 - t_s * 2e-5, degc)
    order = np.concatenate([np.arange(200), np.arange(100)])
    sent = {name: values[order] for name, values in pack.items()}
    sent["at_ns"][200:] += 3600 * NS_PER_S
    twice = np.concatenate([np.arange(300), [296, 297, 298]])
    return {name: values[np.sort(twice)] for name, values in sent.items()}


def _drained(rng: np.random.Generator) -> dict[str, Array]:
    """Stands for two hours while a short drains one cell; its insulation is beyond the range."""
    t_s = np.arange(0, 7200, 30)
    cells_v = 3.7 + rng.normal(0, 2e-3, N_CELLS) + rng.normal(0, 5e-4, (len(t_s), N_CELLS))
    cells_v[:, 8] -= 0.020 * np.maximum(t_s - 900.0, 0.0) / 3600.0
    amps = np.where(t_s < 60, 30.0, 0.0)
    pack = _frames_of(
        "drained", t_s, amps, cells_v, np.full(len(t_s), 0.6), np.full(len(t_s), 20.0)
    )
    return pack | {"insulation_ohm": np.full(len(t_s), 5e6)}


def _resting_packs(rng: np.random.Generator) -> dict[str, Any]:
    t_s = np.arange(0, 6 * 86400, 600)
    packs = []
    for i in range(5):
        cells_v = 3.7 + rng.normal(0, 2e-3, N_CELLS) + rng.normal(0, 5e-4, (len(t_s), N_CELLS))
        if i == 1:
            cells_v[t_s < 2 * 86400, 11] -= 0.030
        packs.append(
            {
                "id": np.full(len(t_s), f"ev{i}", dtype="<U16"),
                "at_ns": START_NS + t_s * NS_PER_S,
                "cells_v": cells_v.round(3),
                "probes_degc": np.full((len(t_s), N_PROBES), 20.0),
                "current_a": rng.uniform(-1.0, 1.0, len(t_s)).round(1),
                "insulation_ohm": np.full(len(t_s), 2e6),
                "soc_ratio": np.full(len(t_s), 0.7),
                "odometer_m": np.full(len(t_s), 5e7),
                "bms_level": np.zeros(len(t_s), np.int64),
            }
        )
    _spoil_slowly(packs, t_s)
    return _battery_columns({n: np.concatenate([p[n] for p in packs]) for n in packs[0]})


def _battery_columns(rows: dict[str, Array]) -> dict[str, Any]:
    def listed(matrix: Array) -> tuple[Array, Array]:
        offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
        return matrix.astype(np.float32).ravel(), offsets.astype(np.int32)

    sums_v = np.where(rows["cells_v"] < 5.0, rows["cells_v"], 3.7).sum(axis=1)
    return {
        "subject_id": rows["id"].tolist(),
        "sampled_at_ns": rows["at_ns"],
        "pack_voltage_v": sums_v.round(1),
        "pack_current_a": rows["current_a"],
        "soc_ratio": rows["soc_ratio"],
        "cell_voltages_v": listed(rows["cells_v"]),
        "probe_temperatures_degc": listed(rows["probes_degc"]),
        "insulation_ohm": rows["insulation_ohm"],
        "odometer_m": rows["odometer_m"],
        "bms_alarm_level": rows["bms_level"],
    }
