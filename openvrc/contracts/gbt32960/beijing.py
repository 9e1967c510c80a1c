"""The protocol's clock: six plain binary bytes, year 2000 + YY, Beijing time, to UTC and back.

Beijing time is UTC + 8 h all year; there is no zone on the wire (both editions, table "time").
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import numpy.typing as npt

from openvrc.contracts.units import ABSENT_I64, NS_PER_S

BEIJING = timezone(timedelta(hours=8))
OFFSET_S = 8 * 3600
_MONTH_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def to_bytes(time_ns: int) -> bytes:
    """Six bytes of a UTC time, to the second below.

    >>> to_bytes(1_767_225_600_000_000_000).hex(" ")
    '1a 01 01 08 00 00'
    """
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC).astimezone(BEIJING)
    fields = (moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return bytes([moment.year - 2000, *fields])


def to_ns(six: bytes) -> int | None:
    """UTC nanoseconds; None for bytes that are no time of 2000 to 2099.

    >>> to_ns(bytes([26, 1, 1, 8, 0, 0]))
    1767225600000000000
    >>> to_ns(bytes([26, 2, 30, 0, 0, 0])) is None
    True
    """
    year, month, day, hour, minute, second = six
    if year > 99:
        return None
    try:
        moment = datetime(2000 + year, month, day, hour, minute, second, tzinfo=BEIJING)
    except ValueError:
        return None
    return int(moment.timestamp()) * NS_PER_S


def all_to_ns(six: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """UTC nanoseconds (n,) of times (n, 6); ABSENT_I64 where they are none."""
    year, month, day, hour, minute, second = six.astype(np.int64).T
    is_leap = year % 4 == 0  # 2000 to 2099: no century but 2000, which is one
    longest = _MONTH_DAYS[np.clip(month, 0, 12)] - ((month == 2) & ~is_leap)
    is_time = (year <= 99) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= longest)
    is_time &= (hour < 24) & (minute < 60) & (second < 60)
    # Days since 1970 after the usual count of a year that begins in March.
    shifted = 2000 + year - (month <= 2)
    days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400
    days += (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719_468
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second - OFFSET_S
    return np.where(is_time, seconds * NS_PER_S, ABSENT_I64)
