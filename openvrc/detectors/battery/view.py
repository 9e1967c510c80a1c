"""One prepared look at a batch of battery frames, shared by all rules that read it.

What depends on the batch alone (order, masked cells, medians, deviations, hottest probes) is made
at most once per batch, at the first call that wants it, and kept with the batch (`Batch.once`).
What depends on a rule's state (which frames are new to it) stays with the rule.

Rows are sorted by vehicle, each vehicle's in the order of the batch. `ordered` holds the frames
that came in order; `belated` those that came behind a newer one of their vehicle. Pseudonyms are
in neither: nothing lasting can be said of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.columns import column_of
from openvrc.contracts.messages.record import LATE_IN_SUBJECT, LATE_IN_ZONE
from openvrc.contracts.units import ABSENT_I64
from openvrc.contracts.words import Words, WordTable
from openvrc.detectors.battery.cleaning import (
    BoolArray,
    CleanFrames,
    FloatArray,
    clean_frames,
    clean_scalar,
    dense,
)
from openvrc.detectors.battery.masks import every, some

IntArray = npt.NDArray[np.int64]

COUNTS_PER_V = 10_000.0  # 0.1 mV, the resolution of a cell voltage on the wire
CUT_V = 1.5  # a difference of two cut deviations still fits 16 bits
_NO_ROWS: IntArray = np.empty(0, np.int64)
_PSEUDONYM = column_of("battery_state", "id_kind").values.index("pseudonym")
CHARGING_STATES = column_of("battery_state", "charging_state").values
PARKED_CHARGING = CHARGING_STATES.index("parked_charging")


class View:
    """Frames (n,) of one batch, masked, sorted by vehicle. Arrays are shared: never write."""

    def __init__(self, batch: Batch, row: IntArray) -> None:
        self.batch = batch
        words, place = batch.used_words("subject_id")
        if len(row) < batch.n_rows:
            used, place = np.unique(place[row], return_inverse=True)
            words = words.take(used)
        if len(row) and some(place[1:] < place[:-1]):
            order = np.argsort(place, kind="stable")
            row, place = row[order], place[order]
        self.row = row
        """Row numbers (n,) in the batch."""
        is_first = np.ones(len(row), np.bool_)
        is_first[1:] = place[1:] != place[:-1]
        self.is_first: BoolArray = is_first
        """(n,) first of its vehicle in this batch."""
        self.words: Words = words
        """Ids of the rows."""
        self.place = place
        """(n,) each row's id in `words`."""
        self._scalars: dict[str, FloatArray] = {}

    def __len__(self) -> int:
        return len(self.row)

    def vehicle(self, i: int) -> str:
        """Id of row i's vehicle."""
        return self._vehicles[int(self.place[i])]

    @cached_property
    def _vehicles(self) -> list[str]:
        return self.words.to_list()

    def is_one_of(self, vehicles: list[str]) -> BoolArray:
        """(n_words,) which of `words` are among the given ids."""
        found: BoolArray = WordTable(vehicles).find(self.words) >= 0
        return found

    def _picked(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values if self._is_whole else values[self.row]

    @cached_property
    def _is_whole(self) -> bool:
        n = self.batch.n_rows
        return len(self.row) == n and every(self.row == np.arange(n))

    @cached_property
    def at_ns(self) -> IntArray:
        """Event times (n,)."""
        return self._picked(self.batch.column("sampled_at_ns"))

    @cached_property
    def is_late(self) -> BoolArray:
        """(n,) behind the zone's watermark."""
        late: BoolArray = (self._picked(self.batch.column("lateness")) & LATE_IN_ZONE) != 0
        return late

    # --- masked values

    @cached_property
    def _is_nonsense_row(self) -> BoolArray:
        is_nonsense: BoolArray = clean_of(self.batch).is_nonsense
        return is_nonsense

    @cached_property
    def is_nonsense(self) -> BoolArray:
        """(n,) frames that are not believed at all."""
        return self._picked(self._is_nonsense_row)

    @cached_property
    def cells_v(self) -> FloatArray:
        """Cells (n, c), NaN where not measured."""
        return self._picked(clean_of(self.batch).cells_v)

    @cached_property
    def probes_degc(self) -> FloatArray:
        """Probes (n, p), NaN where not measured."""
        return self._picked(clean_of(self.batch).probes_degc)

    def scalar(self, name: str) -> FloatArray:
        """A float column (n,), NaN where absent or in a frame of nonsense."""
        found = self._scalars.get(name)
        if found is None:
            found = self._picked(clean_scalar(self.batch, name, self._is_nonsense_row))
            self._scalars[name] = found
        return found

    @cached_property
    def current_a(self) -> FloatArray:
        """Pack current (n,), positive when discharging."""
        return self.scalar("pack_current_a")

    @cached_property
    def soc_ratio(self) -> FloatArray:
        """Displayed state of charge (n,)."""
        return self.scalar("soc_ratio")

    @cached_property
    def is_parked_charging(self) -> BoolArray:
        """(n,) the BMS says that it charges at a standstill."""
        return self._picked(self.batch.column("charging_state") == PARKED_CHARGING)

    @cached_property
    def alarm_level(self) -> IntArray:
        """Alarm level (n,) of the BMS; -1 where it says none."""
        level = self._picked(self.batch.column("bms_alarm_level"))
        return np.where(level == ABSENT_I64, -1, level)

    def bms_alarm_level(self, i: int) -> int | None:
        """What the BMS said in row i."""
        level = int(self.alarm_level[i])
        return None if level < 0 else level

    # --- cells against their pack

    @cached_property
    def n_given(self) -> IntArray:
        """Cells (n,) that the frame has places for."""
        offsets = self.batch.lists("cell_voltages_v")[1]
        return self._picked(np.diff(offsets)).astype(np.int64)

    @cached_property
    def has_gaps(self) -> bool:
        """Whether any cell of any row is missing or masked."""
        return self.cells_v.shape[1] > 0 and some(np.isnan(self._sorted_v[:, -1]))

    @cached_property
    def _sorted_v(self) -> FloatArray:
        return np.sort(self.cells_v, axis=1)  # NaN last

    @cached_property
    def n_measured(self) -> IntArray:
        """Cells (n,) that are measurements."""
        if not self.has_gaps:
            return np.full(len(self), self.cells_v.shape[1], np.int64)
        n_measured: IntArray = (~np.isnan(self.cells_v)).sum(axis=1)
        return n_measured

    @cached_property
    def n_told_wrong(self) -> IntArray:
        """Cells (n,) that are given but masked, without frames of nonsense."""
        if not self.has_gaps:
            return np.zeros(len(self), np.int64)
        raw_v = self._picked(dense_of(self.batch))
        n_wrong: IntArray = (~np.isnan(raw_v)).sum(axis=1) - self.n_measured
        return np.where(self.is_nonsense, 0, n_wrong)

    def raw_cells_v(self, i: int) -> FloatArray:
        """Row i's cells as they came."""
        raw_v: FloatArray = dense_of(self.batch)[self.row[i]]
        return raw_v

    @cached_property
    def median_v(self) -> FloatArray:
        """Median cell (n,), NaN without any."""
        return self._ranked((self.n_measured - 1) // 2, self.n_measured // 2)

    def _ranked(self, low: IntArray, high: IntArray) -> FloatArray:
        """Mean of the cells of two ranks (n,), from 0; NaN where the rank does not exist."""
        ordered = self._sorted_v
        if ordered.shape[1] == 0:
            return np.full(len(self), np.nan, np.float32)
        last = ordered.shape[1] - 1
        if not self.has_gaps and len(self):  # all rows have the same ranks
            picked = (ordered[:, int(low[0])] + ordered[:, int(min(high[0], last))]) / 2
            return np.asarray(picked, np.float32)
        index = np.arange(len(self))
        mean = (ordered[index, np.maximum(low, 0)] + ordered[index, np.minimum(high, last)]) / 2
        return np.where(low >= 0, mean, np.float32(np.nan))

    @cached_property
    def lowest_v(self) -> FloatArray:
        """Lowest cell (n,)."""
        zero = np.zeros(len(self), np.int64)
        return self._ranked(zero, zero)

    @cached_property
    def highest_v(self) -> FloatArray:
        """Highest cell (n,)."""
        return self._ranked(self.n_measured - 1, self.n_measured - 1)

    @cached_property
    def lowest_deviation_v(self) -> FloatArray:
        """Lowest cell against the median (n,)."""
        return self.lowest_v - self.median_v

    def lowest_cell(self, i: int) -> int:
        """Number of row i's lowest cell, from 0."""
        return int(np.nanargmin(self.cells_v[i]))

    def highest_cell(self, i: int) -> int:
        """Number of row i's highest cell, from 0."""
        return int(np.nanargmax(self.cells_v[i]))

    @cached_property
    def is_missing(self) -> BoolArray | None:
        """(n, c) cells that are no measurement; None if all are."""
        return np.isnan(self.cells_v) if self.has_gaps else None

    @cached_property
    def deviation(self) -> npt.NDArray[np.int16]:
        """Cell minus median (n, c) in 0.1 mV, cut at +-1.5 V; 0 where not measured."""
        deviation_v = self.cells_v - self.median_v[:, None]
        deviation_v *= np.float32(COUNTS_PER_V)
        cut = np.float32(CUT_V * COUNTS_PER_V)
        if self.has_gaps:
            np.nan_to_num(deviation_v, copy=False, nan=0.0)
        np.clip(deviation_v, -cut, cut, out=deviation_v)
        np.rint(deviation_v, out=deviation_v)
        return deviation_v.astype(np.int16)

    # --- probes

    @cached_property
    def _sorted_degc(self) -> FloatArray:
        return np.sort(self.probes_degc, axis=1)

    @cached_property
    def n_probes(self) -> IntArray:
        """Probes (n,) that are measurements."""
        if self._has_all_probes:
            return np.full(len(self), self.probes_degc.shape[1], np.int64)
        n_probes: IntArray = (~np.isnan(self.probes_degc)).sum(axis=1)
        return n_probes

    @cached_property
    def _has_all_probes(self) -> bool:
        """Whether every probe of every row is a measurement: then all rows have the same ranks."""
        return self.probes_degc.shape[1] > 0 and not some(np.isnan(self._sorted_degc[:, -1]))

    def _probe_ranked(self, rank: IntArray) -> FloatArray:
        ordered = self._sorted_degc
        if ordered.shape[1] == 0:
            return np.full(len(self), np.nan, np.float32)
        if self._has_all_probes and len(self) and 0 <= rank[0] < ordered.shape[1]:
            return np.ascontiguousarray(ordered[:, int(rank[0])])
        picked = ordered[np.arange(len(self)), np.clip(rank, 0, ordered.shape[1] - 1)]
        return np.where((rank >= 0) & (rank < self.n_probes), picked, np.float32(np.nan))

    @cached_property
    def hottest_degc(self) -> FloatArray:
        """Hottest probe (n,)."""
        return self._probe_ranked(self.n_probes - 1)

    @cached_property
    def second_hottest_degc(self) -> FloatArray:
        """Second hottest probe (n,), NaN with fewer than two."""
        return self._probe_ranked(self.n_probes - 2)

    @cached_property
    def coldest_degc(self) -> FloatArray:
        """Coldest probe (n,)."""
        return self._probe_ranked(np.zeros(len(self), np.int64))

    @cached_property
    def second_coldest_degc(self) -> FloatArray:
        """Second coldest probe (n,), NaN with fewer than two."""
        return self._probe_ranked(np.ones(len(self), np.int64))

    @cached_property
    def median_degc(self) -> FloatArray:
        """Middle probe (n,), the higher one of an even number."""
        return self._probe_ranked(self.n_probes // 2)

    def hottest_probe(self, i: int) -> int:
        """Number of row i's hottest probe, from 0."""
        return int(np.nanargmax(self.probes_degc[i]))


def clean_of(batch: Batch) -> CleanFrames:
    """The batch's masked cells and probes in its own order, made once."""
    return batch.once("battery clean", lambda: clean_frames(batch))


def dense_of(batch: Batch) -> FloatArray:
    """The batch's cells as they came (n_rows, c), made once."""
    return batch.once("battery cells", lambda: dense(batch, "cell_voltages_v"))


def _rows(batch: Batch) -> tuple[IntArray, IntArray]:
    """Rows that came in order, and rows that came behind a newer one."""
    lateness = batch.column("lateness")
    # An absent mark is ABSENT_I64, whose low bits are zero: such a row is in time.
    is_behind = (lateness & LATE_IN_SUBJECT) != 0
    is_named = batch.column("id_kind") != _PSEUDONYM
    if every(is_named) and not some(is_behind):
        return np.arange(batch.n_rows), _NO_ROWS
    return np.flatnonzero(is_named & ~is_behind), np.flatnonzero(is_named & is_behind)


def _rows_once(batch: Batch) -> tuple[IntArray, IntArray]:
    return batch.once("battery rows by lateness", lambda: _rows(batch))


def ordered(batch: Batch) -> View:
    """Frames that came in order for their vehicle."""
    return batch.once("battery view", lambda: View(batch, _rows_once(batch)[0]))


def belated(batch: Batch) -> View | None:
    """Frames that came behind a newer one of their vehicle; mostly there are none."""
    rows = _rows_once(batch)[1]
    if len(rows) == 0:
        return None
    return batch.once("belated battery view", lambda: View(batch, rows))
