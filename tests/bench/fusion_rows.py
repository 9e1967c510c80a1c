"""Object fusion against truth: GOSPA with c = 5 m, beside two naive unions.

    python -m tests.bench.bench_traffic --only fusion

"All reports" is every newest report of the last 2 s as it is. "De-duplicated" carries them on to
now by speed and heading, drops objects within 5 m of a vehicle that reports itself, and one of any
two objects of different units within 4 m. Corridor of five units 350 m apart, seed 1.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch, concat
from openvrc.contracts.near_pairs import near_pairs
from openvrc.contracts.units import NS_PER_S
from openvrc.fusion.fusion import STEP_NS, Fusion
from tests.support.fusion_worlds import Second, seconds
from tests.support.gospa import Gospa

C_M = 5.0
FIRST_S = 5
NEW_NS = 2 * NS_PER_S
OWN_WITHIN_M, SAME_WITHIN_M = 5.0, 4.0


class Figures(NamedTuple):
    """Means over the seconds of a run."""

    gospa_m: float
    rms_m: float
    missed_ratio: float
    false_ratio: float  # of the truth
    switches: int  # a true road user goes on under another number
    reports: int
    cpu_s: float

    def text(self) -> str:
        """For a table."""
        return (
            f"{self.gospa_m:.1f} m ({self.rms_m:.2f} m, missed {self.missed_ratio:.1%}, "
            f"false {self.false_ratio:.1%})"
        )


def figures(scores: list[Gospa], switches: int = 0, reports: int = 0, cpu_s: float = 0.0
            ) -> Figures:  # fmt: skip
    """Of all moments of a run."""
    truth = sum(s.assigned + s.missed for s in scores)
    assigned = max(sum(s.assigned for s in scores), 1)
    return Figures(
        float(np.mean([s.value_m for s in scores])),
        float(np.sqrt(sum(s.localisation_m2 for s in scores) / assigned)),
        sum(s.missed for s in scores) / truth,
        sum(s.false for s in scores) / truth,
        switches,
        reports,
        cpu_s,
    )


def of_fusion(run: list[Second]) -> Figures:
    """The picture of now at each second, of all that has come."""
    fusion, scores, reports, cpu_s = Fusion(), list[Gospa](), 0, 0.0
    last: dict[int, int] = {}
    switches = 0
    for place, second in enumerate(run):
        begun_s = time.process_time()
        for batch in second.batches:
            fusion.fold(batch)
        fusion.advance(second.now_ns + STEP_NS)
        cpu_s += time.process_time() - begun_s
        reports += sum(
            b.n_rows for b in second.batches if b.message in ("vehicle_state", "rsu_objects")
        )
        if place < FIRST_S:
            continue
        picture = fusion.picture(second.now_ns)
        places_m = second.xy_m(*fusion.degrees(picture.x_m, picture.y_m))
        score = second.score(places_m, C_M)
        scores.append(score)
        who = second.truth.number[second.is_covered][score.truth].tolist()
        for user, number in zip(who, picture.number[score.found].tolist(), strict=True):
            switches += last.get(user, number) != number
            last[user] = number
    return figures(scores, switches, reports, cpu_s)


class Union:
    """The newest report of every sender about every subject."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], tuple[int, float, float, float, float, bool]] = {}

    def fold(self, batch: Batch) -> None:
        """Take reports."""
        if batch.message not in ("vehicle_state", "rsu_objects"):
            return
        own = batch.message == "vehicle_state"
        names = ("sampled_at_ns", "lat_deg", "lon_deg", "speed_mps", "heading_deg")
        values = zip(*(batch.column(name).tolist() for name in names), strict=True)
        sources = [""] * batch.n_rows if own else batch.texts("source_id")
        for key, row in zip(
            zip(sources, batch.texts("subject_id"), strict=True), values, strict=True
        ):
            self._rows[key] = (*row, own)

    def places(self, second: Second, *, is_clean: bool) -> NDArray[np.float64]:
        """Of who is new enough: as they are, or carried on and de-duplicated."""
        new = {k: r for k, r in self._rows.items() if second.now_ns - r[0] <= NEW_NS}
        self._rows = new
        if not new:
            return np.zeros((0, 2))
        table = np.array([r[1:] for r in new.values()], np.float64)
        xy_m = second.xy_m(table[:, 0], table[:, 1])
        if not is_clean:
            return xy_m
        since_s = np.array([second.now_ns - r[0] for r in new.values()]) / NS_PER_S
        turn, way_m = np.radians(table[:, 3]), table[:, 2] * since_s
        xy_m = xy_m + np.column_stack([way_m * np.sin(turn), way_m * np.cos(turn)])
        own = table[:, 4] > 0
        units = np.array([source for source, _ in new])
        keep = np.ones(len(xy_m), np.bool_)
        seen = np.flatnonzero(~own)
        near, _ = _near(xy_m[seen], xy_m[own], OWN_WITHIN_M)
        keep[seen[near]] = False
        rows = np.flatnonzero(keep & ~own)
        a, b = _near(xy_m[rows], xy_m[rows], SAME_WITHIN_M)
        for one, other in sorted(zip(rows[a].tolist(), rows[b].tolist(), strict=True)):
            if one < other and keep[one] and units[one] != units[other]:
                keep[other] = False
        return xy_m[keep]


def of_union(run: list[Second], *, is_clean: bool) -> Figures:
    """A naive picture at each second."""
    union, scores = Union(), list[Gospa]()
    for place, second in enumerate(run):
        for batch in second.batches:
            union.fold(batch)
        if place >= FIRST_S:
            scores.append(second.score(union.places(second, is_clean=is_clean), C_M))
    return figures(scores)


def _near(
    asker_m: NDArray[np.float64], place_m: NDArray[np.float64], reach_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return near_pairs(asker_m[:, 0], asker_m[:, 1], place_m[:, 0], place_m[:, 1], reach_m)


CASES: dict[str, dict[str, Any]] = {
    "10 % connected": {"connected_ratio": 0.1},
    "50 % connected": {"connected_ratio": 0.5},
    "100 % connected": {"connected_ratio": 1.0},
    "50 %, clocks off by 100 ms": {"connected_ratio": 0.5, "rsu_clock_ms": 100.0},
    "50 %, heavy rain": {"connected_ratio": 0.5, "weather": "heavy-rain"},
}


def rows(duration_s: float = 90.0) -> Iterator[tuple[str, Figures, Figures, Figures]]:
    """Case, fusion, all reports, de-duplicated."""
    for name, flags in CASES.items():
        run = list(seconds(duration_s=duration_s, **flags))[:-1]
        yield name, of_fusion(run), of_union(run, is_clean=False), of_union(run, is_clean=True)


def cost_us(copies: int) -> float:
    """CPU of a report where so many corridors stand beside each other, half of all connected."""
    run = list(seconds(duration_s=12.0, connected_ratio=0.5))[:-1]
    frames = [
        (s.now_ns, [concat([_copy(b, k) for k in range(copies)]) for b in s.batches if _is_told(b)])
        for s in run
    ]
    fusion, n_rows, begun_s = Fusion(), 0, time.process_time()
    for now_ns, batches in frames:
        for batch in batches:
            fusion.fold(batch)
            n_rows += batch.n_rows
        fusion.advance(now_ns)
    return (time.process_time() - begun_s) / n_rows * 1e6


def _is_told(batch: Batch) -> bool:
    return batch.message in ("vehicle_state", "rsu_objects")


def _copy(batch: Batch, number: int) -> Batch:
    """The same elsewhere, under other names."""
    names = {
        name: (batch.codes(name), [f"{word}.{number}" for word in batch.dictionary(name)])
        for name in ("subject_id", "source_id")
    }
    return batch.with_columns(names | {"lat_deg": batch.column("lat_deg") + 0.02 * number})
