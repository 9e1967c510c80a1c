"""Votes of the last five periods per cell, and the episodes they open: shared by the slow rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.detection import Arrays
from openvrc.contracts.units import NS_PER_S
from openvrc.detectors.battery.wide import Wide

VOTES_OF, VOTES_TO_RAISE = 5, 3
HEALTHY_PERIODS, HEALTHY_SPAN_NS = 5, 3 * 86_400 * NS_PER_S

_CELLS = {"low": (np.uint8, 0)}
_TIMES = {"began_at_ns": (np.int64, 0)}
_WINDOW = (1 << VOTES_OF) - 1


@dataclass
class Episode:
    """An open fault of one cell or group."""

    started_at_ns: int
    severity: int
    healthy_periods: int = 0
    healthy_since_ns: int = 0

    def heals(self, is_healthy: bool, began_at_ns: int, ended_at_ns: int) -> bool:
        """Count one period; whether health has lasted."""
        if not is_healthy:
            self.healthy_periods = 0
            return False
        if self.healthy_periods == 0:
            self.healthy_since_ns = began_at_ns
        self.healthy_periods += 1
        is_long = ended_at_ns - self.healthy_since_ns >= HEALTHY_SPAN_NS
        return is_long and self.healthy_periods >= HEALTHY_PERIODS


@dataclass(frozen=True)
class Votes:
    """The last five votes of one vehicle's cells, after a new one."""

    bits: npt.NDArray[np.uint8]
    """(c,), bit 0 the newest period."""
    began_at_ns: npt.NDArray[np.int64]
    """(5,) start of each period, newest first."""

    def is_raised(self, cell: int) -> bool:
        """Whether enough of the last periods agree."""
        return int(self.bits[cell]).bit_count() >= VOTES_TO_RAISE

    def began(self, cell: int) -> int:
        """Start of the oldest period that agrees."""
        bits = int(self.bits[cell])
        return int(self.began_at_ns[max(bits.bit_length() - 1, 0)])


class CellVotes:
    """Of all vehicles."""

    def __init__(self) -> None:
        self._cells, self._times = Wide(_CELLS), Wide(_TIMES)

    def cast(self, slot: int, counts: npt.NDArray[np.bool_], began_at_ns: int) -> Votes:
        """One more period of a vehicle: which cells (c,) count."""
        self._cells.fit(slot + 1, len(counts))
        self._times.fit(slot + 1, VOTES_OF)
        bits, times = self._cells["low"][slot], self._times["began_at_ns"][slot]
        bits[: len(counts)] = (bits[: len(counts)] << 1) & _WINDOW | counts
        times[1:] = times[:-1].copy()
        times[0] = began_at_ns
        return Votes(bits, times)

    def snapshot(self) -> Arrays:
        """Copies for a checkpoint."""
        return self._cells.snapshot("votes.") | self._times.snapshot("votes.")

    def load(self, arrays: Arrays) -> None:
        """Take over what `snapshot` wrote."""
        self._cells = Wide.restore(_CELLS, arrays, "votes.")
        self._times = Wide.restore(_TIMES, arrays, "votes.")


def episodes_to(episodes: Mapping[tuple[int, int], Episode]) -> Arrays:
    """Episodes as an array."""
    rows = [
        (*key, e.started_at_ns, e.severity, e.healthy_periods, e.healthy_since_ns)
        for key, e in episodes.items()
    ]
    return {"episodes": np.array(rows, np.int64).reshape(-1, 6)}


def episodes_from(arrays: Arrays) -> dict[tuple[int, int], Episode]:
    """What `episodes_to` wrote."""
    return {(slot, cell): Episode(*rest) for slot, cell, *rest in arrays["episodes"].tolist()}
