"""Columns of a message, derived from its contract: kind, unit, range, resolution.

| kind | numpy view | absent |
|---|---|---|
| `i64` | int64 | `ABSENT_I64` |
| `f64`, `f32` | float64, float32 | NaN |
| `code` | int8 index into `values`; bool is ("false", "true") | -1 |
| `text` | dictionary of strings, int32 codes | "" |
| `f32_list` | float32 values + int32 offsets | empty list; a missing element is NaN |

No column has Arrow validity bits: absence has one spelling per kind, so numpy views are free.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from openvrc.contracts.messages import message_type
from openvrc.contracts.units import Privacy

Kind = Literal["i64", "f64", "f32", "code", "text", "f32_list"]

ARROW_TYPE: dict[Kind, pa.DataType] = {
    "i64": pa.int64(),
    "f64": pa.float64(),
    "f32": pa.float32(),
    "code": pa.int8(),
    "text": pa.dictionary(pa.int32(), pa.utf8()),
    "f32_list": pa.list_(pa.field("item", pa.float32(), nullable=False)),
}

BATCH_LEVEL = ("origin", "run_id")
"""Contract fields that are the same for a whole Batch and therefore no columns."""

BOOL_VALUES = ("false", "true")


@dataclass(frozen=True)
class Column:
    """One column and all that follows from its contract field."""

    name: str
    kind: Kind
    unit: str
    description: str
    privacy: Privacy
    is_required: bool
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    values: tuple[str, ...] = ()
    is_bool: bool = False
    default: Any = None
    is_mark: bool = False
    """Set by the edge, never by a sender."""

    @property
    def arrow_type(self) -> pa.DataType:
        """Arrow type of the column."""
        return ARROW_TYPE[self.kind]


def _strip_optional(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(annotation) if part is not type(None)]
        annotation = rest[0]
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _kind_of(annotation: Any, wide: bool) -> tuple[Kind, tuple[str, ...], bool]:
    annotation = _strip_optional(annotation)
    if typing.get_origin(annotation) is Literal:
        return "code", typing.get_args(annotation), False
    if typing.get_origin(annotation) is list:
        return "f32_list", (), False
    if annotation is bool:
        return "code", BOOL_VALUES, True
    if annotation is int:
        return "i64", (), False
    if annotation is float:
        return ("f64" if wide else "f32"), (), False
    if annotation is str:
        return "text", (), False
    raise TypeError(f"contract field of type {annotation!r} has no column kind")


def _element_rules(annotation: Any) -> list[Any]:
    """Rules on the elements of `list[Annotated[float, ...] | None]`; empty for other types."""
    annotation = _strip_optional(annotation)
    if typing.get_origin(annotation) is not list:
        return []
    (element,) = typing.get_args(annotation)
    parts = typing.get_args(element)
    inner = next((p for p in parts if typing.get_origin(p) is typing.Annotated), element)
    return list(getattr(inner, "__metadata__", ()))


def _bound(field: FieldInfo, name: str) -> float | None:
    for rule in [*field.metadata, *_element_rules(field.annotation)]:
        value = getattr(rule, name, None)
        if value is not None:
            return float(value)
    return None


def _column(name: str, field: FieldInfo, is_mark: bool) -> Column:
    extra: dict[str, Any] = (
        field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    )
    kind, values, is_bool = _kind_of(field.annotation, bool(extra.get("wide")))
    return Column(
        name=name,
        kind=kind,
        unit=str(extra.get("unit", "")),
        description=field.description or "",
        privacy=extra.get("privacy", "vehicle"),
        is_required=field.is_required(),
        low=_bound(field, "ge"),
        high=_bound(field, "le"),
        decimals=extra.get("decimals"),
        values=values,
        is_bool=is_bool,
        default=None if field.is_required() else field.default,
        is_mark=is_mark,
    )


def _model_columns(model: type[BaseModel], is_mark: bool) -> list[Column]:
    return [_column(name, field, is_mark) for name, field in model.model_fields.items()]


@cache
def columns_of(message: str) -> tuple[Column, ...]:
    """All columns of a message, the sender's first, then the edge's marks."""
    row = message_type(message)
    sent = [c for c in _model_columns(row.model, False) if c.name not in BATCH_LEVEL]
    return tuple(sent + _model_columns(row.marks, True))


@cache
def column_of(message: str, name: str) -> Column:
    """One column by name. Raises KeyError that names the message and the column."""
    for column in columns_of(message):
        if column.name == name:
            return column
    raise KeyError(f"{message} has no column {name!r}")


@cache
def arrow_schema(message: str) -> pa.Schema:
    """Arrow schema of a Batch of this message, without its metadata."""
    return pa.schema([pa.field(c.name, c.arrow_type, nullable=False) for c in columns_of(message)])
