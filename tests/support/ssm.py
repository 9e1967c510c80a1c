"""`traffic.conflict` against the surrogate safety measures of SUMO's SSM device.

Truth: pairs of an ego and a foe whose least time to collision was below 3 s, of a random tenth of
vehicles as egos. Ours: pairs told of in which an ego is one of the two, from the edge's marks and
noisy positions of all vehicles. A pair counts once, whoever of the two is the ego.
"""

from __future__ import annotations

from dataclasses import dataclass

from openvrc.detectors.traffic import conflict
from simulator.replay.files import csv_rows
from tests.support.fcd_marks import cut, prepared, read_map, vehicle_batches
from tests.support.incidents import timed_batches
from tests.support.shared_data import shared_data
from tests.support.traffic_events import detect

Pair = frozenset[str]
LEAD_S = 2.0  # encounters of the first seconds began before we saw anybody


@dataclass(frozen=True)
class Score:
    """Over the pairs of one recording."""

    n_truth: int
    n_ours: int
    n_found: int
    n_right: int
    records_per_cpu_s: float

    @property
    def recall(self) -> float:
        """Share of true pairs told of."""
        return self.n_found / self.n_truth

    @property
    def precision(self) -> float:
        """Share of told pairs that are true."""
        return self.n_right / self.n_ours


def measure(package: str, *, from_s: float | None = None, to_s: float = float("inf")) -> Score:
    """The whole recording, or a part of it."""
    road_map = read_map(package)
    if from_s is None:
        fcd = prepared(package, "fcd", "matched")
        from_s = float(fcd.time_s[0])
    else:
        fcd = cut(package, "fcd", from_s, to_s)
    timed = timed_batches(list(vehicle_batches(fcd, road_map)))
    run = detect([conflict.PLUGIN], road_map, timed)
    ours = {
        frozenset((f.subject_id, f.evidence["other_id"]))
        for f in run.findings
        if f.phase == "raise"
    }
    egos, ever, during = _truth(package, from_s + LEAD_S, min(to_s, float(fcd.time_s[-1])))
    mine = {pair for pair in ours if pair & egos}
    return Score(
        n_truth=len(during),
        n_ours=len(mine),
        n_found=len(during & mine),
        n_right=len(mine & ever),
        records_per_cpu_s=run.records / run.cpu_s,
    )


def _truth(package: str, from_s: float, to_s: float) -> tuple[set[str], set[Pair], set[Pair]]:
    """Egos, pairs with a time to collision at all, and those whose least lies in the time."""
    egos, ever, during = set[str](), set[Pair](), set[Pair]()
    for row in csv_rows(shared_data("traffic", package, "ssm_conflicts.csv.gz")):
        egos.add(row["ego"])
        if row["min_ttc_s"]:
            pair = frozenset((row["ego"], row["foe"]))
            ever.add(pair)
            if from_s <= float(row["min_ttc_time_s"]) < to_s:
                during.add(pair)
    return egos, ever, during
