"""How well incident rules did on a recording: what was found, how soon, what was false.

A found event is one with an incident alert while it lasted, within `NEAR_M` of it (for a slow
vehicle, of where the vehicle was; for a closed lane, on its segment). A false alarm is an alert in
a control run, one per (rule, segment, 180 s). A control vehicle that truly stands for 30 s or more
with 25 m of free lane ahead, away from a stop line, is a real obstruction and counted apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Finding
from openvrc.contracts.units import NS_PER_S
from tests.support.fcd_marks import EPOCH_NS, Fcd
from tests.support.shared_data import shared_data
from tests.support.traffic_events import METRES_PER_DEG, second_of

KIND_OF_TYPE = {
    "stopped_vehicle": ("traffic.stopped_vehicle", "traffic.lane_blocked"),
    "lane_block2": ("traffic.lane_blocked", "traffic.stopped_vehicle"),
    "slow_vehicle": ("traffic.slow_vehicle",),
    "lane_closure": ("traffic.lane_closed",),
}
"""Rules that name each event's kind; the first is the exact one."""
INCIDENT_RULES = frozenset(
    f"traffic.{word}"
    for word in [
        "stopped_vehicle",
        "slow_vehicle",
        "lane_blocked",
        "lane_closed",
        "sudden_slowdown",
    ]
)
NEAR_M = 150.0  # the first cars held up behind it
PLACE_M = 50.0  # what the alert's place is good for
REPEAT_S = 180.0
SLOWED_MPS = 5.0
REAL_STAND_S, REAL_FREE_M = 30, 25.0


@dataclass(frozen=True)
class Incident:
    """One injected event."""

    id: str
    type: str
    start_s: float
    end_s: float
    segment_id: str
    lanes: tuple[int, ...]
    vehicles: tuple[str, ...]
    lat_deg: float
    lon_deg: float


@dataclass(frozen=True)
class Found:
    """The first alert about an event."""

    event: Incident
    finding: Finding
    delay_s: float
    distance_m: float

    @property
    def names_kind(self) -> bool:
        """Whether its rule is one for this kind of event."""
        return self.finding.rule in KIND_OF_TYPE[self.event.type]

    @property
    def names_lane(self) -> bool:
        """Whether its component is one of the event's lanes."""
        return self.finding.component in {f"lane:{lane}" for lane in self.event.lanes}


def read_incidents(package: str) -> tuple[Incident, ...]:
    """A package's injected incidents; hard brakes are none."""
    text = shared_data("traffic", package, "events.json").read_text()
    return tuple(
        Incident(
            e["id"], e["type"], e["start_t"], e["end_t"], e["edge"],
            tuple(e["lanes"]), tuple(e["vehicles"]), e["lat"], e["lon"],
        )
        for e in json.loads(text)["events"]
        if e["type"] in KIND_OF_TYPE
    )  # fmt: skip


def is_connected(vehicles: Sequence[str], penetration: float, seed: int) -> NDArray[np.bool_]:
    """Which vehicles are connected: BLAKE2b of "seed/vehicle", as a share of 2^64, below it."""
    if penetration >= 1.0:
        return np.ones(len(vehicles), np.bool_)
    digests = (hashlib.blake2b(f"{seed}/{v}".encode(), digest_size=8).digest() for v in vehicles)
    shares = np.array([int.from_bytes(digest, "big") / 2.0**64 for digest in digests])
    return shares < penetration


def thinned(
    timed: Sequence[tuple[int, Batch]], vehicles: Sequence[str], penetration: float, seed: int
) -> Iterator[tuple[int, Batch]]:
    """Vehicle batches of the connected only; other messages as they are."""
    chosen = {
        v for v, c in zip(vehicles, is_connected(vehicles, penetration, seed), strict=True) if c
    }
    for at_s, batch in timed:
        if penetration >= 1.0 or batch.message != "vehicle_state":
            yield at_s, batch
            continue
        words = batch.dictionary("subject_id")
        keep = np.array([word in chosen for word in words])[batch.codes("subject_id")]
        if keep.any():
            yield at_s, batch.filter(keep)


def first_raises(findings: Sequence[Finding]) -> list[Finding]:
    """First raise of each episode of an incident rule, in order of time."""
    first: dict[tuple[str, str, str, int], Finding] = {}
    for finding in findings:
        if finding.phase == "raise" and finding.rule in INCIDENT_RULES:
            key = (finding.rule, finding.subject_id, finding.component, finding.started_at_ns)
            first.setdefault(key, finding)
    return sorted(first.values(), key=second_of)


def _place(event: Incident, at_s: float, truth: Fcd) -> tuple[float, float]:
    """Where the event was: where its slow vehicle was at `at_s`, else where it was put."""
    if event.type != "slow_vehicle":
        return event.lat_deg, event.lon_deg
    number = truth.vehicles.index(event.vehicles[0])
    rows = np.flatnonzero(truth.vehicle == number)
    row = rows[np.argmin(np.abs(truth.time_s[rows] - at_s))]
    return float(truth.lat_deg[row]), float(truth.lon_deg[row])


def found(event: Incident, raised: Sequence[Finding], truth: Fcd) -> Found | None:
    """The first alert that is about this event."""
    for finding in raised:
        at_s = second_of(finding)
        if not event.start_s <= at_s <= event.end_s:
            continue
        if event.type == "lane_closure":
            if finding.segment_id == event.segment_id and finding.rule in KIND_OF_TYPE[event.type]:
                return Found(event, finding, at_s - event.start_s, 0.0)
            continue
        away_m = _away_m(finding, *_place(event, at_s, truth))
        if away_m <= NEAR_M:
            return Found(event, finding, at_s - event.start_s, away_m)
    return None


def is_exposed(event: Incident, truth: Fcd, connected: NDArray[np.bool_], within_s: float) -> bool:
    """Whether a connected vehicle was made to stop or to slow down by it within this time.

    One in the event, or one below SLOWED_MPS on its segment, up to NEAR_M before its place.
    `connected` is (n_vehicles,). Nobody stands in a closed lane: who changes lanes counts as slow
    only if it really is.
    """
    if any(connected[truth.vehicles.index(v)] for v in event.vehicles if v in truth.vehicles):
        return True
    slowed = (truth.time_s >= event.start_s) & (truth.time_s <= event.start_s + within_s)
    slowed &= connected[truth.vehicle] & (truth.speed_mps < SLOWED_MPS)
    rows = np.flatnonzero(slowed)
    if event.type == "slow_vehicle" and len(rows):
        places = [_place(event, at_s, truth) for at_s in truth.time_s[rows].tolist()]
        lat_deg, lon_deg = (np.array(axis) for axis in zip(*places, strict=True))
    else:
        lat_deg, lon_deg = np.array(event.lat_deg), np.array(event.lon_deg)
    north_m = (truth.lat_deg[rows] - lat_deg) * METRES_PER_DEG
    east_m = (truth.lon_deg[rows] - lon_deg) * METRES_PER_DEG * np.cos(np.radians(lat_deg))
    return bool((np.hypot(north_m, east_m) < NEAR_M).any())


def _away_m(finding: Finding, lat_deg: float, lon_deg: float) -> float:
    if finding.lat_deg is None or finding.lon_deg is None:
        return float("inf")
    north_m = (finding.lat_deg - lat_deg) * METRES_PER_DEG
    east_m = (finding.lon_deg - lon_deg) * METRES_PER_DEG * np.cos(np.radians(lat_deg))
    return float(np.hypot(north_m, east_m))


def false_alarms(
    raised: Sequence[Finding], truth: Fcd, length_m: NDArray[np.float64]
) -> tuple[list[Finding], list[Finding]]:
    """(false alarms, real obstructions) of a control run, one per rule, segment and 180 s."""
    last: dict[tuple[str, str], float] = {}
    false: list[Finding] = []
    real: list[Finding] = []
    for finding in raised:
        key = (finding.rule, finding.segment_id)
        if second_of(finding) - last.get(key, -np.inf) < REPEAT_S:
            continue
        last[key] = second_of(finding)
        (real if _truly_obstructs(finding, truth, length_m) else false).append(finding)
    return false, real


def _truly_obstructs(finding: Finding, truth: Fcd, length_m: NDArray[np.float64]) -> bool:
    if finding.subject_type != "vehicle" or finding.subject_id not in truth.vehicles:
        return False
    number = truth.vehicles.index(finding.subject_id)
    rows = np.flatnonzero(truth.vehicle == number)
    at_s = int(second_of(finding))
    still = rows[truth.speed_mps[rows] < 0.1]
    now = still[truth.time_s[still] == at_s]
    if not len(now):
        return False
    times = set(truth.time_s[still].tolist())
    first = last = at_s
    while first - 1 in times:
        first -= 1
    while last + 1 in times:
        last += 1
    if last - first + 1 < REAL_STAND_S or truth.segment[now[0]] < 0:
        return False
    free_m = length_m[truth.segment[now[0]]] - truth.offset_m[now[0]]
    same = (truth.time_s == at_s) & (truth.segment == truth.segment[now[0]])
    same &= (truth.lane_index == truth.lane_index[now[0]]) & (
        truth.offset_m > truth.offset_m[now[0]]
    )
    if same.any():
        free_m = min(free_m, float(truth.offset_m[same].min() - truth.offset_m[now[0]]) - 5.0)
    return bool(free_m >= REAL_FREE_M)


def timed_batches(batches: Sequence[Batch]) -> list[tuple[int, Batch]]:
    """Batches with the recording's second of their rows."""
    return [(int(b.column("sampled_at_ns")[0] - EPOCH_NS) // NS_PER_S, b) for b in batches]


def summary(hits: Sequence[Found | None]) -> dict[str, Any]:
    """Counts and means over events (or event-seeds)."""
    got = [hit for hit in hits if hit is not None]
    return {
        "events": len(hits),
        "found": len(got),
        "mean_delay_s": float(np.mean([h.delay_s for h in got])) if got else float("nan"),
        "within_120_s": sum(h.delay_s <= 120.0 for h in got),
        "right_kind": sum(h.names_kind for h in got),
        "right_lane": sum(h.names_lane for h in got),
        "in_place": sum(h.distance_m <= PLACE_M for h in got),
    }
