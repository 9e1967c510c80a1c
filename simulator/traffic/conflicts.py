"""Where movements of a junction cross or join, and which of the two goes first.

Two connectors are in conflict if they come nearer than a vehicle's width and do not start from the
same lane. Who yields is read from the network where it says so; else by rank of the road, then a
left turn waits for who comes against it, then right before left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NEAR_M = 2.2
"""Nearer than this two cars touch."""
SAMPLES = 16
"""Points on each connector that are compared: every 2 m of a usual junction."""
CHUNK = 20_000
"""Pairs looked at together: 40 MB."""


@dataclass(frozen=True)
class Conflicts:
    """Pairs of links in CSR form: those of link k are rows `offsets[k]` to `offsets[k + 1]`."""

    offsets: IntArray  # (n_links + 1,)
    foe: IntArray  # (n_pairs,) links
    own_m: FloatArray  # (n_pairs,) along the own connector to the point of conflict
    foe_m: FloatArray  # (n_pairs,) along the foe's
    is_yielding: BoolArray  # (n_pairs,) the own link lets the foe go first
    is_merge: BoolArray  # (n_pairs,) both lead to the same lane


def find_conflicts(
    links: Sequence[Any],
    link_from: IntArray,
    link_to: IntArray,
    approach: IntArray,
    rights: tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]] | None,
) -> Conflicts:
    """Conflicts of links that have points_xy_m, length_m, junction, name and rank.

    `approach` (n_links,) numbers the edges they come from.
    """
    one, two = _pairs(links, link_from)
    if rights:  # the network itself says who is in whose way
        known = _among(links, one, two, rights[1])
        one, two = one[known], two[known]
    own_m, foe_m, away_m = _nearest(links, one, two)
    is_merge = link_to[one] == link_to[two]
    # Lanes of one approach run side by side: they only join, or each keeps to its own.
    keep = is_merge | ((away_m < NEAR_M) & (approach[one] != approach[two]))
    keep |= bool(rights)
    one, two, own_m, foe_m, is_merge = (a[keep] for a in (one, two, own_m, foe_m, is_merge))
    yields = _by_request(links, one, two, rights[0]) if rights else _by_rule(links, one, two)
    lengths = np.array([link.length_m for link in links])
    # Joining ends at the lane behind; before it only who is nearer to it matters.
    own_m = np.where(is_merge, lengths[one], own_m) if len(one) else own_m
    foe_m = np.where(is_merge, lengths[two], foe_m) if len(two) else foe_m
    both = np.concatenate([one, two])
    order = np.argsort(both, kind="stable")
    counts = np.bincount(both, minlength=len(links))
    return Conflicts(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        foe=np.concatenate([two, one])[order],
        own_m=np.concatenate([own_m, foe_m])[order],
        foe_m=np.concatenate([foe_m, own_m])[order],
        is_yielding=np.concatenate([yields > 0, yields < 0])[order],
        is_merge=np.concatenate([is_merge, is_merge])[order],
    )


def _among(
    links: Sequence[Any], one: IntArray, two: IntArray, foes: dict[str, frozenset[str]]
) -> BoolArray:
    """Whether one of each pair names the other as a foe."""
    names = [link.name for link in links]
    pairs = [(names[a], names[b]) for a, b in zip(one.tolist(), two.tolist(), strict=True)]
    return np.array(
        [b in foes.get(a, ()) or a in foes.get(b, ()) for a, b in pairs],
        np.bool_,
    )


def _pairs(links: Sequence[Any], link_from: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of links of a junction that start from different lanes, each once."""
    groups: dict[str, list[int]] = {}
    for number, link in enumerate(links):
        groups.setdefault(link.junction, []).append(number)
    ones, twos = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for members in groups.values():
        numbers = np.array(members, np.int64)
        first, second = np.triu_indices(len(numbers), 1)
        one, two = numbers[first], numbers[second]
        apart = link_from[one] != link_from[two]
        ones.append(one[apart])
        twos.append(two[apart])
    return np.concatenate(ones), np.concatenate(twos)


def _nearest(
    links: Sequence[Any], one: IntArray, two: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where each pair comes nearest, along both, and how near."""
    if not len(one):
        return np.empty(0), np.empty(0), np.empty(0)
    points = np.array([_sampled(link.points_xy_m) for link in links])  # (n_links, SAMPLES, 2)
    step_m = np.array([link.length_m for link in links]) / (SAMPLES - 1)
    first, second = np.empty(len(one), np.int64), np.empty(len(one), np.int64)
    away_m = np.empty(len(one))
    for start in range(0, len(one), CHUNK):
        part = slice(start, start + CHUNK)
        gaps = points[one[part], :, None, :] - points[two[part], None, :, :]
        distance = np.hypot(gaps[..., 0], gaps[..., 1]).reshape(len(gaps), -1)
        best = distance.argmin(axis=1)
        away_m[part] = distance[np.arange(len(best)), best]
        first[part], second[part] = np.divmod(best, SAMPLES)
    # Half a step on either side the lines may be nearer still.
    away_m -= 0.5 * np.minimum(step_m[one], step_m[two])
    return first * step_m[one], second * step_m[two], away_m


def _sampled(points: FloatArray) -> FloatArray:
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0.0, along[-1], SAMPLES)
    return np.column_stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)])


def _by_request(
    links: Sequence[Any], one: IntArray, two: IntArray, yields: dict[str, frozenset[str]]
) -> IntArray:
    """1 where the first yields, -1 where the second does, 0 where neither says so."""
    answers = np.zeros(len(one), np.int64)
    for number, (first, second) in enumerate(zip(one.tolist(), two.tolist(), strict=True)):
        a, b = links[first].name, links[second].name
        answers[number] = (b in yields.get(a, ())) - (a in yields.get(b, ()))
    return answers


def _by_rule(links: Sequence[Any], one: IntArray, two: IntArray) -> IntArray:
    """As `_by_request`, by rank, then left turn, then right before left."""
    if not len(one):
        return np.empty(0, np.int64)
    rank = np.array([link.rank for link in links])
    enter = np.array([_course(link.points_xy_m, 0) for link in links])
    bend = _wrapped(np.array([_course(link.points_xy_m, -1) for link in links]) - enter)
    from_first = _wrapped(enter[two] - enter[one])  # how the second comes, seen from the first
    is_against = np.abs(from_first) > np.radians(135)
    by_turn = np.sign(np.round(bend[one] - bend[two], 2))  # the one that turns more to the left
    by_side = np.where(from_first > 0, 1, -1)  # it drives leftwards: it comes from the right
    alike = np.abs(from_first) < np.radians(45)  # side by side
    rule = np.where(is_against | alike, np.where(by_turn == 0, 1, by_turn), by_side)
    by_rank = np.sign(rank[two] - rank[one])
    return np.where(by_rank != 0, by_rank, rule).astype(np.int64)


def _course(points: FloatArray, which: int) -> float:
    """Direction in rad, anticlockwise, of the first or last step of a line."""
    steps = np.diff(points, axis=0)
    steps = steps[np.hypot(steps[:, 0], steps[:, 1]) > 1e-6]
    return float(np.arctan2(steps[which, 1], steps[which, 0])) if len(steps) else 0.0


def _wrapped(angle: FloatArray) -> FloatArray:
    return (angle + np.pi) % (2 * np.pi) - np.pi
