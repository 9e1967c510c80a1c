"""Typical days of a zone's segments from stored quarters of an hour, in the zone's own time.

Runs of one origin count together: a zone's replays of different days are days of it, and what a
model makes is not mixed with the world.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from cloud.store import reads
from cloud.store.facts import moment, ns_of
from openvrc.traffic.typical import QUARTER_S, SATURDAY, Floats, Typical, typical

DAYS_A_WEEK = 7
MIN_VEHICLE_S = 2.0
"""Of a day's quarter: who only grazed a segment's end tells no speed of it."""
KEPT_MOMENTS = 64
"""Moments whose typical speeds are remembered: a quarter's are asked for with every look."""


_Key = tuple[str, str, str, int, int, datetime | None]
"""Zone, origin, time zone, newest quarter, weeks, and when quarters were summed up last."""


class Slot(NamedTuple):
    """A quarter of an hour of the week."""

    weekday: int
    """ISO: 1 is Monday."""
    minute_of_day: int


class DayOfSlot(NamedTuple):
    """What one local day shows in a quarter of an hour."""

    local_date: date
    vehicle_s: float
    distance_m: float


def zone_info(name: str) -> ZoneInfo:
    """The time zone; UTC for a name that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def days_by_time(
    quarters: Iterable[reads.SeenQuarter], zone: ZoneInfo
) -> dict[int, list[DayOfSlot]]:
    """Local days by minute of day.

    An hour that a clock sets back is there once, with what was seen in both.
    """
    sums: dict[tuple[date, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for quarter in quarters:
        local = quarter.quarter_start.astimezone(zone)
        total = sums[local.date(), local.hour * 60 + local.minute]
        total[0] += quarter.vehicle_s
        total[1] += quarter.distance_m
    days: dict[int, list[DayOfSlot]] = defaultdict(list)
    for (local_date, minute_of_day), (vehicle_s, distance_m) in sorted(sums.items()):
        if vehicle_s >= MIN_VEHICLE_S:
            days[minute_of_day].append(DayOfSlot(local_date, vehicle_s, distance_m))
    return days


def typical_of(days: list[DayOfSlot], weekday: int) -> tuple[Typical, Floats] | None:
    """What is typical of a weekday, and metres driven on each of its days (n,)."""
    speeds = np.array([day.distance_m / day.vehicle_s for day in days])
    weekdays = np.array([day.local_date.isoweekday() for day in days], np.int64)
    found = typical(speeds, weekdays, weekday)
    if found is None:
        return None
    chosen = (
        weekdays == weekday
        if found.basis == "weekday"
        else (weekdays >= SATURDAY) == (weekday >= SATURDAY)
    )
    return found, np.array([day.distance_m for day in days])[chosen]


def same_quarters(at_ns: int, zone: ZoneInfo, weeks: int) -> tuple[Slot, list[datetime]]:
    """The quarter of the week a moment lies in, and when it began on the days before.

    Of `weeks` weeks, of working days or of weekends, as the moment's own day is.
    """
    local = moment(at_ns).astimezone(zone)
    minute = (local.hour * 60 + local.minute) * 60 // QUARTER_S * QUARTER_S // 60
    begins = time(minute // 60, minute % 60)
    days = [local.date() - timedelta(days=n) for n in range(1, weeks * DAYS_A_WEEK + 1)]
    is_weekend = local.isoweekday() >= SATURDAY
    alike = [day for day in days if (day.isoweekday() >= SATURDAY) == is_weekend]
    starts = [datetime.combine(day, begins, tzinfo=zone) for day in alike]
    return Slot(local.isoweekday(), minute), starts


class TypicalNow:
    """What is typical of a moment, of every segment; kept until quarters are summed up again."""

    def __init__(self) -> None:
        self._known: dict[_Key, dict[str, Typical]] = {}
        self._lock = threading.Lock()

    def at(
        self,
        connection: reads.Connection,
        at_ns: int,
        *,
        zone: str,
        origin: str,
        time_zone: ZoneInfo,
        weeks: int,
    ) -> tuple[Slot, Mapping[str, Typical]]:
        """The quarter of the week and what is typical of it, by segment id; days before only."""
        slot, starts = same_quarters(at_ns, time_zone, weeks)
        summed = reads.quarters_are_of(connection)
        key = (zone, origin, time_zone.key, ns_of(max(starts)), weeks, summed)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            found = reads.quarters_at(connection, starts, zone=zone, origin=origin)
            known = self._typical(found, time_zone, slot)
            self._remember(key, known)
        return slot, known

    def _typical(
        self, found: list[reads.SeenQuarter], time_zone: ZoneInfo, slot: Slot
    ) -> dict[str, Typical]:
        of_segment: dict[str, list[reads.SeenQuarter]] = defaultdict(list)
        for quarter in found:
            of_segment[quarter.segment_id].append(quarter)
        usual: dict[str, Typical] = {}
        for segment_id, quarters in of_segment.items():
            days = days_by_time(quarters, time_zone).get(slot.minute_of_day, [])
            told = typical_of(days, slot.weekday)
            if told is not None:
                usual[segment_id] = told[0]
        return usual

    def _remember(self, key: _Key, known: dict[str, Typical]) -> None:
        with self._lock:
            self._known[key] = known
            while len(self._known) > KEPT_MOMENTS:
                del self._known[next(iter(self._known))]
