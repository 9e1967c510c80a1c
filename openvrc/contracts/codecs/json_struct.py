"""A record's contract as a msgspec Struct: what is cheap to decode, and refuses at least as much.

Types, unknown and missing fields, nulls, words of a `Literal`, patterns and lengths are checked
while decoding; ranges of numbers and ids, which are cheaper a column at a time, in
json_columns.py. A field that is left out gets its column's spelling of absence (units.py), so that
columns need no second look. Why a record is refused is pydantic's to say, not this type's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from annotated_types import Ge, Le, Len, MaxLen, MinLen
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

from openvrc.contracts.columns import BATCH_LEVEL, Column, columns_of
from openvrc.contracts.messages import message_type
from openvrc.contracts.units import ABSENT_I64

ABSENT_CODE = 255
"""-1 as an unsigned byte."""
GREATEST_I64 = 2**63 - 1
_CHECKED_BY_COLUMN = ("source_id", "subject_id", "run_id")
_SCALARS: dict[str, Any] = {"i64": int, "f64": float, "f32": float, "text": str}
_ABSENT: dict[str, Any] = {
    "i64": ABSENT_I64,
    "f64": float("nan"),
    "f32": float("nan"),
    "code": ABSENT_CODE,
    "text": None,
    "f32_list": (),
}


class CannotExpressError(TypeError):
    """A contract rule that the Struct has no word for: its message is left to pydantic."""


@cache
def struct_of(message: str) -> type[msgspec.Struct]:
    """The Struct of a message's sender fields, in the contract's order. Raises CannotExpressError.

    `source_id` and `subject_id` are None where the record leaves them to its topic.
    """
    columns = {c.name: c for c in columns_of(message) if not c.is_mark}
    fields = [
        _field(name, info, columns.get(name))
        for name, info in message_type(message).model.model_fields.items()
    ]
    return msgspec.defstruct(
        f"Fast_{message}", fields, kw_only=True, forbid_unknown_fields=True, gc=False
    )


def _field(name: str, info: FieldInfo, column: Column | None) -> tuple[Any, ...]:
    rules = list(_rules(info))
    if name in _CHECKED_BY_COLUMN:
        return name, str, None if name != "run_id" else info.default
    if name in BATCH_LEVEL or column is None:
        return name, info.annotation, info.default
    annotation = _annotation(column, rules)
    if column.is_required:
        return name, annotation
    if column.default is None:
        return name, annotation | None, _ABSENT[column.kind]
    return name, annotation, () if column.kind == "f32_list" else column.default


def _annotation(column: Column, rules: list[Any]) -> Any:
    if column.kind == "code":
        return bool if column.is_bool else Literal[column.values]
    if column.kind == "i64":
        # Both bounds are whole numbers; without one, what an int64 holds.
        low = -GREATEST_I64 if column.low is None else int(column.low)
        high = GREATEST_I64 if column.high is None else int(column.high)
        return Annotated[int, msgspec.Meta(ge=low, le=high)]
    if column.kind == "f32_list":
        (length,) = (rule for rule in rules if isinstance(rule, Len))
        limits = msgspec.Meta(min_length=length.min_length, max_length=length.max_length)
        return Annotated[list[float | None], limits]
    if column.kind == "text":
        return _text(rules)
    return _SCALARS[column.kind]


def _text(rules: list[Any]) -> Any:
    limits: dict[str, Any] = {}
    for rule in rules:
        if isinstance(rule, StringConstraints):
            # pydantic's "$" is the end of the text; Python's may stand before a last line break.
            limits["pattern"] = re.sub(r"\$$", r"\\Z", str(rule.pattern))
        else:
            limits["max_length"] = rule.max_length
    return Annotated[str, msgspec.Meta(**limits)] if limits else str


def _rules(info: FieldInfo) -> Iterator[Any]:
    """All rules of a field and of what is inside it. Raises CannotExpressError for unknown ones."""
    for rule in [*info.metadata, *_inner_rules(info.annotation)]:
        if isinstance(rule, StringConstraints):
            said = {name for name, value in vars(rule).items() if value is not None}
            if said - {"pattern"}:
                raise CannotExpressError(f"{rule!r} of {info.description!r}")
        elif not isinstance(rule, (Ge, Le, Len, MaxLen)) or isinstance(rule, MinLen):
            raise CannotExpressError(f"{rule!r} of {info.description!r}")
        yield rule


def _inner_rules(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
        annotation = annotation.__origin__
    if get_origin(annotation) is Literal:
        return
    for part in get_args(annotation):
        yield from _inner_rules(part)
