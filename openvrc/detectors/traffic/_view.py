"""One prepared look at a vehicle_state Batch for all rules about vehicles.

Each rule used to cast, filter and look up the same columns for itself, which was most of its time.
A `View` does it once per batch (`Batch.once`): plain numpy arrays (n_rows,), segments as the map's
numbers, places in the map's plane, the nearest point of the matched lane. What only some rules
need is made when the first of them asks. Arrays are shared: nobody may change them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.words import are_equal
from openvrc.detectors.keyed import Keyed
from openvrc.detectors.roll import Roll
from openvrc.detectors.traffic._roads import Roads
from openvrc.detectors.traffic._rounds import rounds

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CLASSES = column_of("vehicle_state", "vehicle_class").values
BUS_LIKE = np.append(np.isin(CLASSES, ("bus", "tram")), False)
"""By class code; the last, -1, is a vehicle of unknown class."""
ON_LANES = np.append(~np.isin(CLASSES, ("pedestrian", "bicycle")), True)
# Typical lengths in m where a vehicle does not state its own (SUMO's defaults by class).
LENGTH_M = {"truck": 10.0, "bus": 12.0, "tram": 22.0, "motorcycle": 2.2, "bicycle": 1.6}
LENGTH_BY_CLASS_M = np.array([LENGTH_M.get(word, 5.0) for word in CLASSES] + [5.0])
NO_BLINKER, ONE_BLINKER, HAZARD = 0, 1, 2
_ROLL_OFF_MAPS = Roll()


class View:
    """Rows of one batch, all (n_rows,), in the batch's order."""

    def __init__(self, batch: Batch, roads: Roads | None) -> None:
        self.batch = batch
        self.roads = roads
        self.at_ns: IndexArray = batch.column("sampled_at_ns")
        self.speed_mps: FloatArray = batch.column("speed_mps").astype(np.float64)
        self.lat_deg: FloatArray = batch.column("lat_deg")
        self.lon_deg: FloatArray = batch.column("lon_deg")
        self.lateness: IndexArray = batch.column("lateness")
        self._roll = roads.roll if roads else _ROLL_OFF_MAPS
        self._number: IndexArray | None = None
        self._generation = 0

    def __len__(self) -> int:
        return len(self.at_ns)

    # --- who

    @cached_property
    def is_of_one_row_each(self) -> bool:
        """Whether no vehicle has two rows."""
        return len(self.batch.used_words("subject_id")[0]) == len(self)

    @cached_property
    def rounds(self) -> list[IndexArray]:
        """Rows of every vehicle's first record, of every second one, and so on."""
        if self.is_of_one_row_each:
            return [np.arange(len(self))]
        return rounds(self.batch.used_words("subject_id")[1].astype(np.int64))

    def rounds_of(self, slot: IndexArray) -> list[IndexArray]:
        """The same of some rows whose vehicles have these slots (n,), as numbers below n."""
        if self.is_of_one_row_each or not len(slot):
            return [np.arange(len(slot))]
        return rounds(slot)

    def slots(self, keyed: Keyed, rows: IndexArray | None = None) -> IndexArray:
        """The slot of the vehicle of each row, or of these rows (n,)."""
        number = self._numbers()
        return keyed.slots_on(self._roll, number if rows is None else number[rows])

    def _numbers(self) -> IndexArray:
        """The vehicle's number on the roll, of each row."""
        roll = self._roll
        if self._number is None or self._generation != roll.generation:
            words, place = self.batch.used_words("subject_id")
            self._number = roll.call(words)[place]
            self._generation = roll.generation
        return self._number

    @cached_property
    def is_relayed(self) -> BoolArray:
        """Whether somebody else than the vehicle sent the row."""
        source, subject = (self.batch.data.column(name) for name in ("source_id", "subject_id"))
        if source.equals(subject):
            return np.zeros(len(self), np.bool_)
        senders, sender = self.batch.used_words("source_id")
        vehicles, vehicle = self.batch.used_words("subject_id")
        # A word's first cell is its length: of two as long, wider cells hold zeros only.
        width = min(senders.cells.shape[1], vehicles.cells.shape[1])
        return ~are_equal(senders.cells[sender, :width], vehicles.cells[vehicle, :width])

    # --- which rows count

    @cached_property
    def is_in_time(self) -> BoolArray:
        """Not behind the zone's watermark."""
        is_in_time: BoolArray = (self.lateness & LATE_IN_ZONE) == 0
        return is_in_time

    @cached_property
    def is_in_order(self) -> BoolArray:
        """In time, and newer than what came of its vehicle before."""
        is_in_order: BoolArray = (self.lateness & (LATE_IN_ZONE | LATE_IN_SUBJECT)) == 0
        return is_in_order

    @cached_property
    def has_place(self) -> BoolArray:
        """With a position."""
        return np.isfinite(self.lat_deg + self.lon_deg)

    @cached_property
    def vehicle_class(self) -> IndexArray:
        """Class code, -1 unknown."""
        return self.batch.column("vehicle_class").astype(np.int64)

    @cached_property
    def is_motor(self) -> BoolArray:
        """Drives on lanes, as far as is known."""
        on_lanes: BoolArray = ON_LANES[self.vehicle_class]
        return on_lanes

    # --- where

    @cached_property
    def segment(self) -> IndexArray:
        """The map's number of each row's segment, -1 off the map; without a map all are."""
        if self.roads is None:
            return np.full(len(self), -1)
        batch = self.batch
        return self.roads.numbers(batch.dictionary("segment_id"))[batch.codes("segment_id")]

    @cached_property
    def offset_m(self) -> FloatArray:
        """Along the segment, NaN off it."""
        return self.batch.column("segment_offset_m").astype(np.float64)

    @cached_property
    def lane(self) -> IndexArray:
        """Lane number from the right, -1 unknown."""
        return self.batch.column("lane_index").astype(np.int64)

    @cached_property
    def on_lane(self) -> IndexArray:
        """The segment, or -1 where there is no offset along it."""
        return np.where(np.isfinite(self.offset_m), self.segment, -1)

    @cached_property
    def limit_mps(self) -> FloatArray:
        """Speed limit of the segment, 0 off the map."""
        assert self.roads is not None
        limit_mps: FloatArray = self.roads.limit_mps[self.segment]
        return limit_mps

    @cached_property
    def is_internal(self) -> BoolArray:
        """Inside a junction, or off the map."""
        assert self.roads is not None
        is_internal: BoolArray = self.roads.is_internal[self.segment]
        return is_internal

    @cached_property
    def xy_m(self) -> tuple[FloatArray, FloatArray]:
        """East and north in the map's plane."""
        assert self.roads is not None
        return self.roads.road_map.frame.to_xy_m(self.lat_deg, self.lon_deg)

    @cached_property
    def heading_rad(self) -> FloatArray:
        """Course, clockwise from north; NaN unknown."""
        return np.radians(self.batch.column("heading_deg").astype(np.float64))

    @cached_property
    def course(self) -> tuple[FloatArray, FloatArray]:
        """East and north parts of the course."""
        return np.sin(self.heading_rad), np.cos(self.heading_rad)

    @cached_property
    def lane_point(self) -> IndexArray:
        """The point of the matched lane nearest to each place; any where there is no lane."""
        assert self.roads is not None
        offset_m = np.where(np.isfinite(self.offset_m), self.offset_m, 0.0)
        return self.roads.lanes.point_of(np.maximum(self.segment, 0), self.lane, offset_m)

    @cached_property
    def across_m(self) -> FloatArray:
        """Distance from the matched lane's line."""
        assert self.roads is not None
        return self.roads.lanes.across_m(self.lane_point, *self.xy_m)

    @cached_property
    def lane_cosine(self) -> FloatArray:
        """Cosine of the angle between the course and the matched lane's direction."""
        assert self.roads is not None
        lanes, point, (east, north) = self.roads.lanes, self.lane_point, self.course
        cosine: FloatArray = east * lanes.east[point] + north * lanes.north[point]
        return cosine

    # --- what it is

    @cached_property
    def length_m(self) -> FloatArray:
        """Stated length, else the typical one of the class."""
        length_m = self.batch.column("length_m").astype(np.float64)
        return np.where(length_m > 0.0, length_m, LENGTH_BY_CLASS_M[self.vehicle_class])

    @cached_property
    def blinker(self) -> NDArray[np.int8]:
        """None, one side, or both."""
        batch = self.batch
        left, right = batch.column("left_blinker_on") == 1, batch.column("right_blinker_on") == 1
        hazard = (batch.column("hazard_lights_on") == 1) | (left & right)
        return np.where(hazard, HAZARD, left | right).astype(np.int8)

    @cached_property
    def accuracy_m(self) -> FloatArray:
        """Stated position accuracy, NaN unknown."""
        return self.batch.column("position_accuracy_m").astype(np.float64)

    # --- for rules that look at the whole zone second by second

    @cached_property
    def zone_rows(self) -> tuple[dict[str, NDArray[Any]], IndexArray | None]:
        """Columns of motor vehicles' rows in time and with a position, and which rows these are.

        None stands for all of them.
        """
        usable = self.has_place & self.is_in_time & self.is_motor
        rows: dict[str, NDArray[Any]] = {
            "at_ns": self.at_ns,
            "segment": self.on_lane,
            "lane": self.lane,
            "offset_m": self.offset_m,
            "speed_mps": self.speed_mps,
            "lat_deg": self.lat_deg,
            "lon_deg": self.lon_deg,
            "length_m": self.length_m,
            "vehicle_class": self.vehicle_class,
            "blinker": self.blinker,
            "accuracy_m": self.accuracy_m,
        }
        if usable.all():
            return rows, None
        chosen = np.flatnonzero(usable)
        return {name: values[chosen] for name, values in rows.items()}, chosen


def view_of(batch: Batch, roads: Roads | None) -> View:
    """The batch's view on this map (or on none), made once for all rules."""
    version = roads.road_map.map_version if roads else ""
    return batch.once(f"traffic view {version}", lambda: View(batch, roads))
