"""What a body is made of, and the walk over its bytes that reader, writer and inspector share.

A body is a sequence of nodes: `Field` (one number or text), `Run` (a count, then that many equal
fields), `Group` (a count, then that many bodies), `Choice` (a count, then that many pairs of a tag
and what belongs to it). All integers are big-endian and unsigned. A count that is a reserved code
says that its list is not there: no element follows, and the code stands in the list's place. The
value of a number is `(raw - zero) * times / over`; the reserved codes are the two highest raw
values of a width: "abnormal" (..FE) and "invalid" (..FF), 2016 edition 6.1 and 2025 edition 6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from openvrc.contracts.reasons import Reason

Tree = dict[str, Any]
"""A body's raw values by name: int, bytes, a list of ints (`Run`), a list of trees (`Group`,
`Choice`); an int in the place of a list is the code that was sent as its count."""
Path = tuple[str | int, ...]
Form = Literal["number", "text", "time", "flags", "bytes"]


class Validity(IntEnum):
    """What a raw value says of itself."""

    VALID = 0
    ABNORMAL = 1
    """The sender says that the device is abnormal (code ..FE)."""
    INVALID = 2
    """The sender says that the value is invalid (code ..FF)."""
    OUT_OF_RANGE = 3
    """Neither a value of the standard's range nor one of its codes."""


@dataclass(frozen=True)
class Field:
    """One value of fixed width."""

    name: str
    """Ends in the unit of the scaled value."""
    width: int
    title: str
    unit: str = ""
    high: int | None = None
    """Largest legal raw value; None: all that are no code."""
    low: int = 0
    zero: int = 0
    times: int = 1
    over: int = 1
    has_codes: bool = True
    words: Mapping[int, str] | None = None
    """Meaning of each legal raw value of an enumeration."""
    form: Form = "number"

    @property
    def abnormal(self) -> int:
        """The raw code "abnormal"."""
        return int((1 << 8 * self.width) - 2)

    @property
    def invalid(self) -> int:
        """The raw code "invalid"."""
        return int((1 << 8 * self.width) - 1)

    @property
    def top(self) -> int:
        """Largest legal raw value."""
        if self.high is not None:
            return self.high
        return self.invalid - 2 if self.has_codes else self.invalid

    def validity(self, raw: int) -> Validity:
        """What this raw value is."""
        if self.words is not None and raw in self.words:
            return Validity.VALID
        if self.words is None and self.low <= raw <= self.top:
            return Validity.VALID
        if self.has_codes and raw >= self.abnormal:
            return Validity.ABNORMAL if raw == self.abnormal else Validity.INVALID
        return Validity.OUT_OF_RANGE

    def is_code(self, raw: int) -> bool:
        """Whether it is "abnormal" or "invalid"."""
        return self.validity(raw) in (Validity.ABNORMAL, Validity.INVALID)

    def value(self, raw: int) -> float | None:
        """The scaled value; None for what is no value.

        >>> Field("current_a", 2, "current", "A", high=20000, zero=10000, over=10).value(10671)
        67.1
        """
        if self.validity(raw) is not Validity.VALID:
            return None
        return (raw - self.zero) * self.times / self.over

    def raw(self, value: float | None) -> int:
        """The nearest raw value, kept within the legal range; None becomes "invalid"."""
        if value is None or value != value:
            return self.invalid
        return min(max(round(value * self.over / self.times) + self.zero, self.low), self.top)


@dataclass(frozen=True)
class Run:
    """`count` (None: taken from what was read before), then that many elements."""

    name: str
    count: Field | None
    element: Field
    size: Callable[[Tree], int] | None = None
    """Without `count`: number of elements, from the values before it in the same body."""


@dataclass(frozen=True)
class Group:
    """`count`, then that many bodies."""

    name: str
    count: Field
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """`count`, then that many times a tag and the field or run that the tag stands for."""

    name: str
    count: Field
    tag: Field
    of_tag: Mapping[int, Field | Run]
    """What follows a tag, named `VALUE`. A run without a count has its size from values before it
    in the list, by their tags."""


Node = Field | Run | Group | Choice
VALUE = "value"
REST = "rest"
"""Among the values that a run takes its size from: how many bytes are left."""


@dataclass(frozen=True, slots=True)
class Item:
    """Where one field lies: `count` elements from `offset` on, -1 for one that is no list."""

    path: Path
    field: Field
    offset: int
    count: int = -1
    is_structure: bool = False
    """Whether later positions depend on its value."""

    @property
    def n_bytes(self) -> int:
        """How many bytes it takes."""
        return self.field.width * abs(self.count)


class WalkStopped(Exception):  # noqa: N818 (caught by the walk's callers)
    """The rest cannot be read; the text says why."""

    reason = Reason.TRUNCATED


class UnknownTag(WalkStopped):
    """A tag whose length nobody stated."""

    reason = Reason.UNKNOWN_BODY

    def __init__(self, path: Path, raw: int) -> None:
        name = ".".join(str(part) for part in path)
        super().__init__(f"{name} is {raw:02X}, whose length is not known")


class TooShort(WalkStopped):
    """The bytes end before the body does."""

    def __init__(self, path: Path, needed: int, left: int) -> None:
        self.path, self.needed, self.left = path, needed, left
        name = ".".join(str(part) for part in path)
        super().__init__(f"{name} needs {needed} bytes, {left} are left")


class Walk:
    """One pass over a body: `items` as they lie, `end` behind the last one.

    Counts are read from `data`, so a length that lies ends in `TooShort`, raised after at most one
    item for each byte that is really there.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.limit = data, end
        self.end = start
        self.items: list[Item] = []

    def body(self, nodes: Sequence[Node], path: Path = ()) -> None:
        """Walk a sequence of nodes. Raises WalkStopped; `items` then hold what came before."""
        counted: Tree = {}
        sized = [node for node in nodes if isinstance(node, Run) and node.size is not None]
        for node in nodes:
            if isinstance(node, Field):
                item = self._take(node, path, -1, is_structure=bool(sized))
                if sized and node.form == "number":
                    counted[node.name] = number(self.data, item)
            elif isinstance(node, Run):
                self._run(node, path, counted, is_structure=bool(sized))
            elif isinstance(node, Choice):
                self._choice(node, (*path, node.name))
            else:
                count = self._count(node.count, (*path, node.name))
                for place in range(count):
                    self.body(node.nodes, (*path, node.name, place))

    def _choice(self, node: Choice, path: Path) -> None:
        known: Tree = {}
        for place in range(self._count(node.count, path)):
            tag_item = self._take(node.tag, (*path, place), -1, is_structure=True)
            tag = number(self.data, tag_item)
            chosen = node.of_tag.get(tag)
            if chosen is None:
                raise UnknownTag(tag_item.path, tag)
            if isinstance(chosen, Run):
                self._run(chosen, (*path, place), known, is_structure=False)
            else:
                item = self._take(chosen, (*path, place), -1)
                if chosen.form == "number":
                    known[str(tag)] = number(self.data, item)

    def _run(self, node: Run, path: Path, counted: Tree, *, is_structure: bool) -> None:
        if node.count is None:
            assert node.size is not None
            count = node.size(counted | {REST: self.limit - self.end})
        else:
            count = self._count(node.count, (*path, node.name))
        item = self._take(node.element, (*path, node.name), count)
        if is_structure and node.size is None:
            counted[node.name] = numbers(self.data, item)
            self.items[-1] = Item(item.path, item.field, item.offset, item.count, True)

    def _count(self, field: Field, path: Path) -> int:
        """How many elements follow: none where the count is a code."""
        raw = number(self.data, self._take(field, path, -1, is_structure=True))
        return 0 if field.has_codes and raw >= field.abnormal else raw

    def _take(self, field: Field, path: Path, count: int, *, is_structure: bool = False) -> Item:
        where = path if count >= 0 else (*path, field.name)
        n_bytes = field.width * abs(count)
        if self.end + n_bytes > self.limit:
            raise TooShort(where, n_bytes, self.limit - self.end)
        item = Item(where, field, self.end, count, is_structure)
        self.items.append(item)
        self.end += n_bytes
        return item


def number(data: bytes, item: Item) -> int:
    """The raw value of one field."""
    return int.from_bytes(data[item.offset : item.offset + item.field.width], "big")


def numbers(data: bytes, item: Item) -> list[int]:
    """The raw values of a run."""
    width = item.field.width
    part = data[item.offset : item.offset + item.n_bytes]
    if width == 1:
        return list(part)
    return [int.from_bytes(part[at : at + width], "big") for at in range(0, len(part), width)]


def content(data: bytes, item: Item) -> Any:
    """Raw content of an item: int, bytes for text, time and bytes, list of ints for a run."""
    if item.field.form in ("text", "time", "bytes"):
        return data[item.offset : item.offset + item.n_bytes]
    return number(data, item) if item.count < 0 else numbers(data, item)


def tree_of(data: bytes, items: Sequence[Item], nodes: Sequence[Node]) -> Tree:
    """The raw values of walked items as a tree; counts are left out, lists tell them."""
    found: Tree = _empty(nodes)
    counts = {id(count) for count in _counts(nodes)}
    codes: list[tuple[Path, int]] = []
    for item in items:
        if id(item.field) in counts:
            if item.field.is_code(raw := number(data, item)):
                codes.append((item.path[:-1], raw))
            continue
        _put(found, item.path, content(data, item))
    for path, code in codes:
        _put(found, path, code)
    return found


def _put(tree: Tree, path: Path, value: Any) -> None:
    place: Any = tree
    for part in path[:-1]:
        place = _step(place, part)
    place[path[-1]] = value


def _step(place: Any, part: str | int) -> Any:
    if isinstance(part, str):
        return place.setdefault(part, [])
    while len(place) <= part:
        place.append({})
    return place[part]


def _empty(nodes: Sequence[Node]) -> Tree:
    return {node.name: [] for node in nodes if isinstance(node, Group | Choice)}


def _counts(nodes: Sequence[Node]) -> Iterator[Field]:
    for node in nodes:
        if isinstance(node, Run) and node.count is not None:
            yield node.count
        elif isinstance(node, Group):
            yield node.count
            yield from _counts(node.nodes)
        elif isinstance(node, Choice):
            yield node.count
            yield from _counts(tuple(node.of_tag.values()))


def write(nodes: Sequence[Node], tree: Mapping[str, Any]) -> bytes:
    """The bytes of a body. Raises ValueError for a value that its width cannot hold."""
    parts: list[bytes] = []
    for node in nodes:
        if isinstance(node, Field):
            parts.append(_written(node, tree[node.name]))
        elif isinstance(node, Run):
            parts.append(_written_run(node, tree[node.name]))
        elif isinstance(members := tree[node.name], int):
            parts.append(_written(node.count, members))
        else:
            parts.append(_written(node.count, len(members)))
            parts += [_written_member(node, member) for member in members]
    return b"".join(parts)


def _written_member(node: Group | Choice, member: Mapping[str, Any]) -> bytes:
    if isinstance(node, Group):
        return write(node.nodes, member)
    tag = member[node.tag.name]
    if tag not in node.of_tag:
        raise ValueError(f"{node.tag.name} is {tag}, expected one of {sorted(node.of_tag)}")
    return _written(node.tag, tag) + write((node.of_tag[tag],), member)


def _written(field: Field, raw: Any) -> bytes:
    if isinstance(raw, bytes):
        if len(raw) != field.width:
            raise ValueError(f"{field.name} has {len(raw)} bytes, expected {field.width}")
        return raw
    try:
        return int(raw).to_bytes(field.width, "big")
    except OverflowError as error:
        raise ValueError(f"{field.name} is {raw}, which {field.width} bytes cannot hold") from error


def _written_run(node: Run, raws: Any) -> bytes:
    if isinstance(raws, int) and node.count is not None:
        return _written(node.count, raws)
    n_elements = len(raws) // (node.element.width if isinstance(raws, bytes) else 1)
    head = b"" if node.count is None else _written(node.count, n_elements)
    if isinstance(raws, bytes):
        return head + raws
    return head + b"".join(_written(node.element, raw) for raw in raws)
