"""OpenStreetMap's turn restrictions: which way on is forbidden, or the only one allowed.

https://wiki.openstreetmap.org/wiki/Relation:restriction. Read are those with a node between the
ways (`via`), several ways as `from` or `to` too (`no_entry`, `no_exit`). Left out are those that
name a class of vehicles other than all motor traffic (`restriction:hgv`, `:conditional`), except
cars (`except=motorcar`), or lead over a way: a segment's successors cannot say where one came from.
One that is ambiguous, for its ways are not cut at the node, is passed over. Of one way over one
node, several "only" allow what any of them names; "no" is taken from that. Those of a kind that
together would leave no way on are passed over. The order of relations means nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from openvrc.contracts.maps import Segment

EXCEPTED = ("motorcar", "motor_vehicle")
TAGS = ("restriction", "restriction:motor_vehicle", "restriction:motorcar")


@dataclass
class Relation:
    """A relation's tags and its members by role, as (type, id)."""

    tags: dict[str, str] = field(default_factory=dict)
    members: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Restriction:
    """From ways over a node to ways: not allowed, or (`is_only`) nothing else allowed."""

    from_ways: tuple[str, ...]
    via_node: str
    to_ways: tuple[str, ...]
    is_only: bool


def restriction_of(relation: Relation) -> Restriction | None:
    """The restriction that a relation is; None for another relation, and what is left out."""
    tags = relation.tags
    word = next((tags[tag] for tag in TAGS if tag in tags), "")
    if tags.get("type") != "restriction" or not word.startswith(("no_", "only_")):
        return None
    if any(name.strip() in EXCEPTED for name in tags.get("except", "").split(";")):
        return None
    ways = {
        role: tuple(ref for kind, ref in relation.members.get(role, ()) if kind == "way")
        for role in ("from", "to")
    }
    via = relation.members.get("via", [])
    if len(via) != 1 or via[0][0] != "node" or not ways["from"] or not ways["to"]:
        return None
    return Restriction(ways["from"], via[0][1], ways["to"], word.startswith("only_"))


def restricted(segments: Sequence[Segment], restrictions: Iterable[Restriction]) -> list[Segment]:
    """The segments without the successors that are forbidden; ids are `way/from_node/to_node`."""
    arriving: dict[tuple[str, str], list[str]] = defaultdict(list)  # (way, node)
    leaving: dict[tuple[str, str], list[str]] = defaultdict(list)
    for segment in segments:
        way = segment.id.split("/")[0]
        arriving[way, segment.to_id].append(segment.id)
        leaving[way, segment.from_id].append(segment.id)
    only: dict[str, set[str]] = defaultdict(set)  # segment -> named by restrictions from it
    forbidden: dict[str, set[str]] = defaultdict(set)
    for restriction in restrictions:
        goals = [leaving[way, restriction.via_node] for way in restriction.to_ways]
        named = {name for group in goals if len(group) == 1 for name in group}
        for way in restriction.from_ways:
            starts = arriving[way, restriction.via_node]
            if len(starts) == 1 and way not in restriction.to_ways:  # back along it leads nothing
                (only if restriction.is_only else forbidden)[starts[0]] |= named
    return [
        segment.model_copy(
            update={"successors": _left(segment, only[segment.id], forbidden[segment.id])}
        )
        for segment in segments
    ]


def _left(segment: Segment, only: set[str], forbidden: set[str]) -> tuple[str, ...]:
    allowed = tuple(name for name in segment.successors if name in only) or segment.successors
    return tuple(name for name in allowed if name not in forbidden) or allowed
