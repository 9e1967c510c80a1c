"""A sender that feigns a congestion: ghosts that crawl behind it, each with a name of its own.

The Sybil attack on traffic information (VeReMi's TrafficCongestionSybil, doi:10.1145/3404100).
"""

from __future__ import annotations

import numpy as np

from simulator.faults.extras import Extra, ExtraFault, Liars
from simulator.faults.kind import VEHICLES, Fault, Given, Parameter, Stage
from simulator.faults.records import METRES_PER_DEGREE


class Sybil:
    """The kind as a plug-in."""

    name = "sybil"
    description = "a sender feigns a congestion of ghosts that crawl around it"
    stage = Stage.SENDER
    parameters = (
        *VEHICLES,
        Parameter("ghosts", 10.0, "how many", low=1.0, high=1000.0),
        Parameter("spacing_m", 8.0, "from one to the next, behind the sender", low=0.1),
        Parameter("speed_mps", 1.0, "how fast they crawl", high=100.0),
    )

    def make(self, given: Given) -> Fault:
        """See FaultKind."""
        return ExtraFault(given, _Ghosts(given), component="sybil", has_own_names=True)


class _Ghosts:
    """The congestion begins where its sender was when it began, and crawls on from there."""

    def __init__(self, given: Given) -> None:
        self._n = int(given.number("ghosts"))
        self._spacing_m, self._speed_mps = given.number("spacing_m"), given.number("speed_mps")
        self._begun: dict[str, tuple[int, float, float, float]] = {}

    def __call__(self, liars: Liars) -> Extra:
        at_ns = np.repeat(liars.whole.column("sampled_at_ns")[liars.rows], self._n)
        columns = liars.copied(np.full(len(liars.rows), self._n))
        began = np.array([self._began(liars, place) for place in range(len(liars.rows))])
        began_ns, lat_deg, lon_deg, heading_deg = np.repeat(began, self._n, axis=0).T
        rank = np.tile(np.arange(self._n), len(liars.rows))
        crawled_m = self._speed_mps * (at_ns - began_ns) * 1e-9
        along_m = crawled_m - self._spacing_m * (rank + 1)
        heading_rad = np.radians(heading_deg)
        columns["lat_deg"] = lat_deg + along_m * np.cos(heading_rad) / METRES_PER_DEGREE
        per_lon_m = METRES_PER_DEGREE * np.cos(np.radians(lat_deg))
        columns["lon_deg"] = lon_deg + along_m * np.sin(heading_rad) / per_lon_m
        columns["heading_deg"] = heading_deg
        columns["speed_mps"] = np.full(len(at_ns), self._speed_mps)
        columns["accel_long_mps2"] = np.zeros(len(at_ns))
        subjects = [f"{name}-ghost-{n + 1}" for name in liars.who for n in range(self._n)]
        return Extra(subjects, at_ns, columns, np.repeat(np.arange(len(liars.rows)), self._n))

    def _began(self, liars: Liars, place: int) -> tuple[int, float, float, float]:
        row, columns = liars.rows[place], ("lat_deg", "lon_deg", "heading_deg")
        at_ns = int(liars.whole.column("sampled_at_ns")[row])
        lat_deg, lon_deg, heading_deg = (float(liars.whole.column(n)[row]) for n in columns)
        now = (at_ns, lat_deg, lon_deg, heading_deg)
        return self._begun.setdefault(liars.who[place], now)


PLUGIN = Sybil()
