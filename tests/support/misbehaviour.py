"""The attackers of a package among its honest vehicles, and how a rule tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openvrc.contracts.detection import Finding
from tests.support.fcd_marks import Fcd, read_fcd, read_map, with_matched_marks, with_noise
from tests.support.shared_data import shared_data
from tests.support.traffic_events import second_of


@dataclass(frozen=True)
class Reports:
    """What everybody reports, with noise and the matcher's marks, and what is false of it."""

    fcd: Fcd
    attack: NDArray[np.str_]  # (n_rows,) "" in a true report


@dataclass(frozen=True)
class Score:
    """Reports of one attack type: flagged and false, of how many."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        both = self.precision + self.recall
        return 2.0 * self.precision * self.recall / both if both else 0.0


def read_reports(package: str, *, honest: int | None = None, seed: int = 1) -> Reports:
    """All attackers and all honest vehicles, or the first `honest` of these."""
    road_map, truth = read_map(package), read_fcd(package)
    table = pq.read_table(shared_data("traffic", package, "misbehaviour.parquet"))
    rows = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    number = {name: index for index, name in enumerate(truth.vehicles)}
    liars = np.array([number[name] for name in rows["vehicle"]], np.int32)
    others = ~np.isin(truth.vehicle, liars)
    if honest is not None:
        others &= np.isin(truth.vehicle, np.unique(truth.vehicle[others])[:honest])
    good = truth.rows(others)
    n_rows = len(liars)
    bad = replace(
        good.rows(np.zeros(n_rows, np.int64)),
        time_s=rows["time_s"].astype(np.int64),
        vehicle=liars,
        lat_deg=rows["lat"],
        lon_deg=rows["lon"],
        speed_mps=rows["speed_ms"],
        heading_deg=np.mod(rows["heading_deg"], 360.0),
        accel_mps2=rows["accel_ms2"],
    )
    arrays: dict[str, Any] = {
        name: np.concatenate((values, getattr(bad, name)))
        for name, values in vars(good).items()
        if isinstance(values, np.ndarray)
    }
    attack = np.where(rows["active"], rows["attack"], "").astype("<U24")
    attack = np.concatenate((np.full(len(good.time_s), "", "<U24"), attack))
    order = np.argsort(arrays["time_s"], kind="stable")
    fcd = replace(good, **arrays).rows(order)
    return Reports(with_matched_marks(with_noise(fcd, road_map, seed), road_map), attack[order])


def flagged(reports: Reports, findings: Sequence[Finding]) -> NDArray[np.bool_]:
    """Reports sent while their vehicle's episode was open, (n_rows,)."""
    fcd = reports.fcd
    number = {name: index for index, name in enumerate(fcd.vehicles)}
    from_s = np.full(len(fcd.vehicles), np.inf)
    for finding in findings:
        if finding.phase == "raise":
            one = number[finding.subject_id]
            from_s[one] = min(from_s[one], second_of(finding))
    return np.asarray(fcd.time_s >= from_s[fcd.vehicle])


def scores(reports: Reports, found: NDArray[np.bool_]) -> tuple[dict[str, Score], float]:
    """By attack type, over its attackers' reports; and the honest senders' share flagged."""
    fcd, result = reports.fcd, {}
    liars = np.unique(fcd.vehicle[reports.attack != ""])
    for attack in sorted(set(reports.attack) - {""}):
        mine = np.isin(fcd.vehicle, np.unique(fcd.vehicle[reports.attack == attack]))
        hit = mine & found & (reports.attack == attack)
        result[attack] = Score(
            precision=float(hit.sum() / max((mine & found).sum(), 1)),
            recall=float(hit.sum() / (reports.attack == attack).sum()),
        )
    return result, float(found[~np.isin(fcd.vehicle, liars)].mean())
