"""Raw columns of reports to columns of `battery_state` and `vehicle_state`.

One moment of one vehicle is one row; its packs 2, 3, ... are subjects of their own, `VIN#2` (see
decision 0007). Codes for "abnormal" and "invalid" and raw values out of range become absent values
and a bit of `quality_bits` each. Current keeps its sign: positive discharges, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts import geo
from openvrc.contracts.columns import column_of
from openvrc.contracts.gbt32960 import bodies_2016, bodies_2025
from openvrc.contracts.gbt32960.bulk import MISSING, Ints, Reports, validities
from openvrc.contracts.gbt32960.lists import FIRST_PACK, PACK_NUMBERS, PackLists, gather
from openvrc.contracts.gbt32960.nodes import Field, Group, Validity
from openvrc.contracts.messages.vehicle import MAX_CELLS, MAX_PROBES
from openvrc.contracts.quality import signal_bit, statement_bit
from openvrc.contracts.units import ABSENT_I64

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Columns = dict[str, Any]

MAX_CELLS_OF_VEHICLE = 4 * MAX_CELLS
"""Cells of all packs at one moment. A frame of 64 KB could announce far more, all absent."""
VOLTS_APART, VOLTS_APART_RATIO = 10.0, 0.05
"""Vehicle's and pack's voltage of one frame: same instrument in the captures, 0.1 V a step."""
CELL_STEP_V = 0.0015
"""Extremes and list are read within one frame: they may differ by one step of 1 mV."""
_STATES = {
    Validity.ABNORMAL: "abnormal",
    Validity.INVALID: "invalid",
    Validity.OUT_OF_RANGE: "out_of_range",
}
_CHARGING_WORDS = {
    1: "parked_charging",
    2: "driving_charging",
    3: "not_charging",
    4: "charge_complete",
}
DATUM_WGS84, DATUM_GCJ02 = 1, 2
STATUS_NO_FIX, STATUS_SOUTH, STATUS_WEST = 1, 2, 4


@dataclass(frozen=True)
class Moments:
    """Which moment each report belongs to; parts of one moment share theirs."""

    of_row: Ints  # (n_rows,)
    at_ns: Ints  # (n_moments,)

    @property
    def n(self) -> int:
        """How many."""
        return len(self.at_ns)


@dataclass(frozen=True)
class Signal:
    """One scalar per moment: scaled, NaN where absent, and what the sender says of it."""

    value: Floats  # (n_moments,)
    validity: npt.NDArray[np.int8]  # (n_moments,), VALID also where nothing was sent
    raw: Ints  # (n_moments,) MISSING where nothing was sent


def battery_columns(reports: Reports, moments: Moments) -> tuple[Columns, Ints, Ints]:
    """Columns of `battery_state`, the moment of each row and its pack number."""
    scalars = _Scalars(reports, moments)
    cells = gather(
        reports.cells, moments.of_row, "cell_voltages_v", MAX_CELLS, MAX_CELLS_OF_VEHICLE
    )
    probes = gather(
        reports.probes, moments.of_row, "probe_temperatures_degc", MAX_PROBES, MAX_CELLS_OF_VEHICLE
    )
    keys = _keys(moments, cells, probes)
    bits = _bits_of_moment(scalars, reports, moments, cells, probes)
    keys = keys[_says_something(keys, scalars, bits, cells, probes)]
    moment, pack = keys // PACK_NUMBERS, keys % PACK_NUMBERS
    is_vehicle = pack == FIRST_PACK
    place = _places(keys, cells)
    voltage_v, current_a, pack_bits = _electrical(scalars, keys, cells, place)
    bits = np.where(is_vehicle, bits[moment], 0) | pack_bits
    bits |= np.where(place >= 0, cells.bits[place], 0) if len(cells.keys) else 0
    probe_place = _places(keys, probes)
    bits |= np.where(probe_place >= 0, probes.bits[probe_place], 0) if len(probes.keys) else 0
    level, flags = scalars["alarms.level"], scalars["alarms.flags"]
    columns: Columns = {
        "sampled_at_ns": moments.at_ns[moment],
        "pack_voltage_v": voltage_v,
        "pack_current_a": current_a,
        "soc_ratio": scalars["vehicle.soc_ratio"].value[moment],
        "cell_voltages_v": _taken(cells, place),
        "probe_temperatures_degc": _taken(probes, probe_place),
        "insulation_ohm": _only(is_vehicle, scalars["vehicle.insulation_ohm"].value[moment]),
        "charging_state": _charging(scalars["vehicle.charging"])[moment],
        "odometer_m": _only(is_vehicle, scalars["vehicle.odometer_m"].value[moment]),
        "vehicle_speed_mps": scalars["vehicle.speed_mps"].value[moment],
        "bms_alarm_level": _whole(level, is_vehicle, moment),
        "bms_alarm_bits": _whole(flags, is_vehicle, moment),
        "quality_bits": bits,
        **_stated(scalars, is_vehicle, moment),
        **_alarm_texts(reports, moments, is_vehicle, moment),
    }
    return columns, moment, pack


def vehicle_columns(reports: Reports, moments: Moments) -> tuple[Columns, Ints]:
    """Columns of `vehicle_state` and the moment of each row: those with a valid fix and speed."""
    scalars = _Scalars(reports, moments)
    fix = _fix(scalars, moments)
    speed_mps = scalars["vehicle.speed_mps"].value
    rows = np.flatnonzero(fix.is_good & ~np.isnan(speed_mps))
    columns: Columns = {
        "sampled_at_ns": moments.at_ns[rows],
        "lat_deg": fix.lat_deg[rows],
        "lon_deg": fix.lon_deg[rows],
        "speed_mps": speed_mps[rows],
    }
    return columns, rows


_STATED = {
    "highest_cell_v": "extremes.highest_v",
    "lowest_cell_v": "extremes.lowest_v",
    "highest_probe_degc": "extremes.highest_degc",
    "lowest_probe_degc": "extremes.lowest_degc",
}


def _stated(scalars: _Scalars, is_vehicle: Bools, moment: Ints) -> Columns:
    """What the extremes body says (2016), where any frame has one."""
    if (scalars["extremes.highest_v"].raw == MISSING).all():
        return {}
    return {
        column: _only(is_vehicle, scalars[name].value[moment]) for column, name in _STATED.items()
    }


def _alarm_texts(reports: Reports, moments: Moments, is_vehicle: Bools, moment: Ints) -> Columns:
    columns: Columns = {}
    for name, of_row in (
        ("bms_alarm_levels", reports.alarm_levels),
        ("bms_fault_codes", reports.fault_codes),
    ):
        if of_row:
            of_moment = {int(moments.of_row[row]): text for row, text in of_row.items()}
            columns[name] = [
                of_moment.get(m, "") if own else ""
                for m, own in zip(moment.tolist(), is_vehicle.tolist(), strict=True)
            ]
    return columns


class _Scalars(Mapping[str, Signal]):
    """Signals by "body.field", merged to moments and scaled when first asked for."""

    def __init__(self, reports: Reports, moments: Moments) -> None:
        self._reports, self._moments = reports, moments
        self._is_plain = moments.n == reports.n
        self._known: dict[str, Signal] = {}
        self.is_2025 = self._merged(reports.is_2025.astype(np.int64)) == 1

    def __getitem__(self, name: str) -> Signal:
        if name not in self._known:
            self._known[name] = self._scaled(name, self._merged(self._reports.raw[name]))
        return self._known[name]

    def __iter__(self) -> Any:
        return iter(self._reports.raw)

    def __len__(self) -> int:
        return len(self._reports.raw)

    def _merged(self, raw: Ints) -> Ints:
        """Of several reports of one moment the last that has the field."""
        if self._is_plain:
            return raw
        merged = np.full(self._moments.n, MISSING, np.int64)
        has = raw != MISSING
        merged[self._moments.of_row[has]] = raw[has]
        return merged

    def _scaled(self, name: str, raw: Ints) -> Signal:
        value = np.full(len(raw), np.nan)
        validity = np.zeros(len(raw), np.int8)
        for is_2025 in (False, True):
            field = self._reports.field_of.get((name, is_2025))
            if field is None:
                continue
            rows = (self.is_2025 == is_2025) & (raw != MISSING)
            found = validities(field, raw)
            validity[rows] = found[rows]
            rows &= found == Validity.VALID
            value[rows] = (raw[rows] - field.zero) * field.times / field.over
        return Signal(value, validity, raw)


def _keys(moments: Moments, cells: PackLists, probes: PackLists) -> Ints:
    """(moment, pack) of every row to be; each moment has one of the vehicle itself."""
    vehicles = np.arange(moments.n) * PACK_NUMBERS + FIRST_PACK
    others = [lists.keys[lists.keys % PACK_NUMBERS != FIRST_PACK] for lists in (cells, probes)]
    return np.unique(np.concatenate([vehicles, *others])) if any(map(len, others)) else vehicles


def _places(keys: Ints, lists: PackLists) -> Ints:
    """(n_rows,) place of each row's list, -1 for none."""
    if not len(lists.keys):
        return np.full(len(keys), -1, np.int64)
    place = np.clip(np.searchsorted(lists.keys, keys), 0, len(lists.keys) - 1)
    return np.where(lists.keys[place] == keys, place, -1)


def _taken(lists: PackLists, place: Ints) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """The lists at these places as values and offsets."""
    has = place >= 0
    lengths = np.zeros(len(place), np.int64)
    lengths[has] = lists.lengths[place[has]]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    if np.array_equal(place[has], np.arange(len(lists.keys))):
        return lists.values, offsets
    starts = (np.cumsum(lists.lengths) - lists.lengths)[place[has]]
    kept = lengths[has]
    within = np.arange(int(kept.sum())) - np.repeat(np.cumsum(kept) - kept, kept)
    return lists.values[np.repeat(starts, kept) + within], offsets


def _says_something(
    keys: Ints, scalars: _Scalars, bits: Ints, cells: PackLists, probes: PackLists
) -> Bools:
    """A vehicle's row of a report that only has a position is left out."""
    sent = (scalars["vehicle.soc_ratio"].raw != MISSING) | (scalars["alarms.level"].raw != MISSING)
    sent |= bits != 0
    has_list = (_places(keys, cells) >= 0) | (_places(keys, probes) >= 0)
    return np.asarray(has_list | sent[keys // PACK_NUMBERS])


def _pack_fields(body: tuple[Any, ...]) -> dict[str, Field]:
    group = next(node for node in body if isinstance(node, Group))
    return {node.name: node for node in group.nodes if isinstance(node, Field)}


_PACK_2016, _PACK_2025 = _pack_fields(bodies_2016.CELLS), _pack_fields(bodies_2025.CELLS)


def _pack_value(raw: Ints, is_2025: Bools, name: str) -> tuple[Floats, npt.NDArray[np.int8]]:
    value, validity = np.full(len(raw), np.nan), np.zeros(len(raw), np.int8)
    for edition, field in ((False, _PACK_2016[name]), (True, _PACK_2025[name])):
        rows = (is_2025 == edition) & (raw != MISSING)
        validity[rows] = validities(field, raw[rows])
        rows &= validity == Validity.VALID
        value[rows] = (raw[rows] - field.zero) * field.times / field.over
    return value, validity


def _electrical(
    scalars: _Scalars, keys: Ints, cells: PackLists, place: Ints
) -> tuple[Floats, Floats, Ints]:
    """Voltage and current of each row, and bits: of its pack, or of the vehicle if it has one."""
    moment = keys // PACK_NUMBERS
    is_2025 = scalars.is_2025[moment]
    is_only = np.bincount(moment, minlength=len(scalars.is_2025))[moment] == 1
    bits = np.zeros(len(keys), np.int64)
    found: list[Floats] = []
    for name, of_pack in (("voltage_v", cells.voltage_raw), ("current_a", cells.current_raw)):
        raw = np.full(len(keys), MISSING, np.int64)
        raw[place >= 0] = of_pack[place[place >= 0]]
        pack, validity = _pack_value(raw, is_2025, name)
        signal = f"pack_{name}"
        vehicle = scalars[f"vehicle.{signal}"].value[moment]
        bits |= np.where(is_only, 0, _signal_bits(signal, validity))
        if name == "voltage_v":
            limit = np.maximum(VOLTS_APART, VOLTS_APART_RATIO * vehicle)
            apart = is_only & (np.abs(vehicle - pack) > limit)
            bits |= np.where(apart, statement_bit("pack_voltages_disagree"), 0)
        found.append(np.where(is_only & ~np.isnan(vehicle) | np.isnan(pack), vehicle, pack))
        if not is_only.all():  # the vehicle's own value is no other pack's
            found[-1] = np.where(~is_only & np.isnan(pack), np.nan, found[-1])
    return found[0], found[1], bits


def _signal_bits(signal: str, validity: npt.NDArray[np.int8]) -> Ints:
    bits = np.zeros(len(validity), np.int64)
    if validity.any():
        for state, word in _STATES.items():
            bits[validity == state] = signal_bit(signal, word)
    return bits


_SIGNAL_OF = {
    "vehicle.pack_voltage_v": "pack_voltage_v",
    "vehicle.pack_current_a": "pack_current_a",
    "vehicle.soc_ratio": "soc_ratio",
    "vehicle.insulation_ohm": "insulation_ohm",
    "vehicle.charging": "charging_state",
    "vehicle.odometer_m": "odometer_m",
    "vehicle.speed_mps": "vehicle_speed_mps",
    "alarms.level": "bms_alarm_level",
}


def _bits_of_moment(
    scalars: _Scalars, reports: Reports, moments: Moments, cells: PackLists, probes: PackLists
) -> Ints:
    """(n_moments,) what is wrong with the vehicle's own values and statements."""
    bits = np.zeros(moments.n, np.int64)
    for name, signal in _SIGNAL_OF.items():
        bits |= _signal_bits(signal, scalars[name].validity)
    bits |= _fix(scalars, moments).bits
    bits |= _extremes(scalars, cells, "highest_v", "lowest_v", "cell", CELL_STEP_V)
    bits |= _extremes(scalars, probes, "highest_degc", "lowest_degc", "probe", 0.5)
    for row in reports.stops:
        bits[moments.of_row[row]] |= statement_bit("rest_unread")
    return bits


def _extremes(
    scalars: _Scalars, lists: PackLists, highest: str, lowest: str, what: str, step: float
) -> Ints:
    """Bits where the extremes body contradicts the lists of the same moment (2016)."""
    high, low = (scalars[f"extremes.{name}"].value for name in (highest, lowest))
    bits = np.zeros(len(high), np.int64)
    if not len(lists.values) or np.isnan(high).all():
        return bits
    moment = np.repeat(lists.keys // PACK_NUMBERS, lists.lengths)
    starts = np.flatnonzero(np.diff(moment, prepend=-1))
    rows = moment[starts]
    top = np.fmax.reduceat(lists.values, starts)
    bottom = np.fmin.reduceat(lists.values, starts)
    is_apart = (np.abs(top - high[rows]) > step) | (np.abs(bottom - low[rows]) > step)
    bits[rows[is_apart]] = statement_bit(f"{what}_extremes_disagree")
    return bits


@dataclass(frozen=True)
class _Fix:
    lat_deg: Floats
    lon_deg: Floats
    is_good: Bools
    bits: Ints


def _fix(scalars: _Scalars, moments: Moments) -> _Fix:
    """WGS-84 positions; the 2016 edition does not name its datum and is taken for WGS-84."""
    status = scalars["position.status"].raw
    lat, lon = scalars["position.lat_deg"], scalars["position.lon_deg"]
    is_sent = status != MISSING
    in_range = ~np.isnan(lat.value) & ~np.isnan(lon.value)
    # 0, 0 is what a receiver says that never had a fix, whatever its status bit.
    has_fix = (status & STATUS_NO_FIX == 0) & ~((lat.value == 0) & (lon.value == 0))
    datum = np.where(scalars.is_2025, scalars["position.datum"].raw, DATUM_WGS84)
    knows_datum = (datum == DATUM_WGS84) | (datum == DATUM_GCJ02)
    lat_deg = np.where(status & STATUS_SOUTH, -lat.value, lat.value)
    lon_deg = np.where(status & STATUS_WEST, -lon.value, lon.value)
    shifted = is_sent & in_range & (datum == DATUM_GCJ02)
    if shifted.any():
        lat_deg[shifted], lon_deg[shifted] = geo.wgs84_from_gcj02(
            lat_deg[shifted], lon_deg[shifted]
        )
    bits = np.zeros(moments.n, np.int64)
    bits[is_sent & ~in_range] |= statement_bit("position_out_of_range")
    bits[is_sent & ~has_fix] |= statement_bit("position_invalid")
    bits[is_sent & ~knows_datum] |= statement_bit("datum_unknown")
    return _Fix(lat_deg, lon_deg, is_sent & in_range & has_fix & knows_datum, bits)


def _only(mask: Bools, values: Floats) -> Floats:
    return np.where(mask, values, np.nan)


def _whole(signal: Signal, is_vehicle: Bools, moment: Ints) -> Ints:
    is_valid = (signal.validity == Validity.VALID) & (signal.raw != MISSING)
    return np.where(is_vehicle & is_valid[moment], signal.raw[moment], ABSENT_I64)


def _charging(signal: Signal) -> npt.NDArray[np.int8]:
    """Codes of the contract; -1 where it is none of its words."""
    words = column_of("battery_state", "charging_state").values
    code = np.full(256, -1, np.int8)
    for raw, word in _CHARGING_WORDS.items():
        code[raw] = words.index(word)
    return np.where(signal.raw == MISSING, np.int8(-1), code[np.maximum(signal.raw, 0) & 0xFF])
